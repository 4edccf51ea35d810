//! A cluster of two redis-servers: the one behind the lab's cache, and a node that takes over slots.

use std::ops::Range;

use cachepulse_standin::Options;

use crate::bench::Bench;
use crate::lab::Lab;
use crate::nodes::{UP, id, meet, node, until};
use crate::redis_server::{ADMIN, ALL, PASSWORD, RedisServer};

/// All slots of a cluster.
pub(crate) const SLOTS: Range<u16> = 0..16384;

/// Returns a bench whose cache has all slots of a cluster. The second redis-server is a node without slots. The agent takes
/// the cache for one node: the addresses that the servers announce lead past the cache, which alone speaks TLS.
pub(crate) async fn bench() -> Bench {
    let (redis, other) = pair(&[("default", ALL)]).await;
    let lab = Lab::before(redis, Options::default(), ALL).await;
    Bench { other: Some(other), ..Bench::of(lab).with(["--cluster-mode", "off"]) }
}

/// Returns a node with all slots, and one without, of a cluster that is up.
async fn pair(users: &[(&str, &str)]) -> (RedisServer, RedisServer) {
    let ((redis, _), other) = (node(users).await, node(users).await);
    redis.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    meet(&redis, &other).await;
    until(&redis, UP.0, UP.1).await;
    (redis, other.0)
}

/// Returns a primary with all slots, and its replica.
pub(crate) async fn with_replica(users: &[(&str, &str)]) -> (RedisServer, RedisServer) {
    let (primary, replica) = pair(users).await;
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
