//! A cluster in memory, whose nodes misbehave on request.

use super::super::*;
use crate::connection::tls::handshake::TlsInfo;

/// A dialer of one node of a cluster in memory; clones lead to the same one.
#[derive(Clone)]
pub(super) struct Cluster {
    state: Arc<Mutex<Nodes>>,
    /// `None` is the node that the configured host leads to.
    node: Option<usize>,
}

/// What all nodes agree on, and the nodes.
pub(super) struct Nodes {
    /// The first slot, the last one, and the place of the owner.
    pub(super) slots: Vec<(u16, u16, usize)>,
    pub(super) all: Vec<Node>,
    /// The places of replicas, each with that of its primary.
    pub(super) replicas: Vec<(usize, usize)>,
    /// The reply to `READONLY`.
    pub(super) read_only: &'static str,
    /// The reply to `CLUSTER SLOTS`, if it is none.
    pub(super) refusal: Option<&'static str>,
    /// The place of the node that the configured host leads to.
    pub(super) host: usize,
    /// Whether the configured host's node says that it belongs to a cluster.
    pub(super) is_cluster: bool,
    /// Whether a firewall closes the ports of the nodes, and not that of the configured host.
    pub(super) is_closed: bool,
}

/// Which keys a node takes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Keys {
    /// Those in its slots.
    #[default]
    Own,
    /// Those in all slots.
    All,
    /// None: it is cut off from the other nodes.
    None,
}

/// One node.
#[derive(Default)]
pub(super) struct Node {
    /// What dialing ends in.
    pub(super) away: Option<FailureReason>,
    /// For how many connections to it the agent has resources.
    pub(super) room: Option<usize>,
    /// What it answers every command with, if it serves none.
    pub(super) refusal: Option<&'static str>,
    /// What it answers `CLUSTER SLOTS` and `READONLY` with, if others answer otherwise.
    pub(super) no_topology: Option<&'static str>,
    pub(super) read_only: Option<&'static str>,
    /// What it answers a request for maintenance notices with, if it does not agree. Nothing is silence.
    pub(super) no_notices: Option<&'static str>,
    /// How many accesses of keys it sends to the last node, whoever has the slot.
    pub(super) misdirects: usize,
    /// The keys that it takes.
    pub(super) takes: Keys,
    /// How long it takes to answer.
    pub(super) latency: Duration,
    /// Whether it takes connections and never answers.
    pub(super) hangs: bool,
    /// The slots that it lists, if it has not heard of others yet.
    pub(super) view: Option<Vec<(u16, u16, usize)>>,
    /// The place of the node by whose address it names itself, and by whose address all name it, if not by its own.
    pub(super) own_address: Option<usize>,
    pub(super) address: Option<usize>,
    pub(super) is_replica: bool,
    /// Whether no node knows its address.
    pub(super) is_nameless: bool,
    /// Its version, if that is not 7.2 with its place.
    pub(super) version: Option<&'static str>,
    /// What it answers a second `HELLO` with, if it does not answer it as the first.
    pub(super) hello_again: Option<&'static str>,
    pub(super) clients: usize,
    /// The expiry of its certificate, if it has one.
    pub(super) expiry: Option<SystemTime>,
    pub(super) dials: Vec<Instant>,
    pub(super) commands: Vec<(Instant, String)>,
    open: Vec<tokio::task::AbortHandle>,
}

impl Cluster {
    /// A cluster of so many primaries with equal numbers of slots, and one node that has none.
    pub(super) fn new(primaries: usize) -> Self {
        let bound = |place: usize| u16::try_from(16_384 * place / primaries).unwrap();
        let slots = (0..primaries).map(|place| (bound(place), bound(place + 1) - 1, place)).collect();
        let all = (0..=primaries).map(|_| Node { clients: 1, ..Node::default() }).collect();
        let (replicas, read_only) = (Vec::new(), "+OK\r\n");
        let (refusal, host, is_cluster, is_closed) = (None, 0, true, false);
        let state = Nodes { slots, all, replicas, read_only, refusal, host, is_cluster, is_closed };
        Self { state: Arc::new(Mutex::new(state)), node: None }
    }

    /// The same with one replica of each primary, in the same order.
    pub(super) fn with_replicas(primaries: usize) -> Self {
        let cluster = Self::new(primaries);
        cluster.with(|state| {
            state.all.resize_with(2 * primaries, || Node { clients: 1, ..Node::default() });
            state.replicas = (0..primaries).map(|place| (primaries + place, place)).collect();
            for replica in &mut state.all[primaries..] {
                replica.is_replica = true;
            }
        });
        cluster
    }

    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Nodes) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    /// Lets every connection to the node end, and no other begin.
    pub(super) fn kill(&self, node: usize) {
        self.with(|state| state.all[node].away = Some(FailureReason::ConnectRefused));
        self.hang_up(node);
    }

    pub(super) fn hang_up(&self, node: usize) {
        self.with(|state| state.all[node].open.drain(..).for_each(|task| task.abort()));
    }

    /// The number of these commands that the node has got.
    pub(super) fn count(&self, node: usize, command: &str) -> usize {
        let is_one = |(_, sent): &&(Instant, String)| sent.starts_with(command);
        self.with(|state| state.all[node].commands.iter().filter(is_one).count())
    }

    /// How often the node was asked for its role by a `HELLO` without arguments.
    pub(super) fn asked_for_role(&self, node: usize) -> usize {
        self.with(|state| state.all[node].commands.iter().filter(|(_, sent)| sent == "HELLO").count())
    }

    /// The key that was last written at the node.
    pub(super) fn written(&self, node: usize) -> String {
        self.with(|state| {
            let mut commands = state.all[node].commands.iter().rev();
            let written = commands.find_map(|(_, sent)| sent.strip_prefix("SET ")).unwrap();
            written.split(' ').next().unwrap().to_owned()
        })
    }

    /// The number of these commands that all nodes have got.
    pub(super) fn count_all(&self, command: &str) -> usize {
        let nodes = self.with(|state| state.all.len());
        (0..nodes).map(|node| self.count(node, command)).sum()
    }

    pub(super) fn dials(&self, node: usize) -> usize {
        self.with(|state| state.all[node].dials.len())
    }

    fn place(&self) -> usize {
        self.node.unwrap_or_else(|| self.with(|state| state.host))
    }

    async fn serve(self, mut stream: DuplexStream) {
        let mut bytes = vec![0; 4096];
        loop {
            let length = stream.read(&mut bytes).await.unwrap_or(0);
            if length == 0 {
                return;
            }
            if self.with(|state| state.all[self.place()].hangs) {
                std::future::pending::<()>().await;
            }
            let place = self.place();
            sleep(self.with(|state| state.all[place].latency)).await;
            let reply = |words: &Vec<String>| self.with(|state| state.reply(words, place));
            let reply: String = commands(&bytes[..length]).iter().map(reply).collect();
            if reply.contains(HANG_UP) || stream.write_all(reply.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

impl Nodes {
    fn reply(&mut self, words: &[String], place: usize) -> String {
        self.all[place].commands.push((Instant::now(), words.join(" ")));
        if let Some(refusal) = self.all[place].refusal {
            return refusal.into();
        }
        match words[0].as_str() {
            "HELLO" if words.len() == 1 && self.all[place].hello_again.is_some() => {
                self.all[place].hello_again.unwrap().into()
            }
            "HELLO" => {
                let mode = if self.is_cluster { "cluster" } else { "standalone" };
                let role = if self.all[place].is_replica { "replica" } else { "master" };
                let version = self.all[place].version.map_or_else(|| format!("7.2.{place}"), Into::into);
                format!(
                    "%4\r\n+proto\r\n:3\r\n+version\r\n+{version}\r\n+mode\r\n+{mode}\r\n+role\r\n+{role}\r\n"
                )
            }
            "PING" => "+PONG\r\n".into(),
            "SET" | "GET" if self.all[place].misdirects > 0 => {
                self.all[place].misdirects -= 1;
                format!("-MOVED 42 {}\r\n", endpoint(self.all.len() - 1))
            }
            "SET" | "GET" if self.all[place].takes == Keys::None => {
                "-CLUSTERDOWN The cluster is down\r\n".into()
            }
            "SET" | "GET" if self.is_cluster && self.all[place].takes != Keys::All => {
                let slot = Slot::of_key(words[1].as_bytes()).number();
                let owner = self.slots.iter().find(|(first, last, _)| (first..=last).contains(&&slot));
                match owner {
                    Some(&(_, _, owner)) if owner == place => self.data(words),
                    Some(&(_, _, owner)) if words[0] == "GET" && self.replicas.contains(&(place, owner)) => {
                        self.data(words)
                    }
                    Some((_, _, owner)) => format!("-MOVED {slot} {}\r\n", endpoint(*owner)),
                    None => "-CLUSTERDOWN Hash slot not served\r\n".into(),
                }
            }
            "SET" | "GET" => self.data(words),
            "READONLY" => self.all[place].read_only.unwrap_or(self.read_only).into(),
            "CLUSTER" => {
                let refusal = self.all[place].no_topology.or(self.refusal);
                refusal.map_or_else(|| self.topology(place), Into::into)
            }
            "CLIENT" if words[1] == "MAINT_NOTIFICATIONS" => {
                self.all[place].no_notices.unwrap_or("+OK\r\n").into()
            }
            "CLIENT" => {
                let list = "id=7 addr=10.0.0.1:50\n".repeat(self.all[place].clients);
                format!("${}\r\n{list}\r\n", list.len())
            }
            _ => "+OK\r\n".into(),
        }
    }

    fn data(&mut self, words: &[String]) -> String {
        // What was written last is read next.
        if words[0] == "SET" {
            return "+OK\r\n".into();
        }
        let is_set = |sent: &&String| sent.starts_with(&format!("SET {} ", words[1]));
        let all = self.all.iter().flat_map(|node| &node.commands);
        let Some((_, sent)) = all.filter(|(_, sent)| is_set(&sent)).max_by_key(|(at, _)| *at) else {
            return "_\r\n".into();
        };
        let value = sent.split(' ').nth(2).unwrap();
        format!("${}\r\n{value}\r\n", value.len())
    }

    fn topology(&self, place: usize) -> String {
        let slots = self.all[place].view.as_ref().unwrap_or(&self.slots);
        let rows = slots.iter().map(|(first, last, owner)| {
            let replicas = self.replicas.iter().filter(|(_, primary)| primary == owner);
            let nodes = [owner].into_iter().chain(replicas.map(|(it, _)| it)).copied();
            let own = |it: usize| self.all[it].own_address.filter(|_| it == place);
            let address = |it: usize| own(it).or(self.all[it].address).unwrap_or(it);
            let host =
                |it: usize| if self.all[it].is_nameless { "?".into() } else { endpoint(address(it)).host };
            let nodes: Vec<String> =
                nodes.map(|it| node(it, &host(it), endpoint(address(it)).port)).collect();
            let count = 2 + nodes.len();
            format!("*{count}\r\n:{first}\r\n:{last}\r\n{}", nodes.concat())
        });
        format!("*{}\r\n{}", slots.len(), rows.collect::<String>())
    }
}

fn node(place: usize, host: &str, port: u16) -> String {
    format!("*3\r\n${}\r\n{host}\r\n:{port}\r\n$5\r\nnode{place}\r\n", host.len())
}

/// The address of the node at `place`.
pub(super) fn endpoint(place: usize) -> Endpoint {
    let number = u16::try_from(place).unwrap();
    Endpoint { host: format!("10.0.0.{number}").into(), port: 7000 + number }
}

impl Dial for Cluster {
    type Stream = DuplexStream;

    fn to(&self, endpoint: Endpoint) -> Self {
        let node = endpoint.port.checked_sub(7000).filter(|node| *node < 100);
        Self { state: Arc::clone(&self.state), node: node.map(usize::from) }
    }

    async fn dial(&mut self, deadline: Instant) -> Result<Dialed<DuplexStream>, DialFailure> {
        let place = self.place();
        let away = self.with(|state| {
            let is_closed = state.is_closed && self.node.is_some();
            let node = &mut state.all[place];
            node.dials.push(Instant::now());
            let is_full = node.room.is_some_and(|room| node.dials.len() > room);
            let full = is_full.then_some(FailureReason::LocalResource);
            node.away.or(full).or_else(|| is_closed.then_some(FailureReason::ConnectTimeout))
        });
        if let Some(reason) = away {
            if reason == FailureReason::ConnectTimeout {
                tokio::time::sleep_until(deadline).await;
            }
            let failure = Failure::new(reason, Stage::Phase(Phase::Connect), "");
            return Err(DialFailure { failure, phases: PhaseTimes::default() });
        }
        let (near, far) = duplex(64 * 1024);
        let served = Self { node: Some(place), ..self.clone() };
        let task = tokio::spawn(served.serve(far)).abort_handle();
        self.with(|state| state.all[place].open.push(task));
        let Endpoint { host, port } = endpoint(place);
        let address = SocketAddr::new(host.parse().unwrap(), port);
        let expiry = self.with(|state| state.all[place].expiry);
        let tls = expiry.map(|expiry| TlsInfo { version: "1.3", certificate_expiry: Some(expiry) });
        let mut phases = PhaseTimes::default();
        phases.set(Phase::Connect, Duration::ZERO);
        let peer = Peer { address: Some(address), tls, ..Peer::default() };
        Ok(Dialed { stream: near, phases, peer, deadline })
    }

    async fn leads_to(&self, address: SocketAddr, _deadline: Instant) -> Option<bool> {
        Some(address.port() == endpoint(self.place()).port)
    }
}
