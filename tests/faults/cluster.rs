//! A cluster of redis-servers: the one behind the lab's cache, and a node that takes slots over.

use std::ops::Range;
use std::time::Duration;

use cachepulse_standin::Options;
use tokio::time::sleep;

use crate::bench::Bench;
use crate::lab::Lab;
use crate::port::Port;
use crate::program::within;
use crate::redis_server::{ALL, Listen, RedisServer};

/// Every slot that keys of a cluster lie in.
pub(crate) const SLOTS: Range<u16> = 0..16384;

/// What is asked, and what is told where the cluster is well.
const UP: (&[&str], &str) = (&["CLUSTER", "INFO"], "cluster_state:ok");

/// A node at a port, and the port that is for other nodes.
async fn node(rules: &str) -> (RedisServer, Port) {
    let bus = Port::reserve();
    // A node that has lost its last slot stays a primary.
    let alone = "cluster-allow-replica-migration no";
    let lines = format!("cluster-enabled yes\ncluster-port {}\n{alone}\n", bus.number);
    (RedisServer::start_with(Listen::Plaintext, &[("default", rules)], &lines).await, bus)
}

/// A bench whose cache has all slots of a cluster; its other redis-server is a node without any.
pub(crate) async fn bench() -> Bench {
    let ((redis, _), (other, bus)) = (node(ALL).await, node(ALL).await);
    redis.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    redis.ask::<()>(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string(), &bus.number.to_string()]);
    let other_id = id(&other);
    until(&redis, &["CLUSTER", "NODES"], &other_id).await;
    until(&redis, UP.0, UP.1).await;
    let lab = Lab::before(redis, Options::default(), ALL).await;
    Bench { other: Some(other), ..Bench::of(lab) }
}

/// Nobody has any slot.
pub(crate) fn lose_slots(bench: &Bench) {
    bench.lab.redis.ask::<()>(&["CLUSTER", "DELSLOTSRANGE", "0", "16383"]);
}

/// The cache has every slot again, and has found the cluster to be well, which takes it up to 5 s.
pub(crate) async fn regain_slots(bench: &Bench) {
    bench.lab.redis.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    until(&bench.lab.redis, UP.0, UP.1).await;
}

/// The cache's keys are gone, and `slots` are the other node's.
pub(crate) fn move_away(bench: &Bench, slots: Range<u16>) {
    assign(&bench.lab.redis, slots, &id(bench.other.as_ref().unwrap()));
}

/// Every slot is the cache's again.
pub(crate) fn move_back(bench: &Bench) {
    assign(&bench.lab.redis, SLOTS, &id(&bench.lab.redis));
}

/// As resharding does, at the node that clients ask: it gives a slot away only if it holds no key of it.
fn assign(asked: &RedisServer, slots: Range<u16>, owner: &str) {
    let mut transaction = redis::pipe();
    transaction.atomic().cmd("FLUSHALL");
    for slot in slots {
        transaction.cmd("CLUSTER").arg("SETSLOT").arg(slot).arg("NODE").arg(owner);
    }
    transaction.exec(&mut asked.admin().unwrap()).unwrap();
}

fn id(node: &RedisServer) -> String {
    node.ask(&["CLUSTER", "MYID"])
}

async fn until(asked: &RedisServer, command: &[&str], words: &str) {
    within(words, async {
        while !asked.ask::<String>(command).contains(words) {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}
