//! `CLUSTER SLOTS` on a session, under RESP2 and RESP3.

use redis::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::Session;
use crate::connection::reply::Limits;
use crate::probe::{Failure, FailureReason, Stage};
use crate::topology::{AnnouncedHost, AnnouncedNode, Hosts, Row, Slot, Topology};

const STAGE: Stage = Stage::Topology;
/// The longest id that is kept. Servers have 40 hexadecimal digits.
const MAX_ID: usize = 64;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// `CLUSTER SLOTS`. `hosts` says which host leads to a node.
    ///
    /// # Errors
    /// Anything but rows of slots, which leaves the session usable. What an error reply says of the server is in
    /// [`crate::probe::StepResult::of`]: `unsupported` if it is not clustered, `denied` if the user may not ask.
    pub async fn cluster_slots(&mut self, hosts: Hosts<'_>, deadline: Instant) -> Result<Topology, Failure> {
        let limit = self.limits.bytes;
        self.limits = Limits::of_topology(limit);
        let reply = self.command(STAGE, &["CLUSTER", "SLOTS"], deadline).await;
        self.limits = Limits::of_probe(limit);
        let rows = rows(reply?).ok_or_else(|| malformed("the reply is not a list of slots"))?;
        Topology::new(rows, hosts).map_err(|listed_twice| malformed(&listed_twice.to_string()))
    }
}

fn malformed(detail: &str) -> Failure {
    Failure::new(FailureReason::ProtocolError, STAGE, detail)
}

/// Returns the rows in `reply`; `None` if it is anything else.
fn rows(reply: Value) -> Option<Vec<Row>> {
    array(reply)?.into_iter().map(row).collect()
}

/// Reads `[first, last, primary, replica…]`. What is no node behind the primary may be added by later versions.
fn row(value: Value) -> Option<Row> {
    let mut values = array(value)?.into_iter();
    let (first, last) = (slot(&values.next()?)?, slot(&values.next()?)?);
    let primary = node(values.next()?)?;
    let replicas = values.filter_map(node).collect();
    (first <= last).then_some(Row { first, last, primary, replicas })
}

/// Reads `[host, port, id, metadata]`, of which the last two may be absent and more may follow.
fn node(value: Value) -> Option<AnnouncedNode> {
    let mut values = array(value)?.into_iter();
    let host = match values.next()? {
        Value::Nil => AnnouncedHost::Asked,
        value => AnnouncedHost::new(&text(&value)?),
    };
    let port = match values.next()? {
        Value::Int(port) => u16::try_from(port).unwrap_or(0),
        value => text(&value)?.parse().unwrap_or(0),
    };
    let is_id =
        |id: &String| (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    let id = values.next().and_then(|id| text(&id)).filter(is_id).map(String::into_boxed_str);
    let host = match host {
        AnnouncedHost::Unknown => {
            values.next().and_then(ip).map_or(AnnouncedHost::Unknown, |ip| AnnouncedHost::new(&ip))
        }
        host => host,
    };
    Some(AnnouncedNode { host, port, id })
}

/// Returns the address in a node's metadata: a map, or under RESP2 names and values in turn.
fn ip(metadata: Value) -> Option<String> {
    let is_ip = |name: &Value| text(name).is_some_and(|name| name == "ip");
    let ip = match metadata {
        Value::Map(fields) => fields.into_iter().find(|(name, _)| is_ip(name))?.1,
        Value::Array(values) => values.chunks_exact(2).find(|pair| is_ip(&pair[0]))?[1].clone(),
        _ => return None,
    };
    text(&ip).filter(|ip| !ip.is_empty())
}

fn slot(value: &Value) -> Option<Slot> {
    match value {
        Value::Int(number) => u16::try_from(*number).ok().and_then(Slot::new),
        _ => None,
    }
}

fn array(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

/// Returns a string whatever its type in RESP.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::super::tests::{session, soon};
    use super::*;
    use crate::probe::StepResult;

    fn bulk(text: &str) -> String {
        format!("${}\r\n{text}\r\n", text.len())
    }

    async fn ask(reply: &str) -> (Result<Topology, Failure>, bool) {
        let (near, mut far) = duplex(8 * 1024 * 1024);
        far.write_all(reply.as_bytes()).await.unwrap();
        let mut session = Session::new(near, 1024 * 1024, None);
        let asked = "cache.test".into();
        let result = session.cluster_slots(Hosts::Announced { asked: &asked }, soon()).await;
        (result, session.is_usable())
    }

    /// Returns shards as `slots primary replica…`, nodes as `id@address`.
    async fn shards(reply: &str) -> Vec<String> {
        let topology = ask(reply).await.0.unwrap();
        let shown = topology.shards.iter().map(|shard| {
            let mut line = shard.slots.to_string();
            for node in [&shard.primary].into_iter().chain(&shard.replicas) {
                let address = node.address.as_ref().map_or("nowhere".into(), ToString::to_string);
                write!(line, " {}@{address}", node.id).unwrap();
            }
            line
        });
        shown.collect()
    }

    fn node(host: &str, port: &str, rest: &[String]) -> String {
        format!("*{}\r\n{host}{port}{}", 2 + rest.len(), rest.concat())
    }

    fn row(first: u16, last: u16, nodes: &[String]) -> String {
        format!("*{}\r\n:{first}\r\n:{last}\r\n{}", 2 + nodes.len(), nodes.concat())
    }

    fn reply(rows: &[String]) -> String {
        format!("*{}\r\n{}", rows.len(), rows.concat())
    }

    /// A node as Redis 6 sends it.
    fn old(port: u16, id: &str) -> String {
        node(&bulk("127.0.0.1"), &format!(":{port}\r\n"), &[bulk(id)])
    }

    #[tokio::test(start_paused = true)]
    async fn rows_in_the_order_of_nodes_become_shards_in_the_order_of_slots() {
        let said = reply(&[
            row(1, 5460, &[old(7000, "a"), old(7003, "d")]),
            row(10_923, 16_383, &[old(7002, "c")]),
            row(0, 0, &[old(7002, "c"), old(7005, "f")]),
            row(5461, 10_922, &[old(7001, "b")]),
        ]);
        assert_eq!(
            shards(&said).await,
            [
                "0,10923-16383 c@127.0.0.1:7002 f@127.0.0.1:7005",
                "1-5460 a@127.0.0.1:7000 d@127.0.0.1:7003",
                "5461-10922 b@127.0.0.1:7001",
            ]
        );
        assert_eq!(ask(&said).await.0.unwrap().covered(), crate::topology::SlotSet::all());
        assert_eq!(shards("*0\r\n").await, [""; 0], "a fresh node");
    }

    #[tokio::test(start_paused = true)]
    async fn every_form_of_an_endpoint_is_read_under_both_protocols() {
        let port = ":8502\r\n";
        let (resp2, resp3) = (
            |pairs: &str, n: u8| format!("*{}\r\n{pairs}", 2 * n),
            |pairs: &str, n: u8| format!("%{n}\r\n{pairs}"),
        );
        let ip = format!("{}{}", bulk("ip"), bulk("10.0.0.4"));
        let hostname = format!("{}{}", bulk("hostname"), bulk("node.test"));
        let both = format!("{hostname}{ip}");
        for (host, metadata, count, address) in [
            (bulk("10.0.0.4"), "", 0, "10.0.0.4:8502"),
            (bulk("10.0.0.4"), &*hostname, 1, "10.0.0.4:8502"),
            (bulk("node.test"), &ip, 1, "node.test:8502"),
            (bulk("2001:db8::6"), "", 0, "[2001:db8::6]:8502"),
            ("$-1\r\n".into(), &ip, 1, "cache.test:8502"),
            ("_\r\n".into(), &both, 2, "cache.test:8502"),
            (bulk(""), "", 0, "cache.test:8502"),
            (bulk("?"), "", 0, "nowhere"),
            (bulk("?"), &hostname, 1, "nowhere"),
            (bulk("?"), &ip, 1, "10.0.0.4:8502"),
            (bulk("?"), &both, 2, "10.0.0.4:8502"),
        ] {
            for metadata in [resp2(metadata, count), resp3(metadata, count)] {
                let node = node(&host, port, &[bulk("a"), metadata.clone(), bulk("later"), "_\r\n".into()]);
                let said = reply(&[row(0, 16_383, &[node.clone(), node, "%0\r\n".into()])]);
                let expected = format!("0-16383 a@{address} a@{address}");
                assert_eq!(shards(&said).await, [expected], "{host:?} {metadata:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nodes_may_share_an_id_or_have_none() {
        let address = |port: u16| node(&bulk("10.0.0.4"), &format!(":{port}\r\n"), &[]);
        let said = reply(&[
            row(0, 99, &[old(8500, "x")]),
            row(100, 199, &[old(8501, "x")]),
            row(200, 299, &[old(8500, "x")]),
            row(300, 399, &[address(8502)]),
            row(400, 499, &[node(&bulk("10.0.0.4"), ":8503\r\n", &[bulk("")])]),
        ]);
        assert_eq!(
            shards(&said).await,
            [
                "0-99,200-299 x@127.0.0.1:8500",
                "100-199 x@127.0.0.1:8501",
                "300-399 10.0.0.4:8502@10.0.0.4:8502",
                "400-499 10.0.0.4:8503@10.0.0.4:8503",
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_without_a_usable_address_leaves_the_others_as_they_are() {
        for port in [":0\r\n", ":-1\r\n", ":65536\r\n", ":9223372036854775807\r\n"] {
            let said = reply(&[
                row(0, 99, &[node(&bulk("10.0.0.4"), port, &[bulk("a")]), old(7003, "d")]),
                row(100, 199, &[old(7001, "b")]),
            ]);
            let expected = ["0-99 a@nowhere d@127.0.0.1:7003", "100-199 b@127.0.0.1:7001"];
            assert_eq!(shards(&said).await, expected, "{port}");
        }
        let said = reply(&[row(0, 99, &[node(&bulk(&"a".repeat(300)), ":1\r\n", &[bulk(&"i".repeat(99))])])]);
        assert_eq!(shards(&said).await, ["0-99 ?:1@nowhere"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_largest_caches_fit_even_with_their_slots_in_pieces() {
        let metadata =
            format!("*4\r\n{}{}{}{}", bulk("ip"), bulk("100.100.100.100"), bulk("hostname"), bulk("n"));
        let named = |port: u16| {
            node(
                &bulk("100.100.100.100"),
                &format!(":{port}\r\n"),
                &[bulk(&format!("{port:040}")), metadata.clone()],
            )
        };
        let rows: Vec<_> = (0..384 * 8)
            .map(|index: u16| {
                row(index * 5, index * 5 + 4, &[named(8500 + index % 384), named(9500 + index % 384)])
            })
            .collect();
        let said = reply(&rows);
        assert!(said.len() < 1024 * 1024, "{}", said.len());
        assert_eq!(ask(&said).await.0.unwrap().shards.len(), 384);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_topology_is_an_error_and_the_session_goes_on() {
        let one = row(0, 99, &[old(7000, "a")]);
        for said in [
            "+OK\r\n",
            "$-1\r\n",
            ":1\r\n",
            "*1\r\n:1\r\n",
            "*1\r\n*0\r\n",
            "*1\r\n*2\r\n:0\r\n:1\r\n",
            "*1\r\n*3\r\n:0\r\n:1\r\n$-1\r\n",
            "*1\r\n*3\r\n:0\r\n:1\r\n*1\r\n$1\r\na\r\n",
            "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n:1\r\n:1\r\n",
            "*1\r\n*3\r\n+0\r\n:1\r\n*2\r\n$1\r\na\r\n:1\r\n",
            &reply(&[row(2, 1, &[old(7000, "a")])]),
            &reply(&[row(0, 16_384, &[old(7000, "a")])]),
            &reply(&[one.replace(":99", ":-1")]),
            &reply(&[one.clone(), one.clone()]),
            &reply(&[one.clone(), row(99, 100, &[old(7001, "b")])]),
            &reply(&[row(50, 60, &[old(7001, "b")]), one.clone()]),
            "*1\r\n-ERR inside\r\n",
        ] {
            let (result, usable) = ask(said).await;
            let failure = result.unwrap_err();
            assert_eq!(
                (failure.reason, failure.stage, usable),
                (FailureReason::ProtocolError, STAGE, true),
                "{said}"
            );
        }
        assert!(
            ask(&reply(&[one.clone(), one])).await.0.unwrap_err().detail.contains("slot 0 is listed twice")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_hostile_reply_ends_in_an_error() {
        for said in [
            "*65536\r\n",
            &"*1\r\n".repeat(70_000),
            &"*1\r\n".repeat(60_000),
            "*999999999\r\n",
            "$99999999\r\n",
        ] {
            let (result, usable) = ask(said).await;
            assert!(result.is_err() && !usable, "{}", &said[..9]);
        }
        let (result, _) = ask(&format!("{}:1\r\n", "*1\r\n".repeat(60_000))).await;
        assert_eq!(result.unwrap_err().reason, FailureReason::ProtocolError);
    }

    #[tokio::test(start_paused = true)]
    async fn the_larger_limit_is_that_of_this_reply_alone() {
        let (mut session, mut far) = session(b"*0\r\n").await;
        let asked = "cache.test".into();
        session.cluster_slots(Hosts::Announced { asked: &asked }, soon()).await.unwrap();
        session.limits.bytes = 1024 * 1024;
        far.write_all(b"*10000\r\n").await.unwrap();
        assert!(session.ping(soon()).await.unwrap_err().detail.contains("more than 10000 values"));
    }

    #[tokio::test(start_paused = true)]
    async fn slots_in_more_ranges_than_are_read_are_told_as_such() {
        let rows: Vec<_> = (0..10_000).map(|slot| row(slot, slot, &[old(7000, "a")])).collect();
        let failure = ask(&reply(&rows)).await.0.unwrap_err();
        assert_eq!(
            (failure.reason, &*failure.detail),
            (FailureReason::ProtocolError, "the reply has more than 65536 values")
        );
        assert!(failure.advice().contains("separate ranges"), "{}", failure.advice());
    }

    #[tokio::test(start_paused = true)]
    async fn servers_that_are_no_clusters_and_missing_rights_are_told_apart() {
        for (text, result) in [
            ("ERR This instance has cluster support disabled", StepResult::Unsupported),
            ("ERR unknown command 'CLUSTER', with args beginning with: 'SLOTS' ", StepResult::Unsupported),
            ("ERR unknown command `CLUSTER`, with args beginning with: `SLOTS`, ", StepResult::Unsupported),
            (
                "ERR Unknown subcommand or wrong number of arguments for 'SLOTS'. Try CLUSTER HELP",
                StepResult::Unsupported,
            ),
            ("ERR unsupported command 'cluster'", StepResult::Unsupported),
            (
                "NOPERM this user has no permissions to run the 'cluster' command or its subcommand",
                StepResult::Denied,
            ),
            ("NOPERM this user has no permissions to run the 'cluster|slots' command", StepResult::Denied),
            ("LOADING Redis is loading the dataset in memory", StepResult::Failure),
        ] {
            let (answer, usable) = ask(&format!("-{text}\r\n")).await;
            assert_eq!((StepResult::of(&answer), usable), (result, true), "{text}");
        }
    }
}
