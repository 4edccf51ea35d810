//! A primary and a replica with real sentinels.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::port::Port;
use crate::program::{Program, cachepulse, within};
use crate::redis_server::{Listen, RedisServer};

/// The name of the service.
pub(crate) const SERVICE: &str = "mymaster";

/// A primary, a replica, and sentinels of both, of which two must agree.
pub(crate) struct Sentinels {
    /// The first is the primary at first.
    pub(crate) servers: [RedisServer; 2],
    pub(crate) sentinels: Vec<Sentinel>,
}

/// A redis-server in the mode of a sentinel. It is killed when dropped.
pub(crate) struct Sentinel {
    child: Child,
    port: Port,
    _folder: TempDir,
}

impl Sentinels {
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// Starts three sentinels with additional lines of configuration.
    pub(crate) async fn start_with(lines: &str) -> Self {
        let users = [("default", "nopass ~* &* +@all")];
        let primary = RedisServer::start(Listen::Plaintext, &users).await;
        let follow = format!("replicaof 127.0.0.1 {}\n", primary.port());
        let replica = RedisServer::start_with(Listen::Plaintext, &users, &follow).await;
        let sentinels = (0..3).map(|_| Sentinel::start(primary.port(), lines)).collect();
        let it = Self { servers: [primary, replica], sentinels };
        within("the sentinels know each other and the replica", async {
            while !it.sentinels.iter().all(Sentinel::is_ready) {
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        it
    }

    /// Returns the addresses of the sentinels, with commas.
    pub(crate) fn addresses(&self) -> String {
        let mut addresses = String::new();
        for sentinel in &self.sentinels {
            let comma = if addresses.is_empty() { "" } else { "," };
            write!(addresses, "{comma}127.0.0.1:{}", sentinel.port.number).unwrap();
        }
        addresses
    }

    /// Returns an agent with the target `orders`, or a check of it.
    pub(crate) fn agent(&self, command: &[&str]) -> Program {
        behind(&self.addresses(), SERVICE, command)
    }
}

/// Returns an agent whose target `orders` is a service of the sentinels at `addresses`.
pub(crate) fn behind(addresses: &str, service: &str, command: &[&str]) -> Program {
    cachepulse(command).args(["--sentinel-service", service, "--sentinel-addresses", addresses]).args([
        "--name",
        "orders",
        "--tls",
        "false",
        "--identity",
        "none",
    ])
}

impl Sentinel {
    fn start(primary: u16, lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = Port::reserve();
        let number = port.number;
        let config = format!(
            "port {number}\nbind 127.0.0.1\nlogfile log\n\
             sentinel monitor {SERVICE} 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds {SERVICE} 1000\n\
             sentinel failover-timeout {SERVICE} 4000\n{lines}"
        );
        std::fs::write(folder.path().join("sentinel.conf"), config).unwrap();
        let child = Command::new("redis-server")
            .args(["sentinel.conf", "--sentinel"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("redis-server is not on PATH: run `make test`, which installs it");
        Self { child, port, _folder: folder }
    }

    /// Sends one command, as the default user.
    pub(crate) fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port.number))?;
        redis::cmd(words[0]).arg(&words[1..]).query(&mut client.get_connection()?)
    }

    /// Returns the port of the primary.
    pub(crate) fn primary(&self) -> Option<u16> {
        let (_, port): (String, String) = self.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]).ok()?;
        port.parse().ok()
    }

    fn is_ready(&self) -> bool {
        let quorum: redis::RedisResult<String> = self.ask(&["SENTINEL", "CKQUORUM", SERVICE]);
        let replicas: redis::RedisResult<Vec<redis::Value>> = self.ask(&["SENTINEL", "REPLICAS", SERVICE]);
        quorum.is_ok_and(|text| text.starts_with("OK 3"))
            && replicas.is_ok_and(|replicas| replicas.len() == 1)
    }

    /// Kills it with SIGKILL.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}
