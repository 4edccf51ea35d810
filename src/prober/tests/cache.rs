//! A cache in memory that misbehaves on request.

use super::*;

/// A cache in memory; clones are the same cache. With an endpoint, the node of it that is there.
#[derive(Clone, Default)]
pub(super) struct Cache(pub(super) Arc<Mutex<State>>, Option<Endpoint>);

#[derive(Default)]
pub(super) struct State {
    /// What dialing ends in, instead of a connection.
    pub(super) away: Option<FailureReason>,
    /// How long dialing takes.
    pub(super) slow_dial: Duration,
    /// The addresses of the name; `None` if lookups fail. Connections lead to the first.
    pub(super) addresses: Option<Vec<SocketAddr>>,
    /// How often the server has moved.
    pub(super) epoch: watch::Sender<u64>,
    /// Replies by command, instead of the real ones. An empty reply is silence, [`HANG_UP`] the end.
    pub(super) canned: HashMap<&'static str, String>,
    pub(super) keys: HashMap<String, String>,
    /// The slots of this node of a cluster; `None` if it has all.
    pub(super) own_slots: Option<SlotSet>,
    /// Keys whose slot is on its way to another node.
    pub(super) migrating: Vec<String>,
    /// Connections before this one lead to a node that was demoted.
    pub(super) demoted: usize,
    /// Connections before this one lead to a replica outside of a cluster.
    pub(super) replicas: usize,
    /// The version that HELLO names, with mode and role.
    pub(super) version: Option<&'static str>,
    /// The slots in which no key can be written.
    pub(super) full: SlotSet,
    /// The reply of a named node to `ASKING`, and what ends dialing it.
    pub(super) asking: Option<&'static str>,
    pub(super) named_away: Option<FailureReason>,
    /// The commands that named nodes got, with their endpoints.
    pub(super) asked: Vec<String>,
    pub(super) commands: Vec<String>,
    pub(super) dials: Vec<Instant>,
    pub(super) open: Vec<tokio::task::AbortHandle>,
    /// Sends pushes on each connection, closed ones included.
    pub(super) pushing: Vec<mpsc::UnboundedSender<String>>,
    /// Where connections were opened to instead of the target's endpoint.
    pub(super) led_to: Vec<String>,
}

impl Cache {
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    pub(super) fn can(&self, command: &'static str, reply: &str) {
        self.with(|state| state.canned.insert(command, reply.into()));
    }

    /// Closes every connection.
    pub(super) fn hang_up(&self) {
        self.with(|state| state.open.drain(..).for_each(|task| task.abort()));
    }

    /// Sends `push` on every connection.
    pub(super) fn push(&self, push: &str) {
        self.with(|state| state.pushing.iter().for_each(|to| drop(to.send(push.into()))));
    }

    pub(super) fn count(&self, command: &str) -> usize {
        self.with(|state| state.commands.iter().filter(|sent| sent.starts_with(command)).count())
    }

    fn reply(&self, words: &[String], connection: usize) -> String {
        if let Some(endpoint) = &self.1 {
            return self.with(|state| state.named(words, endpoint));
        }
        self.with(|state| {
            let is_demoted = connection < state.demoted;
            if let ("HELLO", Some(canned)) = (words[0].as_str(), state.canned.get("HELLO")) {
                state.commands.push("HELLO".into());
                return canned.clone();
            }
            if words[0] == "HELLO" {
                let hello = state.hello(connection);
                let Some(at) = words.iter().position(|word| word == "AUTH") else {
                    if words.len() == 1 {
                        state.commands.push("HELLO".into());
                    }
                    return hello;
                };
                // A sign-in is a sign-in.
                state.commands.push(words[at..at + 3].join(" "));
                return state.canned.get("AUTH").map_or(hello, Clone::clone);
            }
            state.commands.push(words.join(" "));
            let name = if words[0] == "CLIENT" { words[..2].join(" ") } else { words[0].clone() };
            if let Some(canned) = state.canned.get(name.as_str()) {
                return canned.clone();
            }
            match name.as_str() {
                "PING" => "+PONG\r\n".into(),
                "SET" | "GET" if is_demoted => "-MOVED 42 10.0.0.9:8500\r\n".into(),
                "SET" | "GET" if state.migrating.contains(&words[1]) => "-ASK 42 10.0.0.9:8500\r\n".into(),
                "SET" if state.full.contains(Slot::of_key(words[1].as_bytes())) => OOM.into(),
                "SET" if connection < state.replicas => READONLY.into(),
                "SET" if !state.has(&words[1]) => {
                    format!("-MOVED {} 10.0.0.9:8500\r\n", Slot::of_key(words[1].as_bytes()))
                }
                "SET" => state.set(words),
                "GET" => state.get(words),
                "SUBSCRIBE" => format!(">3\r\n+subscribe\r\n+{}\r\n:1\r\n", words[1]),
                "CLUSTER" => "-ERR This instance has cluster support disabled\r\n".into(),
                "CLIENT LIST" => "$22\r\nid=7 addr=10.0.0.1:50\n\r\n".into(),
                _ => "+OK\r\n".into(),
            }
        })
    }

    async fn serve(
        self,
        mut stream: DuplexStream,
        connection: usize,
        mut pushes: mpsc::UnboundedReceiver<String>,
    ) {
        let mut bytes = vec![0; 4096];
        loop {
            // A prober writes at once what it wants answered in one round trip.
            let length = tokio::select! {
                length = stream.read(&mut bytes) => length.unwrap_or(0),
                Some(push) = pushes.recv() => {
                    stream.write_all(push.as_bytes()).await.unwrap();
                    continue;
                }
            };
            if length == 0 {
                return;
            }
            let reply: String =
                commands(&bytes[..length]).iter().map(|words| self.reply(words, connection)).collect();
            let (reply, hangs_up) =
                reply.split_once(HANG_UP).map_or((&*reply, false), |(reply, _)| (reply, true));
            if stream.write_all(reply.as_bytes()).await.is_err() || hangs_up {
                return;
            }
        }
    }
}

impl State {
    fn has(&self, key: &str) -> bool {
        self.own_slots.as_ref().is_none_or(|slots| slots.contains(Slot::of_key(key.as_bytes())))
    }

    fn set(&mut self, words: &[String]) -> String {
        self.keys.insert(words[1].clone(), words[2].clone());
        "+OK\r\n".into()
    }

    fn get(&self, words: &[String]) -> String {
        let found = self.keys.get(&words[1]);
        found.map_or("$-1\r\n".into(), |value| format!("${}\r\n{value}\r\n", value.len()))
    }

    /// The reply of the node at `endpoint`, to which the slots that are asked for are on their way.
    fn named(&mut self, words: &[String], endpoint: &Endpoint) -> String {
        self.asked.push(format!("{endpoint} {}", words[0]));
        match words[0].as_str() {
            "HELLO" => HELLO.into(),
            "PING" => "+PONG\r\n".into(),
            "ASKING" => self.asking.unwrap_or("+OK\r\n").into(),
            _ if self.asking.is_some() => "-MOVED 42 10.0.0.1:8500\r\n".into(),
            "SET" => self.set(words),
            _ => self.get(words),
        }
    }

    /// What RESP3 is agreed with.
    fn hello(&self, connection: usize) -> String {
        let Some(version) = self.version else { return HELLO.into() };
        let role = if connection < self.demoted.max(self.replicas) { "replica" } else { "master" };
        let mode = if self.demoted > 0 { "cluster" } else { "standalone" };
        format!(
            "%5\r\n+proto\r\n:3\r\n+server\r\n+redis\r\n+version\r\n+{version}\r\n+mode\r\n+{mode}\r\n+role\r\n+{role}\r\n"
        )
    }
}

pub(super) const READONLY: &str = "-READONLY You can't write against a read only replica.\r\n";
const OOM: &str = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
/// The reply of a peer that closes the connection.
pub(super) const HANG_UP: &str = "hang up";
/// What RESP3 is agreed with.
pub(super) const HELLO: &str = "%2\r\n+proto\r\n:3\r\n+id\r\n:7\r\n";

/// The commands in `bytes`, which are whole.
pub(super) fn commands(bytes: &[u8]) -> Vec<Vec<String>> {
    let text = std::str::from_utf8(bytes).unwrap();
    let mut lines = text.split("\r\n");
    let mut commands = Vec::new();
    while let Some(count) = lines.next().and_then(|line| line.strip_prefix('*')) {
        let words = (0..count.parse().unwrap()).map(|_| lines.nth(1).unwrap().to_owned());
        commands.push(words.collect());
    }
    commands
}

impl Dial for Cache {
    type Stream = DuplexStream;

    fn to(&self, endpoint: Endpoint) -> Self {
        self.with(|state| state.led_to.push(endpoint.to_string()));
        // The port of nodes that are named by a redirection.
        Self(Arc::clone(&self.0), (endpoint.port == 8500).then_some(endpoint))
    }

    async fn dial(&mut self, deadline: Instant) -> Result<Dialed<DuplexStream>, DialFailure> {
        let started = Instant::now();
        let (away, slow) = self.with(|state| {
            if self.1.is_some() {
                return (state.named_away, state.slow_dial);
            }
            state.dials.push(Instant::now());
            (state.away, state.slow_dial)
        });
        let failed = |reason| {
            let failure = Failure::new(reason, Stage::Phase(Phase::Connect), "");
            DialFailure { failure, phases: PhaseTimes::default() }
        };
        if tokio::time::timeout_at(deadline, sleep(slow)).await.is_err() {
            return Err(failed(FailureReason::ConnectTimeout));
        }
        if let Some(reason) = away {
            return Err(failed(reason));
        }
        let (near, far) = duplex(64 * 1024);
        let connection = self.with(|state| state.dials.len());
        let (pushing, pushes) = mpsc::unbounded_channel();
        let task = tokio::spawn(self.clone().serve(far, connection, pushes)).abort_handle();
        self.with(|state| {
            state.open.push(task);
            state.pushing.push(pushing);
        });
        let mut phases = PhaseTimes::default();
        phases.set(Phase::Connect, started.elapsed());
        let address = self.with(|state| state.addresses.iter().flatten().next().copied());
        let epoch = self.with(|state| *state.epoch.borrow());
        Ok(Dialed { stream: near, phases, peer: Peer { address, epoch, ..Peer::default() }, deadline })
    }

    async fn moved_from(&self, peer: &Peer) -> Failure {
        let mut epoch = self.with(|state| state.epoch.subscribe());
        epoch.wait_for(|epoch| *epoch != peer.epoch).await.unwrap();
        Failure::new(FailureReason::WrongNode, Stage::Idle, "the server has moved")
    }

    async fn leads_to(&self, address: SocketAddr, _deadline: Instant) -> Option<bool> {
        self.with(|state| state.addresses.as_ref().map(|addresses| addresses.contains(&address)))
    }
}
