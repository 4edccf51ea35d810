//! The setup of a row: the lab, the agent, and what the row places between them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use cachepulse::secret::SecretSource;
use cachepulse_standin::HOST;
use rustix::process::Signal;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::gate::Gate;
use crate::lab::Lab;
use crate::names::Names;
use crate::prober::Probing;
use crate::program::{Memory, Program, Running, cachepulse};
use crate::redis_server::{ALL, Listen, PASSWORD, RedisServer};
use crate::scrape::Scrape;

/// The target's name, in every row.
pub(crate) const TARGET: &str = "orders";
pub(crate) const INTERVAL: Duration = Duration::from_millis(500);
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_millis(800);

/// The same as flags. With one attempt, each tick reports its first failure.
pub(crate) const LIMITS: [&str; 10] = [
    "--interval",
    "500ms",
    "--connect-timeout",
    "1s",
    "--command-timeout",
    "800ms",
    "--attempts",
    "1",
    "--log-level",
    "debug",
];

/// The user of a redis-server without Azure's front. It may run every command.
pub(crate) const USER: &str = "probe";

/// The lab, and the additions of a row.
pub(crate) struct Bench {
    pub(crate) lab: Lab,
    /// A second redis-server.
    pub(crate) other: Option<RedisServer>,
    pub(crate) gate: Option<Gate>,
    pub(crate) names: Option<Names>,
    /// A listener with a full queue: the system drops further connections.
    pub(crate) silent: Option<(TcpListener, Vec<TcpStream>)>,
    /// Other clients of a redis-server, until this is dropped.
    pub(crate) clients: JoinSet<()>,
    pub(crate) agent: NotStarted,
}

/// An agent before its start.
pub(crate) enum NotStarted {
    Program(Box<Program>),
    /// A prober in this process with the bench's resolver; contains the port to connect to.
    Prober(u16),
    Started,
}

/// The agent of a row.
pub(crate) enum Agent {
    Program(Box<Running>),
    Prober(Box<Probing>),
}

impl Bench {
    pub(crate) fn new(lab: Lab, program: Program) -> Self {
        Self {
            lab,
            other: None,
            gate: None,
            names: None,
            silent: None,
            clients: JoinSet::new(),
            agent: NotStarted::Program(Box::new(program)),
        }
    }

    /// Returns the lab with an agent that signs in with tokens of its managed identity.
    pub(crate) fn of(lab: Lab) -> Self {
        let program = lab.run(LIMITS).args(["--identity", "managed_identity"]);
        Self::new(lab, program)
    }

    /// Adds flags of the agent.
    pub(crate) fn with<const N: usize>(self, flags: [&str; N]) -> Self {
        let NotStarted::Program(program) = self.agent else { panic!("a prober has no flags") };
        Self { agent: NotStarted::Program(Box::new(program.args(flags))), ..self }
    }

    /// Returns the lab with an agent that uses a managed identity and all defaults except for the log.
    pub(crate) async fn by_default() -> Self {
        let lab = Lab::start().await;
        let program = lab.run(["--identity", "managed_identity", "--log-level", "debug"]);
        Self::new(lab, program)
    }

    /// Returns the lab with the identity endpoint behind a gate.
    pub(crate) async fn gated_endpoint(token_lifetime: Duration) -> Self {
        let lab = Lab::with_tokens_of(token_lifetime).await;
        let url = lab.azure.identity_endpoint();
        let port = url.rsplit_once(':').unwrap().1.split('/').next().unwrap();
        let gate = Gate::open(port.parse().unwrap());
        let gated = url.replace(port, &gate.port.to_string());
        let program = lab.run(LIMITS).args(["--identity", "managed_identity"]);
        Self { gate: Some(gate), ..Self::new(lab, program.env("IDENTITY_ENDPOINT", gated)) }
    }

    /// Returns a redis-server without TLS and an agent that connects directly or through a gate.
    pub(crate) async fn plaintext(through_gate: bool) -> Self {
        let redis = RedisServer::start(Listen::Plaintext, &[(USER, ALL)]).await;
        let gate = through_gate.then(|| Gate::open(redis.port()));
        let port = gate.as_ref().map_or(redis.port(), |gate| gate.port).to_string();
        let program = by_password(["--host", "127.0.0.1", "--port", &port, "--tls", "false"]);
        Self { other: Some(redis), gate, ..Self::new(Lab::start().await, program) }
    }

    /// Returns a redis-server with TLS and an agent that connects directly.
    pub(crate) async fn tls() -> Self {
        let redis = RedisServer::start(Listen::Tls, &[(USER, ALL)]).await;
        let port = redis.port().to_string();
        let program =
            by_password(["--host", HOST, "--port", &port]).args(["--ca-file"]).args([redis.ca_file()]);
        Self { other: Some(redis), ..Self::new(Lab::start().await, program) }
    }

    /// Returns a redis-server without TLS and authentication, and an agent that does not sign in.
    pub(crate) async fn anonymous() -> Self {
        let everybody = format!("nopass {ALL}");
        let redis = RedisServer::start(Listen::Plaintext, &[("default", &everybody)]).await;
        let port = redis.port().to_string();
        let program = straight(["--host", "127.0.0.1", "--port", &port, "--tls", "false"]);
        let program = program.args(["--identity", "none"]);
        Self { other: Some(redis), ..Self::new(Lab::start().await, program) }
    }

    /// Returns the lab behind a gate, and a redis-server without TLS to redirect the gate to.
    pub(crate) async fn gated() -> Self {
        let redis = RedisServer::start(Listen::Plaintext, &[(USER, ALL)]).await;
        let lab = Lab::start().await;
        let gate = Gate::open(lab.azure.cache_port());
        let (port, ca_file) = (gate.port.to_string(), lab.ca_file());
        let program = cachepulse(["run", "--listen", "127.0.0.1:0", "--name", TARGET])
            .args(["--host", HOST, "--port", &port])
            .args(["--ca-file".as_ref(), ca_file.as_os_str()])
            .args(["--identity", "managed_identity"])
            .args(LIMITS);
        let program = lab.app_service(program);
        Self { other: Some(redis), gate: Some(gate), ..Self::new(lab, program) }
    }

    /// Returns a prober whose host name `names` resolves.
    pub(crate) async fn named(names: Names) -> Self {
        let mut bench = Self::plaintext(true).await;
        bench.agent = NotStarted::Prober(bench.gate.as_ref().unwrap().port);
        bench.names = Some(names);
        bench
    }

    pub(crate) async fn start(&mut self) -> Agent {
        match std::mem::replace(&mut self.agent, NotStarted::Started) {
            NotStarted::Program(program) => Agent::Program(Box::new(program.serve().await)),
            NotStarted::Prober(port) => {
                let password = SecretSource::File(self.lab.file("password", PASSWORD));
                Agent::Prober(Box::new(Probing::start(self.names.as_ref().unwrap(), port, password)))
            }
            NotStarted::Started => panic!("the agent is already started"),
        }
    }

    /// Returns the second redis-server.
    pub(crate) fn other(&mut self) -> &mut RedisServer {
        self.other.as_mut().unwrap()
    }

    /// Redirects the gate to the second redis-server and closes its connections.
    pub(crate) fn lead_to_other(&self) {
        self.gate.as_ref().unwrap().lead(Some(self.other.as_ref().unwrap().port()));
    }

    /// Redirects the gate to the lab's cache and closes its connections.
    pub(crate) fn lead_to_lab(&self) {
        self.gate.as_ref().unwrap().lead(Some(self.lab.azure.cache_port()));
    }

    /// Restarts the lab's redis-server with these directives.
    pub(crate) async fn restart_redis<const N: usize>(&mut self, directives: [&str; N]) {
        self.lab.redis.kill().await;
        self.lab.redis.restart_with(directives).await;
    }

    /// Repeats `deed` on the lab's redis-server as another client.
    pub(crate) fn meddle(&mut self, deed: fn(&mut redis::Connection)) {
        const PAUSE: Duration = Duration::from_millis(10);
        let mut connection = self.lab.redis.admin().unwrap();
        self.clients.spawn(async move {
            loop {
                // It blocks, and a busy server may take its time.
                let done = tokio::task::spawn_blocking(move || {
                    deed(&mut connection);
                    connection
                });
                connection = done.await.unwrap();
                sleep(PAUSE).await;
            }
        });
    }

    /// Starts a listener with a full queue on `address`.
    pub(crate) async fn silence(&mut self, address: SocketAddr) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(1).unwrap();
        let mut queued = Vec::new();
        let patience = Duration::from_millis(300);
        while let Ok(stream) = tokio::time::timeout(patience, TcpStream::connect(address)).await {
            queued.push(stream.unwrap());
        }
        self.silent = Some((listener, queued));
    }

    /// Replaces the second redis-server by a listener with a full queue.
    pub(crate) async fn silence_other(&mut self) {
        self.other().kill().await;
        let address = (Ipv4Addr::LOCALHOST, self.other().port()).into();
        self.silence(address).await;
    }
}

/// Returns an agent that connects without Azure's front.
fn straight<const N: usize>(cache: [&str; N]) -> Program {
    cachepulse(["run", "--listen", "127.0.0.1:0", "--name", TARGET]).args(cache).args(LIMITS)
}

/// The same, signed in as [`USER`].
pub(crate) fn by_password<const N: usize>(cache: [&str; N]) -> Program {
    straight(cache)
        .args(["--identity", "password", "--username", USER, "--password-env", "PROBE_PASSWORD"])
        .env("PROBE_PASSWORD", PASSWORD)
}

impl Agent {
    pub(crate) async fn scrape(&self) -> Scrape {
        match self {
            Self::Program(running) => running.scrape().await,
            Self::Prober(probing) => probing.scrape(),
        }
    }

    pub(crate) fn memory(&self) -> Memory {
        match self {
            Self::Program(running) => running.memory(),
            Self::Prober { .. } => panic!("a prober has no memory of its own"),
        }
    }

    /// Stops the agent and returns its pages, output and log.
    pub(crate) async fn end(self) -> Result<String, String> {
        match self {
            Self::Program(running) => {
                let shown = running.every_page().await;
                running.signal(Signal::TERM);
                let ended = running.ended().await;
                if ended.code != Some(0) {
                    return Err(format!("exit code {:?}", ended.code));
                }
                Ok(shown + &ended.stdout + &ended.stderr)
            }
            Self::Prober(probing) => Ok(probing.scrape().text + &probing.log()),
        }
    }
}
