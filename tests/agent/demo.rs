//! The demo, as its users run it.

use std::net::TcpListener;
use std::path::Path;

use rustix::process::Signal;

use crate::program::{Program, Running, cachepulse, eventually};
use crate::scrape::Scrape;

/// The names of the shards: their lowest slots.
const SHARDS: [&str; 3] = ["0", "5461", "10923"];

/// Returns `cachepulse demo` without outages, on these ports.
fn steady(redis_port: u16, identity_port: u16) -> Program {
    let ports = [
        "--redis-port".to_owned(),
        redis_port.to_string(),
        "--identity-port".to_owned(),
        identity_port.to_string(),
    ];
    cachepulse(["demo", "--steady", "--listen", "127.0.0.1:0"]).args(ports)
}

#[tokio::test]
async fn the_demo_names_the_flag_of_a_port_in_use() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().port();
    for (demo, message) in [
        (steady(taken, 0), "--redis-port: choose another port"),
        (steady(0, taken), "--identity-port: choose another port"),
        (steady(0, taken - 1), "--identity-port: the next port must be free too"),
    ] {
        let ended = demo.run().await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let cause = format!(": cannot listen on 127.0.0.1:{taken}: ");
        assert!(ended.stderr.contains(message) && ended.stderr.contains(&cause), "{ended:?}");
    }
}

#[tokio::test]
async fn the_demo_is_up_and_its_suggested_commands_work() {
    let folder = tempfile::tempdir().unwrap();
    let demo = steady(0, 0).env("TMPDIR", folder.path()).serve().await;
    demo.until("the demo's cache is up", |scrape| scrape.is_up("demo")).await;
    assert!(demo.printed().starts_with("cachepulse monitors a simulated cache."), "{}", demo.printed());
    eventually("it reports events", || demo.printed().contains("[azure] client ")).await;

    let [check, redis_cli] = commands(&demo);
    assert!(output(&check).await.contains("CLIENT LIST"));
    assert!(output(&format!("{redis_cli} PING")).await.contains("PONG"));
    ends(demo, folder.path()).await;
}

#[tokio::test]
async fn the_demo_of_a_cluster_loses_a_shard_and_gets_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let ports = ["--listen", "127.0.0.1:0", "--redis-port", "0", "--identity-port", "0", "--node-port", "0"];
    let demo = cachepulse(["demo", "--cluster"]).args(ports).env("TMPDIR", folder.path()).serve().await;
    let are_up = |it: &Scrape| {
        let available = it.get(r#"cluster_slots_available{target="demo"}"#);
        it.is_up("demo") && shards(it, "shard_success") == [Some(1.0); 3] && available == Some(16_384.0)
    };
    demo.until("all shards are up", are_up).await;

    let printed = demo.printed();
    let nodes = printed.lines().find_map(|line| line.strip_prefix("  nodes ")).unwrap_or_default();
    assert_eq!(nodes.matches(", ").count(), 6, "six ports and a note: {printed}");
    let [check, redis_cli] = commands(&demo);
    let checked = output(&check).await;
    for shard in SHARDS {
        assert!(checked.contains(&format!("shard {shard:<5}  primary  up")), "{checked}");
    }
    // With redirections.
    assert!(output(&format!("{redis_cli} SET {{a}} 1")).await.contains("OK"));
    assert!(output(&format!("{redis_cli} GET {{a}}")).await.contains('1'));

    let prints = async |text: &str| eventually(text, || demo.printed().contains(text)).await;
    prints("[azure] outage: both nodes of shard 10923 down for ").await;
    let is_lost =
        |it: &Scrape| it.is_down("demo") && shards(it, "shard_success") == [Some(1.0), Some(1.0), Some(0.0)];
    demo.until("one shard is down", is_lost).await;
    prints("[azure] outage over: shard 10923 is back").await;
    let scrape = demo.until("all shards are up again", are_up).await;
    let [first, second, third] = shards(&scrape, "shard_unavailable_seconds_total").map(Option::unwrap);
    assert!(first + second == 0.0 && third > 3.0, "{}", scrape.text);
    ends(demo, folder.path()).await;
}

fn shards(scrape: &Scrape, metric: &str) -> [Option<f64>; 3] {
    SHARDS.map(|shard| scrape.get(&format!("{metric}{{role=\"primary\",shard=\"{shard}\",target=\"demo\"}}")))
}

/// Returns the commands to try that the demo prints: a check, and redis-cli.
fn commands(demo: &Running) -> [String; 2] {
    let printed = demo.printed();
    let commands =
        printed.split_once("Try in another terminal:\n\n").unwrap().1.split_once("\n\n").unwrap().0;
    let (_, check) = commands.split_once("  IDENTITY_ENDPOINT=").unwrap();
    let (check, redis_cli) = check.split_once("\n  REDISCLI_AUTH=").unwrap();
    [format!("IDENTITY_ENDPOINT={check}"), format!("REDISCLI_AUTH={redis_cli}")]
}

/// Returns what a command prints, which must succeed.
async fn output(command: &str) -> String {
    let tried = tokio::process::Command::new("/bin/sh").args(["-c", command]).output().await.unwrap();
    assert!(tried.status.success(), "{command}: {tried:?}");
    String::from_utf8(tried.stdout).unwrap()
}

/// Ends the demo, which leaves nothing in its folder.
async fn ends(demo: Running, folder: &Path) {
    demo.signal(Signal::INT);
    let ended = demo.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0, "it leaves nothing behind");
}
