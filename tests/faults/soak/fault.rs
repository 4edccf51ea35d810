//! The faults of a soak test, one at a time.

use std::path::PathBuf;
use std::time::Duration;

use cachepulse_standin::{Admission, CommandFault, Ending, FaultReply, Faults, Pieces, TokenFault};
use fastrand::Rng;
use rustix::process::Signal;
use tokio::net::TcpStream;

use super::requests::{self, Request, mutant};
use crate::lab::Lab;
use crate::program::{Program, Running};

/// Tokens are renewed about every two seconds.
const TOKEN_LIFETIME: Duration = Duration::from_secs(3);
/// The number of hostile clients of the HTTP endpoint. Few, so that their memory does not hide other growth;
/// `tests/agent` has many.
const CLIENTS: usize = 40;
const LIMITS: &str = "interval: 250ms, connect_timeout: 500ms, command_timeout: 200ms";

/// Everything that faults change.
pub(super) struct Ground {
    pub(super) lab: Lab,
    file: PathBuf,
    /// How often the configuration was changed.
    pub(super) reloads: u32,
    /// Clients of the HTTP endpoint.
    clients: Vec<TcpStream>,
    requests: Vec<Request>,
    random: Rng,
}

/// A fault: of the cache, of the identity endpoint, of the configuration, or a hostile client.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    Kill,
    Stop,
    End(Ending),
    Admission(Admission),
    BlackHole,
    Slow,
    InPieces,
    Reply(FaultReply),
    Revoke,
    Token(TokenFault),
    Reload,
    BrokenReload,
    Idle,
    Nonsense,
}

impl Fault {
    pub(super) fn all() -> Vec<Self> {
        vec![
            Self::Kill,
            Self::Stop,
            Self::End(Ending::Close),
            Self::End(Ending::Reset),
            Self::Admission(Admission::Refuse),
            Self::Admission(Admission::Hang),
            Self::Admission(Admission::HangUp(Ending::Close)),
            Self::Admission(Admission::HangUp(Ending::Reset)),
            Self::Admission(Admission::TooManyClients),
            Self::BlackHole,
            Self::Slow,
            Self::InPieces,
            Self::Reply(FaultReply::Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())),
            Self::Reply(FaultReply::Cut(b"$32\r\n0123".to_vec(), Ending::Reset)),
            Self::Reply(FaultReply::error("LOADING Redis is loading the dataset in memory")),
            Self::Reply(FaultReply::Endless),
            Self::Reply(FaultReply::Silence),
            Self::Revoke,
            Self::Token(TokenFault::status(500)),
            Self::Token(TokenFault::throttled(1)),
            Self::Token(TokenFault::Hang),
            Self::Token(TokenFault::Reset),
            Self::Token(TokenFault::Truncated),
            Self::Token(TokenFault::Expired),
            Self::Token(TokenFault::ObjectId("another".to_owned())),
            Self::Reload,
            Self::BrokenReload,
            Self::Idle,
            Self::Nonsense,
        ]
    }
}

impl Ground {
    pub(super) async fn new(random: Rng) -> Self {
        let lab = Lab::with_tokens_of(TOKEN_LIFETIME).await;
        let file = lab.path("config.yaml");
        let ground = Self { lab, file, reloads: 0, clients: Vec::new(), requests: requests::all(), random };
        ground.configure(&[]);
        ground
    }

    /// Returns the length of a fault. One of the identity endpoint lasts long enough for a request.
    pub(super) fn length(&mut self, fault: &Fault) -> Duration {
        Duration::from_millis(match fault {
            Fault::Token(_) => self.random.u64(800..1_800),
            _ => self.random.u64(200..500),
        })
    }

    /// Returns the agent, not started yet.
    pub(super) fn agent(&self) -> Program {
        self.lab.run_file(&self.file)
    }

    pub(super) async fn begin(&mut self, fault: &Fault, agent: &Running) {
        let cache = self.lab.azure.cache();
        let set = |change: &dyn Fn(&mut Faults)| cache.faults(change);
        match fault {
            Fault::Kill => self.lab.redis.kill().await,
            Fault::Stop => self.lab.redis.signal(Signal::STOP),
            Fault::End(ending) => cache.close_all(*ending),
            Fault::Admission(admission) => {
                set(&|faults| faults.admission = *admission);
                cache.close_all(Ending::Close);
            }
            Fault::BlackHole => set(&|faults| faults.black_hole = true),
            Fault::Slow => set(&|faults| faults.latency = Duration::from_millis(250)),
            Fault::InPieces => set(&|faults| {
                faults.pieces = Some(Pieces { size: 16, pause: Duration::from_millis(1) });
            }),
            Fault::Reply(reply) => {
                set(&|faults| faults.commands = vec![CommandFault::replied("GET", reply.clone())]);
            }
            Fault::Revoke => cache.revoke(self.lab.azure.object_id()),
            Fault::Token(fault) => self.lab.azure.endpoint().set(|it| it.fault = Some(fault.clone())),
            Fault::Reload => {
                self.reloads += 1;
                self.configure(&["stock", &format!("extra-{}", self.reloads)]);
                agent.signal(Signal::HUP);
            }
            Fault::BrokenReload => {
                self.reloads += 1;
                self.lab.file("config.yaml", "targets: [{name: orders, hots: localhost}]");
                agent.signal(Signal::HUP);
            }
            Fault::Idle => self.connect(agent, CLIENTS, |_| Vec::new()).await,
            Fault::Nonsense => {
                self.connect(agent, CLIENTS, |ground| mutant(&ground.requests, &mut ground.random)).await;
            }
        }
    }

    pub(super) async fn end(&mut self, fault: &Fault, agent: &Running) {
        match fault {
            Fault::Kill => self.lab.redis.restart().await,
            Fault::Stop => self.lab.redis.signal(Signal::CONT),
            Fault::Revoke => self.lab.azure.cache().grant(self.lab.azure.object_id()),
            Fault::Token(_) => self.lab.azure.endpoint().set(|it| it.fault = None),
            Fault::Reload | Fault::BrokenReload => {
                self.configure(&[]);
                agent.signal(Signal::HUP);
            }
            Fault::Idle | Fault::Nonsense => self.clients.clear(),
            _ => self.lab.azure.cache().heal(),
        }
    }

    /// Writes a configuration with the constant targets and `others`. If there are others, the last constant target changes.
    fn configure(&self, others: &[&str]) {
        let key_file = self.lab.access_key_file();
        let key = format!("identity: {{type: access_key, key: {{file: '{}'}}}}", key_file.display());
        let by_token = |name: &str, limits: &str| {
            self.lab.target(name, &format!("identity: managed_identity, {limits}"))
        };
        let changed = LIMITS.replace("250ms", if others.is_empty() { "260ms" } else { "270ms" });
        let constant = [
            by_token("orders", LIMITS),
            by_token("sessions", LIMITS),
            self.lab.target("baskets", &format!("{key}, {LIMITS}")),
            by_token("prices", &changed),
        ];
        let others = others.iter().map(|name| by_token(name, LIMITS));
        self.lab.file("config.yaml", &Lab::config(constant.into_iter().chain(others)));
    }

    /// Opens connections to the agent's endpoint, sends something on each, and keeps them.
    async fn connect(&mut self, agent: &Running, count: usize, sent: impl Fn(&mut Self) -> Vec<u8>) {
        for _ in 0..count {
            let stream = TcpStream::connect(agent.addr()).await.unwrap();
            // Errors and partial writes do not matter.
            let _ = stream.try_write(&sent(self));
            self.clients.push(stream);
        }
    }
}

/// The targets in a calm moment.
pub(super) const TARGETS: [&str; 4] = ["orders", "sessions", "baskets", "prices"];
