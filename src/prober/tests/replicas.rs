//! The replicas of one shard over time.

use std::collections::HashSet;

use tokio::task::JoinSet;

use super::super::ledger::Limits;
use super::super::link_record::Series;
use super::super::links::Links;
use super::super::opening::Opener;
use super::super::record::Record;
use super::super::replicas::{Making, Replicas};
use super::super::schedule::Grid;
use super::super::shared::Shared;
use super::*;
use crate::metrics::{ClusterMetrics, Format};
use crate::topology::{Node, Shard};

fn endpoint() -> Endpoint {
    Endpoint { host: "10.0.0.1".into(), port: 8501 }
}

struct Bed {
    cache: Cache,
    metrics: Metrics,
    cluster: ClusterMetrics,
    series: Series,
    links: Links<Cache>,
    tasks: JoinSet<Infallible>,
    grid: Grid,
    replicas: Replicas,
}

impl Bed {
    fn new() -> Self {
        let (cache, metrics, target) = (Cache::default(), Metrics::new(Clock::system()), Arc::new(target()));
        let (of_target, status) = (metrics.target(&target.name), Status::new(clock()).target(&target));
        let record = Record::new(target.name.clone(), clock(), of_target, status);
        let cluster = record.metrics().cluster();
        let opener = Opener {
            target: Arc::clone(&target),
            dialer: cache.clone(),
            sign_in: SignIn::None,
            clock: clock(),
            offset: Duration::ZERO,
            had_credentials: false,
            fallback: Fallback::default(),
            is_to_replica: false,
            completed: PhaseTimes::default(),
        };
        let limits = Limits { attempts: 2, connect_timeout: SECOND, startup_ends: Instant::now() };
        let rng = fastrand::Rng::with_seed(1);
        let links = Links::new(
            opener,
            "pod".into(),
            limits,
            Arc::new(Shared::new(record, TargetMemory::default(), None)),
            None,
            rng,
        );
        let series = Series::default();
        *series.lock().unwrap() = Some(cluster.shard(0));
        let grid = Grid { interval: INTERVAL, first: Instant::now() };
        let replicas = Replicas::new(Arc::clone(&series));
        Self { cache, metrics, cluster, series, links, tasks: JoinSet::new(), grid, replicas }
    }

    fn follow(&mut self, replicas: &[&str], elsewhere: &[&str]) {
        let node = |id: &str| Node { id: id.into(), address: Some(endpoint()) };
        let first = Slot::new(0).unwrap();
        let shard = Shard {
            slots: [first..=first].into_iter().collect(),
            primary: node("primary"),
            replicas: replicas.iter().copied().map(node).collect(),
        };
        let known: HashSet<Arc<str>> =
            replicas.iter().chain(elsewhere).chain(&["primary"]).map(|id| Arc::from(*id)).collect();
        let Self { links, tasks, grid, .. } = self;
        let host = endpoint();
        let mut making = Making { links, tasks, grid: *grid, host: &host };
        self.replicas.follow(&shard, &shard.replicas, &known, &mut making, Instant::now);
    }

    /// Lets time pass, and what it changes by itself with it.
    async fn pass(&mut self, seconds: u32) {
        let end = Instant::now() + seconds * SECOND;
        while let Some(change) = self.replicas.next_change(Instant::now()).filter(|change| *change <= end) {
            tokio::time::sleep_until(change).await;
            self.replicas.pass(Instant::now());
        }
        tokio::time::sleep_until(end).await;
    }

    fn go_away(&self) {
        self.cache.with(|state| state.away = Some(FailureReason::ConnectRefused));
        self.cache.hang_up();
    }

    fn value(&self, metric: &str) -> Option<f64> {
        let text = std::io::read_to_string(self.metrics.exposition(Format::Text)).unwrap();
        let name = format!("cachepulse_shard_{metric}{{role=\"replica\",shard=\"0\",target=\"t\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).map(|value| value.parse().unwrap())
    }
}

/// Returns how many replicas of the topology were reached, and how many were not.
fn reached(bed: &Bed) -> (usize, usize) {
    let crate::prober::replicas::Counts { reached, unreached, untried } = bed.replicas.counts();
    (reached, unreached + untried)
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_vanishes_is_down_for_five_minutes_and_then_forgotten() {
    let mut bed = Bed::new();
    bed.follow(&["a"], &[]);
    bed.pass(31).await;
    assert_eq!((bed.value("success"), bed.value("failures_total")), (Some(1.0), Some(0.0)));
    bed.go_away();
    bed.pass(4).await;
    bed.follow(&[], &[]);
    bed.pass(290).await;
    assert_eq!(bed.value("success"), Some(0.0));
    let away = bed.value("unavailable_seconds_total").unwrap();
    assert!((280.0..=294.0).contains(&away), "{away}");
    assert_eq!(bed.value("probes_total").unwrap() - bed.value("failures_total").unwrap(), 3.0);
    bed.pass(11).await;
    assert_eq!(bed.value("success"), None);
    assert_eq!(bed.tasks.len(), 1);
    assert!(bed.tasks.join_next().await.unwrap().unwrap_err().is_cancelled(), "its link has ended");
    bed.follow(&["b"], &[]);
    bed.cache.with(|state| state.away = None);
    bed.pass(11).await;
    assert_eq!(bed.value("success"), Some(1.0), "another one is no worse for it");
    drop((bed.cluster, bed.series));
}

#[tokio::test(start_paused = true)]
async fn a_hidden_replica_that_answers_is_down_only_after_a_while_and_up_when_it_is_named_again() {
    let mut bed = Bed::new();
    bed.follow(&["a", "b"], &[]);
    bed.pass(21).await;
    bed.follow(&["b"], &[]);
    bed.pass(9).await;
    assert_eq!(bed.value("success"), Some(1.0));
    bed.pass(2).await;
    assert_eq!(bed.value("success"), Some(0.0));
    assert!(bed.replicas.is_stale(), "the topology is worth another look");
    bed.follow(&["a", "b"], &[]);
    assert_eq!((bed.value("success"), bed.replicas.is_stale()), (Some(1.0), false));
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_was_promoted_or_moved_is_not_missed() {
    let mut bed = Bed::new();
    bed.follow(&["a", "b"], &[]);
    bed.pass(21).await;
    assert_eq!(reached(&bed), (2, 0));
    bed.follow(&["b"], &["a"]);
    bed.pass(60).await;
    assert_eq!((bed.value("success"), reached(&bed)), (Some(1.0), (1, 0)));
    bed.follow(&[], &["a", "b"]);
    assert_eq!(bed.value("success"), None);
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_is_replaced_and_gone_is_missed_among_its_replicas() {
    let mut bed = Bed::new();
    bed.follow(&["a"], &[]);
    bed.pass(21).await;
    bed.go_away();
    bed.replicas.primary_was(Node { id: "old".into(), address: Some(endpoint()) });
    bed.follow(&[], &["a"]);
    bed.pass(11).await;
    assert_eq!((bed.value("success"), reached(&bed)), (Some(0.0), (0, 0)));
    bed.cache.with(|state| state.away = None);
    bed.follow(&["old"], &["a"]);
    bed.pass(11).await;
    assert_eq!((bed.value("success"), reached(&bed)), (Some(1.0), (1, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_may_not_be_read_was_not_reached() {
    let mut bed = Bed::new();
    bed.cache.can("READONLY", "-NOPERM no permissions to run the 'readonly' command\r\n");
    bed.follow(&["a"], &[]);
    bed.pass(21).await;
    assert_eq!((bed.value("success"), reached(&bed)), (None, (0, 1)));
    let failures = bed.replicas.deny();
    assert_eq!(failures[0].reason, FailureReason::PermissionDenied);
    assert!(failures[0].detail.ends_with("(replica 10.0.0.1:8501)"), "{}", failures[0].detail);
    assert_eq!(reached(&bed), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_replica_is_told_read_only_once_per_connection_and_nothing_is_written() {
    let mut bed = Bed::new();
    bed.follow(&["a"], &[]);
    bed.pass(35).await;
    bed.cache.hang_up();
    bed.pass(35).await;
    assert_eq!(bed.cache.count("READONLY"), 2);
    assert_eq!((bed.cache.count("SET"), bed.cache.count("CLIENT LIST")), (0, 0));
    assert!(bed.cache.count("GET") >= 6);
}
