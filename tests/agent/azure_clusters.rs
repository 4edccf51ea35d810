//! The agent against clusters as Azure shows them: one address, a port for each node, and a certificate for the host's
//! name alone. The cache is the stand-in's own.

use std::time::Duration;

use cachepulse_standin::{ClusterHandle, ClusterOptions, HOST, Options, Product, Standin};
use tempfile::TempDir;

use crate::load::Load;
use crate::program::{Running, cachepulse};
use crate::scrape::Scrape;

/// The interval of the agents.
const INTERVAL: Duration = Duration::from_millis(300);

/// The names of the shards: their lowest slots.
const SHARDS: [&str; 3] = ["0", "5461", "10923"];

struct Cluster {
    azure: Standin,
    folder: TempDir,
}

impl Cluster {
    async fn start(product: Product) -> Self {
        let cluster = Some(ClusterOptions { product, ..ClusterOptions::default() });
        let token_lifetime = Duration::from_secs(3600);
        let azure = Standin::start(Options { cluster, token_lifetime, ..Options::default() }).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), azure.ca_pem()).unwrap();
        Self { azure, folder }
    }

    fn handle(&self) -> &ClusterHandle {
        self.azure.cluster().unwrap()
    }

    async fn agent<const N: usize>(&self, more: [&str; N]) -> Running {
        cachepulse(["run", "--listen", "127.0.0.1:0", "--name", "orders", "--host", HOST])
            .args(["--port", &self.azure.cache_port().to_string()])
            .args(["--ca-file", self.folder.path().join("ca.pem").to_str().unwrap()])
            .args(["--identity", "managed_identity", "--interval", "300ms"])
            .args(more)
            .env("IDENTITY_ENDPOINT", self.azure.identity_endpoint())
            .env("IDENTITY_HEADER", self.azure.identity_header().expose())
            .serve()
            .await
    }

    /// Lets primary and replica of a shard change places, and waits until the agent has followed, and `is_whole` again. It
    /// costs a failed probe at most, and those that come due while the load of the machine holds everything up.
    async fn fail_over(&self, agent: &Running, is_whole: impl Fn(&Scrape) -> bool) -> Scrape {
        let load = Load::on(agent);
        let (late, before) = (load.so_far(), agent.scrape().await);
        self.handle().fail_over(2);
        let probes = |scrape: &Scrape| scrape.count("probes_total", "orders");
        let goes_on = |it: &Scrape| is_whole(it) && probes(it) > probes(&before) + 5;
        let scrape = agent.until("the probes after a failover", goes_on).await;
        let failures = |scrape: &Scrape| scrape.sum("probe_failures_total", "orders");
        let failures = failures(&scrape) - failures(&before);
        let late = u64::try_from(load.since(late).as_millis() / INTERVAL.as_millis()).unwrap();
        eprintln!("{failures} failures, {late} due to load");
        assert!(failures <= 1 + late, "{failures} failures, {late} due to load: {}", scrape.text);
        scrape
    }
}

impl Scrape {
    /// Returns which shards have a series, and whether their last probe succeeded.
    fn shards(&self, role: &str) -> [Option<bool>; 3] {
        SHARDS.map(|shard| {
            let series = format!("shard_success{{role=\"{role}\",shard=\"{shard}\",target=\"orders\"}}");
            self.get(&series).map(|value| value > 0.0)
        })
    }

    fn of_cluster(&self, gauge: &str) -> Option<f64> {
        self.get(&format!("cluster_{gauge}{{target=\"orders\"}}"))
    }

    fn is_whole(&self) -> bool {
        self.is_whole_with(3.0)
    }

    /// Whether all slots are available, and `nodes` are watched.
    fn is_whole_with(&self, nodes: f64) -> bool {
        self.is_up("orders")
            && self.of_cluster("nodes_watched") == Some(nodes)
            && self.of_cluster("slots_available") == Some(16_384.0)
            && self.shards("primary") == [Some(true); 3]
    }
}

async fn every_shard_is_watched(product: Product) {
    let cluster = Cluster::start(product).await;
    let agent = cluster.agent([]).await;
    let scrape = agent.until("all shards are probed", Scrape::is_whole).await;
    let info =
        "server_info{mode=\"cluster\",role=\"primary\",server=\"redis\",target=\"orders\",version=\"7.4.0\"}";
    assert_eq!(scrape.get(info), Some(1.0), "{}", scrape.text);
    assert_eq!(scrape.sum("probe_failures_total", "orders"), 0, "{}", scrape.text);

    cluster.handle().lose(1);
    let lost = |it: &Scrape| {
        it.is_down("orders")
            && it.shards("primary") == [Some(true), Some(false), Some(true)]
            && it.of_cluster("slots_available") == Some(10_922.0)
    };
    agent.until("one shard is lost", lost).await;
    cluster.handle().restore(1);
    agent.until("it is back", Scrape::is_whole).await;

    let scrape = cluster.fail_over(&agent, Scrape::is_whole).await;
    assert_eq!(scrape.of_cluster("nodes_unwatched"), Some(0.0), "{}", scrape.text);
}

#[tokio::test]
async fn azure_cache_for_redis_is_watched_through_the_ports_of_its_nodes() {
    every_shard_is_watched(Product::CacheForRedis).await;
}

#[tokio::test]
async fn azure_managed_redis_is_watched_through_the_ports_of_its_nodes() {
    every_shard_is_watched(Product::ManagedRedisOss).await;
}

async fn every_replica_is_read(product: Product) {
    let cluster = Cluster::start(product).await;
    let agent = cluster.agent(["--cluster-mode", "all"]).await;
    let staleness = |it: &Scrape, shard: &str| {
        it.get(&format!("shard_replica_staleness_seconds{{shard=\"{shard}\",target=\"orders\"}}"))
    };
    let is_read = |it: &Scrape| {
        it.is_whole_with(6.0)
            && it.shards("replica") == [Some(true); 3]
            && SHARDS.iter().all(|shard| staleness(it, shard).is_some_and(|age| age < 1.0))
    };
    let scrape = agent.until("all replicas are read", is_read).await;
    assert_eq!(scrape.sum("probe_failures_total", "orders"), 0, "{}", scrape.text);

    cluster.handle().lose(1);
    let only_second = [Some(true), Some(false), Some(true)];
    let lost = |it: &Scrape| it.shards("primary") == only_second && it.shards("replica") == only_second;
    agent.until("both nodes of a shard are lost", lost).await;
    cluster.handle().restore(1);
    agent.until("they are back", is_read).await;

    cluster.fail_over(&agent, is_read).await;
}

#[tokio::test]
async fn the_replicas_of_azure_cache_for_redis_are_read() {
    every_replica_is_read(Product::CacheForRedis).await;
}

#[tokio::test]
async fn the_replicas_of_azure_managed_redis_are_read() {
    every_replica_is_read(Product::ManagedRedisOss).await;
}

#[tokio::test]
async fn a_shard_behind_a_closed_port_does_not_decide() {
    let cluster = Cluster::start(Product::ManagedRedisOss).await;
    cluster.handle().lose(2);
    let agent = cluster.agent([]).await;
    let scrape = agent.until("two shards are probed", |it| {
        it.of_cluster("nodes_watched") == Some(2.0) && it.of_cluster("nodes_unwatched") == Some(1.0)
    });
    let scrape = scrape.await;
    assert!(scrape.is_up("orders"), "{}", scrape.text);
    assert_eq!(scrape.of_cluster("slots_covered"), Some(16_384.0), "{}", scrape.text);
    let port = cluster.handle().primary_port(2);
    agent.logs(&format!("127.0.0.1:{port}")).await;
}

#[tokio::test]
async fn the_enterprise_policy_is_one_node_with_several_keys() {
    let cluster = Cluster::start(Product::ManagedRedisEnterprise).await;
    let agent = cluster.agent(["--keys", "8"]).await;
    let scrape = agent.until("each key is probed twice", |it| it.count("probes_total", "orders") > 16).await;
    assert!(scrape.is_up("orders"), "{}", scrape.text);
    assert_eq!(scrape.sum("probe_failures_total", "orders"), 0, "{}", scrape.text);
    assert!(!scrape.text.contains("cachepulse_shard_success{"), "{}", scrape.text);
    assert!(!scrape.text.contains("cachepulse_cluster_slots_covered{"), "{}", scrape.text);
    let eighths: Vec<u16> = cluster.handle().slots_in_use().iter().map(|slot| slot / 2048).collect();
    assert_eq!(eighths, [0, 1, 2, 3, 4, 5, 6, 7]);
}
