//! A cluster of two redis-servers: the one behind the lab's cache, and a node that takes over slots.

use std::ops::Range;
use std::time::Duration;

use cachepulse_standin::Options;
use tokio::time::sleep;

use crate::bench::Bench;
use crate::lab::Lab;
use crate::port::Port;
use crate::program::within;
use crate::redis_server::{ADMIN, ALL, Listen, PASSWORD, RedisServer};

/// All slots of a cluster.
pub(crate) const SLOTS: Range<u16> = 0..16384;

/// A command, and the text in its reply if the cluster is up.
const UP: (&[&str], &str) = (&["CLUSTER", "INFO"], "cluster_state:ok");

/// Starts a node, and returns it with its port for other nodes.
async fn node(users: &[(&str, &str)]) -> (RedisServer, Port) {
    let bus = Port::reserve();
    // A node without slots must stay a primary.
    let alone = "cluster-allow-replica-migration no";
    let lines = format!("cluster-enabled yes\ncluster-port {}\n{alone}\n", bus.number);
    (RedisServer::start_with(Listen::Plaintext, users, &lines).await, bus)
}

/// Returns a bench whose cache has all slots of a cluster. The second redis-server is a node without slots.
pub(crate) async fn bench() -> Bench {
    let (redis, other) = pair(&[("default", ALL)]).await;
    let lab = Lab::before(redis, Options::default(), ALL).await;
    Bench { other: Some(other), ..Bench::of(lab) }
}

/// Returns a node with all slots, and one without, of a cluster that is up.
async fn pair(users: &[(&str, &str)]) -> (RedisServer, RedisServer) {
    let ((redis, _), (other, bus)) = (node(users).await, node(users).await);
    redis.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    redis.ask::<()>(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string(), &bus.number.to_string()]);
    let other_id = id(&other);
    until(&redis, &["CLUSTER", "NODES"], &other_id).await;
    until(&redis, UP.0, UP.1).await;
    (redis, other)
}

/// Returns a primary with all slots, and its replica.
pub(crate) async fn with_replica(users: &[(&str, &str)]) -> (RedisServer, RedisServer) {
    let (primary, replica) = pair(users).await;
    until(&replica, &["CLUSTER", "NODES"], &id(&primary)).await;
    // It signs in to the primary as the user of the tests.
    replica.ask::<()>(&["CONFIG", "SET", "masteruser", ADMIN, "masterauth", PASSWORD]);
    replica.ask::<()>(&["CLUSTER", "REPLICATE", &id(&primary)]);
    until(&replica, &["INFO", "replication"], "master_link_status:up").await;
    until(&primary, &["CLUSTER", "NODES"], "slave").await;
    (primary, replica)
}

/// Makes `replica` the primary.
pub(crate) async fn fail_over(primary: &RedisServer, replica: &RedisServer) {
    replica.ask::<()>(&["CLUSTER", "FAILOVER"]);
    until(replica, &["INFO", "replication"], "role:master").await;
    until(primary, &["INFO", "replication"], "role:slave").await;
}

/// Removes all slots from the cache.
pub(crate) fn lose_slots(bench: &Bench) {
    bench.lab.redis.ask::<()>(&["CLUSTER", "DELSLOTSRANGE", "0", "16383"]);
}

/// Adds all slots to the cache, and waits until the cluster is up, for up to 5 s.
pub(crate) async fn regain_slots(bench: &Bench) {
    bench.lab.redis.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    until(&bench.lab.redis, UP.0, UP.1).await;
}

/// Deletes the cache's keys and assigns `slots` to the other node.
pub(crate) fn move_away(bench: &Bench, slots: Range<u16>) {
    assign(&bench.lab.redis, slots, &id(bench.other.as_ref().unwrap()));
}

/// Assigns all slots to the cache.
pub(crate) fn move_back(bench: &Bench) {
    assign(&bench.lab.redis, SLOTS, &id(&bench.lab.redis));
}

/// Assigns slots at one node, as resharding does. A node gives up a slot only if it has no keys in it.
fn assign(node: &RedisServer, slots: Range<u16>, owner: &str) {
    let mut transaction = redis::pipe();
    transaction.atomic().cmd("FLUSHALL");
    for slot in slots {
        transaction.cmd("CLUSTER").arg("SETSLOT").arg(slot).arg("NODE").arg(owner);
    }
    transaction.exec(&mut node.admin().unwrap()).unwrap();
}

fn id(node: &RedisServer) -> String {
    node.ask(&["CLUSTER", "MYID"])
}

async fn until(node: &RedisServer, command: &[&str], text: &str) {
    within(text, async {
        while !node.ask::<String>(command).contains(text) {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}
