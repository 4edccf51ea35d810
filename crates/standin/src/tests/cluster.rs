//! Clusters with raw clients over TLS. Every client expects the name in the certificate, at the door and at each node.

use super::cache::Client;
use super::*;
use crate::cluster::slot::slot_of;

/// A key of each shard.
const KEYS: [&str; 3] = ["bar", "{}foo", "a"];

async fn lab(product: Product) -> Standin {
    let cluster = Some(ClusterOptions { product, ..ClusterOptions::default() });
    Standin::start(Options { cluster, ..Options::default() }).await.unwrap()
}

async fn signed_in(lab: &Standin, port: u16) -> Client {
    let mut client = Client::connect_to(lab, port).await.unwrap();
    assert!(client.ask(&["PING"]).await.unwrap().starts_with("-NOAUTH"));
    assert_eq!(client.sign_in(lab, 60).await, "+OK\r\n");
    client
}

fn primaries(lab: &Standin) -> [u16; 3] {
    [0, 1, 2].map(|shard| lab.cluster().unwrap().primary_port(shard))
}

/// Returns a bulk string.
fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

#[tokio::test]
async fn cluster_slots_names_one_address_with_a_port_for_each_node() {
    for (product, fields) in [(Product::CacheForRedis, 3), (Product::ManagedRedisOss, 4)] {
        let lab = lab(product).await;
        let mut client = signed_in(&lab, lab.cache_port()).await;
        let slots = client.ask(&["CLUSTER", "SLOTS"]).await.unwrap();
        assert!(slots.starts_with("*3\r\n*4\r\n:0\r\n:5460\r\n"), "{slots}");
        assert_eq!(slots.matches(&bulk("127.0.0.1")).count(), 6, "{slots}");
        for port in primaries(&lab) {
            let node = format!("*{fields}\r\n{}:{port}\r\n$40\r\n", bulk("127.0.0.1"));
            assert!(slots.contains(&node), "{slots}");
        }
        let metadata = slots.matches("*0\r\n").count();
        assert_eq!(metadata, 6 * (fields - 3), "{slots}");
    }
}

#[tokio::test]
async fn every_node_checks_the_sign_in_serves_its_slots_and_redirects_for_others() {
    let lab = lab(Product::CacheForRedis).await;
    for (shard, port) in primaries(&lab).into_iter().enumerate() {
        let mut client = signed_in(&lab, port).await;
        for (owner, key) in KEYS.into_iter().enumerate() {
            let slot = slot_of(key.as_bytes());
            let reply = client.ask(&["SET", key, "v"]).await.unwrap();
            let redirect = format!("-MOVED {slot} 127.0.0.1:{}\r\n", primaries(&lab)[owner]);
            assert_eq!(reply, if owner == shard { "+OK\r\n".to_owned() } else { redirect }, "{key}");
        }
        assert!(client.ask(&["DEL", "a", "b"]).await.unwrap().starts_with("-CROSSSLOT "));
        assert_eq!(
            client.ask(&["SELECT", "1"]).await.unwrap(),
            "-ERR SELECT is not allowed in cluster mode\r\n"
        );
        let hello = client.ask(&["HELLO", "3"]).await.unwrap();
        assert!(hello.contains(&(bulk("mode") + &bulk("cluster"))), "{hello}");
        assert!(hello.contains(&(bulk("role") + &bulk("master"))), "{hello}");
    }
}

#[tokio::test]
async fn a_replica_reads_the_primarys_keys_after_readonly() {
    let lab = lab(Product::CacheForRedis).await;
    let old = primaries(&lab)[0];
    signed_in(&lab, old).await.ask(&["SET", "bar", "v"]).await.unwrap();
    lab.cluster().unwrap().fail_over(0);
    let mut replica = signed_in(&lab, old).await;
    let moved = format!("-MOVED 5061 127.0.0.1:{}\r\n", primaries(&lab)[0]);
    assert_eq!(replica.ask(&["GET", "bar"]).await.unwrap(), moved);
    assert_eq!(replica.ask(&["READONLY"]).await.unwrap(), "+OK\r\n");
    assert_eq!(replica.ask(&["GET", "bar"]).await.unwrap(), bulk("v"));
    assert_eq!(replica.ask(&["SET", "bar", "w"]).await.unwrap(), moved);
    assert!(replica.ask(&["HELLO", "3"]).await.unwrap().contains(&bulk("replica")));
}

#[tokio::test]
async fn a_planned_failover_closes_the_connections_to_the_old_primary() {
    let lab = lab(Product::CacheForRedis).await;
    let [old, others @ ..] = primaries(&lab);
    let mut client = signed_in(&lab, old).await;
    let mut other = signed_in(&lab, others[0]).await;
    lab.cluster().unwrap().fail_over(0);
    assert_eq!(client.end().await, io::ErrorKind::UnexpectedEof);
    assert_eq!(other.ask(&["PING"]).await.unwrap(), "+PONG\r\n");
    let new = primaries(&lab)[0];
    assert_ne!(new, old);
    assert_eq!(signed_in(&lab, new).await.ask(&["SET", "bar", "v"]).await.unwrap(), "+OK\r\n");
    let slots = signed_in(&lab, lab.cache_port()).await.ask(&["CLUSTER", "SLOTS"]).await.unwrap();
    let first = format!(":0\r\n:5460\r\n*3\r\n{}:{new}\r\n", bulk("127.0.0.1"));
    assert!(slots.contains(&first), "{slots}");
}

#[tokio::test]
async fn a_lost_shard_refuses_connections_and_the_front_door_leads_to_another() {
    let lab = lab(Product::CacheForRedis).await;
    let cluster = lab.cluster().unwrap();
    let [lost, ..] = primaries(&lab);
    let mut client = signed_in(&lab, lost).await;
    cluster.lose(0);
    assert_eq!(client.end().await, io::ErrorKind::UnexpectedEof);
    while Client::connect_to(&lab, lost).await.is_ok() {}
    let mut at_door = signed_in(&lab, lab.cache_port()).await;
    let moved = format!("-MOVED 5061 127.0.0.1:{lost}\r\n");
    assert_eq!(at_door.ask(&["SET", "bar", "v"]).await.unwrap(), moved);
    assert_eq!(at_door.ask(&["SET", "{}foo", "v"]).await.unwrap(), "+OK\r\n");
    cluster.restore(0);
    while Client::connect_to(&lab, lost).await.is_err() {}
}

#[tokio::test]
async fn a_slot_migrates_with_ask_and_its_keys_move_with_it() {
    let lab = lab(Product::CacheForRedis).await;
    let cluster = lab.cluster().unwrap();
    let [from, _, to] = primaries(&lab);
    let (mut source, mut target) = (signed_in(&lab, from).await, signed_in(&lab, to).await);
    source.ask(&["SET", "{bar}1", "v"]).await.unwrap();
    cluster.begin_migration(5061..=5061, 2);
    assert_eq!(source.ask(&["GET", "{bar}1"]).await.unwrap(), bulk("v"));
    let ask = format!("-ASK 5061 127.0.0.1:{to}\r\n");
    assert_eq!(source.ask(&["SET", "{bar}2", "v"]).await.unwrap(), ask);
    let moved = |port: u16| format!("-MOVED 5061 127.0.0.1:{port}\r\n");
    assert_eq!(target.ask(&["SET", "{bar}2", "v"]).await.unwrap(), moved(from));
    assert_eq!(target.ask(&["ASKING"]).await.unwrap(), "+OK\r\n");
    assert_eq!(target.ask(&["SET", "{bar}2", "v"]).await.unwrap(), "+OK\r\n");
    assert_eq!(target.ask(&["GET", "{bar}2"]).await.unwrap(), moved(from), "ASKING is for one command");
    cluster.end_migration();
    for key in ["{bar}1", "{bar}2"] {
        assert_eq!(target.ask(&["GET", key]).await.unwrap(), bulk("v"));
        assert_eq!(source.ask(&["GET", key]).await.unwrap(), moved(to));
    }
}

#[tokio::test]
async fn with_the_enterprise_policy_one_endpoint_serves_every_slot_and_blocks_cluster() {
    let lab = lab(Product::ManagedRedisEnterprise).await;
    let mut client = signed_in(&lab, lab.cache_port()).await;
    for key in KEYS {
        assert_eq!(client.ask(&["SET", key, "v"]).await.unwrap(), "+OK\r\n");
    }
    for command in [&["CLUSTER", "SLOTS"][..], &["SELECT", "0"], &["READONLY"]] {
        assert!(client.ask(command).await.unwrap().starts_with("-ERR unknown command '"), "{command:?}");
    }
    assert!(client.ask(&["HELLO", "3"]).await.unwrap().contains(&bulk("standalone")));
    let rejected = client.ask(&["AUTH", "guess"]).await.unwrap();
    assert!(rejected.starts_with("-WRONGPASS "), "{rejected}");
}

#[tokio::test]
async fn maintenance_of_a_shard_is_announced_at_every_node_and_its_replica_takes_over() {
    let lab = lab(Product::CacheForRedis).await;
    let cluster = lab.cluster().unwrap();
    let old = primaries(&lab)[1];
    let mut frames: Vec<_> = cluster.all().map(CacheHandle::frames).collect();
    maintenance::Timeline {
        ahead: Duration::ZERO,
        starting: Duration::ZERO,
        closing: Duration::ZERO,
        away: Duration::ZERO,
        after: Duration::ZERO,
    }
    .play_at(cluster, 1)
    .await;
    for frames in &mut frames {
        for kind in ["Scheduled", "Starting", "Start", "FailoverComplete", "Ended"] {
            let frame = String::from_utf8(frames.recv().await.unwrap().to_vec()).unwrap();
            assert!(frame.contains(&format!("|NodeMaintenance{kind}|")), "{frame}");
            assert!(frame.contains(&format!("|SSLPort|{old}|NonSSLPort|{}", old - 2000)), "{frame}");
        }
    }
    assert_ne!(primaries(&lab)[1], old);
}
