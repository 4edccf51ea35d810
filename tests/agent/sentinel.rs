//! A target behind Redis Sentinel.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::program::{Program, Running, cachepulse, eventually};
use crate::redis_server::{Listen, RedisServer};
use crate::sentinel_bed::{SERVICE, Sentinel, SentinelBed, behind};
use crate::sentinel_client;

const QUORUM: &str = r#"sentinel_quorum{target="orders"}"#;
/// The rights that the documentation says a user of sentinels needs.
const RIGHTS: &str = "-@all +ping +sentinel|get-master-addr-by-name +subscribe resetchannels &+switch-master";

/// The interval of agents.
const INTERVAL: Duration = Duration::from_millis(500);

fn daemon(bed: &SentinelBed) -> Program {
    daemon_every("500ms", bed)
}

fn daemon_every(interval: &str, bed: &SentinelBed) -> Program {
    bed.agent(&["run", "--listen", "127.0.0.1:0", "--interval", interval])
}

async fn serve(program: Program) -> Running {
    let agent = program.serve().await;
    agent.until("the target is up", |it| it.is_up("orders")).await;
    agent
}

fn has_agent(server: &RedisServer) -> bool {
    server.clients().iter().any(|client| client.name == "cachepulse")
}

fn is_primary(server: &RedisServer) -> bool {
    server.ask::<String>(&["INFO", "replication"]).contains("role:master")
}

/// Lets the sentinels fail over to the replica, and waits until the agent has followed.
async fn fail_over(bed: &SentinelBed) {
    bed.sentinels[0].ask::<()>(&["SENTINEL", "FAILOVER", SERVICE]).unwrap();
    let [old, new] = &bed.servers;
    eventually("the agent is at the new primary", || has_agent(new) && !has_agent(old)).await;
    // The sentinels turn it into a replica, which closes its connections, 11 s after the failover.
    assert!(is_primary(old), "the agent left the old primary by itself");
}

async fn the_sentinels_decide_who_is_the_primary(listen: Listen) {
    let bed = SentinelBed::start(listen).await;
    let application = sentinel_client::start(&bed);
    let agent = serve(daemon(&bed)).await;
    assert!(has_agent(&bed.servers[0]) && !has_agent(&bed.servers[1]));
    eventually("two sentinels announce failovers to the agent", || {
        let subscribers = |sentinel: &Sentinel| {
            let clients: String = sentinel.ask(&["CLIENT", "LIST", "TYPE", "pubsub"]).unwrap();
            clients.lines().count()
        };
        bed.sentinels.iter().map(subscribers).sum::<usize>() == 2
    })
    .await;
    fail_over(&bed).await;
    let scrape = agent.until("the new primary is up", |it| it.connects("success", "orders") == 2).await;
    assert!(scrape.is_up("orders"), "{}", scrape.text);
    assert_eq!(scrape.sum("probe_failures_total", "orders"), 0, "{}", scrape.text);
    assert_eq!(scrape.disconnects("wrong_node", "orders"), 1, "{}", scrape.text);
    let log = agent.log();
    assert!(log.contains("sentinels name another primary"), "{log}");
    application.recovers().await;
    application.agrees(&agent, &agent.scrape().await, INTERVAL);
}

#[tokio::test]
async fn a_failover_is_followed_while_the_old_primary_goes_on_to_take_writes() {
    the_sentinels_decide_who_is_the_primary(Listen::Plaintext).await;
}

#[tokio::test]
async fn a_failover_is_followed_with_tls_to_sentinels_and_servers() {
    the_sentinels_decide_who_is_the_primary(Listen::Tls).await;
}

async fn the_outage_ends_with_the_promotion(listen: Listen) {
    let mut bed = SentinelBed::start(listen).await;
    let application = sentinel_client::start(&bed);
    // No tick shows the end of the outage; the sentinels announce it.
    let agent = serve(daemon_every("1h", &bed)).await;
    bed.servers[0].kill().await;
    agent.until("the loss is seen", |it| it.is_down("orders")).await;
    let new = &bed.servers[1];
    eventually("the agent is at the new primary", || has_agent(new)).await;
    application.recovers().await;
    let scrape = agent.until("the new primary is up", |it| it.is_up("orders")).await;
    // The sentinels wait a second before they act.
    assert!(scrape.unavailable("orders") > Duration::from_secs(1), "{}", scrape.text);
    application.agrees(&agent, &scrape, INTERVAL);
    // The agent may have followed another sentinel, the one that led the failover: this one hears of it up to 2 s later.
    eventually("every sentinel names the new primary", || {
        bed.sentinels.iter().all(|sentinel| sentinel.primary() == Some(new.port()))
    })
    .await;
}

#[tokio::test]
async fn a_killed_primary_is_down_until_the_replica_is_promoted() {
    the_outage_ends_with_the_promotion(Listen::Plaintext).await;
}

#[tokio::test]
async fn a_killed_primary_is_down_until_the_replica_is_promoted_with_tls() {
    the_outage_ends_with_the_promotion(Listen::Tls).await;
}

/// Rotates the password of sentinels that have these additional `lines`, while an agent signs in with `sign_in`. `change`
/// is what makes a sentinel take `new-password`.
async fn a_password_rotates(lines: &str, sign_in: &[&str], change: &[&[&str]]) {
    let bed = SentinelBed::start_with(Listen::Plaintext, lines).await;
    let application = sentinel_client::start(&bed);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "old-password\n").unwrap();
    let program = daemon(&bed).args(["--sentinel-identity", "password", "--sentinel-password-file"]);
    let agent = serve(program.args([file.as_os_str()]).args(sign_in)).await;
    // They close the connections on which failovers are announced.
    for words in change.iter().chain([&["CLIENT", "KILL", "TYPE", "pubsub"][..]].iter()) {
        bed.ask_all(words);
    }
    agent.logs("msg=\"sentinel lost\"").await;
    agent.logs("reason=auth_rejected").await;
    std::fs::write(&file, "new-password\n").unwrap();
    agent.logs("msg=\"sentinel answers again\"").await;
    fail_over(&bed).await;
    let scrape = agent.until("the new primary is up", |it| it.connects("success", "orders") == 2).await;
    assert_eq!(scrape.sum("probe_failures_total", "orders"), 0, "{}", scrape.text);
    application.recovers().await;
    application.agrees(&agent, &agent.scrape().await, INTERVAL);
    let log = agent.log();
    assert!(!log.contains("old-password") && !log.contains("new-password"), "{log}");
}

#[tokio::test]
async fn the_password_of_the_sentinels_is_read_again_when_it_rotates() {
    let lines = "requirepass old-password\n";
    let change = [
        &["SENTINEL", "CONFIG", "SET", "sentinel-pass", "new-password"][..],
        &["ACL", "SETUSER", "default", "resetpass", ">new-password"],
    ];
    a_password_rotates(lines, &[], &change).await;
}

#[tokio::test]
async fn the_password_of_a_user_of_the_sentinels_is_read_again_when_it_rotates() {
    let lines = format!("user probe on >old-password {RIGHTS}\n");
    let change = [&["ACL", "SETUSER", "probe", "resetpass", ">new-password"][..]];
    a_password_rotates(&lines, &["--sentinel-username", "probe"], &change).await;
}

#[tokio::test]
async fn dead_sentinels_cost_the_quorum_and_not_the_verdict() {
    let mut bed = SentinelBed::start(Listen::Plaintext).await;
    let agent = serve(daemon(&bed)).await;
    agent.until("the quorum is there", |it| it.text.contains(&format!("cachepulse_{QUORUM} 1"))).await;
    bed.sentinels[0].kill().await;
    bed.sentinels[1].kill().await;
    agent.until("the quorum is lost", |it| it.text.contains(&format!("cachepulse_{QUORUM} 0"))).await;
    bed.servers[0].ask::<u64>(&["CLIENT", "KILL", "TYPE", "normal"]);
    let scrape = agent.until("the last sentinel is asked", |it| it.connects("success", "orders") == 2).await;
    assert!(scrape.is_up("orders"), "{}", scrape.text);
    bed.sentinels[2].kill().await;
    let probes = agent.scrape().await.sum("probes_total", "orders");
    let scrape = agent.until("more probes", |it| it.sum("probes_total", "orders") > probes + 10).await;
    assert_eq!(scrape.sum("probe_failures_total", "orders"), 0, "{}", scrape.text);
    // Without a sentinel there is no way to a new connection.
    bed.servers[0].ask::<u64>(&["CLIENT", "KILL", "TYPE", "normal"]);
    agent.until("nobody names the primary", |it| it.failures("resolve", "orders") > 0).await;
}

#[tokio::test]
async fn check_shows_which_sentinel_named_the_primary_and_an_unknown_service() {
    let bed = SentinelBed::start(Listen::Plaintext).await;
    let checked = bed.agent(&["check"]).run().await;
    assert_eq!(checked.code, Some(0), "{}{}", checked.stdout, checked.stderr);
    let named = format!(": the primary is 127.0.0.1:{}\n", bed.servers[0].port());
    assert!(checked.stdout.contains(&named), "{}", checked.stdout);
    let summary = format!("primary 127.0.0.1:{}, quorum reached\n", bed.servers[0].port());
    assert!(checked.stdout.contains(&summary), "{}", checked.stdout);
    let checked =
        behind(&bed.addresses(), "other", &["check", "--tls", "false", "--attempts", "1"]).run().await;
    assert_eq!(checked.code, Some(1), "{}{}", checked.stdout, checked.stderr);
    for text in ["resolve at resolve", "the service other is unknown", "--sentinel-service"] {
        assert!(checked.stdout.contains(text), "{text}: {}", checked.stdout);
    }
}

#[tokio::test]
async fn a_sentinel_that_is_configured_as_the_host_is_named_with_the_keys_to_set() {
    let bed = SentinelBed::start(Listen::Plaintext).await;
    let port = bed.addresses().split(',').next().unwrap().rsplit(':').next().unwrap().to_owned();
    let checked = cachepulse(["check", "--host", "127.0.0.1", "--port", &port, "--tls", "false"])
        .args(["--identity", "none", "--attempts", "1"])
        .run()
        .await;
    assert_eq!(checked.code, Some(1), "{}{}", checked.stdout, checked.stderr);
    for text in
        ["server_error at set", "This server is a Sentinel", "--sentinel-addresses", "--sentinel-service"]
    {
        assert!(checked.stdout.contains(text), "{text}: {}", checked.stdout);
    }
}

#[tokio::test]
async fn a_user_of_the_sentinels_needs_four_rights_and_a_wrong_password_is_told() {
    let bed = SentinelBed::start_with(Listen::Plaintext, &format!("user probe on >s3cret {RIGHTS}\n")).await;
    let sign_in = ["--sentinel-identity", "password", "--sentinel-username", "probe"];
    let program = daemon(&bed)
        .args(sign_in)
        .args(["--sentinel-password-env", "SENTINEL_PASSWORD"])
        .env("SENTINEL_PASSWORD", "s3cret");
    let agent = serve(program).await;
    fail_over(&bed).await;
    let scrape = agent.scrape().await;
    assert!(!scrape.text.contains("cachepulse_sentinel_quorum{"), "refused: {}", scrape.text);
    let sentinel = &agent.status().await["targets"][0]["sentinel"];
    assert_eq!(sentinel["quorum"], "denied");
    assert_eq!(sentinel["primary"], format!("127.0.0.1:{}", bed.servers[1].port()));
    assert!(agent.get("/").await.body.contains("quorum denied"));
    for sentinel in &bed.sentinels {
        let denied = format!("{:?}", sentinel.ask::<redis::Value>(&["ACL", "LOG"]).unwrap());
        assert!(!denied.contains("ping") && !denied.contains("subscribe"), "{denied}");
    }
    let checked = bed
        .agent(&["check", "--attempts", "1"])
        .args(sign_in)
        .args(["--sentinel-password-env", "SENTINEL_PASSWORD"])
        .env("SENTINEL_PASSWORD", "wrong-password")
        .run()
        .await;
    for text in ["auth_rejected at resolve", "WRONGPASS", "--sentinel-identity"] {
        assert!(checked.stdout.contains(text), "{text}: {}", checked.stdout);
    }
    assert!(!checked.stdout.contains("wrong-password"), "{}", checked.stdout);
}

/// Starts a sentinel that answers every command, after HELLO and PING, with `reply`, and returns its address.
async fn hostile(reply: impl Fn(u16) -> String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let reply = reply(port);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let reply = reply.clone();
            tokio::spawn(async move {
                let mut bytes = vec![0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut bytes).await {
                    let asked = String::from_utf8_lossy(&bytes[..length]).into_owned();
                    let hello = "%2\r\n+proto\r\n:3\r\n+mode\r\n+sentinel\r\n+PONG\r\n";
                    let answer = if asked.contains("HELLO") { hello } else { &reply };
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    format!("127.0.0.1:{port}")
}

fn address(port: u16) -> String {
    let port = port.to_string();
    format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len())
}

#[tokio::test]
async fn a_hostile_sentinel_costs_an_attempt_and_others_are_asked_then() {
    let bed = SentinelBed::start(Listen::Plaintext).await;
    let huge = |_| format!("${}\r\n{}", 900_000_000, "x".repeat(100_000));
    let replica = bed.servers[1].port();
    for hostile in [
        hostile(address).await,
        hostile(huge).await,
        hostile(|_| String::new()).await,
        hostile(|_| "+OK\r\n".to_owned()).await,
        hostile(|_| "*2\r\n$1\r\n/\r\n$1\r\n0\r\n".to_owned()).await,
        hostile(move |_| address(replica)).await,
    ] {
        let all = format!("{hostile},{}", bed.addresses());
        let checked = behind(&all, SERVICE, &["check", "--tls", "false"]).run().await;
        assert_eq!(checked.code, Some(0), "{}{}", checked.stdout, checked.stderr);
        let once = ["check", "--tls", "false", "--attempts", "1", "--connect-timeout", "2s"];
        let checked = behind(&hostile, SERVICE, &once).run().await;
        assert_eq!(checked.code, Some(1), "{}{}", checked.stdout, checked.stderr);
        assert!(checked.stdout.contains("sentinel"), "{}", checked.stdout);
    }
}
