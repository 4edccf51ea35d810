//! A real redis-server, on a Unix socket and optionally on a port.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;
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

/// The user that the tests sign in as.
pub(crate) const ADMIN: &str = "admin";

/// The ACL rules that allow everything.
pub(crate) const ALL: &str = "~* +@all";

/// The certificate of every server, for localhost, which is its own root, and the private key.
static CERTIFICATE: LazyLock<[String; 2]> = LazyLock::new(|| {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    [certified.cert.pem(), certified.signing_key.serialize_pem()]
});

/// How clients other than the tests connect.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listen {
    /// On the Unix socket, for the stand-in's front.
    Socket,
    /// On a port, with a certificate for localhost.
    Tls,
    /// On a port, without TLS.
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
    /// Starts a server whose users have these ACL rules, and [`PASSWORD`] unless the rules contain `nopass`.
    pub(crate) async fn start(listen: Listen, users: &[(&str, &str)]) -> Self {
        Self::start_with(listen, users, "").await
    }

    /// The same with additional lines of configuration.
    pub(crate) async fn start_with(listen: Listen, users: &[(&str, &str)], lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = Port::reserve();
        let number = port.number;
        let mut config = match listen {
            Listen::Socket => "port 0\n".to_owned(),
            Listen::Plaintext => format!("port {number}\n"),
            Listen::Tls => listen_with_tls(folder.path(), number),
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

    /// Returns the folder in which it saves its data.
    #[allow(dead_code, reason = "for the tests of faults")]
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the file with the root of its certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Returns the server as a backend of the stand-in's front.
    pub(crate) fn backend(&self) -> Backend {
        Backend::RedisServer { socket: self.socket(), password: Secret::new(PASSWORD.to_owned()) }
    }

    /// Opens a connection as the user of the tests.
    pub(crate) fn admin(&self) -> redis::RedisResult<redis::Connection> {
        let socket = self.socket();
        let url = format!("unix://{}?user={ADMIN}&pass={PASSWORD}", socket.display());
        redis::Client::open(url)?.get_connection()
    }

    /// Sends one command on a new connection, and once more if that is closed: sentinels close all connections to a server
    /// that they give another role.
    pub(crate) fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let ask = || command.query(&mut self.admin()?);
        let answer = ask();
        let is_closed = answer.as_ref().err().is_some_and(redis::RedisError::is_connection_dropped);
        if is_closed { ask() } else { answer }.unwrap()
    }

    /// Replaces the ACL rules of `user`. They persist over a restart.
    pub(crate) fn set_user(&self, user: &str, rules: &str) {
        let password = format!(">{PASSWORD}");
        let mut words = vec!["ACL", "SETUSER", user, "reset", "on", &password];
        words.extend(rules.split(' '));
        self.ask::<()>(&words);
        self.ask::<()>(&["CONFIG", "REWRITE"]);
    }

    /// Returns the connected clients except the tests.
    pub(crate) fn clients(&self) -> Vec<Client> {
        let list: String = self.ask(&["CLIENT", "LIST"]);
        list.lines().map(Client::parse).filter(|client| client.user != ADMIN).collect()
    }

    /// Returns the only connection of an agent that is signed in as `user`.
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

    /// Kills it with SIGKILL.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Restarts it on the same socket and port, after [`Self::kill`].
    pub(crate) async fn restart(&mut self) {
        self.restart_with([]).await;
    }

    /// The same with directives that override its configuration, such as `["--maxclients", "1"]`.
    pub(crate) async fn restart_with<const N: usize>(&mut self, directives: [&str; N]) {
        self.child = spawn(self.folder.path(), directives);
        self.answers().await;
    }

    /// Returns its Unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
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

/// Writes the certificate into the folder of a server, and returns the lines that make it listen on a port with TLS.
pub(crate) fn listen_with_tls(folder: &Path, port: u16) -> String {
    let [certificate, key] = &*CERTIFICATE;
    std::fs::write(folder.join("ca.pem"), certificate).unwrap();
    std::fs::write(folder.join("key.pem"), key).unwrap();
    format!(
        "port 0\ntls-port {port}\ntls-cert-file ca.pem\ntls-key-file key.pem\n\
         tls-ca-cert-file ca.pem\ntls-auth-clients no\n"
    )
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
