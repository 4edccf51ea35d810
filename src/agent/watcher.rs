//! Watches the sentinels of one target: learns of a failover when it is announced, and of a lost quorum.
//!
//! Two sentinels are watched at a time, so that one that dies or is cut off hides nothing. A subscription may be refused and an
//! announcement lost, so both are asked regularly as well.

mod disputes;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

use crate::backoff::Backoff;
use crate::connection::dial::Stream;
use crate::connection::sentinel::Locator;
use crate::connection::session::Session;
use crate::lock::lock;
use crate::metrics::TargetMetrics;
use crate::probe::{Failure, FailureReason, Phase, Stage};
use crate::status::{Quorum, SentinelStatus};
use crate::target::{Protocol, Target, TargetName};

/// How often a sentinel is asked for the primary that announces failovers, and one that does not.
const ASK: Duration = Duration::from_secs(5);
const ASK_UNSUBSCRIBED: Duration = Duration::from_secs(1);
/// How long a sentinel that refuses `CKQUORUM` is not asked again.
const QUORUM_MEMORY: Duration = Duration::from_secs(60 * 60);
/// The first pause before another sentinel is watched, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Watches the sentinels of one target.
#[derive(Debug)]
pub struct Watcher {
    target: TargetName,
    locator: Locator,
    connect_timeout: Duration,
    command_timeout: Duration,
    rng: fastrand::Rng,
    metrics: TargetMetrics,
    status: SentinelStatus,
    state: Mutex<State>,
}

/// What both posts share.
#[derive(Debug, Default)]
struct State {
    /// The sentinel at which each post is, or tries to be.
    held: [Option<usize>; 2],
    /// Whether it answers.
    is_live: [bool; 2],
    /// The sentinels that failed since they last answered.
    failed: BTreeSet<usize>,
    has_told_quorum: bool,
    quorum_refused_until: Option<Instant>,
}

impl Watcher {
    pub(super) fn new(
        locator: Locator,
        target: &Target,
        metrics: TargetMetrics,
        status: SentinelStatus,
    ) -> Self {
        Self {
            target: target.name.clone(),
            locator,
            connect_timeout: target.connect_timeout,
            command_timeout: target.command_timeout,
            rng: fastrand::Rng::new(),
            metrics,
            status,
            state: Mutex::default(),
        }
    }

    /// Runs until it is dropped.
    pub(super) async fn run(mut self) -> Infallible {
        let rngs = [self.rng.fork(), self.rng.fork()];
        let [first, second] = rngs;
        tokio::select! {
            never = self.post(0, first) => never,
            never = self.post(1, second) => never,
            never = self.show_primary() => never,
            never = self.follow_rumours() => never,
            never = self.ask_others() => never,
        }
    }

    /// Asks each sentinel once, side by side. The first answer counts.
    pub async fn ask_once(&self) {
        let count = self.locator.sentinels().addresses.len();
        let mut asking: FuturesUnordered<_> = (0..count).map(|sentinel| self.ask(sentinel)).collect();
        while let Some(Err(failure)) = asking.next().await {
            debug!(target = %self.target, %failure, "sentinel not asked");
        }
        self.status.primary(self.locator.knowledge().borrow().primary());
    }

    async fn ask(&self, sentinel: usize) -> Result<(), Failure> {
        let mut session = self.ask_at_no_post(sentinel).await?;
        self.ask_for_quorum(&mut session).await
    }

    /// Asks a sentinel for the primary on a connection of its own.
    async fn ask_at_no_post(&self, sentinel: usize) -> Result<Session<Stream>, Failure> {
        let mut locator = self.locator.clone();
        let (mut session, _) = locator.open(sentinel, Instant::now() + self.connect_timeout).await?;
        self.ask_for_primary(sentinel, &mut session).await?;
        Ok(session)
    }

    /// Shows which primary the sentinels name.
    async fn show_primary(&self) -> Infallible {
        let mut knowledge = self.locator.knowledge();
        loop {
            self.status.primary(knowledge.borrow_and_update().primary());
            if knowledge.changed().await.is_err() {
                // The sender lives in the locator.
                return std::future::pending().await;
            }
        }
    }

    /// Watches one sentinel after the other, and stays where one answers.
    async fn post(&self, post: usize, mut rng: fastrand::Rng) -> Infallible {
        let mut locator = self.locator.clone();
        let mut backoff = Backoff::new(FIRST_PAUSE);
        loop {
            if let Some(sentinel) = self.claim(post) {
                let failure = self.watch(post, sentinel, &mut locator, &mut backoff).await;
                self.lost(post, sentinel, &failure);
            }
            sleep(backoff.next(LONGEST_PAUSE, &mut rng)).await;
        }
    }

    /// Takes the next sentinel that is not at the other post.
    fn claim(&self, post: usize) -> Option<usize> {
        let count = self.locator.sentinels().addresses.len();
        let mut state = self.lock();
        let other = state.held[1 - post];
        let first = state.held[post].map_or(post, |held| held + 1);
        let next = (0..count).map(|step| (first + step) % count).find(|next| Some(*next) != other)?;
        state.held[post] = Some(next);
        Some(next)
    }

    /// Watches `sentinel` until it fails.
    async fn watch(
        &self,
        post: usize,
        sentinel: usize,
        locator: &mut Locator,
        backoff: &mut Backoff,
    ) -> Failure {
        let opened = locator.open(sentinel, Instant::now() + self.connect_timeout).await;
        let (mut session, protocol) = match opened {
            Ok(opened) => opened,
            Err(failure) => return failure,
        };
        // Before the first question, so that nothing between is missed.
        let is_subscribed = match self.subscribe(sentinel, &mut session, protocol).await {
            Ok(is_subscribed) => is_subscribed,
            Err(failure) => return failure,
        };
        let (mut has_stayed, mut last_announced) = (false, None);
        loop {
            if let Err(failure) = self.ask_for_primary(sentinel, &mut session).await {
                return failure;
            }
            self.lock().is_live[post] = true;
            if has_stayed {
                backoff.reset();
                self.answers(sentinel);
            }
            if let Err(failure) = self.ask_for_quorum(&mut session).await {
                return failure;
            }
            let pause = if is_subscribed { ASK } else { ASK_UNSUBSCRIBED };
            // The sentinel is asked for the address that it announces.
            let service = &self.locator.sentinels().service;
            match timeout(pause, session.failover_of(service)).await {
                Ok(Err(failure)) => return failure,
                Ok(Ok(())) => {
                    // One that announces failovers all the time is not asked more often than the others.
                    if let Some(last) = last_announced {
                        sleep_until(last + ASK_UNSUBSCRIBED).await;
                    }
                    last_announced = Some(Instant::now());
                }
                Err(_) => has_stayed = true,
            }
        }
    }

    /// Subscribes to failovers. Returns whether the sentinel allows it.
    async fn subscribe(
        &self,
        sentinel: usize,
        session: &mut Session<Stream>,
        protocol: Protocol,
    ) -> Result<bool, Failure> {
        if protocol != Protocol::Resp3 {
            return Ok(false);
        }
        match session.subscribe_to_failovers(Instant::now() + self.command_timeout).await {
            Ok(()) => Ok(true),
            Err(failure) if session.is_usable() => {
                let sentinel = &self.locator.sentinels().addresses[sentinel];
                debug!(target = %self.target, %sentinel, %failure, "subscription to failovers refused");
                Ok(false)
            }
            Err(failure) => Err(failure),
        }
    }

    async fn ask_for_primary(&self, sentinel: usize, session: &mut Session<Stream>) -> Result<(), Failure> {
        let service = &self.locator.sentinels().service;
        match session.primary_of(service, Instant::now() + self.command_timeout).await? {
            Some(address) => {
                self.locator.named(sentinel, &address);
                Ok(())
            }
            None => Err(unknown(service)),
        }
    }

    async fn ask_for_quorum(&self, session: &mut Session<Stream>) -> Result<(), Failure> {
        let now = Instant::now();
        if self.lock().quorum_refused_until.is_some_and(|until| now < until) {
            return Ok(());
        }
        let service = &self.locator.sentinels().service;
        match session.has_quorum(service, now + self.command_timeout).await {
            Ok(has_quorum) => {
                self.lock().has_told_quorum = true;
                self.show_quorum(if has_quorum { Quorum::Reached } else { Quorum::Lost });
            }
            Err(failure) if session.is_usable() => {
                debug!(target = %self.target, %failure, "quorum of the sentinels not told");
                let mut state = self.lock();
                state.quorum_refused_until = Some(now + QUORUM_MEMORY);
                state.has_told_quorum = false;
                let is_denied = failure.reason == FailureReason::PermissionDenied;
                self.show_quorum(if is_denied { Quorum::Denied } else { Quorum::Unsupported });
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    fn show_quorum(&self, quorum: Quorum) {
        self.status.quorum(quorum);
        self.metrics.sentinel_quorum(match quorum {
            Quorum::Reached => Some(true),
            Quorum::Lost => Some(false),
            Quorum::Unknown | Quorum::Denied | Quorum::Unsupported => None,
        });
    }

    /// A sentinel answers, and not only once: one that hangs up each time is no news.
    fn answers(&self, sentinel: usize) {
        if self.lock().failed.remove(&sentinel) {
            let sentinel = &self.locator.sentinels().addresses[sentinel];
            info!(target = %self.target, %sentinel, "sentinel answers again");
        }
    }

    fn lost(&self, post: usize, sentinel: usize, failure: &Failure) {
        self.locator.silent(sentinel);
        let mut state = self.lock();
        state.is_live[post] = false;
        let address = &self.locator.sentinels().addresses[sentinel];
        if state.failed.insert(sentinel) {
            let reason = failure.reason.as_str();
            warn!(target = %self.target, sentinel = %address, reason, detail = %failure.detail, "sentinel lost");
        } else {
            debug!(target = %self.target, sentinel = %address, %failure, "sentinel still lost");
        }
        if state.is_live == [false; 2] && state.has_told_quorum {
            // Nobody is left to elect another primary, as far as this agent can see.
            self.show_quorum(Quorum::Lost);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn unknown(service: &str) -> Failure {
    let stage = Stage::Phase(Phase::Resolve);
    Failure::new(FailureReason::Resolve, stage, format!("the service {service} is unknown"))
}
