//! Random changes and outages of a real cluster, compared with what a client of it sees.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::bench::TARGET;
use crate::cluster_bed::{Cluster, THIRDS};
use crate::cluster_client::ClusterClient;
use crate::load::Load;
use crate::program::Running;
use crate::redis_server::Listen;
use crate::run::Run;

/// The interval of the agent, and the timeout of its commands.
const INTERVAL: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_millis(300);
/// How often the agent reads the topology.
const REFRESH: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// A primary is killed and its replica promoted.
    Promotion,
    /// A shard loses its replica and then its primary.
    LostShard,
    /// A primary is stopped for a while.
    Hang,
    /// A replica takes over as planned.
    FailOver,
    /// Some slots migrate to another shard and back.
    Migration,
    /// Nobody has some slots for a while.
    Uncovered,
}

const EVENTS: [Event; 6] =
    [Event::Promotion, Event::LostShard, Event::Hang, Event::FailOver, Event::Migration, Event::Uncovered];

/// A cluster, and which nodes are the primary and the replica of each shard.
struct Shards {
    cluster: Cluster,
    nodes: [(usize, usize); 3],
}

impl Shards {
    /// Causes `event` in a shard, and returns when the cluster serves all slots again.
    async fn cause(&mut self, event: Event, shard: usize, random: &mut fastrand::Rng) {
        let Self { cluster, nodes } = self;
        let (primary, replica) = nodes[shard];
        let pause = Duration::from_millis(random.u64(300..1_500));
        match event {
            Event::Promotion => {
                cluster.kill(primary).await;
                cluster.promoted(replica).await;
                cluster.restart(primary).await;
                nodes[shard] = (replica, primary);
            }
            Event::LostShard => {
                cluster.require_full_coverage(false);
                cluster.kill(replica).await;
                cluster.kill(primary).await;
                sleep(pause).await;
                cluster.restart(primary).await;
                cluster.restart(replica).await;
            }
            Event::Hang => {
                cluster.stop(primary);
                sleep(pause).await;
                cluster.resume(primary);
            }
            Event::FailOver => {
                cluster.fail_over(replica).await;
                nodes[shard] = (replica, primary);
            }
            Event::Migration => {
                let first = THIRDS[shard].start() + random.u16(100..5_000);
                let (slots, other) = (first..=first + 50, nodes[(shard + 1) % 3].0);
                cluster.reshard(slots.clone(), primary, other).await;
                sleep(pause).await;
                cluster.reshard(slots, other, primary).await;
            }
            Event::Uncovered => {
                cluster.require_full_coverage(false);
                // The client writes to the slot below.
                let slots = watched(shard)..=watched(shard) + 50;
                cluster.delete_slots(&slots);
                sleep(pause + 2 * REFRESH).await;
                cluster.add_slots(&slots, primary);
            }
        }
        cluster.settled().await;
        cluster.require_full_coverage(true);
    }
}

/// Returns a slot within a shard to which the client writes beside the lowest one.
fn watched(shard: usize) -> u16 {
    THIRDS[shard].start() + 42
}

/// Waits until the client and the agent are content, and returns the time that the agent has recorded as unavailable.
async fn healthy(agent: &Running, client: &ClusterClient) -> Duration {
    client.recovers().await;
    let available = format!("cluster_slots_available{{target=\"{TARGET}\"}}");
    let scrape = agent
        .until("all slots are available", |it| it.is_up(TARGET) && it.get(&available) == Some(16_384.0))
        .await;
    scrape.unavailable(TARGET)
}

/// The short form; `make chaos` runs longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_record_of_a_cluster_matches_what_its_client_sees() {
    let Run { seed, length } = Run::of("CHAOS");
    let mut random = fastrand::Rng::with_seed(seed);
    let cluster = Cluster::start(Listen::Plaintext).await;
    let refresh = format!("{}s", REFRESH.as_secs());
    let agent = cluster.agent(cluster.node(0).port()).args(["--cluster-refresh", &refresh]).serve().await;
    let slots: Vec<u16> = (0..3).flat_map(|shard| [*THIRDS[shard].start(), watched(shard)]).collect();
    let client = ClusterClient::start(&cluster, &slots);
    let mut shards = Shards { cluster, nodes: [(0, 3), (1, 4), (2, 5)] };
    let load = Load::on(&agent);
    let (mut contradictions, mut report) = (Vec::new(), format!("\nseed {seed}, a cluster\n"));
    let began = Instant::now();
    healthy(&agent, &client).await;
    while began.elapsed() < length {
        let mut events = EVENTS;
        random.shuffle(&mut events);
        for event in events {
            let shard = random.usize(..3);
            sleep(Duration::from_millis(random.u64(500..1_500))).await;
            let recorded = healthy(&agent, &client).await;
            let (truth, delay) = (client.unavailable(), load.so_far());
            shards.cause(event, shard, &mut random).await;
            let recorded = healthy(&agent, &client).await.saturating_sub(recorded);
            let (truth, delay) = (client.unavailable().saturating_sub(truth), load.since(delay));
            writeln!(
                report,
                "{:>10} of shard {shard}: {:>4.1} s, recorded {:>4.1} s, load {:.1} s",
                format!("{event:?}"),
                truth.as_secs_f64(),
                recorded.as_secs_f64(),
                delay.as_secs_f64()
            )
            .unwrap();
            // Nothing but the topology says that nobody has a slot.
            let read = if event == Event::Uncovered { REFRESH } else { Duration::ZERO };
            if recorded.abs_diff(truth) > INTERVAL + TIMEOUT + read + delay {
                contradictions.push(format!("{event:?} of {truth:?} is recorded as {recorded:?}"));
            }
            if began.elapsed() >= length {
                break;
            }
        }
    }
    std::io::stderr().write_all(report.as_bytes()).unwrap();
    assert!(contradictions.is_empty(), "{}\n{report}", contradictions.join("\n"));
}
