//! An application that uses a cluster: the truth that the agent's record is compared with.
//!
//! It speaks RESP by itself and knows nothing of the agent. It writes a key in each of its slots every 50 ms, follows
//! redirections, and asks another node after an error, as the clients of a cluster do.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachepulse::topology::{Slot, SlotSet, key_in};
use futures_util::future::join_all;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use crate::cluster_bed::{Cluster, Directory};
use crate::redis_server::{ADMIN, PASSWORD};

/// The time from one write to the next.
const EVERY: Duration = Duration::from_millis(50);
/// How long it waits for an answer.
const PATIENCE: Duration = Duration::from_millis(250);
/// How many redirections it follows for one write.
const HOPS: usize = 5;

/// When the writes to one slot failed: from the start of the first that did to the end of the next that did not.
type Outages = Arc<Mutex<Vec<(Instant, Option<Instant>)>>>;

/// A client that runs until it is dropped, on a thread of its own: nothing that a test waits for makes it late.
pub(crate) struct ClusterClient {
    outages: Vec<(u16, Outages)>,
    _end: oneshot::Sender<()>,
}

impl ClusterClient {
    /// Starts to write to each of `slots`.
    pub(crate) fn start(cluster: &Cluster, slots: &[u16]) -> Self {
        let outages: Vec<_> = slots.iter().map(|slot| (*slot, Outages::default())).collect();
        let writers: Vec<_> = outages
            .iter()
            .map(|(slot, outages)| Writer::new(*slot, cluster.directory()).run(Arc::clone(outages)))
            .collect();
        let (end, ended) = oneshot::channel();
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    _ = join_all(writers) => {}
                    _ = ended => {}
                }
            });
        });
        Self { outages, _end: end }
    }

    /// Returns for how long writes to `slot` have failed so far.
    pub(crate) fn unavailable_at(&self, slot: u16) -> Duration {
        self.union(|it| it == slot)
    }

    /// Returns for how long writes to any of the slots have failed so far.
    pub(crate) fn unavailable(&self) -> Duration {
        self.union(|_| true)
    }

    /// Whether the last write to each slot has succeeded.
    pub(crate) fn is_content(&self) -> bool {
        let is_over = |(_, outages): &(u16, Outages)| {
            outages.lock().unwrap().last().is_none_or(|(_, until)| until.is_some())
        };
        self.outages.iter().all(is_over)
    }

    fn union(&self, is_wanted: impl Fn(u16) -> bool) -> Duration {
        let now = Instant::now();
        let mut intervals = Vec::new();
        for (_, outages) in self.outages.iter().filter(|(slot, _)| is_wanted(*slot)) {
            let outages = outages.lock().unwrap();
            intervals.extend(outages.iter().map(|(from, until)| (*from, until.unwrap_or(now))));
        }
        intervals.sort_unstable();
        let (mut sum, mut end) = (Duration::ZERO, None);
        for (from, until) in intervals {
            let from = end.map_or(from, |end| from.max(end));
            sum += until.saturating_duration_since(from);
            end = end.max(Some(until));
        }
        sum
    }
}

/// Writes to one slot.
struct Writer {
    key: String,
    directory: Directory,
    connections: HashMap<u16, Connection>,
    /// The port of the node that it believes to have the slot.
    route: u16,
}

impl Writer {
    fn new(slot: u16, directory: Directory) -> Self {
        let slots = SlotSet::of(Slot::new(slot).unwrap());
        let route = *directory.lock().unwrap().keys().next().unwrap();
        Self { key: key_in("application:", &slots).unwrap(), directory, connections: HashMap::new(), route }
    }

    async fn run(mut self, outages: Outages) {
        let mut due = Instant::now();
        loop {
            sleep_until(due).await;
            let started = Instant::now();
            let is_written = self.write().await;
            let mut outages = outages.lock().unwrap();
            match (outages.last_mut().filter(|(_, until)| until.is_none()), is_written) {
                (None, false) => outages.push((started, None)),
                (Some(outage), true) => outage.1 = Some(Instant::now()),
                (Some(_), false) | (None, true) => {}
            }
            due = (due + EVERY).max(Instant::now());
        }
    }

    /// Writes once, and returns whether a node accepted it.
    async fn write(&mut self) -> bool {
        let (mut port, mut is_asking) = (self.route, false);
        for _ in 0..HOPS {
            let Some(reply) = self.set(port, is_asking).await else { break };
            let mut words = reply.split(' ');
            let kind = words.next();
            let named = words.nth(1).and_then(|address| address.rsplit_once(':')?.1.parse().ok());
            is_asking = kind == Some("-ASK");
            match (kind, named) {
                (Some("+OK"), _) => {
                    self.route = port;
                    return true;
                }
                (Some("-MOVED" | "-ASK"), Some(named)) => port = named,
                (Some("-TRYAGAIN"), _) => {}
                _ => break,
            }
        }
        // Another node may know more.
        let directory = self.directory.lock().unwrap();
        let mut after = directory.range(self.route + 1..).chain(directory.iter());
        self.route = *after.next().unwrap().0;
        false
    }

    /// Returns the reply of the node to SET; `None` if there is none in time.
    async fn set(&mut self, port: u16, is_asking: bool) -> Option<String> {
        let socket = self.directory.lock().unwrap().get(&port)?.clone();
        let (connections, key) = (&mut self.connections, &self.key);
        let reply = timeout(PATIENCE, async {
            let connection = match connections.entry(port) {
                Entry::Occupied(open) => open.into_mut(),
                Entry::Vacant(none) => none.insert(Connection::open(socket).await?),
            };
            if is_asking {
                connection.call(&["ASKING"]).await?;
            }
            connection.call(&["SET", key, "value", "PX", "5000"]).await
        });
        let reply = reply.await.ok().flatten();
        if reply.is_none() {
            self.connections.remove(&port);
        }
        reply
    }
}

/// A connection whose replies are single lines.
struct Connection(BufReader<UnixStream>);

impl Connection {
    async fn open(socket: PathBuf) -> Option<Self> {
        let mut connection = Self(BufReader::new(UnixStream::connect(socket).await.ok()?));
        let reply = connection.call(&["AUTH", ADMIN, PASSWORD]).await?;
        (reply == "+OK").then_some(connection)
    }

    async fn call(&mut self, words: &[&str]) -> Option<String> {
        let words: Vec<String> = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
        let command = format!("*{}\r\n{}", words.len(), words.concat());
        self.0.write_all(command.as_bytes()).await.ok()?;
        let mut line = String::new();
        self.0.read_line(&mut line).await.ok().filter(|length| *length > 0)?;
        Some(line.trim_end().to_owned())
    }
}
