//! Nodes of a cluster, each a real redis-server.

use std::time::Duration;

use tokio::time::sleep;

use crate::port::Port;
use crate::program::within;
use crate::redis_server::{Listen, RedisServer};

/// A command, and the text in its reply if the cluster is up.
pub(crate) const UP: (&[&str], &str) = (&["CLUSTER", "INFO"], "cluster_state:ok");

/// Starts a node, and returns it with its port for other nodes.
pub(crate) async fn node(users: &[(&str, &str)]) -> (RedisServer, Port) {
    // A node without slots must stay a primary.
    node_of(Listen::Plaintext, users, "cluster-allow-replica-migration no\n").await
}

/// The same with additional lines of configuration.
pub(crate) async fn node_of(listen: Listen, users: &[(&str, &str)], lines: &str) -> (RedisServer, Port) {
    let bus = Port::reserve();
    let lines = format!("cluster-enabled yes\ncluster-port {}\n{lines}", bus.number);
    (RedisServer::start_with(listen, users, &lines).await, bus)
}

/// Adds `other` to the cluster of `node`, and waits until both know it.
pub(crate) async fn meet(node: &RedisServer, (other, bus): &(RedisServer, Port)) {
    let (port, bus) = (other.port().to_string(), bus.number.to_string());
    node.ask::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
    until(node, &["CLUSTER", "NODES"], &id(other)).await;
    until(other, &["CLUSTER", "NODES"], &id(node)).await;
}

/// Returns the node's id.
pub(crate) fn id(node: &RedisServer) -> String {
    node.ask(&["CLUSTER", "MYID"])
}

/// Waits until the reply to `command` contains `text`.
pub(crate) async fn until(node: &RedisServer, command: &[&str], text: &str) {
    within(text, async {
        while !node.ask::<String>(command).contains(text) {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}
