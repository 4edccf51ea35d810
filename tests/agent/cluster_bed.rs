//! A cluster of real redis-servers, and what can happen to it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use redis::Value;
use rustix::process::Signal;
use tokio::time::sleep;

use crate::nodes::{UP, id, node_of, until};
use crate::port::Port;
use crate::program::{Program, cachepulse, within};
use crate::redis_server::{ADMIN, Listen, PASSWORD, RedisServer};

/// The slots of a new cluster's primaries.
pub(crate) const THIRDS: [RangeInclusive<u16>; 3] = [0..=5460, 5461..=10_922, 10_923..=16_383];

/// The user of the agent, and the rights that the documentation says it needs.
const PROBE: &str = "probe";
const LEAST: &str = "~cachepulse:* +ping +set +get +client|list +cluster|slots +readonly";

/// How nodes behave. The first byte is replicated at once, which lets replicas be listed. A node keeps its role when it loses
/// all slots.
const SETTINGS: &str =
    "repl-ping-replica-period 1\nrepl-diskless-sync-delay 0\ncluster-allow-replica-migration no\n";

/// After how many milliseconds a node that is not heard of has failed.
const NODE_TIMEOUT: &str = "2000";
/// The same where nothing fails: however busy the machine is, nodes do not suspect each other. Also while a cluster is made,
/// because a node that does not answer an introduction in time is forgotten.
const LONG_NODE_TIMEOUT: &str = "10000";

/// How many slots migrate at a time.
const AT_ONCE: u16 = 256;

/// Where the nodes of a cluster are: the Unix socket behind each announced port.
pub(crate) type Directory = Arc<Mutex<BTreeMap<u16, PathBuf>>>;

/// A cluster. Its processes are killed when it is dropped.
pub(crate) struct Cluster {
    listen: Listen,
    nodes: Vec<Node>,
    directory: Directory,
    node_timeout: &'static str,
}

struct Node {
    server: RedisServer,
    bus: Port,
    id: String,
    /// Whether it answers: it was neither killed nor stopped.
    is_running: bool,
}

impl Node {
    async fn start(listen: Listen) -> Self {
        let tls = if listen == Listen::Tls { "tls-cluster yes\ntls-replication yes\n" } else { "" };
        let timeout = format!("cluster-node-timeout {LONG_NODE_TIMEOUT}\n");
        let lines = format!("{SETTINGS}{timeout}masteruser {ADMIN}\nmasterauth {PASSWORD}\n{tls}");
        let (server, bus) = node_of(listen, &[(PROBE, LEAST)], &lines).await;
        let node = Self { id: id(&server), server, bus, is_running: true };
        if listen == Listen::Tls {
            node.announce(listen, node.server.port());
        }
        node
    }

    /// Whether it knows this number of nodes that are up, and lists those that have slots or follow one that has.
    fn lists(&self, expected: usize) -> bool {
        let nodes: String = self.server.ask(&["CLUSTER", "NODES"]);
        let is_up = |line: &&str| !["fail", "handshake", "noaddr"].iter().any(|flag| line.contains(flag));
        // Id, address, flags, primary, times and epoch, state of the link, slots.
        let up: Vec<Vec<&str>> =
            nodes.lines().filter(is_up).map(|line| line.split_ascii_whitespace().collect()).collect();
        let slots = format!("{:?}", self.server.ask::<Value>(&["CLUSTER", "SLOTS"]));
        let has_slots = |id: &str| up.iter().any(|node| node[0] == id && node.len() > 8);
        let is_used = |node: &&Vec<&str>| has_slots(node[0]) || has_slots(node[3]);
        up.len() == expected && up.iter().filter(is_used).all(|node| slots.contains(node[0]))
    }

    fn set_timeout(&self, milliseconds: &str) {
        self.server.ask::<()>(&["CONFIG", "SET", "cluster-node-timeout", milliseconds]);
    }

    /// Announces a port, with TLS also to those who ask without, as the tests do on the Unix socket.
    fn announce(&self, listen: Listen, port: u16) {
        let port = port.to_string();
        self.server.ask::<()>(&["CONFIG", "SET", "cluster-announce-port", &port]);
        if listen == Listen::Tls {
            self.server.ask::<()>(&["CONFIG", "SET", "cluster-announce-tls-port", &port]);
        }
    }
}

impl Cluster {
    /// Starts three primaries with a third of the slots each, and a replica of each: node 3 is that of node 0.
    pub(crate) async fn start(listen: Listen) -> Self {
        Self::with_slots(listen, &THIRDS).await
    }

    /// Starts a primary for each of these ranges, and behind the primaries a replica of each.
    pub(crate) async fn with_slots(listen: Listen, slots: &[RangeInclusive<u16>]) -> Self {
        let nodes = join_all((0..2 * slots.len()).map(|_| Node::start(listen))).await;
        let (directory, node_timeout) = (Directory::default(), LONG_NODE_TIMEOUT);
        let mut cluster = Self { listen, nodes, directory, node_timeout };
        for (index, range) in slots.iter().enumerate() {
            let (first, last) = (range.start().to_string(), range.end().to_string());
            cluster.ask(index, &["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
            // Without this, the epochs collide.
            cluster.ask(index, &["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
        }
        for (index, node) in cluster.nodes.iter().enumerate() {
            cluster.enter(index, node.server.port());
            if index > 0 {
                cluster.meet(index);
            }
        }
        for index in 0..slots.len() {
            cluster.replicate(slots.len() + index, index).await;
        }
        cluster.settled().await;
        // A node that has not heard yet that another one became a replica takes it for a primary without slots.
        within("every node lists all replicas", async {
            let lists_all = |node: &Node| {
                let slots = format!("{:?}", node.server.ask::<Value>(&["CLUSTER", "SLOTS"]));
                cluster.nodes.iter().all(|other| slots.contains(&other.id))
            };
            while !cluster.nodes.iter().all(lists_all) {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        cluster.set_timeout(NODE_TIMEOUT);
        cluster
    }

    /// Lets nodes not suspect each other, where nothing fails: the machine may be busy.
    pub(crate) fn suspects_nobody(&mut self) {
        self.set_timeout(LONG_NODE_TIMEOUT);
    }

    /// Lets nodes suspect each other as they do at first.
    pub(crate) fn suspects_again(&mut self) {
        self.set_timeout(NODE_TIMEOUT);
    }

    fn set_timeout(&mut self, milliseconds: &'static str) {
        self.node_timeout = milliseconds;
        self.running().for_each(|node| node.set_timeout(milliseconds));
    }

    /// Returns the number of nodes.
    pub(crate) const fn size(&self) -> usize {
        self.nodes.len()
    }

    /// Returns the server of a node.
    pub(crate) fn node(&self, index: usize) -> &RedisServer {
        &self.nodes[index].server
    }

    /// Returns the announced ports with the nodes' sockets.
    pub(crate) fn directory(&self) -> Directory {
        Arc::clone(&self.directory)
    }

    /// Returns the agent with the target `orders` at the port of a node, and 500 ms between its ticks.
    pub(crate) fn agent(&self, port: u16) -> Program {
        self.daemon(port, PROBE).args(["--interval", "500ms"]).args([
            "--connect-timeout",
            "500ms",
            "--command-timeout",
            "300ms",
        ])
    }

    /// The same, with timeouts that only a hang exceeds, however busy the machine is.
    pub(crate) fn patient_agent(&self, port: u16) -> Program {
        self.daemon(port, PROBE).args(["--interval", "500ms"]).args([
            "--connect-timeout",
            "10s",
            "--command-timeout",
            "10s",
        ])
    }

    /// Returns the agent with the target `orders` at the port of a node, which signs in as `user`.
    pub(crate) fn daemon(&self, port: u16, user: &str) -> Program {
        let (host, tls) = match self.listen {
            Listen::Tls => ("localhost", "true"),
            Listen::Plaintext | Listen::Socket => ("127.0.0.1", "false"),
        };
        let program = cachepulse(["run", "--listen", "127.0.0.1:0", "--name", "orders", "--host", host]);
        let program = program
            .args(["--port", &port.to_string(), "--tls", tls])
            .args(["--identity", "password", "--username", user, "--password-env", "PROBE_PASSWORD"])
            .env("PROBE_PASSWORD", PASSWORD);
        match self.listen {
            Listen::Tls => program.args(["--ca-file".into(), self.node(0).ca_file()]),
            Listen::Plaintext | Listen::Socket => program,
        }
    }

    /// Waits until every running node knows that all slots are served, and lists every running node.
    pub(crate) async fn settled(&self) {
        within("the cluster is up", async {
            loop {
                let expected = self.running().count();
                let is_settled = |node: &Node| {
                    let info: String = node.server.ask(UP.0);
                    info.contains(UP.1) && node.lists(expected)
                };
                if self.running().all(is_settled) {
                    return;
                }
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }

    /// Kills a node with SIGKILL.
    pub(crate) async fn kill(&mut self, index: usize) {
        self.nodes[index].is_running = false;
        self.nodes[index].server.kill().await;
    }

    /// Restarts a node that was killed.
    pub(crate) async fn restart(&mut self, index: usize) {
        self.nodes[index].server.restart().await;
        self.nodes[index].set_timeout(self.node_timeout);
        self.nodes[index].is_running = true;
    }

    /// Stops a node with SIGSTOP.
    pub(crate) fn stop(&mut self, index: usize) {
        self.nodes[index].is_running = false;
        self.nodes[index].server.signal(Signal::STOP);
    }

    /// Lets a node that was stopped go on.
    pub(crate) fn resume(&mut self, index: usize) {
        self.nodes[index].server.signal(Signal::CONT);
        self.nodes[index].is_running = true;
    }

    /// Sets whether all shards refuse commands while one has failed.
    pub(crate) fn require_full_coverage(&self, is_required: bool) {
        let word = if is_required { "yes" } else { "no" };
        for node in self.running() {
            node.server.ask::<()>(&["CONFIG", "SET", "cluster-require-full-coverage", word]);
        }
    }

    /// Makes a replica the primary of its shard, as an operator does.
    pub(crate) async fn fail_over(&self, replica: usize) {
        until(self.node(replica), &["INFO", "replication"], "master_link_status:up").await;
        // Who takes it for a primary does not vote for it, and it asks again only after four timeouts of a node.
        within("the replica is known", self.known_as(replica, "slave")).await;
        within("the replica is promoted", async {
            // A shard that has failed over lately gets no votes.
            while !self.is_primary(replica) {
                self.ask(replica, &["CLUSTER", "FAILOVER"]);
                for _ in 0..50 {
                    if self.is_primary(replica) {
                        break;
                    }
                    sleep(Duration::from_millis(20)).await;
                }
            }
        })
        .await;
        self.promoted(replica).await;
        self.settled().await;
    }

    /// Waits until a replica has become a primary, and all running nodes know it.
    pub(crate) async fn promoted(&self, replica: usize) {
        within("the replica is promoted", self.known_as(replica, "master")).await;
    }

    /// Waits until all running nodes know that a node has this role.
    async fn known_as(&self, index: usize, role: &str) {
        let knows = |node: &Node| {
            let nodes: String = node.server.ask(&["CLUSTER", "NODES"]);
            nodes.lines().any(|line| line.starts_with(&self.nodes[index].id) && line.contains(role))
        };
        while !self.running().all(knows) {
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Begins to migrate `slots`: new keys go to the node `to`.
    pub(crate) fn begin_migration(&self, slots: RangeInclusive<u16>, from: usize, to: usize) {
        self.set_slots(to, slots.clone(), "IMPORTING", from);
        self.set_slots(from, slots, "MIGRATING", to);
    }

    /// Moves the keys of migrating slots.
    pub(crate) fn move_keys(&self, slots: RangeInclusive<u16>, from: usize, to: usize) {
        let mut connection = self.node(from).admin().unwrap();
        let mut lists = redis::pipe();
        for slot in slots {
            lists.cmd("CLUSTER").arg("GETKEYSINSLOT").arg(slot).arg(100);
        }
        let keys: Vec<Vec<String>> = lists.query(&mut connection).unwrap();
        let to = self.node(to).port();
        for keys in keys.iter().filter(|keys| !keys.is_empty()) {
            let mut migrate = redis::cmd("MIGRATE");
            migrate
                .arg("127.0.0.1")
                .arg(to)
                .arg(&["", "0", "5000", "AUTH2", ADMIN, PASSWORD, "KEYS"])
                .arg(keys);
            migrate.exec(&mut connection).unwrap();
        }
    }

    /// Ends the migration of `slots`.
    pub(crate) fn end_migration(&self, slots: RangeInclusive<u16>, to: usize) {
        // The new owner first: otherwise both nodes redirect for a while.
        let is_other =
            |index: &usize| *index != to && self.nodes[*index].is_running && self.is_primary(*index);
        let primaries = (0..self.nodes.len()).filter(is_other);
        for index in [to].into_iter().chain(primaries) {
            self.set_slots(index, slots.clone(), "NODE", to);
        }
    }

    /// Migrates `slots` from one node to another, some at a time.
    pub(crate) async fn reshard(&self, slots: RangeInclusive<u16>, from: usize, to: usize) {
        let (first, last) = slots.into_inner();
        for first in (first..=last).step_by(AT_ONCE.into()) {
            let slots = first..=last.min(first + AT_ONCE - 1);
            self.begin_migration(slots.clone(), from, to);
            self.move_keys(slots.clone(), from, to);
            self.end_migration(slots, to);
            tokio::task::yield_now().await;
        }
        self.settled().await;
    }

    fn set_slots(&self, at: usize, slots: RangeInclusive<u16>, state: &str, node: usize) {
        let mut commands = redis::pipe();
        for slot in slots {
            commands.cmd("CLUSTER").arg("SETSLOT").arg(slot).arg(state).arg(&self.nodes[node].id);
        }
        commands.exec(&mut self.node(at).admin().unwrap()).unwrap();
    }

    /// Takes `slots` from all nodes: nobody has them.
    pub(crate) fn delete_slots(&self, slots: &RangeInclusive<u16>) {
        let (first, last) = (slots.start().to_string(), slots.end().to_string());
        for node in self.running() {
            node.server.ask::<()>(&["CLUSTER", "DELSLOTSRANGE", &first, &last]);
        }
    }

    /// Gives `slots` that nobody has to a node.
    pub(crate) fn add_slots(&self, slots: &RangeInclusive<u16>, to: usize) {
        let (first, last) = (slots.start().to_string(), slots.end().to_string());
        self.ask(to, &["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
    }

    /// Waits until every running node knows an owner of every slot.
    pub(crate) async fn assigned(&self) {
        for node in self.running() {
            until(&node.server, &["CLUSTER", "INFO"], "cluster_slots_assigned:16384").await;
        }
    }

    /// Adds a primary without slots, and returns its index.
    pub(crate) async fn add_node(&mut self) -> usize {
        let index = self.nodes.len();
        self.nodes.push(Node::start(self.listen).await);
        self.enter(index, self.node(index).port());
        self.meet(index);
        self.settled().await;
        self.nodes[index].set_timeout(self.node_timeout);
        index
    }

    /// Makes a node without slots a replica.
    pub(crate) async fn replicate(&self, replica: usize, primary: usize) {
        let node = self.node(replica);
        within("the replica knows its primary", async {
            let mut connection = node.admin().unwrap();
            let mut command = redis::cmd("CLUSTER");
            command.arg("REPLICATE").arg(&self.nodes[primary].id);
            while command.exec(&mut connection).is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        until(node, &["INFO", "replication"], "master_link_status:up").await;
        let [replica, primary] = [replica, primary].map(|index| &*self.nodes[index].id);
        let knows = |other: &Node| {
            let nodes: String = other.server.ask(&["CLUSTER", "NODES"]);
            nodes.lines().any(|line| line.starts_with(replica) && line.contains(primary))
        };
        within("every node knows the replica", async {
            while !self.running().all(knows) {
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }

    /// Makes every node announce another port, which leads to it, and waits until all know that.
    pub(crate) async fn announce(&self, ports: &[u16]) {
        for (index, port) in ports.iter().enumerate() {
            self.enter(index, *port);
            self.nodes[index].announce(self.listen, *port);
        }
        within("all nodes know the ports", async {
            let knows = |node: &Node| {
                let reply = format!("{:?}", node.server.ask::<Value>(&["CLUSTER", "SLOTS"]));
                ports.iter().all(|port| reply.contains(&format!("int({port})")))
            };
            while !self.running().all(knows) {
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }

    /// Makes every node announce a name instead of its address, and waits until all know that.
    pub(crate) async fn announce_name(&self, name: &str) {
        for node in self.running() {
            node.server.ask::<()>(&["CONFIG", "SET", "cluster-announce-hostname", name]);
            node.server.ask::<()>(&["CONFIG", "SET", "cluster-preferred-endpoint-type", "hostname"]);
        }
        within("all nodes know the name", async {
            let knows = |node: &Node| {
                let reply = format!("{:?}", node.server.ask::<Value>(&["CLUSTER", "SLOTS"]));
                reply.matches(name).count() >= self.nodes.len()
            };
            while !self.running().all(knows) {
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }

    /// Returns the keys of agents at a node.
    pub(crate) fn keys(&self, index: usize) -> Vec<String> {
        self.node(index).ask(&["KEYS", "cachepulse:*"])
    }

    /// Returns what users were refused by the nodes that answer.
    pub(crate) fn refusals(&self) -> Vec<Value> {
        self.running().flat_map(|node| node.server.ask::<Vec<Value>>(&["ACL", "LOG"])).collect()
    }

    /// Returns how often a node has answered with the error `code`.
    pub(crate) fn errors(&self, index: usize, code: &str) -> u64 {
        let info: String = self.node(index).ask(&["INFO", "errorstats"]);
        let line = info.lines().find_map(|line| line.strip_prefix(&format!("errorstat_{code}:count=")));
        line.map_or(0, |count| count.trim().parse().unwrap())
    }

    /// Returns the nodes that answer.
    fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_running)
    }

    fn is_primary(&self, index: usize) -> bool {
        let role: Vec<Value> = self.node(index).ask(&["ROLE"]);
        role.first() == Some(&Value::BulkString(b"master".to_vec()))
    }

    /// Introduces a node to node 0.
    fn meet(&self, index: usize) {
        let (port, bus) = (self.node(index).port().to_string(), self.nodes[index].bus.number.to_string());
        self.ask(0, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
    }

    fn enter(&self, index: usize, port: u16) {
        self.directory.lock().unwrap().insert(port, self.node(index).socket());
    }

    fn ask(&self, index: usize, words: &[&str]) {
        self.node(index).ask::<()>(words);
    }
}
