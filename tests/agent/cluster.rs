//! Real clusters, and what happens to them, against the record of a client that uses them.
//!
//! Each scenario has a cluster, an agent that was told one node of it, and the client. They run side by side. To run only
//! some: `CLUSTER='is killed' cargo test --test agent cluster`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cachepulse::topology::Slot;
use rustix::process::Signal;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::cluster_bed::{Cluster, THIRDS};
use crate::cluster_client::ClusterClient;
use crate::gate::Gate;
use crate::load::Beats;
use crate::port::Port;
use crate::program::{Running, eventually, within};
use crate::redis_server::Listen;
use crate::scrape::Scrape;

/// The number of scenarios that run at a time. They mostly wait.
const AT_ONCE: usize = 4;
/// The interval of the agents.
const INTERVAL: Duration = Duration::from_millis(500);
/// The timeout of a command of the agent, which is longer than the client's.
const TIMEOUT: Duration = Duration::from_millis(300);
/// By how much a busy machine may make late what the cluster does.
const BUSY: Duration = Duration::from_secs(1);
/// How often the topology is read where events lead to it before.
const RARELY: &str = "1m";
/// The lowest slots of the three shards.
const LOWEST: [u16; 3] = [0, 5461, 10_923];

type Scenario = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

fn scenarios() -> Vec<(&'static str, Scenario)> {
    use Listen::{Plaintext, Tls};
    vec![
        ("a primary and its replica are killed", Box::pin(a_lost_shard_is_down_alone(Plaintext, 1))),
        (
            "another primary and its replica are killed, with TLS",
            Box::pin(a_lost_shard_is_down_alone(Tls, 2)),
        ),
        ("a primary is killed and the cluster stops", Box::pin(a_promotion_ends_the_outage(Plaintext, 2))),
        (
            "a primary is killed and the cluster stops, with TLS",
            Box::pin(a_promotion_ends_the_outage(Tls, 1)),
        ),
        ("each shard fails over", Box::pin(planned_failovers_cost_a_round_at_most(Plaintext))),
        ("each shard fails over, with TLS", Box::pin(planned_failovers_cost_a_round_at_most(Tls))),
        ("the slot of the key migrates", Box::pin(a_migration_fails_nothing())),
        ("shards of any size come and go", Box::pin(resharding_leaves_the_series_of_the_new_shards())),
        ("slots are removed", Box::pin(uncovered_slots_fail_the_target())),
        ("all addresses change", Box::pin(new_addresses_are_followed(Plaintext))),
        ("all addresses change, with TLS", Box::pin(new_addresses_are_followed(Tls))),
        ("addresses out of reach are announced", Box::pin(what_is_announced_ends_no_connection())),
        (
            "names that lead nowhere are announced",
            Box::pin(the_host_leads_to_the_ports_of_all_nodes(Plaintext)),
        ),
        (
            "names that lead nowhere are announced, with TLS",
            Box::pin(the_host_leads_to_the_ports_of_all_nodes(Tls)),
        ),
        ("a primary hangs", Box::pin(a_node_that_hangs_is_down_alone())),
        ("a primary hangs until its replica is promoted", Box::pin(a_node_that_hangs_is_replaced())),
        ("a shard is lost while others hang", Box::pin(a_lost_shard_is_down_while_others_hang())),
        ("a replica is the host", Box::pin(a_replica_leads_to_the_primaries())),
    ]
}

/// The scenarios ask servers for things and wait for the answers, which blocks threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 12)]
async fn whatever_happens_to_a_cluster_the_agent_records_what_a_client_sees() {
    let wanted = std::env::var("CLUSTER").unwrap_or_default();
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut playing = JoinSet::new();
    for (name, scenario) in scenarios() {
        if name.contains(&wanted) {
            let places = Arc::clone(&places);
            playing.spawn(async move {
                let _place = places.acquire_owned().await.unwrap();
                let began = Instant::now();
                // In a separate task, so that a panic fails only this scenario.
                let is_ok = tokio::spawn(scenario).await.is_ok();
                (name, is_ok, began.elapsed())
            });
        }
    }
    let mut failed = Vec::new();
    while let Some(ended) = playing.join_next().await {
        let (name, is_ok, took) = ended.unwrap();
        let word = if is_ok { "ok" } else { "FAILED" };
        eprintln!("{word:>6} after {:>4.1} s: {name}", took.as_secs_f64());
        if !is_ok {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

/// A cluster, an agent that watches it, and a client that writes to the lowest slot of each shard.
struct Watched {
    cluster: Cluster,
    agent: Running,
    client: ClusterClient,
}

impl Watched {
    /// Starts an agent with the port of a node, where nothing hangs or dies: nodes don't suspect each other, and only what happens
    /// to the cluster fails a probe, however busy the machine is. The topology is read every `refresh`. Waits until it watches shards with these lowest slots.
    async fn calm(mut cluster: Cluster, port: u16, lowest: &[u16], refresh: &str) -> Self {
        cluster.suspects_nobody();
        let agent = cluster.patient_agent(port).args(["--cluster-refresh", refresh]).serve().await;
        let watched = Self::new(cluster, agent, lowest);
        let scrape = watched.is_whole(lowest).await;
        assert_eq!(scrape.sum("probe_failures_total", "orders"), 0, "{}", scrape.text);
        assert!(scrape.unavailable("orders").is_zero(), "{}", scrape.text);
        watched
    }

    /// The same with three shards, at the port of node 0.
    async fn calm_thirds(listen: Listen, refresh: &str) -> Self {
        let cluster = Cluster::start(listen).await;
        let port = cluster.node(0).port();
        Self::calm(cluster, port, &LOWEST, refresh).await
    }

    /// Starts a client of these slots beside an agent.
    fn new(cluster: Cluster, agent: Running, slots: &[u16]) -> Self {
        Self { client: ClusterClient::start(&cluster, slots), cluster, agent }
    }

    /// Starts an agent at the port of node 0 of three shards, of which some are about to fail.
    async fn thirds(listen: Listen) -> Self {
        let cluster = Cluster::start(listen).await;
        let agent = cluster.agent(cluster.node(0).port()).serve().await;
        let watched = Self::new(cluster, agent, &LOWEST);
        watched.is_whole(&LOWEST).await;
        watched
    }

    /// Waits until the cluster is up for the client, and for the agent with these shards and no other.
    async fn is_whole(&self, lowest: &[u16]) -> Scrape {
        self.client.recovers().await;
        let expected: Vec<_> = lowest.iter().map(|slot| (*slot, true)).collect();
        let is_whole = |scrape: &Scrape| {
            let all_slots = scrape.get(r#"cluster_slots_available{target="orders"}"#) == Some(16_384.0);
            scrape.is_up("orders") && all_slots && shards(scrape).into_iter().eq(expected.iter().copied())
        };
        let scrape = self.agent.until(&format!("the shards {lowest:?} are up"), is_whole).await;
        let series: Vec<u16> = named_shards(&scrape);
        assert!(series.iter().all(|slot| lowest.contains(slot)), "series are left of {series:?}");
        scrape
    }

    /// Waits until exactly this shard is down.
    async fn is_down(&self, lowest: u16) -> Scrape {
        let is_down = |scrape: &Scrape| {
            scrape.is_down("orders") && shards(scrape).iter().all(|(slot, up)| *up == (*slot != lowest))
        };
        self.agent.until(&format!("the shard {lowest} is down"), is_down).await
    }

    /// The agent has recorded the outages that the client saw, within one interval and what the load of the machine adds,
    /// and was refused nothing.
    fn agrees(&self, scrape: &Scrape) {
        self.agrees_within(INTERVAL, scrape);
    }

    fn agrees_within(&self, tolerance: Duration, scrape: &Scrape) {
        self.client.agrees(&self.agent, scrape, tolerance + TIMEOUT);
        self.was_refused_nothing();
    }

    /// Every node has granted whatever the agent asked for, with the rights that the documentation names. ASKING, which
    /// needs one more, is sent only where the last slot of a shard leaves.
    fn was_refused_nothing(&self) {
        let mut refusals = self.cluster.refusals();
        refusals.retain(|entry| !format!("{entry:?}").contains("cmd=asking"));
        assert!(refusals.is_empty(), "{refusals:?}");
    }

    /// The agent was refused nothing, and has left no key behind three intervals after it ended, or after 5 s, the shortest life of a key.
    async fn leaves_no_keys(self) {
        self.was_refused_nothing();
        let nodes = 0..self.cluster.size();
        let keys = nodes.clone().map(|index| self.cluster.keys(index).len()).sum::<usize>();
        assert!(keys > 0, "there are keys while it runs");
        self.agent.signal(Signal::TERM);
        assert!(self.agent.ended().await.is_graceful());
        let (ended, late) = (Instant::now(), self.client.late());
        eventually("no keys are left", || nodes.clone().all(|index| self.cluster.keys(index).is_empty()))
            .await;
        let late = self.client.late().saturating_sub(late);
        assert!(ended.elapsed() < Duration::from_secs(5) + BUSY + late, "{:?}", ended.elapsed());
    }
}

async fn a_lost_shard_is_down_alone(listen: Listen, index: usize) {
    let mut it = Watched::thirds(listen).await;
    it.cluster.require_full_coverage(false);
    it.cluster.kill(index + 3).await;
    it.cluster.kill(index).await;
    it.is_down(LOWEST[index]).await;
    let scrape = it.agent.until("its reason is counted", is_gone).await;
    let available = scrape.value(r#"cluster_slots_available{target="orders"}"#);
    let lost = f64::from(*THIRDS[index].end() - *THIRDS[index].start() + 1);
    assert!((available - (16_384.0 - lost)).abs() < 0.5, "{available}");
    sleep(Duration::from_secs(2)).await;
    let scrape = it.is_down(LOWEST[index]).await;
    let late = BUSY + it.client.late() + it.agent.run_delay();
    for lowest in LOWEST {
        let away = scrape.value(&shard_series("shard_unavailable_seconds_total", lowest));
        let missed = it.client.unavailable_at(lowest);
        if lowest == LOWEST[index] {
            assert!(away > 0.0 && missed > BUSY, "{lowest}: {away}, {missed:?}");
        } else {
            assert!(away < late.as_secs_f64() && missed < late, "{lowest}: {away}, {missed:?} of {late:?}");
        }
    }
    it.cluster.restart(index).await;
    it.cluster.restart(index + 3).await;
    it.cluster.settled().await;
    it.agrees(&it.is_whole(&LOWEST).await);
    it.leaves_no_keys().await;
}

async fn a_promotion_ends_the_outage(listen: Listen, index: usize) {
    let mut it = Watched::thirds(listen).await;
    it.cluster.kill(index).await;
    it.agent.until("the target is down", |scrape| scrape.is_down("orders")).await;
    it.cluster.promoted(index + 3).await;
    let scrape = it.is_whole(&LOWEST).await;
    it.agrees(&scrape);
    // One node is gone; that the others answer CLUSTERDOWN follows from it.
    assert!(is_gone(&scrape), "{}", scrape.text);
    it.cluster.restart(index).await;
    it.cluster.settled().await;
    sleep(3 * INTERVAL).await;
    it.agrees(&it.is_whole(&LOWEST).await);
    it.leaves_no_keys().await;
}

async fn planned_failovers_cost_a_round_at_most(listen: Listen) {
    let it = Watched::calm_thirds(listen, RARELY).await;
    for (index, lowest) in LOWEST.into_iter().enumerate() {
        let probes = |scrape: &Scrape| scrape.value(&shard_series("shard_probes_total", lowest));
        let mut before = 0.0;
        while before < 10.0 {
            sleep(INTERVAL).await;
            before = probes(&it.agent.scrape().await);
        }
        it.cluster.fail_over(index + 3).await;
        sleep(3 * INTERVAL).await;
        let scrape = it.is_whole(&LOWEST).await;
        let failures = scrape.value(&shard_series("shard_failures_total", lowest));
        assert!(failures <= 1.0, "{failures} failures of shard {lowest}\n{}", scrape.text);
        assert!(probes(&scrape) > before, "the series survive the failover: {}", scrape.text);
    }
    it.agrees(&it.is_whole(&LOWEST).await);
    it.leaves_no_keys().await;
}

async fn a_migration_fails_nothing() {
    let it = Watched::calm_thirds(Listen::Plaintext, RARELY).await;
    let keys = it.cluster.keys(1);
    let [key] = &keys[..] else { panic!("not one key of the shard: {keys:?}") };
    let slot = Slot::of_key(key.as_bytes()).number();
    // From the second shard to the first: the lowest slots stay.
    assert_ne!(slot, LOWEST[1], "{key}");
    it.cluster.begin_migration(slot..=slot, 1, 0);
    it.cluster.move_keys(slot..=slot, 1, 0);
    sleep(4 * INTERVAL).await;
    it.cluster.end_migration(slot..=slot, 0);
    sleep(4 * INTERVAL).await;
    let scrape = it.is_whole(&LOWEST).await;
    assert_eq!(scrape.sum("probe_failures_total", "orders"), 0, "{}", scrape.text);
    assert_eq!(scrape.sum("disconnects_total", "orders"), 0, "{}", scrape.text);
    it.agrees(&scrape);
    it.leaves_no_keys().await;
}

async fn resharding_leaves_the_series_of_the_new_shards() {
    // The third owns a hundredth of the slots.
    let mut cluster =
        Cluster::with_slots(Listen::Plaintext, &[0..=8109, 8110..=16_219, 16_220..=16_383]).await;
    cluster.suspects_nobody();
    let agent = cluster.patient_agent(cluster.node(2).port()).args(["--cluster-refresh", "1s"]).serve().await;
    // No client may look for slots yet.
    let mut it = Watched::new(cluster, agent, &[]);
    it.is_whole(&[0, 8110, 16_220]).await;
    sleep(3 * INTERVAL).await;
    let scrape = it.is_whole(&[0, 8110, 16_220]).await;
    assert_eq!(scrape.sum("probe_failures_total", "orders"), 0, "{}", scrape.text);
    for index in 0..3 {
        assert!(it.cluster.errors(index, "MOVED") <= 1, "no key is searched on the wire");
    }
    it.client = ClusterClient::start(&it.cluster, &[0, 4000, 8110, 12_000, 16_220]);
    // To two shards: for several ticks, all slots of the third are on their way, and the agent may not follow them.
    let last = 16_220..=16_383;
    it.cluster.begin_migration(last.clone(), 2, 0);
    it.cluster.move_keys(last.clone(), 2, 0);
    let denied = r#"step_results_total{result="denied",step="set",target="orders"}"#;
    let scrape = it.agent.until("writes are denied", |scrape| scrape.get(denied) > Some(3.0)).await;
    // Whatever the load of the machine.
    assert_eq!(scrape.failures("wrong_node", "orders"), 0, "{}", scrape.text);
    it.cluster.end_migration(last, 0);
    it.cluster.settled().await;
    it.is_whole(&[0, 8110]).await;
    // to three,
    it.cluster.reshard(4000..=4099, 0, 2).await;
    it.is_whole(&[0, 4000, 8110]).await;
    // and to four, with a node that is added.
    let node = it.cluster.add_node().await;
    it.cluster.reshard(12_000..=12_099, 1, node).await;
    let scrape = it.is_whole(&[0, 4000, 8110, 12_000]).await;
    it.agrees(&scrape);
    assert_eq!(scrape.failures("slots_uncovered", "orders"), 0, "{}", scrape.text);
    assert!(scrape.value(r#"topology_changes_total{target="orders"}"#) >= 3.0, "{}", scrape.text);
    let primaries = scrape.value(r#"cluster_nodes{role="primary",target="orders"}"#);
    assert!((primaries - 4.0).abs() < 0.5, "{primaries}");
    it.leaves_no_keys().await;
}

async fn uncovered_slots_fail_the_target() {
    let mut it = Watched::calm_thirds(Listen::Plaintext, "1s").await;
    it.client = ClusterClient::start(&it.cluster, &[0, 100, 5461, 10_923]);
    it.cluster.require_full_coverage(false);
    it.cluster.delete_slots(&(100..=199));
    let is_uncovered = |scrape: &Scrape| scrape.failures("slots_uncovered", "orders") > 1;
    let scrape = it.agent.until("slots are uncovered", is_uncovered).await;
    assert!(scrape.is_down("orders"), "{}", scrape.text);
    assert!(
        (scrape.value(r#"cluster_slots_covered{target="orders"}"#) - 16_284.0).abs() < 0.5,
        "{}",
        scrape.text
    );
    assert!(shards(&scrape).values().all(|up| *up), "{}", scrape.text);
    sleep(Duration::from_secs(2)).await;
    it.cluster.add_slots(&(100..=199), 0);
    let added = Instant::now();
    it.cluster.assigned().await;
    let known = added.elapsed();
    let scrape = it.is_whole(&LOWEST).await;
    // The client asks the owner itself. The agent believes two nodes, which learn of it from the owner, and reads the topology
    // every second.
    it.agrees_within(known + Duration::from_secs(1) + INTERVAL, &scrape);
    it.leaves_no_keys().await;
}

async fn new_addresses_are_followed(listen: Listen) {
    let cluster = Cluster::start(listen).await;
    let gates = |cluster: &Cluster| -> Vec<Gate> {
        (0..cluster.size()).map(|index| Gate::open(cluster.node(index).port())).collect()
    };
    let ports = |gates: &[Gate]| -> Vec<u16> { gates.iter().map(|gate| gate.port).collect() };
    let old = gates(&cluster);
    cluster.announce(&ports(&old)).await;
    let front = Gate::open(cluster.node(1).port());
    let it = Watched::calm(cluster, front.port, &LOWEST, RARELY).await;
    let new = gates(&it.cluster);
    it.cluster.announce(&ports(&new)).await;
    for mut gate in old {
        gate.shut().await;
    }
    sleep(3 * INTERVAL).await;
    let scrape = it.is_whole(&LOWEST).await;
    it.agrees(&scrape);
    it.leaves_no_keys().await;
}

async fn what_is_announced_ends_no_connection() {
    let cluster = Cluster::start(Listen::Plaintext).await;
    let right: Vec<u16> = (0..cluster.size()).map(|index| cluster.node(index).port()).collect();
    let it = Watched::calm(cluster, right[0], &LOWEST, "1s").await;
    let closed: Vec<Port> = right.iter().map(|_| Port::reserve()).collect();
    it.cluster.announce(&closed.iter().map(|port| port.number).collect::<Vec<_>>()).await;
    let kept = "replacement of the connection failed; keeping the connection";
    within("each connection is kept", async {
        while it.agent.log().matches(kept).count() < LOWEST.len() {
            sleep(INTERVAL).await;
        }
    })
    .await;
    sleep(3 * INTERVAL).await;
    it.is_whole(&LOWEST).await;
    it.cluster.announce(&right).await;
    sleep(3 * INTERVAL).await;
    let scrape = it.is_whole(&LOWEST).await;
    assert_eq!(scrape.sum("probe_failures_total", "orders"), 0, "{}{}", scrape.text, it.agent.log());
    assert_eq!(scrape.sum("disconnects_total", "orders"), 0, "{}{}", scrape.text, it.agent.log());
    it.agrees(&scrape);
}

async fn the_host_leads_to_the_ports_of_all_nodes(listen: Listen) {
    let mut cluster = Cluster::start(listen).await;
    cluster.suspects_nobody();
    cluster.announce_name("nowhere.invalid").await;
    let agent =
        cluster.patient_agent(cluster.node(0).port()).args(["--cluster-address", "host"]).serve().await;
    let it = Watched::new(cluster, agent, &LOWEST);
    it.is_whole(&LOWEST).await;
    it.cluster.fail_over(4).await;
    sleep(3 * INTERVAL).await;
    it.agrees(&it.is_whole(&LOWEST).await);
    it.leaves_no_keys().await;
}

async fn a_node_that_hangs_is_down_alone() {
    let mut it = Watched::thirds(Listen::Plaintext).await;
    it.cluster.require_full_coverage(false);
    it.cluster.stop(1);
    it.is_down(LOWEST[1]).await;
    let is_late = |scrape: &Scrape| scrape.failures("command_timeout", "orders") > 0;
    it.agent.until("its reason is counted", is_late).await;
    it.cluster.resume(1);
    it.agrees(&it.is_whole(&LOWEST).await);
    it.leaves_no_keys().await;
}

async fn a_node_that_hangs_is_replaced() {
    let mut it = Watched::thirds(Listen::Plaintext).await;
    it.cluster.stop(2);
    it.agent.until("the target is down", |scrape| scrape.is_down("orders")).await;
    it.cluster.promoted(5).await;
    it.agrees(&it.is_whole(&LOWEST).await);
    it.cluster.resume(2);
    it.cluster.settled().await;
    sleep(3 * INTERVAL).await;
    it.agrees(&it.is_whole(&LOWEST).await);
    it.leaves_no_keys().await;
}

/// Whoever is asked for the topology then does not answer.
async fn a_lost_shard_is_down_while_others_hang() {
    let mut it = Watched::calm_thirds(Listen::Plaintext, RARELY).await;
    it.cluster.kill(5).await;
    it.cluster.stop(0);
    it.cluster.stop(1);
    it.cluster.kill(2).await;
    // Long before the agent gives up on those that hang.
    it.is_down(LOWEST[2]).await;
    let failures = |scrape: &Scrape| scrape.failures("connect_refused", "orders");
    let before = failures(&it.agent.scrape().await);
    it.agent.until("ticks fail for it", |scrape| failures(scrape) > before + 4).await;
    let hung = it.agent.scrape().await.failures("command_timeout", "orders");
    assert_eq!(hung, 0);
    it.cluster.resume(0);
    it.cluster.resume(1);
    it.cluster.restart(2).await;
    it.is_whole(&LOWEST).await;
}

async fn a_replica_leads_to_the_primaries() {
    let cluster = Cluster::start(Listen::Plaintext).await;
    let port = cluster.node(4).port();
    let it = Watched::calm(cluster, port, &LOWEST, RARELY).await;
    sleep(3 * INTERVAL).await;
    let moved = it.cluster.errors(4, "MOVED");
    let ticks = it.agent.scrape().await.count("probes_total", "orders");
    assert!(moved <= ticks, "at most one extra command per tick, not {moved} in {ticks} ticks");
    it.leaves_no_keys().await;
}

/// Whether probes have failed because a node is gone.
fn is_gone(scrape: &Scrape) -> bool {
    scrape.failures("connect_refused", "orders") + scrape.failures("closed", "orders") > 0
}

/// Returns the primaries' series with the verdict of each shard.
fn shards(scrape: &Scrape) -> BTreeMap<u16, bool> {
    let lines =
        scrape.text.lines().filter(|line| line.starts_with("cachepulse_shard_success{role=\"primary\""));
    lines.map(|line| (shard(line).unwrap(), line.ends_with(" 1"))).collect()
}

/// Returns the shards that any series names.
fn named_shards(scrape: &Scrape) -> Vec<u16> {
    let mut shards: Vec<_> =
        scrape.text.lines().filter(|line| !line.starts_with('#')).filter_map(shard).collect();
    shards.dedup();
    shards
}

/// Returns the label `shard` of a series.
fn shard(line: &str) -> Option<u16> {
    line.split_once("shard=\"")?.1.split_once('"')?.0.parse().ok()
}

fn shard_series(name: &str, lowest: u16) -> String {
    format!("{name}{{role=\"primary\",shard=\"{lowest}\",target=\"orders\"}}")
}

async fn sees_what_happens(listen: Listen) {
    let mut cluster = Cluster::start(listen).await;
    cluster.suspects_nobody();
    let client = ClusterClient::start(&cluster, &[0, 77, 5461, 10_923]);
    let beats = Beats::start();
    let late = || BUSY + beats.late();
    // Nothing of this makes an application wait for long.
    cluster.fail_over(4).await;
    cluster.fail_over(1).await;
    cluster.begin_migration(77..=77, 0, 1);
    cluster.move_keys(77..=77, 0, 1);
    sleep(Duration::from_millis(200)).await;
    cluster.end_migration(77..=77, 1);
    let node = cluster.add_node().await;
    cluster.reshard(10_923..=11_022, 2, node).await;
    let gates: Vec<_> = (0..=node).map(|index| Gate::open(cluster.node(index).port())).collect();
    cluster.announce(&gates.iter().map(|gate| gate.port).collect::<Vec<_>>()).await;
    let without = client.unavailable();
    assert!(without < late(), "{without:?}");

    // A node that hangs is missed for as long as it hangs, and by its own slots alone.
    cluster.require_full_coverage(false);
    let began = Instant::now();
    cluster.stop(node);
    sleep(Duration::from_millis(800)).await;
    let hung = began.elapsed();
    cluster.resume(node);
    client.recovers().await;
    let missed = client.unavailable_at(10_923);
    assert!(missed.abs_diff(hung) < late(), "{missed:?} of {hung:?}");
    assert!(client.unavailable_at(0) < late());

    let began = Instant::now();
    cluster.delete_slots(&(77..=77));
    sleep(Duration::from_millis(800)).await;
    cluster.add_slots(&(77..=77), 0);
    let deleted = began.elapsed();
    client.recovers().await;
    // The other nodes learn the owner from it.
    let (missed, known) = (client.unavailable_at(77), began.elapsed());
    assert!(
        missed + late() > deleted && missed < without + known + late(),
        "{missed:?} of {deleted:?} to {known:?}"
    );

    // All slots are missed until a replica is promoted.
    cluster.require_full_coverage(true);
    cluster.suspects_again();
    let (before, began) = (client.unavailable(), Instant::now());
    cluster.kill(1).await;
    cluster.promoted(4).await;
    client.recovers().await;
    let missed = client.unavailable().saturating_sub(before);
    let known = began.elapsed();
    assert!(missed > Duration::ZERO && missed < known + late(), "{missed:?} of {known:?}");
    cluster.restart(1).await;
    cluster.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_client_misses_what_a_cluster_does_not_serve_and_nothing_else() {
    tokio::join!(sees_what_happens(Listen::Plaintext), sees_what_happens(Listen::Tls));
}
