//! A real redis-server: at a Unix socket, and at a port where a test wants one.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cachepulse_standin::{Backend, Secret};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::port::Port;
use crate::program::within;

/// The password of every user.
pub(crate) const PASSWORD: &str = "correct-horse-battery-staple";

/// The user of the tests themselves.
const ADMIN: &str = "admin";

/// May do everything.
pub(crate) const ALL: &str = "~* +@all";

/// How others than the tests reach it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listen {
    /// At its Unix socket, for the stand-in's front.
    Socket,
    /// At a port, with a certificate for localhost.
    Tls,
    /// At a port.
    Plaintext,
}

/// A redis-server. It is killed when dropped.
pub(crate) struct RedisServer {
    child: Child,
    port: Port,
    folder: TempDir,
}

/// A line of `CLIENT LIST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) addr: String,
    pub(crate) name: String,
    pub(crate) user: String,
}

impl RedisServer {
    /// Starts one whose users have these ACL rules, and [`PASSWORD`] unless the rules say `nopass`.
    pub(crate) async fn start(listen: Listen, users: &[(&str, &str)]) -> Self {
        Self::start_with(listen, users, "").await
    }

    /// The same with more lines of configuration.
    pub(crate) async fn start_with(listen: Listen, users: &[(&str, &str)], lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = Port::reserve();
        let number = port.number;
        let mut config = match listen {
            Listen::Socket => "port 0\n".to_owned(),
            Listen::Plaintext => format!("port {number}\n"),
            Listen::Tls => {
                let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
                std::fs::write(folder.path().join("ca.pem"), certified.cert.pem()).unwrap();
                std::fs::write(folder.path().join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
                format!(
                    "port 0\ntls-port {number}\ntls-cert-file ca.pem\ntls-key-file key.pem\ntls-auth-clients no\n"
                )
            }
        };
        config.push_str("bind 127.0.0.1\nunixsocket redis.sock\nsave \"\"\nappendonly no\n");
        for (user, rules) in users.iter().chain([&(ADMIN, ALL)]) {
            writeln!(config, "user {user} on >{PASSWORD} {rules}").unwrap();
        }
        config.push_str(lines);
        std::fs::write(folder.path().join("redis.conf"), config).unwrap();
        let server = Self { child: spawn(folder.path(), []), port, folder };
        server.answers().await;
        server
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port.number
    }

    /// The root of its certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// What the stand-in's front is to put before it.
    pub(crate) fn backend(&self) -> Backend {
        Backend::RedisServer { socket: self.socket(), password: Secret::new(PASSWORD.to_owned()) }
    }

    /// A connection of the tests' own.
    pub(crate) fn admin(&self) -> redis::RedisResult<redis::Connection> {
        let socket = self.socket();
        let url = format!("unix://{}?user={ADMIN}&pass={PASSWORD}", socket.display());
        redis::Client::open(url)?.get_connection()
    }

    /// Sends one command on a new connection.
    pub(crate) fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).query(&mut self.admin().unwrap()).unwrap()
    }

    /// Gives `user` these ACL rules, and no others. It remembers them when it is started again.
    pub(crate) fn set_user(&self, user: &str, rules: &str) {
        let password = format!(">{PASSWORD}");
        let mut words = vec!["ACL", "SETUSER", user, "reset", "on", &password];
        words.extend(rules.split(' '));
        self.ask::<()>(&words);
        self.ask::<()>(&["CONFIG", "REWRITE"]);
    }

    /// Everybody who is connected, but for the tests.
    pub(crate) fn clients(&self) -> Vec<Client> {
        let list: String = self.ask(&["CLIENT", "LIST"]);
        list.lines().map(Client::parse).filter(|client| client.user != ADMIN).collect()
    }

    /// The one connection of an agent that is signed in as `user`.
    pub(crate) fn agent(&self, user: &str) -> Client {
        let clients = self.clients();
        let mut found = clients.iter().filter(|client| client.name == "cachepulse" && client.user == user);
        match (found.next(), found.next()) {
            (Some(one), None) => one.clone(),
            _ => panic!("not exactly one agent as {user} among {clients:?}"),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("it has not been waited for");
        let id = Pid::from_raw(id.try_into().unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// Kills it, without any goodbye.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts it again where it was, after [`Self::kill`].
    pub(crate) async fn restart(&mut self) {
        self.restart_with([]).await;
    }

    /// The same with directives that go before its configuration: `["--maxclients", "1"]`.
    pub(crate) async fn restart_with<const N: usize>(&mut self, directives: [&str; N]) {
        self.child = spawn(self.folder.path(), directives);
        self.answers().await;
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    async fn answers(&self) {
        within("redis-server answers", async {
            while self.admin().is_err() {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

fn spawn<const N: usize>(folder: &Path, directives: [&str; N]) -> Child {
    Command::new("redis-server")
        .arg("redis.conf")
        .args(directives)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("redis-server is not on PATH: run `make test`, which installs it")
}

impl Client {
    fn parse(line: &str) -> Self {
        let field = |name: &str| {
            let found = line.split(' ').find_map(|field| field.split_once('=').filter(|it| it.0 == name));
            found.unwrap_or_else(|| panic!("no {name} in {line}")).1.to_owned()
        };
        Self {
            id: field("id").parse().unwrap(),
            addr: field("addr"),
            name: field("name"),
            user: field("user"),
        }
    }
}
