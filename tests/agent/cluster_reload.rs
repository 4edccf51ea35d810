//! Settings that change while a shard of a cluster is away.

use std::io::Write as _;
use std::path::Path;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::cluster_bed::Cluster;
use crate::program::{Running, cachepulse};
use crate::redis_server::{ADMIN, Listen, PASSWORD};
use crate::scrape::Scrape;

/// Writes a configuration with the target `orders`: the node at `port`, probed every `interval`, with the timeout of a connection.
fn write(path: &Path, port: u16, interval: &str, timeout: &str) {
    let text = format!(
        "http: {{listen: '127.0.0.1:0'}}\n\
         targets:\n\
         - name: orders\n\
         \x20 host: 127.0.0.1\n\
         \x20 port: {port}\n\
         \x20 tls: false\n\
         \x20 username: {ADMIN}\n\
         \x20 identity: {{type: password, password: {{env: SECRET}}}}\n\
         \x20 interval: {interval}\n\
         \x20 connect_timeout: {timeout}\n\
         \x20 command_timeout: 300ms\n"
    );
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap()).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.persist(path).unwrap();
}

/// The slots of the target whose shards are up.
const AVAILABLE: &str = r#"cluster_slots_available{target="orders"}"#;

/// A running agent whose configuration can change.
struct Reloading {
    agent: Running,
    port: u16,
    folder: TempDir,
}

impl Reloading {
    /// Starts an agent for `cluster`, and waits until all shards are up.
    async fn start(cluster: &Cluster) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), cluster.node(0).port());
        let path = folder.path().join("config.yaml");
        write(&path, port, "500ms", "500ms");
        let agent = cachepulse(["run", "--config"]).args([&path]).env("SECRET", PASSWORD).serve().await;
        agent.until("all shards are up", are_all_up).await;
        Self { agent, port, folder }
    }

    /// Changes settings.
    async fn reload(&self, timeout: &str) {
        write(&self.folder.path().join("config.yaml"), self.port, "400ms", timeout);
        self.agent.signal(Signal::HUP);
        self.agent.logs("configuration reloaded").await;
    }
}

fn are_all_up(scrape: &Scrape) -> bool {
    scrape.get(AVAILABLE) == Some(16_384.0)
}

#[tokio::test]
async fn a_shard_that_is_down_stays_down_when_settings_change() {
    let mut cluster = Cluster::start(Listen::Plaintext).await;
    cluster.require_full_coverage(false);
    let reloading = Reloading::start(&cluster).await;
    let agent = &reloading.agent;
    // Nobody has its replica to take over.
    cluster.kill(4).await;
    cluster.kill(1).await;
    agent.until("the target is down", |scrape| scrape.is_down("orders")).await;
    reloading.reload("500ms").await;
    let down = r#"shard_success{role="primary",shard="5461",target="orders"}"#;
    let is_down = |scrape: &Scrape| {
        scrape.is_down("orders")
            && scrape.get(down) == Some(0.0)
            && scrape.failures("connect_refused", "orders") > 0
            && scrape.get(r#"cluster_nodes_unwatched{target="orders"}"#) == Some(0.0)
            && scrape.get(r#"cluster_nodes_watched{target="orders"}"#) == Some(3.0)
    };
    agent.until("the shard is down after the reload", is_down).await;
    assert!(!agent.log().contains("shard not reached"), "{}", agent.log());
}

#[tokio::test]
async fn a_cluster_that_serves_without_the_configured_host_stays_up_when_settings_change() {
    let mut cluster = Cluster::start(Listen::Plaintext).await;
    let reloading = Reloading::start(&cluster).await;
    let agent = &reloading.agent;
    cluster.fail_over(3).await;
    cluster.kill(0).await;
    // A probe that had begun before may end after that.
    let killed = agent.scrape().await.count("probes_total", "orders");
    let is_up = |scrape: &Scrape| {
        scrape.is_up("orders") && are_all_up(scrape) && scrape.count("probes_total", "orders") > killed + 1
    };
    agent.until("the target is up without it", is_up).await;
    let logged = agent.log().len();
    reloading.reload("500ms").await;
    let before = agent.scrape().await.count("probes_total", "orders");
    let has_gone_on = |scrape: &Scrape| scrape.count("probes_total", "orders") > before + 5;
    agent.until("ticks have been settled", has_gone_on).await;
    let after = agent.scrape().await;
    assert!(after.is_up("orders") && are_all_up(&after));
    assert!(!agent.log()[logged..].contains("cache unavailable"), "{}", agent.log());
}

#[tokio::test]
async fn a_host_that_hangs_does_not_hold_back_the_first_verdict_when_settings_change() {
    let mut cluster = Cluster::start(Listen::Plaintext).await;
    let reloading = Reloading::start(&cluster).await;
    let agent = &reloading.agent;
    cluster.fail_over(3).await;
    cluster.suspects_nobody();
    let are_all_up = |scrape: &Scrape| scrape.is_up("orders") && are_all_up(scrape);
    agent.logs("topology changed").await;
    agent.until("the new primary is followed", are_all_up).await;
    cluster.stop(0);
    // Longer than anything is awaited here.
    reloading.reload("5m").await;
    agent.until("the target is up without it", are_all_up).await;
    cluster.resume(0);
}
