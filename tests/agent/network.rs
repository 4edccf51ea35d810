//! Names and addresses on machines of other kinds: with name servers that fail, and without IPv4 or IPv6. Each test runs
//! once more, alone, in a network namespace of its own with a name server of its own. Needs `unshare`, `ip` and `mount`.
//!
//! `CACHEPULSE_BINARY` is another binary to test, such as the static one, whose C library resolves names differently.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::{Ipv6Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, sleep};

use crate::program::{BINARY, Program, Running, eventually, program, within};
use crate::redis_server::{Listen, RedisServer};

/// Set in the run that happens in the namespace.
const INSIDE: &str = "CACHEPULSE_TEST_NAMESPACE";
/// Longer than any lookup takes that does not wait for a name server's silence: those take 5 s.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Runs `body` in a namespace of its own, as the test `name` of this module.
fn alone(name: &str, body: impl Future<Output = ()>) {
    if std::env::var_os(INSIDE).is_some() {
        run("ip", &["link", "set", "lo", "up"]);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        return runtime.unwrap().block_on(body);
    }
    let ended = Command::new("unshare")
        .args(["--map-root-user", "--net", "--mount"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("network::{name}"), "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap_or_else(|error| panic!("unshare: {error}"));
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(ended.status.success(), "{}{}", text(&ended.stdout), text(&ended.stderr));
    assert!(text(&ended.stdout).contains("1 passed"), "{}", text(&ended.stdout));
}

fn run(command: &str, arguments: &[&str]) {
    let ended = Command::new(command).args(arguments).output();
    let ended = ended.unwrap_or_else(|error| panic!("{command}: {error}"));
    assert!(ended.status.success(), "{command} {arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
}

/// Replaces a file of the machine, in this namespace only.
fn replace(path: &str, content: &str) {
    let file = tempfile::NamedTempFile::new().unwrap().keep().unwrap().1;
    std::fs::write(&file, content).unwrap();
    run("mount", &["--bind", file.to_str().unwrap(), path]);
}

fn agent(arguments: &[&str]) -> Program {
    let binary = std::env::var_os("CACHEPULSE_BINARY").unwrap_or_else(|| OsString::from(BINARY));
    program(binary.to_str().unwrap(), arguments)
}

/// A redis-server on both loopback addresses.
async fn redis() -> RedisServer {
    let users = [("default", "nopass ~* +@all")];
    RedisServer::start_with(Listen::Plaintext, &users, "bind 127.0.0.1 ::1\n").await
}

/// How a family of a name is answered.
#[derive(Clone, Copy)]
enum Answer {
    Loopback,
    Code(u8),
    Silence,
}

const SERVFAIL: Answer = Answer::Code(2);
const NXDOMAIN: Answer = Answer::Code(3);
const REFUSED: Answer = Answer::Code(5);
const NO_DATA: Answer = Answer::Code(0);

/// The answers to A and AAAA for each name; other names are not answered.
const ZONE: [(&str, Answer, Answer); 8] = [
    ("good.test", Answer::Loopback, Answer::Loopback),
    ("servfail.test", Answer::Loopback, SERVFAIL),
    ("refused.test", Answer::Loopback, REFUSED),
    ("nxdomain.test", Answer::Loopback, NXDOMAIN),
    ("nodata.test", Answer::Loopback, NO_DATA),
    ("silent.test", Answer::Loopback, Answer::Silence),
    ("six-servfail.test", SERVFAIL, Answer::Loopback),
    ("six-silent.test", Answer::Silence, Answer::Loopback),
];

/// Starts a name server for [`ZONE`], which the machine asks.
async fn name_server() {
    replace("/etc/resolv.conf", "nameserver 127.0.0.1\n");
    replace("/etc/nsswitch.conf", "hosts: files dns\n");
    let socket = UdpSocket::bind("127.0.0.1:53").await.unwrap();
    tokio::spawn(async move {
        let mut query = [0; 512];
        loop {
            let (length, client) = socket.recv_from(&mut query).await.unwrap();
            if let Some(reply) = reply(&query[..length]) {
                socket.send_to(&reply, client).await.unwrap();
            }
        }
    });
}

/// Returns the reply to a query (RFC 1035, section 4).
fn reply(query: &[u8]) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut at = 12;
    while query[at] > 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_ascii_lowercase());
        at = end;
    }
    let (question, is_six) = (&query[12..at + 5], query[at + 2] == 28);
    let (_, four, six) = ZONE.into_iter().find(|(name, ..)| *name == labels.join("."))?;
    let (code, address) = match if is_six { six } else { four } {
        Answer::Silence => return None,
        Answer::Code(code) => (code, Vec::new()),
        Answer::Loopback if is_six => (0, Ipv6Addr::LOCALHOST.octets().to_vec()),
        Answer::Loopback => (0, vec![127, 0, 0, 1]),
    };
    let answers = u8::from(!address.is_empty());
    let mut reply = [&query[..2], &[0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0], question].concat();
    if answers > 0 {
        let length = u8::try_from(address.len()).unwrap();
        reply.extend([0xc0, 12, 0, query[at + 2], 0, 1, 0, 0, 0, 1, 0, length]);
        reply.extend(address);
    }
    Some(reply)
}

#[test]
fn a_family_that_fails_or_is_silent_does_not_affect_the_other() {
    alone("a_family_that_fails_or_is_silent_does_not_affect_the_other", async {
        name_server().await;
        let redis = redis().await;
        let port = redis.port().to_string();
        for (name, ..) in ZONE {
            let begun = Instant::now();
            let plain = ["--tls", "false", "--identity", "none", "--attempts", "1"];
            let checked = agent(&["check", "--host", name, "--port", &port]).args(plain).run().await;
            let took = begun.elapsed();
            assert_eq!(checked.code, Some(0), "{name}: {}{}", checked.stdout, checked.stderr);
            assert!(took < AT_ONCE, "{name}: {took:?}");
        }
    });
}

/// Returns a configuration with `dead` targets whose names are not answered, between one whose name is answered and one
/// in the hosts file.
fn many(port: u16, dead: usize) -> tempfile::NamedTempFile {
    let mut config = format!(
        "http: {{listen: '127.0.0.1:0'}}\n\
         defaults: {{identity: none, tls: false, port: {port}, interval: 1s}}\n\
         targets:\n- {{name: good, host: good.test}}\n"
    );
    for number in 0..dead {
        writeln!(config, "- {{name: dead-{number}, host: dead-{number}.test}}").unwrap();
    }
    config.push_str("- {name: hosted, host: HOSTED.Test}\n");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config).unwrap();
    file
}

/// Returns how many threads of the agent look names up.
fn lookups(agent: &Running) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", agent.id())).unwrap();
    let name =
        |task: &std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    tasks.filter_map(Result::ok).filter(|task| name(task).starts_with("lookup")).count()
}

#[test]
fn hundreds_of_dead_names_take_32_threads_and_do_not_delay_the_good_ones() {
    alone("hundreds_of_dead_names_take_32_threads_and_do_not_delay_the_good_ones", async {
        name_server().await;
        replace("/etc/hosts", "127.0.0.1 localhost\n127.0.0.1 hosted.test\n");
        let redis = redis().await;
        let config = many(redis.port(), 600);
        let agent = agent(&["run", "--config", config.path().to_str().unwrap()]).serve().await;
        agent.until("the good ones are up", |it| it.is_up("good") && it.is_up("hosted")).await;
        eventually("the dead ones take every thread that they may", || lookups(&agent) >= 24).await;
        redis.ask::<u64>(&["CLIENT", "KILL", "TYPE", "normal"]);
        let scrape = agent
            .until("the good ones are open again", |it| {
                ["good", "hosted"].iter().all(|name| it.connects("success", name) == 2)
            })
            .await;
        for name in ["good", "hosted"] {
            assert_eq!(scrape.sum("probe_failures_total", name), 0, "{}", scrape.text);
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(8) {
            let lookups = lookups(&agent);
            assert!(lookups <= 32, "{lookups}");
            sleep(Duration::from_millis(100)).await;
        }
        assert!(agent.scrape().await.failures("resolve", "dead-0") > 0);
    });
}

/// Asks for a page on an address.
async fn live(address: &str) -> String {
    within("it responds", async {
        let mut stream = TcpStream::connect(address.parse::<SocketAddr>().unwrap()).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.0\r\n\r\n").await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    })
    .await
}

/// Starts an agent on the default address.
async fn by_default() -> Running {
    let target = ["run", "--host", "127.0.0.1", "--port", "1", "--tls", "false", "--identity", "none"];
    agent(&target).serve().await
}

#[test]
fn the_default_address_serves_ipv6_and_ipv4() {
    alone("the_default_address_serves_ipv6_and_ipv4", async {
        let _agent = by_default().await;
        for address in ["[::1]:9860", "127.0.0.1:9860"] {
            assert!(live(address).await.starts_with("HTTP/1.0 200"), "{address}");
        }
    });
}

#[test]
fn an_agent_waits_at_the_default_address_and_begins_at_that_of_the_file() {
    alone("an_agent_waits_at_the_default_address_and_begins_at_that_of_the_file", async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yaml");
        let config = ["run", "--config", file.to_str().unwrap()];
        let waiting = agent(&config).env("CACHEPULSE_ON_INVALID_CONFIG", "wait").wait().await;
        assert!(live("[::1]:9860").await.starts_with("HTTP/1.0 200"));
        let target = "{name: a, host: 127.0.0.1, port: 1, tls: false, identity: none}";
        std::fs::write(&file, format!("http: {{listen: '127.0.0.1:9860'}}\ntargets: [{target}]\n")).unwrap();
        waiting.logs("agent started").await;
        assert!(live("127.0.0.1:9860").await.starts_with("HTTP/1.0 200"));
        assert!(TcpStream::connect("[::1]:9860").await.is_err());
    });
}

#[test]
fn an_agent_waits_while_the_address_of_the_file_cannot_be_bound() {
    alone("an_agent_waits_while_the_address_of_the_file_cannot_be_bound", async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yaml");
        let listen = |address: &str| {
            let target = "{name: a, host: 127.0.0.1, port: 1, tls: false, identity: none}";
            std::fs::write(&file, format!("http: {{listen: '{address}'}}\ntargets: [{target}]\n")).unwrap();
        };
        let config = ["run", "--config", file.to_str().unwrap(), "--on-invalid-config", "wait"];
        // At the start as later. These addresses are reserved for documentation.
        listen("192.0.2.1:9860");
        let agent = agent(&config).wait().await;
        for address in ["192.0.2.1:9860", "192.0.2.2:9861"] {
            listen(address);
            let problem = format!("cannot listen on {address}: this machine has no such address");
            agent.logs(&problem).await;
            assert!(live("[::1]:9860").await.starts_with("HTTP/1.0 200"));
            assert!(agent.scrape().await.value("config_last_reload_successful") < 0.5);
            let status = agent.status().await;
            assert!(status["config_error"]["detail"].as_str().unwrap().starts_with(&problem), "{status}");
        }
        // No file changes when the address can be bound.
        run("ip", &["address", "add", "192.0.2.2/32", "dev", "lo"]);
        agent.logs("agent started").await;
        assert!(live("192.0.2.2:9861").await.starts_with("HTTP/1.0 200"));
        assert!(TcpStream::connect("[::1]:9860").await.is_err());
        assert_eq!(agent.log().matches("configuration rejected").count(), 2, "{}", agent.log());
    });
}

#[test]
fn the_default_address_serves_a_machine_without_ipv4() {
    alone("the_default_address_serves_a_machine_without_ipv4", async {
        run("ip", &["address", "del", "127.0.0.1/8", "dev", "lo"]);
        let _agent = by_default().await;
        assert!(live("[::1]:9860").await.starts_with("HTTP/1.0 200"));
        // The third and the sixth are what Kubernetes makes of `$(POD_IP):9860`.
        run("ip", &["address", "add", "fd00:10:244::5/128", "dev", "lo", "nodad"]);
        let addresses = ["", ":9860", "::1:9860", "::1", "[::1]", "fd00:10:244::5:9860", "fd00:10:244::5"];
        for address in addresses {
            let asked = agent(&["healthcheck", "--listen", address]).run().await;
            assert_eq!(asked.code, Some(0), "{address}: {asked:?}");
        }
        assert_eq!(agent(&["healthcheck"]).run().await.code, Some(0));
    });
}

#[test]
fn localhost_is_that_of_ipv6_on_a_machine_without_ipv4() {
    alone("localhost_is_that_of_ipv6_on_a_machine_without_ipv4", async {
        run("ip", &["address", "del", "127.0.0.1/8", "dev", "lo"]);
        let target = ["run", "--host", "::1", "--port", "1", "--tls", "false", "--identity", "none"];
        let local = agent(&target).args(["--listen", "localhost:9860"]).serve().await;
        assert_eq!(local.addr().to_string(), "[::1]:9860");
        let asked = agent(&["healthcheck", "--listen", "localhost:9860"]).run().await;
        assert_eq!(asked.code, Some(0), "{asked:?}");
    });
}

#[test]
fn an_agent_listens_at_the_address_of_a_pod_of_ipv6() {
    alone("an_agent_listens_at_the_address_of_a_pod_of_ipv6", async {
        run("ip", &["address", "del", "127.0.0.1/8", "dev", "lo"]);
        run("ip", &["address", "add", "fd00:10:244::5/128", "dev", "lo", "nodad"]);
        let target = ["run", "--host", "::1", "--port", "1", "--tls", "false", "--identity", "none"];
        let _agent = agent(&target).env("CACHEPULSE_LISTEN", "fd00:10:244::5:9860").serve().await;
        assert!(live("[fd00:10:244::5]:9860").await.starts_with("HTTP/1.0 200"));
    });
}

#[test]
fn the_default_address_serves_a_machine_without_ipv6() {
    alone("the_default_address_serves_a_machine_without_ipv6", async {
        run("ip", &["address", "del", "::1/128", "dev", "lo"]);
        let _agent = by_default().await;
        assert!(live("127.0.0.1:9860").await.starts_with("HTTP/1.0 200"));
    });
}
