//! The coordinator of a target that is a cluster: finds its shards, keeps a link to each, and follows them where they go.
//!
//! It asks for the topology through the links that are up, and only if none is, through a connection of its own. Which
//! shard of a new topology is which of the previous one is decided in [`crate::topology`], and what the links' findings
//! mean for the target in `whole.rs`.

mod answers;
mod counted;
mod coverage;
mod inquiry;
mod primaries;
mod refusal;
mod relocation;
mod replicas;
mod unread;
mod watched;

use std::collections::HashSet;
use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

pub(super) use self::answers::is_in_words;
use self::answers::{Answers, is_in_vain};
use self::counted::Counted;
pub(super) use self::coverage::{missing_in_two, uncovered};
use self::inquiry::Unanswered;
pub(super) use self::refusal::{explained, is_standalone};
pub(super) use self::replicas::choose;
use self::unread::Unread;
use self::watched::Watched;
use super::fallback::MEMORY;
use super::links::{FRONT, Links};
use super::schedule::{Grid, until};
use super::signals::News;
use super::whole::Deciding;
use crate::backoff::Backoff;
use crate::connection::dialer::Dial;
use crate::log_budget::LogBudget;
use crate::metrics::ClusterMetrics;
use crate::probe::{Failure, FailureReason, StepResult};
use crate::status::Watch;
use crate::target::Endpoint;
use crate::topology::{Shard, SlotSet, Topology};

/// The shortest time from one question for the topology to the next: half an interval, so that a failover is followed
/// within one, but within these bounds.
const MIN_PAUSE: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(1);
/// How long an idle link may take to answer that there is a question.
const TAKE: Duration = Duration::from_millis(500);
/// The pauses after a question that nobody answered.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const PAUSE_CAP: Duration = Duration::from_secs(5);
/// The same where the question may be to blame: each costs a connection.
const LONG_PAUSE_CAP: Duration = Duration::from_secs(60);
/// After so many questions in a row that were asked in vain, the target is one node until the topology can be read.
const IN_VAIN: u32 = 2;

/// Whether it is known which slots have no owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coverage {
    Known,
    /// One node says that some have none, and others, which may say the same, are not connected yet.
    Open,
    /// One node says that some have none, and there is no other to ask.
    Unconfirmed,
}

/// The coordinator of one target.
pub(super) struct Coordinator<D: Dial> {
    links: Links<D>,
    /// The configured host.
    host: Endpoint,
    grid: Grid,
    /// The series of the cluster, from the first sign on that it is one.
    metrics: Option<ClusterMetrics>,
    readings: Counted,
    shards: Vec<Watched>,
    tasks: JoinSet<Infallible>,
    next_refresh: Instant,
    last_refresh: Option<Instant>,
    pauses: Backoff,
    /// Whether the last question was refused, which is logged once.
    refused: Option<StepResult>,
    unread: Unread,
    /// The slots that have an owner.
    covered: SlotSet,
    /// Those that two nodes agree have none.
    uncovered: Option<SlotSet>,
    coverage: Coverage,
    /// For changes of the topology.
    log: LogBudget,
    /// How many nodes are over `cluster.max_nodes`.
    skipped: usize,
    /// Whether it is shown that the user may not read replicas.
    are_replicas_denied: bool,
    answers: Answers,
    is_front_retired: bool,
    /// Whether something has been known of every shard at once.
    are_shards_shown: bool,
}

impl<D: Dial<Stream: 'static> + 'static> Coordinator<D> {
    pub(super) fn new(links: Links<D>, host: Endpoint, grid: Grid) -> Self {
        Self {
            links,
            host,
            grid,
            metrics: None,
            readings: Counted::default(),
            shards: Vec::new(),
            tasks: JoinSet::new(),
            next_refresh: Instant::now(),
            last_refresh: None,
            pauses: Backoff::new(FIRST_PAUSE),
            refused: None,
            unread: Unread::default(),
            covered: SlotSet::default(),
            uncovered: None,
            coverage: Coverage::Known,
            log: LogBudget::default(),
            skipped: 0,
            are_replicas_denied: false,
            answers: Answers::default(),
            is_front_retired: false,
            are_shards_shown: false,
        }
    }

    /// Runs until it is dropped.
    pub(super) async fn run(mut self) -> Infallible {
        let shared = Arc::clone(&self.links.shared);
        if !shared.signals.are_connected_beside(&[]) && self.resume() {
            self.next_refresh += *MIN_PAUSE.end();
        }
        loop {
            let change = self.next_change_of_replicas();
            tokio::select! {
                biased;
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(never) => match never {},
                    // As if it had happened here: the process ends.
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(_) => {}
                },
                () = sleep_until(self.next_refresh) => self.refresh().await,
                () = until(change), if change.is_some() => {
                    self.pass_replicas();
                    self.review();
                }
                news = shared.signals.news() => match news {
                    News::Stale => self.hurry(),
                    News::Progress => self.review(),
                    News::HostMoved(answer) => self.relocate(*answer),
                },
            }
        }
    }

    /// Lets the topology be asked for as soon as it may be.
    fn hurry(&mut self) {
        if self.refused.is_none() {
            let pause = (self.grid.interval / 2).clamp(*MIN_PAUSE.start(), *MIN_PAUSE.end());
            let soonest = self.last_refresh.map_or_else(Instant::now, |last| last + pause);
            self.next_refresh = self.next_refresh.min(soonest);
        }
    }

    /// Asks for the topology, and follows it.
    async fn refresh(&mut self) {
        let answer = self.inquire().await;
        self.last_refresh = Some(Instant::now());
        self.coverage = Coverage::Known;
        let refresh = self.links.target.cluster.refresh;
        let (result, pause) = match answer {
            Ok(answered) if answered.topology.shards.is_empty() => {
                self.show_read();
                (StepResult::Success, self.without_slots(refresh))
            }
            Ok(answered) => {
                self.refused = None;
                self.show_read();
                let is_first = self.shards.is_empty();
                let (topology, is_sure) = self.check(answered).await;
                if let Some(topology) = topology {
                    self.follow(topology);
                }
                if is_first {
                    // One node's view. Others are connected soon, and may know of more.
                    (StepResult::Success, *MIN_PAUSE.end())
                } else if self.lead_back() && is_sure {
                    self.pauses.reset();
                    (StepResult::Success, refresh)
                } else {
                    (StepResult::Success, self.pauses.next(PAUSE_CAP, &mut self.links.rng))
                }
            }
            // Those who know the topology better are not connected yet.
            Err(Unanswered::Refused(result, failure)) if !is_standalone(&failure) && self.resume() => {
                self.show_failure(&failure);
                (result, *MIN_PAUSE.end())
            }
            Err(Unanswered::Refused(result, failure)) => {
                self.unread = Unread::default();
                self.refused(result, &failure);
                (result, MEMORY)
            }
            Err(Unanswered::Failed(failure)) => {
                let cap = if is_in_vain(&failure) { LONG_PAUSE_CAP } else { PAUSE_CAP };
                (self.failed(&failure), self.pauses.next(cap, &mut self.links.rng))
            }
            Err(Unanswered::Nobody) => {
                self.resume();
                self.show_unread(None);
                (StepResult::Failure, self.pauses.next(PAUSE_CAP, &mut self.links.rng))
            }
        };
        self.next_refresh = Instant::now() + pause;
        self.count(result);
        self.review();
    }

    /// The topology could not be read, which may pass. The target goes on with what is known; where nothing is, as one node.
    fn failed(&mut self, failure: &Failure) -> StepResult {
        let are_known = self.resume() || !self.shards.is_empty();
        self.show_unread(Some(failure));
        let result = StepResult::of::<()>(&Err(failure.clone()));
        if !are_known && is_in_vain(failure) && self.unread.in_a_row() >= IN_VAIN {
            self.refused(result, failure);
        }
        result
    }

    /// Nodes answer that nobody has any slot. Returns how long that is believed.
    fn without_slots(&mut self, refresh: Duration) -> Duration {
        if self.shards.is_empty() {
            // One node that knows no other, or something else that lists none and serves.
            let front = self.links.shared.note(|whole, _| (whole.watch_of(FRONT), whole.failure_of(FRONT)));
            let is_down = front.1.is_some_and(|failure| failure.reason == FailureReason::ClusterDown);
            if !is_down && self.are_slots_known() {
                // The gauges of before are not true any more.
                self.metrics = None;
            }
            self.set_uncovered(is_down.then(SlotSet::all));
            self.covered = SlotSet::default();
            if front.0 == Watch::Up {
                return refresh;
            }
        } else {
            self.set_uncovered(Some(SlotSet::all()));
            self.covered = SlotSet::default();
            let (nodes, skipped) = (self.nodes(), self.skipped);
            self.links.shared.record(|record| record.topology(SlotSet::default(), &nodes, skipped));
        }
        self.pauses.next(PAUSE_CAP, &mut self.links.rng)
    }

    /// Goes on with the shards that earlier probers of the target have reached, if none is known yet: nobody who is connected
    /// says which there are now. Returns whether there are any.
    fn resume(&mut self) -> bool {
        if !self.shards.is_empty() {
            return false;
        }
        let shards = self.links.shared.memory.shards_at(&self.host);
        let are_known = !shards.is_empty();
        if are_known {
            self.follow(Topology { shards });
        }
        are_known
    }

    /// Lets links lead to the nodes of `topology`.
    fn follow(&mut self, topology: Topology) {
        let nodes = topology.shards.iter().flat_map(Shard::nodes);
        let known: HashSet<Arc<str>> = nodes.map(|node| Arc::clone(&node.id)).collect();
        // Nodes that disagree do not decide: the verdict and what is shown of the slots are the same.
        self.covered = topology.covered().difference(self.uncovered.as_ref().unwrap_or(&SlotSet::default()));
        let is_first = self.shards.is_empty();
        if is_first && !self.is_front_retired {
            self.links.shared.note(|whole, _| whole.await_cluster());
        }
        let missing = is_first.then(|| self.links.shared.memory.missing_in(&topology));
        let (room, skipped) = self.follow_primaries(topology);
        self.follow_replicas(&known, missing.unwrap_or_default(), room);
        let nodes = self.nodes();
        self.links.shared.record(|record| record.topology(self.covered.clone(), &nodes, skipped));
        self.show_skipped(skipped);
    }

    /// Logs how many nodes are over the limit, where that is news.
    fn show_skipped(&mut self, skipped: usize) {
        if std::mem::replace(&mut self.skipped, skipped) == skipped {
            return;
        }
        let target = &self.links.target.name;
        if skipped > 0 {
            warn!(%target, skipped, "nodes not monitored; raise `cluster.max_nodes`");
        } else {
            info!(%target, "all nodes monitored");
        }
    }

    /// Whether it is known which slots have an owner, which gauges show.
    fn are_slots_known(&self) -> bool {
        !self.shards.is_empty() || self.uncovered.is_some()
    }

    /// Looks at what has become of the links.
    fn review(&mut self) {
        self.show_reached();
        let (replicas, unreached_replicas) = self.review_replicas();
        let shared = &self.links.shared;
        let (mut watched, mut unwatched, mut tried, mut is_down) = (0, 0, 0, false);
        let mut available = 0;
        let mut known = Vec::new();
        for shard in &self.shards {
            let (is_reached, is_tried, watch) = shared.note(|whole, _| {
                if whole.is_known(shard.id) {
                    known.push(&shard.shard);
                }
                (whole.is_reached(shard.id), whole.is_tried(shard.id), whole.watch_of(shard.id))
            });
            tried += usize::from(is_tried);
            if is_reached {
                watched += 1;
                if watch == Watch::Up {
                    available += shard.shard.slots.overlap(&self.covered);
                }
                is_down |= watch == Watch::Down;
                if let Some(metrics) = &self.metrics {
                    shard.has_series(metrics, watch);
                }
            } else {
                // One that the agent lacks resources for is down, and one that was not tried yet is nothing.
                unwatched += usize::from(watch == Watch::Unwatched);
            }
        }
        shared.memory.watches(&self.host, &known);
        let are_tried = tried == self.shards.len();
        let is_unknown = |shard: &Watched| shared.watch_of(shard.id) == Watch::Unknown;
        self.are_shards_shown |= !self.shards.is_empty() && !self.shards.iter().any(is_unknown);
        let is_shown = self.are_shards_shown;
        shared.signals.search(watched == 0 && are_tried);
        if let Some(metrics) = self.metrics.as_ref().filter(|_| self.are_slots_known()) {
            metrics.slots_covered(self.covered.len());
            // At the start, slots of shards that are about to be probed are not missing.
            if is_shown {
                metrics.slots_available(available);
            }
            metrics.nodes_watched(watched + replicas);
            metrics.nodes_unwatched(unwatched + unreached_replicas);
        }
        let now = Instant::now();
        // A topology that could not be read may be at the next attempt.
        let is_one_node = self.shards.is_empty() && !(1..IN_VAIN).contains(&self.unread.in_a_row());
        let is_complete = (is_shown || is_one_node) && self.coverage != Coverage::Open;
        // The host says nothing about other shards. One that is known to be down is not hidden until the last is known.
        if !self.is_front_retired && watched > 0 && (is_down || is_complete) {
            self.is_front_retired = true;
            shared.note(|whole, out| {
                whole.decide_by(Deciding::Shards, now, out);
            });
            shared.leave(FRONT, now);
            shared.signals.retire_front(true);
        } else if is_complete {
            shared.note(|whole, out| whole.await_no_shards(now, out));
        }
        shared.with(|whole, record| whole.first().into_iter().for_each(|first| record.server_of(first)));
        let may_be_confirmed = match self.coverage {
            Coverage::Known => false,
            Coverage::Open => true,
            Coverage::Unconfirmed => !self.has_no_second(),
        };
        if is_down || self.uncovered.is_some() || may_be_confirmed {
            self.hurry();
        }
    }
}
