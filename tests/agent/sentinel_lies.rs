//! A target behind sentinels one of which is wrong, while two always name the primary.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::port::Port;
use crate::program::{Running, within};
use crate::redis_server::{ALL, Listen, RedisServer};
use crate::sentinel_bed::{SERVICE, behind};

const SECOND: Duration = Duration::from_secs(1);

/// A scripted sentinel.
#[derive(Clone)]
struct Sentinel {
    state: Arc<Mutex<State>>,
    port: u16,
}

struct State {
    /// What it answers with at each question: the ports of 127.0.0.1 in turn.
    ports: Vec<u16>,
    /// Whether it never answers.
    hangs: bool,
    /// Whether it hangs up after each answer.
    hangs_up: bool,
    /// Whether it announces a failover each 10 ms.
    announces: bool,
    asked: usize,
}

const HELLO: &str = "%2\r\n+proto\r\n:3\r\n+mode\r\n+sentinel\r\n+PONG\r\n";
const SUBSCRIBED: &str = ">3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n";
const ANNOUNCEMENT: &str =
    ">3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$38\r\nmymaster 127.0.0.1 6000 127.0.0.1 6001\r\n";

impl Sentinel {
    async fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state = State { ports: vec![port], hangs: false, hangs_up: false, announces: false, asked: 0 };
        let it = Self { state: Arc::new(Mutex::new(state)), port: listener.local_addr().unwrap().port() };
        let served = it.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(served.clone().serve(stream));
            }
        });
        it
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    fn names(&self, ports: &[u16]) {
        self.with(|state| (state.ports, state.asked) = (ports.to_vec(), 0));
    }

    fn asked(&self) -> usize {
        self.with(|state| state.asked)
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut bytes = vec![0; 4096];
        loop {
            let length = tokio::select! {
                length = stream.read(&mut bytes) => length.unwrap_or(0),
                () = sleep(SECOND / 100) => {
                    if self.with(|state| state.announces)
                        && stream.write_all(ANNOUNCEMENT.as_bytes()).await.is_err()
                    {
                        return;
                    }
                    continue;
                }
            };
            if length == 0 {
                return;
            }
            let asked = String::from_utf8_lossy(&bytes[..length]).to_uppercase();
            let (answer, hangs_up) = self.with(|state| state.answer(&asked));
            if stream.write_all(answer.as_bytes()).await.is_err() || hangs_up {
                return;
            }
        }
    }
}

impl State {
    fn answer(&mut self, asked: &str) -> (String, bool) {
        if self.hangs {
            return (String::new(), false);
        }
        if asked.contains("GET-MASTER-ADDR-BY-NAME") {
            let port = self.ports[self.asked % self.ports.len()].to_string();
            self.asked += 1;
            let answer = format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len());
            return (answer, self.hangs_up);
        }
        let answers = [("HELLO", HELLO), ("SUBSCRIBE", SUBSCRIBED), ("CKQUORUM", "+OK 3 usable\r\n")];
        let answer = answers.into_iter().find(|(command, _)| asked.contains(command));
        (answer.map_or("+OK\r\n", |(_, answer)| answer).to_owned(), false)
    }
}

/// A primary, and three sentinels of it of which the first is wrong at times.
struct Bed {
    primary: RedisServer,
    sentinels: [Sentinel; 3],
}

impl Bed {
    async fn start() -> Self {
        let primary = RedisServer::start(Listen::Plaintext, &[("default", &format!("nopass {ALL}"))]).await;
        let port = primary.port();
        let sentinels =
            [Sentinel::start(port).await, Sentinel::start(port).await, Sentinel::start(port).await];
        Self { primary, sentinels }
    }

    fn liar(&self) -> &Sentinel {
        &self.sentinels[0]
    }

    fn addresses(&self) -> String {
        self.sentinels.each_ref().map(|it| format!("127.0.0.1:{}", it.port)).join(",")
    }

    async fn agent(&self) -> Running {
        let arguments = [
            "run",
            "--listen",
            "127.0.0.1:0",
            "--interval",
            "500ms",
            "--tls",
            "false",
            "--connect-timeout",
            "2s",
        ];
        let agent = behind(&self.addresses(), SERVICE, &arguments).serve().await;
        agent.until("the target is up", |it| it.is_up("orders")).await;
        agent
    }

    /// Waits until the first sentinel was asked so often.
    async fn lies(&self, times: usize) {
        within("the sentinel was asked", async {
            while self.liar().asked() < times {
                sleep(SECOND / 50).await;
            }
        })
        .await;
    }
}

/// Returns the port of a server that takes connections and never answers.
async fn hung() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    port
}

/// Asserts that the target has been up all the time, on its first connection.
async fn nothing_has_failed(agent: &Running) {
    let scrape = agent.scrape().await;
    let text = || format!("{}{}", scrape.text, agent.log());
    assert_eq!(scrape.connects("success", "orders"), 1, "{}", text());
    assert_eq!(scrape.connects("failure", "orders"), 0, "{}", text());
    assert_eq!(scrape.sum("probe_failures_total", "orders"), 0, "{}", text());
    assert!(scrape.unavailable("orders").is_zero() && scrape.is_up("orders"), "{}", text());
}

#[tokio::test]
async fn a_sentinel_that_names_an_address_without_a_server_moves_nothing() {
    let bed = Bed::start().await;
    let agent = bed.agent().await;
    let (closed, other) = (Port::reserve(), Port::reserve());
    bed.liar().names(&[closed.number]);
    agent.logs("sentinel is wrong about the primary").await;
    // It alternates, and names one address after the other.
    bed.liar().with(|state| state.announces = true);
    let right = bed.primary.port();
    bed.liar().names(&[right, closed.number, other.number]);
    bed.lies(6).await;
    nothing_has_failed(&agent).await;
    let log = agent.log();
    assert_eq!(log.matches("is wrong about the primary").count(), 1, "{log}");
    assert!(!log.contains("name another primary"), "{log}");
    // New connections are led to the primary as well.
    bed.primary.ask::<u64>(&["CLIENT", "KILL", "TYPE", "normal"]);
    let scrape = agent.until("a new connection", |it| it.connects("success", "orders") == 2).await;
    assert_eq!(scrape.sum("probe_failures_total", "orders"), 0, "{}{}", scrape.text, agent.log());
}

#[tokio::test]
async fn a_sentinel_that_announces_failovers_without_end_is_asked_once_in_a_second() {
    let bed = Bed::start().await;
    let agent = bed.agent().await;
    bed.liar().with(|state| state.announces = true);
    bed.liar().names(&[bed.primary.port()]);
    let began = tokio::time::Instant::now();
    bed.lies(4).await;
    assert!(began.elapsed() > 2 * SECOND, "{:?}", began.elapsed());
    nothing_has_failed(&agent).await;
}

#[tokio::test]
async fn the_others_outweigh_a_sentinel_that_names_a_hung_server() {
    let bed = Bed::start().await;
    let agent = bed.agent().await;
    bed.liar().names(&[hung().await]);
    agent.logs("sentinel is wrong about the primary").await;
    nothing_has_failed(&agent).await;
}

#[tokio::test]
async fn the_others_outweigh_a_sentinel_that_names_another_primary() {
    let bed = Bed::start().await;
    let agent = bed.agent().await;
    let other = RedisServer::start(Listen::Plaintext, &[("default", &format!("nopass {ALL}"))]).await;
    bed.liar().names(&[other.port()]);
    agent.logs("sentinel is wrong about the primary").await;
    nothing_has_failed(&agent).await;
    assert!(bed.primary.clients().iter().any(|client| client.name == "cachepulse"));
    assert!(!agent.log().contains("name another primary"), "{}", agent.log());
}

#[tokio::test]
async fn one_sentinel_is_followed_against_the_others_when_their_primary_is_gone() {
    let mut bed = Bed::start().await;
    let agent = bed.agent().await;
    let other = RedisServer::start(Listen::Plaintext, &[("default", &format!("nopass {ALL}"))]).await;
    bed.primary.kill().await;
    bed.liar().names(&[other.port()]);
    agent.until("the change is followed", |it| it.connects("success", "orders") == 2).await;
    assert!(other.clients().iter().any(|client| client.name == "cachepulse"));
}

#[tokio::test]
async fn the_others_outweigh_a_sentinel_that_names_a_replica_which_costs_no_attempt() {
    let bed = Bed::start().await;
    let agent = bed.agent().await;
    let users = [("default", "nopass ~* +@all")];
    let follow = format!("replicaof 127.0.0.1 {}\n", bed.primary.port());
    let replica = RedisServer::start_with(Listen::Plaintext, &users, &follow).await;
    bed.liar().names(&[replica.port()]);
    agent.logs("sentinel is wrong about the primary").await;
    nothing_has_failed(&agent).await;
}

#[tokio::test]
async fn the_next_sentinels_are_asked_if_the_first_is_wrong_from_the_start() {
    let bed = Bed::start().await;
    let closed = Port::reserve();
    bed.liar().names(&[closed.number]);
    let agent = bed.agent().await;
    bed.sentinels[1].with(|state| state.hangs = true);
    bed.primary.ask::<u64>(&["CLIENT", "KILL", "TYPE", "normal"]);
    let scrape = agent.until("a new connection", |it| it.connects("success", "orders") == 2).await;
    assert!(scrape.is_up("orders"), "{}{}", scrape.text, agent.log());
}

#[tokio::test]
async fn a_sentinel_that_hangs_leaves_time_for_the_others_however_short_the_timeout() {
    let bed = Bed::start().await;
    bed.liar().with(|state| state.hangs = true);
    let arguments = ["check", "--tls", "false", "--attempts", "1", "--connect-timeout", "500ms"];
    let checked = behind(&bed.addresses(), SERVICE, &arguments).run().await;
    assert_eq!(checked.code, Some(0), "{}{}", checked.stdout, checked.stderr);
}

#[tokio::test]
async fn sentinels_that_hang_up_after_each_answer_are_asked_at_pauses_and_logged_once() {
    let bed = Bed::start().await;
    for sentinel in &bed.sentinels {
        sentinel.with(|state| state.hangs_up = true);
    }
    let agent = bed.agent().await;
    bed.liar().names(&[bed.primary.port()]);
    let began = tokio::time::Instant::now();
    bed.lies(8).await;
    assert!(began.elapsed() > 3 * SECOND, "{:?}", began.elapsed());
    let log = agent.log();
    assert!(log.matches("sentinel lost").count() <= 3 && !log.contains("answers again"), "{log}");
    nothing_has_failed(&agent).await;
}
