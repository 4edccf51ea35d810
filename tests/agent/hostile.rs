//! Hostile clients of the HTTP endpoint: the responses to them, and that they affect neither scrapes nor probes.
//!
//! This process needs a file descriptor for each of a thousand connections. The agent does not, because it limits its
//! connections.

mod client;
mod requests;
mod siege;

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use self::client::Client;
use self::requests::{Request, mutant, noise};
use self::siege::Siege;
use crate::lab::Lab;
use crate::program::{Running, cachepulse, within};

/// Slightly less than the agent's limit of connections.
const MANY: usize = 250;
/// Few enough that the buffers of their sockets fill within seconds, even in a debug build.
const SOME: usize = 50;
const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn each_request_gets_the_expected_codes() {
    let lab = Lab::start().await;
    let agent = lab.run(["--identity", "managed_identity"]).serve().await;
    let requests = requests::all();
    assert!(requests.len() > 80, "{}", requests.len());
    let mut wrong = Vec::new();
    for Request { line, bytes, codes } in &requests {
        let answered = within(line, async {
            let mut client = Client::connect(agent.addr()).await;
            // The agent may reject it before all of it is sent.
            let _ = client.send(bytes).await;
            let mut answered = Vec::new();
            for _ in codes {
                match client.response(bytes.starts_with(b"HEAD ")).await {
                    Ok(response) => answered.push(response.code),
                    Err(_) => break,
                }
            }
            (answered, client.rest().await)
        });
        let (answered, rest) = answered.await;
        if answered != *codes || !rest.is_empty() {
            wrong.push(format!("{line}\n    got {answered:?}{}", rest.escape_ascii()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    const TIMES: usize = 200;
    let lab = Lab::start().await;
    let agent = lab.run(["--identity", "managed_identity"]).serve().await;
    let parts = [
        ("GET", "/metrics", 200, "text/plain; version=0.0.4; charset=utf-8"),
        ("HEAD", "/metrics", 200, "text/plain; version=0.0.4; charset=utf-8"),
        ("GET", "/nowhere", 404, "text/plain; charset=utf-8"),
        ("BREW", "/", 405, "text/plain; charset=utf-8"),
        ("GET", "/status", 200, "application/json"),
        ("HEAD", "/", 200, "text/html; charset=utf-8"),
        ("GET", "/livez", 200, "text/plain; charset=utf-8"),
    ];
    let all: String =
        parts.map(|part| format!("{} {} HTTP/1.1\r\nHost: agent\r\n\r\n", part.0, part.1)).concat();
    let mut client = Client::connect(agent.addr()).await;
    // They fit the buffers of the two sockets.
    client.send(all.repeat(TIMES).as_bytes()).await.unwrap();
    for (method, path, code, content_type) in parts.iter().cycle().take(TIMES * parts.len()) {
        let response = within("it responds", client.response(*method == "HEAD")).await.unwrap();
        assert_eq!(response.code, *code, "{method} {path}");
        assert!(
            response.head.contains(&format!("content-type: {content_type}\r\n")),
            "{path}: {}",
            response.head
        );
        assert_eq!(response.body.is_empty(), *method == "HEAD", "{method} {path}");
    }
    assert!(client.rest().await.is_empty());
}

/// Starts an agent whose metrics are far longer than the buffers of a connection: 1,000 targets that refuse connections. Its
/// shutdown waits long for who reads them.
pub(crate) async fn large() -> (NamedTempFile, Running) {
    let mut config = "shutdown_grace_period: 10m\nhttp: {listen: '127.0.0.1:0'}\ntargets:\n".to_owned();
    for number in 0..1_000 {
        let keys = "host: 127.0.0.1, port: 1, tls: false, identity: none, interval: 1h";
        writeln!(config, "- {{name: cache-{number}, {keys}}}").unwrap();
    }
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config).unwrap();
    let arguments = ["run", "--config", file.path().to_str().unwrap()];
    let agent = cachepulse(arguments).serve().await;
    (file, agent)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_clients_that_never_read_do_not_delay_the_probes_of_the_agent() {
    const CLIENTS: usize = 300;
    let (_file, agent) = large().await;
    let mut silent = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = Client::connect(agent.addr()).await;
        // Those beyond the agent's limit are closed.
        let _ = client.send(b"GET /metrics HTTP/1.1\r\nHost: agent\r\n\r\n").await;
        silent.push(client);
    }
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        for path in ["/livez", "/readyz"] {
            let begun = Instant::now();
            agent.get(path).await;
            let took = begun.elapsed();
            slowest = slowest.max(took);
        }
        sleep(Duration::from_millis(300)).await;
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_are_not_cut_off() {
    const CLIENTS: usize = 12;
    let (_file, agent) = large().await;
    let mut readers = JoinSet::new();
    for _ in 0..CLIENTS {
        let mut stream = TcpStream::connect(agent.addr()).await.unwrap();
        readers.spawn(async move {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: agent\r\n\r\n").await.unwrap();
            let begun = Instant::now();
            let mut piece = vec![0; 16 * 1024];
            while begun.elapsed() < Duration::from_secs(6) {
                sleep(Duration::from_millis(100)).await;
                assert_ne!(stream.read(&mut piece).await.unwrap(), 0, "cut off after {:?}", begun.elapsed());
            }
        });
    }
    while let Some(read) = readers.join_next().await {
        read.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_clients_neither_delay_scrapes_or_probes_nor_use_memory() {
    allow_many_connections();
    let requests = requests::all();
    let mut random = Rng::with_seed(1);
    let mut siege = Siege::begin().await;
    let agent = siege.addr();
    siege.endure("1,000 idle connections", idle(agent)).await;
    siege.endure("headers byte by byte", drip(agent)).await;
    siege.endure("headers of a MiB", flood(agent, |_| "GET / HTTP/1.1\r\nX: ".to_owned())).await;
    siege.endure("bodies without an end", flood(agent, body)).await;
    siege.endure("thousands of requests, nothing read", pipeline(agent, SOME, "/metrics")).await;
    siege.endure("the same for the status", pipeline(agent, SOME, "/status")).await;
    siege.endure("the same for a small page", pipeline(agent, MANY, "/livez")).await;
    siege.endure("connections closed and reset at once", storm(agent)).await;
    let mutants: Vec<_> = (0..1_500).map(|_| mutant(&requests, &mut random)).collect();
    siege.endure("randomly changed requests", send(agent, mutants)).await;
    let noise: Vec<_> = (0..500).map(|_| noise(&mut random)).collect();
    siege.endure("random bytes", send(agent, noise)).await;
    siege.end().await;
}

fn allow_many_connections() {
    let limit = getrlimit(Resource::Nofile);
    assert!(limit.maximum.is_none_or(|most| most >= 4096), "too few file descriptors: ulimit -Hn 4096");
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

/// Opens connections and sends nothing. The agent closes the oldest ones for the newest.
async fn idle(agent: SocketAddr) {
    let mut clients = Vec::new();
    for _ in 0..1_000 {
        clients.push(Client::connect(agent).await);
    }
    // Sooner than the timeout for the header of a request.
    let oldest = timeout(Duration::from_secs(10), clients[0].response(false)).await;
    assert!(oldest.expect("the oldest is closed").is_err());
    sleep(Duration::from_secs(2)).await;
    let newest = clients.last_mut().unwrap();
    newest.send(b"GET /livez HTTP/1.1\r\nHost: agent\r\n\r\n").await.unwrap();
    assert_eq!(newest.response(false).await.unwrap().code, 200);
}

/// Sends headers that never end, byte by byte, on more connections than the agent keeps.
async fn drip(agent: SocketAddr) {
    let mut clients = Vec::new();
    for _ in 0..MANY + 50 {
        clients.push(Client::connect(agent).await);
    }
    for byte in b"GET /metrics HTTP/1.1\r\nHost: agent\r\nX: ".iter().chain(&[b'x'; 60]) {
        for client in &clients {
            // Some are closed.
            let _ = client.stream.try_write(&[*byte]);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

fn body(number: usize) -> String {
    let length = ["Content-Length: 10737418240", "Transfer-Encoding: chunked"][number % 2];
    format!("POST /metrics HTTP/1.1\r\nHost: agent\r\n{length}\r\n\r\nFFFFFFFFFF\r\n")
}

/// Sends requests that start with `begin` and continue for a MiB.
async fn flood(agent: SocketAddr, begin: impl Fn(usize) -> String) {
    let mut clients = JoinSet::new();
    for number in 0..MANY {
        let begin = begin(number);
        clients.spawn(async move {
            let mut client = Client::connect(agent).await;
            // The agent rejects it before all of it is sent.
            let _ = client.send(&[begin.as_bytes(), &vec![b'x'; MIB]].concat()).await;
            client.rest().await;
        });
    }
    within("all are refused", async { while clients.join_next().await.is_some() {} }).await;
}

/// Sends as many requests as the agent accepts, and does not read the responses.
async fn pipeline(agent: SocketAddr, connections: usize, path: &str) {
    let requests = format!("GET {path} HTTP/1.1\r\nHost: agent\r\n\r\n").repeat(5_000).into_bytes();
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push((Client::connect(agent).await, 0));
    }
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        for (client, sent) in &mut clients {
            match client.stream.try_write(&requests[*sent..]) {
                Ok(written) => *sent = (*sent + written) % requests.len(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => (*client, *sent) = (Client::connect(agent).await, 0),
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn storm(agent: SocketAddr) {
    for number in 0..3_000 {
        let stream = TcpStream::connect(agent).await.unwrap();
        if number % 2 == 0 {
            stream.set_zero_linger().unwrap();
        }
    }
}

/// Sends one request at a time and requires a response in HTTP or none.
async fn send(agent: SocketAddr, requests: Vec<Vec<u8>>) {
    for request in requests {
        let answer = within("it is closed", async {
            let mut client = Client::connect(agent).await;
            let _ = client.send(&request).await;
            client.rest().await
        });
        let answer = answer.await;
        let code = client::code(&String::from_utf8_lossy(&answer));
        let known = code.is_some_and(|code| [200, 400, 404, 405, 414, 431].contains(&code));
        assert!(known || answer.is_empty(), "{code:?} to {}", request.escape_ascii());
    }
}
