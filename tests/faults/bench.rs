//! What a row is played on: the lab, the agent, and whatever else the row puts between them.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use cachepulse::clock::Clock;
use cachepulse::connection::dialer::Dialer;
use cachepulse::identity::Identity;
use cachepulse::identity::sign_in::SignIn;
use cachepulse::metrics::Metrics;
use cachepulse::prober::{Prober, Setup};
use cachepulse::status::Status;
use cachepulse::target::{ClientList, Endpoint, KeyTemplate, Target, TargetName, Tls};
use rustix::process::Signal;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::gate::Gate;
use crate::lab::Lab;
use crate::names::Names;
use crate::program::{Program, Running};
use crate::redis_server::{ALL, Listen, RedisServer};
use crate::scrape::Scrape;

/// The target's name, in every row.
pub(crate) const TARGET: &str = "orders";
pub(crate) const INTERVAL: Duration = Duration::from_millis(500);
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const COMMAND_TIMEOUT: Duration = Duration::from_millis(300);

/// The same as flags. One attempt, so that each tick tells what it met first.
pub(crate) const LIMITS: [&str; 10] = [
    "--interval",
    "500ms",
    "--connect-timeout",
    "500ms",
    "--command-timeout",
    "300ms",
    "--attempts",
    "1",
    "--log-level",
    "debug",
];

/// The lab, and what a row adds to it.
pub(crate) struct Bench {
    pub(crate) lab: Lab,
    /// A redis-server without TLS and sign-in.
    pub(crate) plain: Option<RedisServer>,
    pub(crate) gate: Option<Gate>,
    pub(crate) names: Option<Names>,
    /// A listener with a full queue: the system drops what else comes.
    pub(crate) silent: Option<(TcpListener, Vec<TcpStream>)>,
    pub(crate) agent: NotStarted,
}

/// An agent that is not started yet.
pub(crate) enum NotStarted {
    Program(Box<Program>),
    /// A prober in this process, with the bench's own resolver; the port it connects to.
    Prober(u16),
    Started,
}

/// The agent of a row.
pub(crate) enum Agent {
    Program(Box<Running>),
    Prober { metrics: Metrics, task: JoinHandle<std::convert::Infallible> },
}

impl Bench {
    pub(crate) fn new(lab: Lab, program: Program) -> Self {
        let agent = NotStarted::Program(Box::new(program));
        Self { lab, plain: None, gate: None, names: None, silent: None, agent }
    }

    /// The lab with an agent that signs in with tokens of its managed identity.
    pub(crate) fn of(lab: Lab) -> Self {
        let program = lab.run(LIMITS).args(["--identity", "managed_identity"]);
        Self::new(lab, program)
    }

    /// A redis-server for everybody without TLS, and an agent that reaches it straight or through a gate.
    pub(crate) async fn plaintext(through_gate: bool) -> Self {
        let lab = Lab::start().await;
        let plain = RedisServer::start(Listen::Plaintext, &[("default", &format!("nopass {ALL}"))]).await;
        let gate = through_gate.then(|| Gate::open(plain.port()));
        let port = gate.as_ref().map_or(plain.port(), |gate| gate.port).to_string();
        let program = crate::program::cachepulse(["run", "--listen", "127.0.0.1:0", "--name", TARGET])
            .args(["--host", "127.0.0.1", "--port", &port, "--tls", "false", "--identity", "none"])
            .args(LIMITS);
        Self { plain: Some(plain), gate, ..Self::new(lab, program) }
    }

    /// The lab behind a gate, and a redis-server without TLS to lead it to.
    pub(crate) async fn gated() -> Self {
        let plain = RedisServer::start(Listen::Plaintext, &[("default", &format!("nopass {ALL}"))]).await;
        let lab = Lab::start().await;
        let gate = Gate::open(lab.azure.cache_port());
        let (port, ca_file) = (gate.port.to_string(), lab.ca_file());
        let program = crate::program::cachepulse(["run", "--listen", "127.0.0.1:0", "--name", TARGET])
            .args(["--host", cachepulse::standin::HOST, "--port", &port])
            .args(["--ca-file".as_ref(), ca_file.as_os_str()])
            .args(["--identity", "managed_identity"])
            .args(LIMITS);
        let program = lab.app_service(program);
        Self { plain: Some(plain), gate: Some(gate), ..Self::new(lab, program) }
    }

    /// A prober whose target has the name that `names` resolves.
    pub(crate) async fn named(names: Names) -> Self {
        let mut bench = Self::plaintext(true).await;
        bench.agent = NotStarted::Prober(bench.gate.as_ref().unwrap().port);
        bench.names = Some(names);
        bench
    }

    pub(crate) async fn start(&mut self) -> Agent {
        match std::mem::replace(&mut self.agent, NotStarted::Started) {
            NotStarted::Program(program) => Agent::Program(Box::new(program.serve().await)),
            NotStarted::Prober(port) => prober(self.names.as_ref().unwrap(), port),
            NotStarted::Started => panic!("it was started already"),
        }
    }

    /// Leads the gate to the plaintext redis-server, and ends what was led elsewhere.
    pub(crate) fn lead_to_plain(&self) {
        self.gate.as_ref().unwrap().lead(Some(self.plain.as_ref().unwrap().port()));
    }

    /// Leads the gate to the lab's cache, and ends what was led elsewhere.
    pub(crate) fn lead_to_lab(&self) {
        self.gate.as_ref().unwrap().lead(Some(self.lab.azure.cache_port()));
    }

    /// Starts the lab's redis-server again, with the policy that it forgot.
    pub(crate) async fn restart_redis(&mut self) {
        self.lab.redis.restart().await;
        self.lab.redis.set_user(self.lab.azure.object_id(), ALL);
    }

    /// Puts a listener whose queue is full in the place of the plaintext redis-server, which is killed.
    pub(crate) async fn silence(&mut self) {
        let plain = self.plain.as_mut().unwrap();
        plain.kill().await;
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, plain.port()).into()).unwrap();
        let listener = socket.listen(1).unwrap();
        let mut queued = Vec::new();
        let patience = Duration::from_millis(300);
        let address = listener.local_addr().unwrap();
        while let Ok(stream) = tokio::time::timeout(patience, TcpStream::connect(address)).await {
            queued.push(stream.unwrap());
        }
        self.silent = Some((listener, queued));
    }
}

fn prober(names: &Names, port: u16) -> Agent {
    let target = Arc::new(Target {
        name: TargetName::new(TARGET).unwrap(),
        endpoint: Endpoint { host: "cache.test".into(), port },
        tls: Tls::Off,
        identity: Arc::new(Identity::None),
        username: None,
        interval: INTERVAL,
        connect_timeout: CONNECT_TIMEOUT,
        command_timeout: COMMAND_TIMEOUT,
        attempts: 1.try_into().unwrap(),
        key: KeyTemplate::default(),
        client_list: ClientList::default(),
        reply_limit: Target::DEFAULT_REPLY_LIMIT,
    });
    let metrics = Metrics::new();
    let prober = Prober::new(Setup {
        dialer: Dialer::new(target.endpoint.clone(), None, names.resolver()),
        sign_in: SignIn::None,
        clock: Clock::system(),
        rng: fastrand::Rng::new(),
        metrics: metrics.target(&target.name),
        status: Status::new(Clock::system()).target(&target),
        instance: "faults".into(),
        target,
    });
    let task = tokio::spawn(prober.run(Instant::now()));
    Agent::Prober { metrics, task }
}

impl Agent {
    pub(crate) async fn scrape(&self) -> Scrape {
        match self {
            Self::Program(running) => running.scrape().await,
            Self::Prober { metrics, task } => {
                assert!(!task.is_finished(), "the prober has ended");
                Scrape::new(std::io::read_to_string(metrics.exposition()).unwrap())
            }
        }
    }

    /// Ends it, and tells everything that it has shown, at its end included.
    pub(crate) async fn end(self) -> Result<String, String> {
        match self {
            Self::Program(running) => {
                let mut shown = String::new();
                for page in ["/metrics", "/status", "/", "/readyz"] {
                    shown += &running.get(page).await.body;
                }
                running.signal(Signal::TERM);
                let ended = running.ended().await;
                if ended.code != Some(0) {
                    return Err(format!("it ended with {:?}", ended.code));
                }
                Ok(shown + &ended.stdout + &ended.stderr)
            }
            Self::Prober { task, .. } => {
                task.abort();
                Ok(String::new())
            }
        }
    }
}
