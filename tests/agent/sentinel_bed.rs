//! A primary and a replica with real sentinels.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::line_connection::Login;
use crate::port::Port;
use crate::program::{Program, cachepulse, within};
use crate::redis_server::{Listen, RedisServer, listen_with_tls};

/// The name of the service.
pub(crate) const SERVICE: &str = "mymaster";

/// The user of the tests on sentinels. Any password will do.
pub(crate) const LOGIN: Login = ("tests", "any");

/// A primary, a replica, and sentinels of both, of which two must agree.
pub(crate) struct SentinelBed {
    /// The first is the primary at first.
    pub(crate) servers: [RedisServer; 2],
    pub(crate) sentinels: Vec<Sentinel>,
    listen: Listen,
}

/// A redis-server in the mode of a sentinel. It is killed when dropped.
pub(crate) struct Sentinel {
    child: Child,
    port: Port,
    folder: TempDir,
}

impl SentinelBed {
    /// Starts three sentinels. With TLS, all connections are encrypted.
    pub(crate) async fn start(listen: Listen) -> Self {
        Self::start_with(listen, "").await
    }

    /// The same with additional lines of the sentinels' configuration.
    pub(crate) async fn start_with(listen: Listen, lines: &str) -> Self {
        let users = [("default", "nopass ~* &* +@all")];
        let tls = if listen == Listen::Tls { "tls-replication yes\n" } else { "" };
        let primary = RedisServer::start_with(listen, &users, tls).await;
        let follow = format!("{tls}replicaof 127.0.0.1 {}\n", primary.port());
        let replica = RedisServer::start_with(listen, &users, &follow).await;
        let lines = format!("{tls}{lines}");
        let sentinels = (0..3).map(|_| Sentinel::start(listen, primary.port(), &lines)).collect();
        let it = Self { servers: [primary, replica], sentinels, listen };
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
        // Their certificate has no address.
        let host = if self.listen == Listen::Tls { "localhost" } else { "127.0.0.1" };
        let mut addresses = String::new();
        for sentinel in &self.sentinels {
            let comma = if addresses.is_empty() { "" } else { "," };
            write!(addresses, "{comma}{host}:{}", sentinel.port.number).unwrap();
        }
        addresses
    }

    /// Returns an agent with the target `orders`, or a check of it.
    pub(crate) fn agent(&self, command: &[&str]) -> Program {
        let program = behind(&self.addresses(), SERVICE, command);
        if self.listen != Listen::Tls {
            return program.args(["--tls", "false"]);
        }
        let ca_file = self.servers[0].ca_file();
        let ca_file = ca_file.to_str().unwrap();
        program.args(["--ca-file", ca_file, "--server-name", "localhost"]).args([
            "--sentinel-tls",
            "true",
            "--sentinel-ca-file",
            ca_file,
        ])
    }

    /// Lets all sentinels do the same.
    pub(crate) fn ask_all(&self, words: &[&str]) {
        for sentinel in &self.sentinels {
            sentinel.ask::<redis::Value>(words).unwrap();
        }
    }
}

/// Returns an agent whose target `orders` is a service of the sentinels at `addresses`.
pub(crate) fn behind(addresses: &str, service: &str, command: &[&str]) -> Program {
    cachepulse(command).args(["--sentinel-service", service, "--sentinel-addresses", addresses]).args([
        "--name",
        "orders",
        "--identity",
        "none",
    ])
}

impl Sentinel {
    fn start(listen: Listen, primary: u16, lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = Port::reserve();
        let number = port.number;
        let port_lines = match listen {
            Listen::Tls => listen_with_tls(folder.path(), number),
            Listen::Plaintext | Listen::Socket => format!("port {number}\n"),
        };
        let config = format!(
            "{port_lines}bind 127.0.0.1\nunixsocket sentinel.sock\nlogfile log\n\
             user {user} on nopass ~* &* +@all\n\
             sentinel monitor {SERVICE} 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds {SERVICE} 1000\n\
             sentinel failover-timeout {SERVICE} 4000\n{lines}",
            user = LOGIN.0
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
        Self { child, port, folder }
    }

    /// Returns its Unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("sentinel.sock")
    }

    /// Sends one command.
    pub(crate) fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let (user, password) = LOGIN;
        let url = format!("unix://{}?user={user}&pass={password}", self.socket().display());
        let client = redis::Client::open(url)?;
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
