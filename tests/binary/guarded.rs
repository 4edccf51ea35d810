//! The endpoint behind a web configuration: handshakes, client certificates, users, headers, limits and reloads. The cases
//! are those of Prometheus' exporter toolkit (`web/tls_config_test.go`, `web/handler_test.go`), and some of its faults.

mod client;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::SanType;
use rustix::process::Signal;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, HandshakeKind, NamedGroup};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use self::client::{Certificate, Client, alert_for, get_with, plain};
use crate::program::{Page, Running, cachepulse, eventually, within};

/// The passwords "secret" and "other", hashed by Python's bcrypt at a cost of 4 and 5.
const SECRET: &str = "$2b$04$4UU80IkT6aXoE9QImZFKlestKhRSe7x3RHfkrsp6qrMlCCgTT9xx2";
const OTHER: &str = "$2b$05$OgYwtKGW/7u7F7IUmYRiee0ttdRU9E7tVznoQVD2uT7snS0W6umMu";

/// A folder with a web configuration.
struct Web {
    folder: TempDir,
    server: Certificate,
}

impl Web {
    fn new() -> Self {
        let web = Self { folder: tempfile::tempdir().unwrap(), server: Certificate::of_server() };
        web.write("server.pem", &web.server.pem);
        web.write("server.key", &web.server.key_pem);
        web
    }

    /// One with TLS and these further options.
    fn with_tls(options: &str) -> Self {
        let web = Self::new();
        web.write("web.yml", &tls(options));
        web
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces a file as a whole.
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path("new"), text).unwrap();
        std::fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    /// Starts an agent with the web configuration.
    async fn serve(&self) -> Running {
        let web = self.path("web.yml");
        agent().args(["--log-level", "debug", "--web-config-file"]).args([web]).serve().await
    }
}

/// Returns the lines about rejected web configurations. One with the problem of the previous line is logged at debug.
fn rejections(agent: &Running) -> Vec<String> {
    let is_one = |line: &&str| {
        ["web configuration rejected", "web configuration still rejected"].iter().any(|it| line.contains(it))
    };
    agent.log().lines().filter(is_one).map(str::to_owned).collect()
}

/// Returns a web configuration with TLS and these further options.
fn tls(options: &str) -> String {
    format!("tls_server_config: {{cert_file: server.pem, key_file: server.key{options}}}\n")
}

/// Returns an agent that probes a port at which nobody listens.
fn agent() -> crate::program::Program {
    let target = ["--host", "127.0.0.1", "--port", "1", "--tls", "false", "--identity", "none"];
    cachepulse(["run", "--listen", "127.0.0.1:0", "--interval", "1h"]).args(target)
}

fn authorization(user: &str, password: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{password}")))
}

async fn login(addr: SocketAddr, user: &str, password: &str) -> u16 {
    plain(addr, "/livez", &authorization(user, password)).await.code
}

fn refusal(result: Result<(Page, client::Agreed), String>) -> String {
    result.map(|(page, _)| page).expect_err("it is refused")
}

#[tokio::test]
async fn without_a_web_configuration_the_endpoint_speaks_plain_http_only() {
    let (agent, server) = (agent().serve().await, Certificate::of_server());
    assert_eq!(agent.get("/livez").await.code, 200);
    let refused = refusal(Client::new(&server).get(agent.addr()).await);
    assert!(refused.contains("corrupt message"), "{refused}");
    assert!(!agent.scrape().await.text.contains("web_config"));
}

#[tokio::test]
async fn with_tls_a_client_that_speaks_plain_http_is_told_so() {
    let web = Web::with_tls("");
    let agent = web.serve().await;
    let (page, agreed) = Client::new(&web.server).get(agent.addr()).await.unwrap();
    assert!(page.body.contains("ready"), "{page:?}");
    assert_eq!((agreed.alpn, agreed.kind), (None, HandshakeKind::Full));
    let page = plain(agent.addr(), "/livez", "").await;
    assert_eq!(page.head, "HTTP/1.0 400 Bad Request");
    assert_eq!(page.body, "Client sent an HTTP request to an HTTPS server.\n");
}

#[tokio::test]
async fn certificate_and_key_may_be_part_of_the_web_configuration() {
    let web = Web::new();
    let indented = |pem: &str| pem.replace('\n', "\n    ");
    let (cert, key) = (indented(&web.server.pem), indented(&web.server.key_pem));
    web.write("web.yml", &format!("tls_server_config:\n  cert: |\n    {cert}\n  key: |\n    {key}\n"));
    let agent = web.serve().await;
    Client::new(&web.server).get(agent.addr()).await.unwrap();
}

#[tokio::test]
async fn http_1_1_is_the_only_protocol() {
    let web = Web::with_tls("");
    let addr = web.serve().await;
    let both = Client { alpn: &[b"h2", b"http/1.1"], ..Client::new(&web.server) };
    assert_eq!(both.get(addr.addr()).await.unwrap().1.alpn.unwrap(), b"http/1.1");
    let only_2 = Client { alpn: &[b"h2"], ..Client::new(&web.server) };
    let refused = refusal(only_2.get(addr.addr()).await);
    assert!(refused.contains("NoApplicationProtocol"), "{refused}");
}

#[tokio::test]
async fn versions_and_suites_that_are_not_enabled_are_refused() {
    const PROTOCOL_VERSION: u8 = 70;
    const HANDSHAKE_FAILURE: u8 = 40;
    const AES_256_CBC: [u8; 2] = [0xc0, 0x0a];
    let web = Web::with_tls("");
    let agent = web.serve().await;
    assert_eq!(alert_for(agent.addr(), [3, 2], AES_256_CBC).await, PROTOCOL_VERSION, "TLS 1.1");
    assert_eq!(alert_for(agent.addr(), [3, 3], AES_256_CBC).await, HANDSHAKE_FAILURE, "CBC");
    let web = Web::with_tls(", min_version: TLS13");
    let agent = web.serve().await;
    let old = Client { versions: &[&TLS12], ..Client::new(&web.server) };
    let refused = refusal(old.get(agent.addr()).await);
    assert!(refused.contains("ProtocolVersion"), "{refused}");
}

#[tokio::test]
async fn cipher_suites_limit_tls_1_2_and_their_order_may_be_that_of_either_side() {
    use CipherSuite::{
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 as AES_128,
        TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 as AES_256,
        TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 as CHACHA20,
    };
    let names = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    for (order, expected) in [("true", AES_128), ("false", AES_256)] {
        let web = Web::with_tls(&format!(
            ", cipher_suites: [{names}], max_version: TLS12, prefer_server_cipher_suites: {order}"
        ));
        let agent = web.serve().await;
        let agreed = async |suites: &[CipherSuite]| {
            let client = Client { versions: &[&TLS12], suites, ..Client::new(&web.server) };
            client.get(agent.addr()).await.map(|(_, agreed)| agreed.suite)
        };
        assert_eq!(agreed(&[AES_256, AES_128]).await, Ok(expected));
        assert_eq!(agreed(&[AES_128]).await, Ok(AES_128));
        assert!(agreed(&[CHACHA20]).await.unwrap_err().contains("HandshakeFailure"));
    }
    // Those of TLS 1.3 are always enabled.
    let web = Web::with_tls(", cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]");
    let agent = web.serve().await;
    let client = Client { versions: &[&TLS13], ..Client::new(&web.server) };
    client.get(agent.addr()).await.unwrap();
}

#[tokio::test]
async fn curves_limit_the_key_exchange() {
    let web = Web::with_tls(", curve_preferences: [CurveP384, CurveP256]");
    let agent = web.serve().await;
    let agreed = async |groups: &[NamedGroup]| {
        let client = Client { groups, ..Client::new(&web.server) };
        client.get(agent.addr()).await.map(|(_, agreed)| agreed.group)
    };
    assert_eq!(agreed(&[NamedGroup::secp256r1]).await, Ok(NamedGroup::secp256r1));
    assert_eq!(agreed(&[NamedGroup::X25519, NamedGroup::secp384r1]).await, Ok(NamedGroup::secp384r1));
    assert!(agreed(&[NamedGroup::X25519]).await.unwrap_err().contains("HandshakeFailure"));
}

#[tokio::test]
async fn a_client_certificate_is_demanded_and_verified_as_its_type_says() {
    let (known, unknown) = (Certificate::of_client(&[]), Certificate::of_client(&[]));
    for (policy, none, known_is_accepted, unknown_is_accepted) in [
        ("NoClientCert", true, true, true),
        ("RequestClientCert", true, true, true),
        ("RequireAnyClientCert", false, true, true),
        ("RequireClientCert", false, true, true),
        ("VerifyClientCertIfGiven", true, true, false),
        ("RequireAndVerifyClientCert", false, true, false),
    ] {
        let authorities = if policy == "NoClientCert" { "" } else { ", client_ca_file: clients.pem" };
        let web = Web::with_tls(&format!(", client_auth_type: {policy}{authorities}"));
        web.write("clients.pem", &known.pem);
        let agent = web.serve().await;
        let without = Client::new(&web.server).get(agent.addr()).await;
        assert_eq!(without.is_ok(), none, "{policy}: {without:?}");
        for versions in [&[&TLS12][..], &[&TLS13]] {
            for (shown, is_accepted) in [(&known, known_is_accepted), (&unknown, unknown_is_accepted)] {
                let client = Client { versions, ..Client::showing(&web.server, shown) };
                let result = client.get(agent.addr()).await;
                assert_eq!(result.is_ok(), is_accepted, "{policy}: {result:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_client_certificate_must_have_an_allowed_name_and_the_right_purpose() {
    let names = [
        SanType::DnsName("prometheus.example.com".try_into().unwrap()),
        SanType::Rfc822Name("ops@example.com".try_into().unwrap()),
        SanType::IpAddress(IpAddr::from([10, 0, 0, 1])),
        SanType::IpAddress("2001:db8::1".parse().unwrap()),
        SanType::URI("spiffe://example.com/prometheus".try_into().unwrap()),
    ];
    let shown = Certificate::of_client(&names);
    let other = Certificate::of_client(&[SanType::DnsName("other.example.com".try_into().unwrap())]);
    for (allowed, is_accepted) in [
        ("other, prometheus.example.com", true),
        ("ops@example.com", true),
        ("10.0.0.1", true),
        ("'2001:db8::1'", true),
        ("'spiffe://example.com/prometheus'", true),
        ("example.com, '*.example.com', PROMETHEUS.example.com", false),
        ("", false),
    ] {
        let options = "client_auth_type: RequireAndVerifyClientCert, client_ca_file: clients.pem";
        let web = Web::with_tls(&format!(", {options}, client_allowed_sans: [{allowed}]"));
        web.write("clients.pem", &format!("{}{}", shown.pem, other.pem));
        let agent = web.serve().await;
        let result = Client::showing(&web.server, &shown).get(agent.addr()).await;
        assert_eq!(result.is_ok(), is_accepted, "{allowed}: {result:?}");
        let refused = refusal(Client::showing(&web.server, &other).get(agent.addr()).await);
        assert!(refused.contains("BadCertificate"), "{refused}");
        let refused = refusal(Client::new(&web.server).get(agent.addr()).await);
        assert!(refused.contains("CertificateRequired"), "{refused}");
    }
}

#[tokio::test]
async fn each_connection_shakes_hands_anew() {
    let web = Web::with_tls("");
    let agent = web.serve().await;
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let config = Client { versions, ..Client::new(&web.server) }.config();
        for _ in 0..3 {
            let (_, agreed) = get_with(config.clone(), agent.addr()).await.unwrap();
            assert_eq!(agreed.kind, HandshakeKind::Full);
        }
    }
}

#[tokio::test]
async fn users_need_their_password() {
    let web = Web::new();
    web.write("web.yml", &format!("basic_auth_users: {{alice: {SECRET}, bob: {OTHER}}}\n"));
    let agent = web.serve().await;
    let addr = agent.addr();
    let page = plain(addr, "/metrics", "").await;
    assert_eq!((page.code, page.body.as_str()), (401, "Unauthorized\n"));
    assert!(page.head.contains("www-authenticate: Basic\r\n"), "{}", page.head);
    assert!(page.head.contains("x-content-type-options: nosniff"), "{}", page.head);
    // Twice: once checked, once remembered.
    for _ in 0..2 {
        for (user, password, code) in [
            ("alice", "secret", 200),
            ("bob", "other", 200),
            ("alice", "other", 401),
            ("alice", "secre", 401),
            ("alice", "secret1", 401),
            ("alice", "", 401),
            ("Alice", "secret", 401),
            ("carol", "secret", 401),
            ("", "", 401),
            ("fakeuser", "fakepassword", 401),
            // The hash glued to the user's name, and to the password.
            (&format!("alice{SECRET}"), "secret", 401),
            ("alice", &format!("{SECRET}secret"), 401),
            ("alices", "ecret", 401),
            ("ali", "cesecret", 401),
        ] {
            assert_eq!(login(addr, user, password).await, code, "{user}:{password}");
        }
    }
    for header in ["Authorization: Bearer c2VjcmV0\r\n", "Authorization: Basic !\r\n", "Authorization:\r\n"] {
        assert_eq!(plain(addr, "/livez", header).await.code, 401, "{header}");
    }
    assert_eq!(plain(addr, "/nothing", &authorization("alice", "secret")).await.code, 404);
    assert_eq!(plain(addr, "/nothing", "").await.code, 401, "every path is guarded");
    assert!(!agent.log().contains("secret"), "{}", agent.log());
}

#[tokio::test]
async fn only_the_first_72_bytes_of_a_password_count_and_it_may_contain_zero_bytes() {
    let web = Web::new();
    let long = "$2b$04$nDkHdDK2GqI8NheMDNhcQuNW3T6m5Iv1PjcxtHuBbWtTDiN3FFxGC";
    web.write("web.yml", &format!("basic_auth_users: {{long: {long}, alice: {SECRET}}}\n"));
    let addr = web.serve().await;
    for (user, password, code) in [
        ("long", "x".repeat(72), 200),
        ("long", "x".repeat(100), 200),
        ("long", "x".repeat(71), 401),
        ("alice", "secret\0".to_owned(), 401),
        ("alice", "\0secret".to_owned(), 401),
        ("nobody", "secret\0".to_owned(), 401),
    ] {
        assert_eq!(login(addr.addr(), user, &password).await, code, "{user}: {password:?}");
    }
}

#[tokio::test]
async fn headers_are_added_to_every_response_and_replace_those_of_the_agent() {
    let web = Web::new();
    let headers = "{Content-Security-Policy: \"default-src 'self'\", X-Frame-Options: sameorigin, \
                   X-Content-Type-Options: nosniff, X-XSS-Protection: 1, Strict-Transport-Security: max-age=1}";
    web.write(
        "web.yml",
        &format!("http_server_config: {{headers: {headers}}}\nbasic_auth_users: {{a: {SECRET}}}\n"),
    );
    let agent = web.serve().await;
    for (path, user, code) in
        [("/", "a", 200), ("/metrics", "a", 200), ("/nothing", "a", 404), ("/", "b", 401)]
    {
        let page = plain(agent.addr(), path, &authorization(user, "secret")).await;
        assert_eq!(page.code, code, "{path}");
        for header in [
            "content-security-policy: default-src 'self'",
            "x-frame-options: sameorigin",
            "x-content-type-options: nosniff",
            "x-xss-protection: 1",
            "strict-transport-security: max-age=1",
        ] {
            let (name, _) = header.split_once(':').unwrap();
            let same: Vec<&str> = page.head.lines().filter(|line| line.starts_with(name)).collect();
            assert_eq!(same, [header], "{path}");
        }
    }
}

#[tokio::test]
async fn the_rate_of_requests_is_limited_before_passwords_are_checked() {
    for (limit, allowed) in [
        ("{interval: 0, burst: 0}", 10),
        ("{burst: 1}", 10),
        ("{interval: 1h, burst: 3}", 3),
        ("{interval: 1s, burst: 0}", 0),
        ("{interval: 1s}", 0),
    ] {
        let web = Web::new();
        web.write("web.yml", &format!("rate_limit: {limit}\nbasic_auth_users: {{a: {SECRET}}}\n"));
        let agent = web.serve().await;
        for request in 0..10 {
            let page = plain(agent.addr(), "/livez", "").await;
            if request < allowed {
                assert_eq!(page.code, 401, "{limit}");
            } else {
                assert_eq!((page.code, page.body.as_str()), (429, "Too Many Requests\n"), "{limit}");
            }
        }
    }
}

#[tokio::test]
async fn files_are_read_again_and_broken_ones_change_nothing() {
    let client = Certificate::of_client(&[]);
    let web = Web::with_tls(", client_auth_type: RequireAndVerifyClientCert, client_ca_file: clients.pem");
    web.write("clients.pem", &client.pem);
    let agent = web.serve().await;
    let addr = agent.addr();
    let (with, without) = (Client::showing(&web.server, &client), Client::new(&web.server));
    refusal(without.get(addr).await);
    with.get(addr).await.unwrap();
    let reloads = |agent: &Running| agent.log().matches("web configuration reloaded").count();
    let rejections = |agent: &Running| rejections(agent).len();

    // Another authority: that of the first client is no longer trusted.
    let other = Certificate::of_client(&[]);
    web.write("clients.pem", &other.pem);
    eventually("the authority changes", || reloads(&agent) == 1).await;
    refusal(with.get(addr).await);
    Client::showing(&web.server, &other).get(addr).await.unwrap();

    // A new certificate, and for a while the old key.
    let renewed = Certificate::of_server();
    web.write("server.pem", &renewed.pem);
    eventually("the pair is rejected", || rejections(&agent) == 1).await;
    assert!(agent.log().contains("holds another private key than that of the certificate"));
    Client::showing(&web.server, &other).get(addr).await.unwrap();
    web.write("server.key", &renewed.key_pem);
    eventually("the pair is complete", || reloads(&agent) == 2).await;
    Client::showing(&renewed, &other).get(addr).await.unwrap();

    // No more TLS, an empty file, no file.
    web.write("web.yml", &format!("basic_auth_users: {{a: {SECRET}}}\n"));
    eventually("TLS stays", || rejections(&agent) == 2).await;
    assert!(agent.log().contains("to serve plain HTTP, restart the agent"));
    web.write("web.yml", "# nothing\n");
    eventually("an empty file changes nothing", || rejections(&agent) == 3).await;
    std::fs::remove_file(web.path("web.yml")).unwrap();
    eventually("nor does a missing one", || rejections(&agent) == 4).await;
    Client::showing(&renewed, &other).get(addr).await.unwrap();

    web.write("web.yml", &tls(", client_auth_type: RequireAndVerifyClientCert, client_ca_file: clients.pem"));
    eventually("the file is back", || reloads(&agent) == 3).await;
}

#[tokio::test]
async fn what_was_required_stays_required_until_a_restart() {
    let client = Certificate::of_client(&[SanType::DnsName("a".try_into().unwrap())]);
    let web = Web::new();
    web.write("clients.pem", &client.pem);
    let required = ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: clients.pem";
    let sans = ", client_allowed_sans: [a]";
    let users = format!("basic_auth_users: {{a: {SECRET}}}\n");
    let whole = tls(&format!("{required}{sans}")) + &users;
    web.write("web.yml", &whole);
    let agent = web.serve().await;
    let client = Client::showing(&web.server, &client);
    let any = ", client_auth_type: RequireAnyClientCert";
    let weaker = [
        (tls(&format!("{required}{sans}")), "basic_auth_users is missing"),
        (tls(required) + &users, "client_allowed_sans is missing"),
        (tls(&format!("{any}{sans}")) + &users, "client_auth_type demands less"),
        (tls(", client_auth_type: VerifyClientCertIfGiven") + &users, "client_auth_type demands less"),
        (tls("") + &users, "client_auth_type demands less"),
        (users, "tls_server_config is missing"),
    ];
    for (number, (content, reason)) in weaker.iter().enumerate() {
        web.write("web.yml", content);
        eventually(reason, || rejections(&agent).len() == number + 1).await;
        let last = rejections(&agent).pop().unwrap();
        assert!(last.contains(reason) && last.contains("restart the agent"), "{last}");
        refusal(Client::new(&web.server).get(agent.addr()).await);
        assert_eq!(client.get(agent.addr()).await.unwrap().0.code, 401, "{reason}");
    }
}

#[tokio::test]
async fn users_headers_and_limits_change_while_connections_are_open_and_the_metric_says_whether_they_did() {
    let web = Web::new();
    web.write("web.yml", "rate_limit: {interval: 1ns, burst: 1000}\n");
    let agent = web.serve().await;
    let value = async |user: &str, password: &str| {
        let page = plain(agent.addr(), "/metrics", &authorization(user, password)).await;
        let line = page
            .body
            .lines()
            .find_map(|line| line.strip_prefix("cachepulse_web_config_last_reload_successful "));
        line.map(str::to_owned)
    };
    assert_eq!(value("", "").await.as_deref(), Some("1"));
    web.write("web.yml", &format!("basic_auth_users: {{a: {SECRET}}}\n"));
    agent.logs("web configuration reloaded").await;
    assert_eq!(value("", "").await, None, "a password is needed");
    assert_eq!(value("a", "secret").await.as_deref(), Some("1"));
    web.write("web.yml", "basic_auth_users: {a: secret}\n");
    agent.logs("web configuration rejected; keeping the previous one").await;
    assert_eq!(value("a", "secret").await.as_deref(), Some("0"));
    let status = plain(agent.addr(), "/status", &authorization("a", "secret")).await;
    let status: serde_json::Value = serde_json::from_str(&status.body).unwrap();
    let detail = status["web_config_error"]["detail"].as_str().unwrap();
    assert!(detail.contains("expected the bcrypt hash of a password"), "{detail}");
    let page = plain(agent.addr(), "/", &authorization("a", "secret")).await.body;
    assert!(page.contains("new web configuration rejected") && page.contains("expected the bcrypt hash"));
    web.write("web.yml", &format!("basic_auth_users: {{a: {OTHER}}}\n"));
    eventually("it is repaired", || agent.log().matches("web configuration reloaded").count() == 2).await;
    assert_eq!((value("a", "secret").await, value("a", "other").await.as_deref()), (None, Some("1")));
    let status = plain(agent.addr(), "/status", &authorization("a", "other")).await;
    assert!(!status.body.contains("web_config_error"), "{}", status.body);
}

#[tokio::test]
async fn a_broken_web_configuration_does_not_keep_the_rest_from_being_reloaded() {
    let web = Web::new();
    let users = format!("basic_auth_users: {{a: {SECRET}}}\n");
    web.write("web.yml", &users);
    let config = |interval: &str| {
        format!(
            "http: {{listen: '127.0.0.1:0', lifecycle: true, web_config_file: '{}'}}\n\
             targets: [{{name: a, host: 127.0.0.1, port: 1, tls: false, identity: none, interval: {interval}}}]\n",
            web.path("web.yml").display()
        )
    };
    web.write("config.yaml", &config("1h"));
    let agent = cachepulse(["run".as_ref(), "--config".as_ref(), web.path("config.yaml").as_os_str()]);
    let agent = agent.serve().await;
    let reload = async || {
        let page = agent.post_reload_with(&authorization("a", "secret")).await;
        (page.code, page.body)
    };
    let reloaded = (200, "configuration reloaded\n".to_owned());
    let reloads = || agent.log().matches("configuration reloaded\" targets=1").count();
    assert_eq!(reload().await, reloaded);
    web.write("web.yml", "basic_auth_users: {a: hunter2}\n");
    agent.logs("web configuration rejected; keeping the previous one").await;
    // By the change of its file, and as a request.
    let before = reloads();
    web.write("config.yaml", &config("30m"));
    eventually("the rest is reloaded", || reloads() == before + 1).await;
    assert!(!agent.log().contains("restart to apply"), "{}", agent.log());
    let (code, body) = reload().await;
    assert!(code == 500 && body.starts_with("web configuration rejected: "), "{code} {body}");
    assert!(body.contains("expected the bcrypt hash") && body.lines().count() == 1, "{body}");
    eventually("the request reloads it, too", || reloads() == before + 2).await;
    // Both.
    web.write("config.yaml", &config("soon"));
    let (_, body) = reload().await;
    let lines: Vec<&str> = body.lines().collect();
    assert!(lines[0].starts_with("configuration rejected: ") && lines[0].contains("interval"), "{body}");
    assert!(lines[1].starts_with("web configuration rejected: "), "{body}");
    assert_eq!(login(agent.addr(), "a", "hunter2").await, 401, "the last good one stays");
    web.write("config.yaml", &config("1h"));
    web.write("web.yml", &users);
    assert_eq!(reload().await, reloaded);
}

#[tokio::test]
async fn a_rejected_web_configuration_is_logged_once() {
    let web = Web::new();
    web.write("web.yml", "http_server_config: {headers: {X-Frame-Options: deny}}\n");
    let agent = agent().args(["--http-lifecycle", "true", "--web-config-file"]).args([web.path("web.yml")]);
    let agent = agent.serve().await;
    let rejections = || agent.log().matches("web configuration rejected").count();
    web.write("web.yml", "rate_limit: soon\n");
    agent.logs("web configuration rejected; keeping the previous one").await;
    assert_eq!(agent.post_reload().await.code, 500);
    assert_eq!(agent.post_reload().await.code, 500);
    assert_eq!(rejections(), 1, "{}", agent.log());
    web.write("web.yml", "");
    eventually("another reason is logged", || rejections() == 2).await;
}

#[tokio::test]
async fn a_configuration_that_names_another_web_configuration_is_rejected_until_that_is_valid() {
    let web = Web::new();
    let config = |http: &str| {
        let target = "{name: a, host: 127.0.0.1, port: 1, tls: false, identity: none}";
        format!("http: {{listen: '127.0.0.1:0', lifecycle: true{http}}}\ntargets: [{target}]\n")
    };
    let naming = |name: &str| config(&format!(", web_config_file: '{}'", web.path(name).display()));
    web.write("config.yaml", &config(""));
    let agent = cachepulse(["run".as_ref(), "--config".as_ref(), web.path("config.yaml").as_os_str()]);
    let agent = agent.serve().await;
    web.write("config.yaml", &naming("web.yml"));
    let page = agent.post_reload().await;
    assert_eq!(page.code, 500, "{}", page.body);
    assert!(page.body.contains("web.yml: cannot be read: No such file"), "{}", page.body);
    assert!(agent.scrape().await.value("config_last_reload_successful") < 0.5);
    web.write("web.yml", "basic_auth_users: {a: hunter2}\n");
    agent.logs("expected the bcrypt hash of a password").await;
    web.write("web.yml", &format!("basic_auth_users: {{a: {SECRET}}}\n"));
    agent.logs("configuration reloaded").await;
    agent.logs("restart to apply").await;
    // It guards the endpoint after a restart only.
    assert_eq!(agent.get("/livez").await.code, 200);
}

#[tokio::test]
async fn a_connection_of_before_ends_when_certificates_become_required() {
    let web = Web::with_tls("");
    let agent = web.serve().await;
    let connect = async || client::connect(Client::new(&web.server).config(), agent.addr()).await.unwrap();
    let mut idle = connect().await;
    let mut started = connect().await;
    started.write_all(b"GET /status HTTP/1.1\r\n").await.unwrap();
    started.flush().await.unwrap();
    // The connections are served: a third one was accepted after them.
    Client::new(&web.server).get(agent.addr()).await.unwrap();
    let client = Certificate::of_client(&[]);
    web.write("clients.pem", &client.pem);
    web.write("web.yml", &tls(", client_auth_type: RequireAndVerifyClientCert, client_ca_file: clients.pem"));
    agent.logs("web configuration reloaded").await;
    // It may have been closed already.
    let _ = started.write_all(b"Host: a\r\n\r\n").await;
    for stream in [&mut idle, &mut started] {
        let mut response = Vec::new();
        // The end may be without a farewell.
        let _ = within("it ends", stream.read_to_end(&mut response)).await;
        assert_eq!(String::from_utf8(response).unwrap(), "");
    }
}

#[tokio::test]
async fn a_reload_of_the_same_files_ends_no_connection() {
    let web = Web::with_tls("");
    let agent = web.serve().await;
    let mut started = client::connect(Client::new(&web.server).config(), agent.addr()).await.unwrap();
    started.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
    started.flush().await.unwrap();
    // The connection is served: another one was accepted after it.
    Client::new(&web.server).get(agent.addr()).await.unwrap();
    agent.signal(Signal::HUP);
    agent.logs("web configuration unchanged").await;
    started.write_all(b"Host: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut response = Vec::new();
    // The end may be without a farewell.
    let _ = within("it ends", started.read_to_end(&mut response)).await;
    let response = String::from_utf8(response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK"), "{response:?}");
    assert!(!agent.log().contains("web configuration reloaded"), "{}", agent.log());

    // A repaired file is reported, also with the previous contents.
    web.write("web.yml", "tls_server_config: []\n");
    agent.logs("web configuration rejected").await;
    web.write("web.yml", &tls(""));
    agent.logs("web configuration reloaded").await;
}

#[tokio::test]
async fn a_web_configuration_with_a_mistake_prevents_the_start_and_validate_reports_it() {
    let web = Web::with_tls(", min_version: TLS10");
    let file = web.path("web.yml");
    let flag = ["--web.config.file".as_ref(), file.as_os_str()];
    let ended = agent().args(flag).run().await;
    let problem = "tls_server_config.min_version: TLS10 is not supported; the lowest version is TLS12";
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert!(ended.stderr.starts_with("error: --web-config-file: "), "{ended:?}");
    assert!(ended.stderr.contains(problem), "{ended:?}");
    let ended = agent().env("CACHEPULSE_WEB_CONFIG_FILE", &file).run().await;
    assert!(ended.stderr.starts_with("error: CACHEPULSE_WEB_CONFIG_FILE: "), "{ended:?}");
    let http = format!("http: {{web_config_file: '{}'}}", file.display());
    let target = "{name: a, host: 127.0.0.1, port: 1, tls: false, identity: none}";
    web.write("config.yaml", &format!("{http}\ntargets: [{target}]\n"));
    let ended = cachepulse(["validate".as_ref(), web.path("config.yaml").as_os_str()]).run().await;
    assert_eq!(ended.code, Some(64));
    assert!(ended.stderr.contains(problem), "{ended:?}");
}

#[tokio::test]
async fn handshakes_that_are_never_finished_keep_nobody_out_and_take_little_memory() {
    // More than connections are allowed.
    const HALF: usize = 300;
    // What a connection without TLS takes is some 10 KiB.
    const MOST_KIB: u64 = 32;
    let web = Web::with_tls("");
    let agent = web.serve().await;
    Client::new(&web.server).get(agent.addr()).await.unwrap();
    let before = agent.memory().now;
    let mut half = Vec::new();
    for _ in 0..HALF {
        let mut stream = TcpStream::connect(agent.addr()).await.unwrap();
        // The start of a greeting of 512 bytes.
        stream.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).await.unwrap();
        half.push(stream);
    }
    Client::new(&web.server).get(agent.addr()).await.unwrap();
    let each = (agent.memory().now - before) / HALF as u64;
    assert!(each < MOST_KIB, "{each} KiB");
    drop(half);
}
