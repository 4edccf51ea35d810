//! On real sockets and in real time: raw requests, to see exactly what goes over the wire.

mod api;

use super::*;
use crate::clock::Clock;
use crate::healthcheck::Healthcheck;
use crate::metrics::{Format, Metrics, TargetMetrics};
use crate::probe::{Failure, FailureReason, Mode, Role, ServerInfo, Stage};
use crate::status::{ClusterNode, Status, Watch};
use crate::target::{Endpoint, Target, TargetName};
use crate::topology::SlotSet;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::time::SystemTime;
use tokio::time::sleep;

/// Longer than any test takes on a slow machine.
const LONG: Duration = Duration::from_secs(30);

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

struct Agent {
    server: Server,
    pages: Pages,
    metrics: Metrics,
    status: Status,
    heartbeats: Heartbeats,
    reloads: Reloads,
}

impl Agent {
    fn start(limits: Limits) -> Self {
        let (liveness, heartbeats) = Liveness::new();
        let (metrics, status) = (Metrics::new(Clock::system()), Status::new(Clock::system()));
        let routes = &Route::ALL;
        let (lifecycle, reloads) = Lifecycle::new();
        let (metrics_shown, status_shown) = (metrics.clone(), status.clone());
        let guard = Guard::none();
        let pages =
            Pages { metrics: metrics_shown, status: status_shown, liveness, lifecycle, routes, guard };
        let server = spawn_with(bind(LOOPBACK).unwrap(), pages.clone(), Part::Http, limits).unwrap();
        Self { server, pages, metrics, status, heartbeats, reloads }
    }

    /// Starts the health endpoint of the same agent.
    fn health(&self) -> Server {
        spawn_health(bind(LOOPBACK).unwrap(), self.pages.clone()).unwrap()
    }

    fn connect(&self) -> TcpStream {
        connect(self.server.local_addr())
    }

    fn exchange(&self, request: &str) -> Response {
        exchange(self.server.local_addr(), request)
    }

    fn get(&self, path: &str) -> Response {
        self.exchange(&request("GET", path, ""))
    }

    /// Requests more than fits the buffers of both sockets, and does not read it.
    fn scrape_without_reading(&self) -> (TcpStream, Vec<TargetMetrics>) {
        let targets = (0..3000).map(|number| {
            let name = format!("{number}-{}", "x".repeat(100));
            self.metrics.target(&TargetName::new(&name).unwrap())
        });
        let targets = targets.collect();
        let mut stream = self.connect();
        stream.write_all(request("GET", "/metrics", "").as_bytes()).unwrap();
        // The response has begun, so the request is being handled.
        stream.peek(&mut [0]).unwrap();
        (stream, targets)
    }
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// Sends `request` unchanged and reads until the server closes.
fn exchange(addr: SocketAddr, request: &str) -> Response {
    let mut stream = connect(addr);
    stream.write_all(request.as_bytes()).unwrap();
    Response::read(&mut stream)
}

fn request(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n")
}

#[derive(Debug)]
struct Response {
    head: String,
    body: Vec<u8>,
}

impl Response {
    fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        // A connection that the server aborts may end with a reset; what came before counts.
        let _ = stream.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
        let body = bytes.split_off(end);
        Self { head: String::from_utf8(bytes).unwrap(), body }
    }

    fn code(&self) -> u16 {
        self.head.split(' ').nth(1).map_or(0, |code| code.parse().unwrap())
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Whether the body is complete.
    fn is_whole(&self) -> bool {
        match self.header("content-length") {
            Some(length) => length == self.body.len().to_string(),
            None => self.body.ends_with(b"\r\n0\r\n\r\n"),
        }
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

#[test]
fn metrics_come_in_the_format_that_is_asked_for() {
    let agent = Agent::start(Limits::DEFAULT);
    for (format, last) in [(Format::Text, "\n"), (Format::OpenMetrics, "\n# EOF\n")] {
        let accept = format!("Accept: {}\r\n", format.content_type());
        let response = agent.exchange(&request("GET", "/metrics", &accept));
        assert_eq!(response.code(), 200);
        assert_eq!(response.header("content-type"), Some(format.content_type()));
        assert_eq!(response.header("vary"), Some("Accept, Accept-Encoding"));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
        assert!(response.text().contains("\ncachepulse_build_info{revision="), "{response:?}");
        assert!(response.text().ends_with(last));
    }
    let accept = format!("Accept: {}\r\n", Format::Protobuf.content_type());
    let protobuf = agent.exchange(&request("GET", "/metrics", &accept));
    assert_eq!(protobuf.header("content-type"), Some(Format::Protobuf.content_type()));
    // The name of the first family, after its length.
    let name = b"\n\x15cachepulse_build_info";
    assert!(protobuf.is_whole() && protobuf.body.windows(name.len()).take(3).any(|bytes| bytes == name));
    assert_eq!(agent.get("/metrics").header("content-type"), Some(Format::Text.content_type()));
    assert_eq!(agent.get("/readyz").header("vary"), Some("Accept-Encoding"));
}

#[test]
fn metrics_come_as_gzip_when_asked_and_only_then() {
    let agent = Agent::start(Limits::DEFAULT);
    let zipped = agent.exchange(&request("GET", "/metrics", "Accept-Encoding: gzip\r\n"));
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    assert_eq!(zipped.header("content-length"), Some(&*zipped.body.len().to_string()));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*zipped.body).read_to_string(&mut text).unwrap();
    assert!(text.contains("cachepulse_build_info"), "{text}");
    let plain = agent.exchange(&request("GET", "/metrics", "Accept-Encoding: gzip;q=0\r\n"));
    assert_eq!(plain.header("content-encoding"), None);
    assert!(plain.text().contains("cachepulse_build_info"));
}

#[test]
fn a_long_scrape_is_complete_in_http_1_0_and_1_1_and_with_gzip() {
    let agent = Agent::start(Limits::DEFAULT);
    let names: Vec<_> = (0..99).map(|number| TargetName::new(&format!("orders-{number}")).unwrap()).collect();
    let _targets: Vec<_> = names.iter().map(|name| agent.metrics.target(name)).collect();
    let old = agent.exchange("GET /metrics HTTP/1.0\r\n\r\n");
    assert!(old.body.len() > 200_000, "{}", old.body.len());
    assert_eq!((old.header("content-length"), old.header("transfer-encoding")), (None, None));
    let chunked = agent.get("/metrics");
    assert_eq!(chunked.header("transfer-encoding"), Some("chunked"));
    assert!(chunked.is_whole());
    let zipped = agent.exchange("GET /metrics HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*zipped.body).read_to_string(&mut text).unwrap();
    for text in [old.text(), &text] {
        assert_eq!(text.matches("cachepulse_probes_total{").count(), names.len());
        assert!(text.ends_with('\n') && text.contains("\nprocess_threads "), "the last family is there");
    }
}

#[test]
fn head_has_the_header_of_get_without_the_body() {
    let agent = Agent::start(Limits::DEFAULT);
    let (get, head) = (agent.get("/readyz"), agent.exchange(&request("HEAD", "/readyz", "")));
    assert_eq!((head.code(), head.body.len()), (503, 0));
    assert_eq!(head.header("content-length"), get.header("content-length"));
    assert_eq!(head.header("content-type"), get.header("content-type"));
}

#[test]
fn every_route_has_the_described_type_and_one_of_the_described_codes() {
    let agent = Agent::start(Limits::DEFAULT);
    let target = agent.status.target(&Target::plain("NAME"));
    api::record(&target, Ok(()));
    agent.status.started();
    // Nothing responds to the heartbeats: the agent is ready but not alive.
    for route in Route::ALL {
        let query = if route == Route::Probe { "?target=NAME" } else { "" };
        let response = agent.exchange(&request(route.methods()[0], &format!("{route}{query}"), ""));
        assert!(route.statuses().iter().any(|(code, _)| *code == response.code()), "{route}: {response:?}");
        assert_eq!(response.header("content-type"), Some(route.content_type()), "{route}");
    }
}

#[test]
fn the_health_endpoint_serves_nothing_but_health() {
    let agent = Agent::start(Limits::DEFAULT);
    let health = agent.health();
    agent.status.started();
    let ask = |method, path| exchange(health.local_addr(), &request(method, path, ""));
    let get = |path| ask("GET", path);
    for path in ["/readyz", "/-/ready"] {
        assert_eq!((get(path).code(), get(path).text()), (200, "ready\n"), "{path}");
    }
    // Nothing responds to the heartbeats.
    assert_eq!(get("/livez").code(), 503);
    for route in Route::ALL.into_iter().filter(|route| !Route::HEALTH.contains(route)) {
        let response = get(route.as_str());
        assert_eq!((response.code(), response.text()), (404, "not found: try /livez /readyz\n"), "{route}");
    }
    assert_eq!(ask("POST", "/livez").code(), 405);
}

#[test]
fn a_flood_of_one_endpoint_closes_no_connection_of_the_other() {
    let agent = Agent::start(Limits { connections: 4, write: 10 * LONG, ..Limits::DEFAULT });
    let server = agent.health();
    let health = server.local_addr();
    let (mut scrape, _targets) = agent.scrape_without_reading();
    let _open: Vec<_> = (0..2 * Limits::HEALTH.connections).map(|_| connect(health)).collect();
    assert!(Response::read(&mut scrape).is_whole());
    let mut kubelet = connect(health);
    let _open: Vec<_> = (0..8).map(|_| agent.connect()).collect();
    kubelet.write_all(request("GET", "/readyz", "").as_bytes()).unwrap();
    assert_eq!(Response::read(&mut kubelet).text(), "not ready: starting\n");
}

#[test]
fn unknown_paths_and_methods_are_rejected() {
    let agent = Agent::start(Limits::DEFAULT);
    let unknown = agent.get("/nowhere");
    assert_eq!(
        (unknown.code(), unknown.text()),
        (404, "not found: try / /targets/NAME /metrics /status /probe /sd /-/reload /livez /readyz\n")
    );
    assert_eq!(agent.get("/metrics?name[]=x&name[]=y").code(), 200, "it has no parameters");
    for method in ["POST", "DELETE", "BREW"] {
        let response = agent.exchange(&request(method, "/metrics", ""));
        assert_eq!((response.code(), response.header("allow")), (405, Some("GET, HEAD")), "{method}");
        assert_eq!(response.text(), "method not allowed: use GET, HEAD\n");
    }
    let posted = agent.exchange(&request("POST", "/", "Content-Length: 1000000000\r\n"));
    assert_eq!(posted.code(), 405, "the response does not wait for the body");
}

#[tokio::test]
async fn livez_succeeds_as_long_as_the_loop_responds() {
    let Agent { server, mut heartbeats, .. } = Agent::start(Limits::DEFAULT);
    let check = Healthcheck::plain(server.local_addr());
    let mut alive = std::pin::pin!(check.run(LONG));
    let alive = loop {
        tokio::select! {
            () = heartbeats.respond() => {}
            checked = &mut alive => break checked,
        }
    };
    alive.unwrap();
    drop(heartbeats);
    let error = check.run(LONG).await.unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
}

#[test]
fn readyz_explains_why_the_agent_is_not_ready() {
    let agent = Agent::start(Limits::DEFAULT);
    let response = agent.get("/readyz");
    assert_eq!((response.code(), response.text()), (503, "not ready: starting\n"));
    agent.status.started();
    let response = agent.get("/readyz");
    assert_eq!((response.code(), response.text()), (200, "ready\n"));
    agent.status.drain();
    let response = agent.get("/readyz");
    assert_eq!((response.code(), response.text()), (503, "not ready: shutting down\n"));
}

#[test]
fn status_is_json_and_the_overview_is_html() {
    let agent = Agent::start(Limits::DEFAULT);
    let target = Target::plain("<orders>");
    let _target = agent.status.target(&target);
    let status = agent.get("/status");
    assert_eq!(status.header("content-type"), Some("application/json"));
    let json: serde_json::Value = serde_json::from_str(status.text()).unwrap();
    assert_eq!(json["targets"][0]["target"], "<orders>");
    let page = agent.get("/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("script"), "{policy}");
    assert_eq!(page.header("x-frame-options"), Some("deny"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert!(
        page.text().contains("<a href=\"targets/%3Corders%3E\"><bdi>&lt;orders&gt;</bdi></a>"),
        "{}",
        page.text()
    );
    for route in [Route::Metrics, Route::Status, Route::Discovery, Route::Live, Route::Ready] {
        // Relative, because a reverse proxy may serve the endpoint below a path of its own.
        assert!(page.text().contains(&format!("href=\"{}\"", &route.as_str()[1..])), "{route}");
    }
}

#[test]
fn a_target_has_a_page_of_its_own_whatever_its_name() {
    let agent = Agent::start(Limits::DEFAULT);
    agent.status.started();
    let _targets = ["a/b?c", "<é>"].map(|name| agent.status.target(&Target::plain(name)));
    for (path, shown) in
        [("a%2Fb%3Fc", "a/b?c"), ("a%2Fb%3fc", "a/b?c"), ("a/b%3Fc", "a/b?c"), ("%3C%C3%A9%3E", "&lt;é&gt;")]
    {
        let page = agent.get(&format!("/targets/{path}"));
        assert_eq!((page.code(), page.header("content-type")), (200, Some("text/html; charset=utf-8")));
        assert!(page.text().contains(&format!("<h1><bdi>{shown}</bdi> · not probed yet</h1>")), "{page:?}");
    }
    for link in ["targets/a%2Fb%3Fc", "targets/%3C%C3%A9%3E"] {
        assert!(agent.get("/").text().contains(&format!("href=\"{link}\"")), "{link}");
    }
    let missing = agent.get("/targets/orders");
    assert_eq!((missing.code(), missing.text()), (404, "not found: there is no target of this name\n"));
}

#[test]
fn an_error_at_a_page_for_people_is_a_page_for_browsers_and_text_for_others() {
    let agent = Agent::start(Limits::DEFAULT);
    agent.status.started();
    let browser = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    let look = |path: &str| agent.exchange(&request("GET", path, browser));
    for (path, code, text, root) in [
        ("/targets/orders", "404 Not Found", "there is no target of this name", "../"),
        ("/targets/a/b", "404 Not Found", "there is no target of this name", "../../"),
        ("/targets/orders?refresh=on&refresh=off", "400 Bad Request", "refresh: given more than once", "../"),
        ("/?page=0", "400 Bad Request", "page: expected a number from 1", "./"),
        ("/?page=-1", "400 Bad Request", "page: expected a number from 1", "./"),
        ("/?page=x", "400 Bad Request", "page: expected a number from 1", "./"),
        ("/?page=99999999999999999999", "400 Bad Request", "page: expected a number from 1", "./"),
        ("/?state=%3Cb%3E", "400 Bad Request", "state: expected one of", "./"),
        ("/nowhere", "404 Not Found", "not found: try / /targets/NAME", "./"),
    ] {
        let page = look(path);
        assert_eq!(
            (page.code().to_string().as_str(), page.header("content-type")),
            (&code[..3], Some("text/html; charset=utf-8"))
        );
        for part in [
            &format!("<h1>{code}</h1>"),
            text,
            &format!("<a href=\"{root}\">All caches</a>"),
            &format!("href=\"{root}status\""),
        ] {
            assert!(page.text().contains(part), "{path}: {part}\n{}", page.text());
        }
        assert!(page.header("content-security-policy").is_some());
        assert!(!page.text().contains("Reload") && !page.text().contains("http-equiv"), "{}", page.text());
        let plain = agent.get(path);
        assert_eq!(
            (plain.code(), plain.header("content-type")),
            (page.code(), Some("text/plain; charset=utf-8"))
        );
        for response in [page, plain] {
            assert_eq!(response.header("vary"), Some("Accept, Accept-Encoding"), "{path}");
        }
    }
    for path in ["/status?state=x", "/probe?target=x", "/-/reload"] {
        assert_eq!(look(path).header("content-type"), Some("text/plain; charset=utf-8"), "{path}");
    }
    let health = agent.health();
    let unknown = exchange(health.local_addr(), &request("GET", "/", browser));
    assert_eq!(unknown.text(), "not found: try /livez /readyz\n");
}

#[test]
fn the_page_of_a_cluster_lists_its_nodes() {
    let agent = Agent::start(Limits::DEFAULT);
    let target = agent.status.target(&Target::plain("<orders>"));
    let single = agent.get("/targets/%3Corders%3E");
    assert!(!single.text().contains("Nodes") && !single.text().contains("slowest node"));
    let server = ServerInfo::new("<redis>", "7.4.0", Some(Mode::Cluster), Some(Role::Primary));
    target.server(&server);
    let node = |replica: Option<&str>| ClusterNode {
        slots: SlotSet::all(),
        replica: replica.map(Into::into),
        address: Some(Endpoint { host: "<10.0.0.4>".into(), port: 8500 }),
        is_absent: false,
    };
    target.topology(SlotSet::all(), vec![node(None), node(Some("b"))], 3, SystemTime::UNIX_EPOCH);
    target.node(0, None, Watch::Down, SystemTime::UNIX_EPOCH);
    let failure = Failure::new(FailureReason::Closed, Stage::Idle, "<gone>");
    target.node_failed(0, None, &failure, SystemTime::UNIX_EPOCH);
    let summary = "16384 slots covered, 0 available; 1 node watched, 3 over cluster.max_nodes";
    for (path, part) in [
        ("/", summary),
        ("/", "&lt;redis&gt; 7.4.0, cluster, primary"),
        ("/targets/%3Corders%3E", summary),
        ("/targets/%3Corders%3E", "<b>primary</b> of the slots 0-16383: down"),
        (
            "/targets/%3Corders%3E",
            "Phases and steps are those of the slowest node, or of the one that failed.",
        ),
        ("/targets/%3Corders%3E", "&lt;10.0.0.4&gt;:8500"),
        ("/targets/%3Corders%3E", "<b>closed</b> at idle: &lt;gone&gt;"),
        ("/targets/%3Corders%3E", "<b>replica</b> of the slots 0-16383: unknown"),
    ] {
        let page = agent.get(path);
        assert!(page.text().contains(part), "{path}: {part}\n{}", page.text());
    }
}

#[test]
fn an_agent_that_waits_for_a_configuration_says_so_on_its_page() {
    let agent = Agent::start(Limits::DEFAULT);
    agent.status.config_rejected(Some("targets[0].host: <missing>"));
    let page = agent.get("/");
    assert_eq!((page.code(), page.header("content-type")), (503, Some("text/html; charset=utf-8")));
    assert!(
        page.text().contains("<h1>No caches yet · waiting for a valid configuration</h1>"),
        "{}",
        page.text()
    );
    assert!(page.text().contains("<pre>targets[0].host: &lt;missing&gt;</pre>"), "{}", page.text());
    assert_eq!(agent.get("/targets/orders").code(), 503);
}

#[test]
fn a_connection_without_a_request_is_closed() {
    let agent = Agent::start(Limits { header: Duration::from_millis(100), ..Limits::DEFAULT });
    let mut silent = agent.connect();
    let mut slow = agent.connect();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost:").unwrap();
    let mut idle = agent.connect();
    idle.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!(Response::read(&mut silent).code(), 0);
    assert!(matches!(Response::read(&mut slow).code(), 0 | 408));
    assert_eq!(Response::read(&mut idle).text(), "not ready: starting\n");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected() {
    let agent = Agent::start(Limits { write: Duration::from_millis(100), ..Limits::DEFAULT });
    let (mut stream, _targets) = agent.scrape_without_reading();
    // Only a peer that has closed its socket answers with a reset.
    let dropped = async {
        while stream.write_all(b"\r\n").is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, dropped).await.unwrap();
}

#[test]
fn a_response_over_the_limit_closes_the_connection_that_has_read_nothing_for_longest() {
    let agent = Agent::start(Limits { responses: 2, write: 10 * LONG, ..Limits::DEFAULT });
    let (mut first, _targets) = agent.scrape_without_reading();
    let (mut second, _same) = agent.scrape_without_reading();
    let begun = tokio::time::Instant::now();
    assert_eq!(agent.get("/readyz").text(), "not ready: starting\n");
    assert!(begun.elapsed() < Duration::from_millis(500), "it does not wait: {:?}", begun.elapsed());
    assert!(agent.get("/status").is_whole());
    assert!(!Response::read(&mut first).is_whole());
    assert!(Response::read(&mut second).is_whole());
}

#[tokio::test]
async fn shutdown_completes_pending_requests_and_accepts_no_connections() {
    let mut agent = Agent::start(Limits::DEFAULT);
    let mut stream = agent.connect();
    stream.write_all(request("GET", "/livez", "").as_bytes()).unwrap();
    let request = agent.heartbeats.request().await;
    let addr = agent.server.local_addr();
    let shutdown = tokio::spawn(agent.server.shutdown(LONG));
    while TcpStream::connect(addr).is_ok() {
        sleep(Duration::from_millis(10)).await;
    }
    request.send(()).unwrap();
    let response = tokio::task::spawn_blocking(move || Response::read(&mut stream)).await.unwrap();
    assert_eq!(response.text(), "alive\n");
    shutdown.await.unwrap();
}

#[tokio::test]
async fn shutdown_does_not_wait_for_idle_connections() {
    let agent = Agent::start(Limits { header: 10 * LONG, ..Limits::DEFAULT });
    let fresh = agent.connect();
    let mut used = agent.connect();
    used.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    used.read_exact(&mut [0; 20]).unwrap();
    timeout(LONG, agent.server.shutdown(10 * LONG)).await.unwrap();
    drop((fresh, used));
}

#[tokio::test]
async fn shutdown_does_not_wait_for_the_rest_of_a_request_header() {
    let agent = Agent::start(Limits { header: 10 * LONG, ..Limits::DEFAULT });
    let (mut first, mut next) = (agent.connect(), agent.connect());
    first.write_all(b"G").unwrap();
    next.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /readyz HTTP/1.1\r\n").unwrap();
    next.read_exact(&mut [0; 20]).unwrap();
    timeout(LONG, agent.server.shutdown(10 * LONG)).await.unwrap();
    drop((first, next));
}

#[tokio::test]
async fn shutdown_aborts_requests_after_the_grace_period() {
    let agent = Agent::start(Limits { write: 10 * LONG, ..Limits::DEFAULT });
    let (_stream, _targets) = agent.scrape_without_reading();
    timeout(LONG, agent.server.shutdown(Duration::from_millis(50))).await.unwrap();
}

#[tokio::test]
async fn a_thread_that_ends_unexpectedly_is_reported() {
    let mut agent = Agent::start(Limits::DEFAULT);
    assert!(timeout(Duration::from_millis(20), agent.server.failed()).await.is_err());
    let (stop, stopped) = mpsc::channel(1);
    let mut server = Server { addr: LOOPBACK, stop };
    std::thread::spawn(move || {
        let _stopped = stopped;
        panic!("on purpose");
    });
    timeout(LONG, server.failed()).await.unwrap();
}

#[test]
fn an_address_that_is_in_use_is_an_error_with_advice() {
    let taken = bind(LOOPBACK).unwrap();
    let error = bind(taken.local_addr()).unwrap_err();
    let expected = "another process listens there: choose another port";
    assert_eq!(error.to_string(), format!("cannot listen on {}: {expected}", taken.local_addr()));
}

#[test]
fn every_address_is_that_of_ipv4_where_the_kernel_has_no_ipv6() {
    let without_ipv6 = |addr: SocketAddr| match addr {
        SocketAddr::V4(_) => Ok(addr),
        SocketAddr::V6(_) => Err(rustix::io::Errno::AFNOSUPPORT.into()),
    };
    let bound = |addr: &str| bind_by(addr.parse().unwrap(), without_ipv6);
    assert_eq!(bound("[::]:9860").unwrap(), "0.0.0.0:9860".parse().unwrap());
    // Whoever asks for one address of IPv6 gets no other.
    let error = bound("[::1]:9860").unwrap_err();
    assert_eq!(error.to_string(), "cannot listen on [::1]:9860: check the address");
}
