//! TLS with real servers: certificates that OpenSSL makes, ports that speak something else, and what is said of them.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::program::{Ended, Program, cachepulse};
use crate::redis_server::{ALL, Listen, PASSWORD, RedisServer};
use crate::scrape::Scrape;

/// The protocols of redis-server, one at a time.
const PROTOCOLS: [&str; 2] = ["TLSv1.2", "TLSv1.3"];

/// The self-signed certificates of [`Certificates::self_signed`]: a CA certificate, as by default.
const SELF_SIGNED: &str = "req -x509 -nodes -days 2 -subj /CN=localhost";

/// A folder of certificates and keys, made with the program `openssl`.
struct Certificates(TempDir);

impl Certificates {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Runs `openssl` in the folder.
    fn openssl(&self, arguments: &str) {
        let status = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("openssl is not on PATH");
        assert!(status.success(), "openssl {arguments}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Starts a redis-server that shows `certificate` with `key`, with additional `lines` of configuration.
    async fn server(&self, certificate: &str, key: &str, lines: &str) -> RedisServer {
        let (certificate, key) = (self.path(certificate), self.path(key));
        let (certificate, key) = (certificate.display(), key.display());
        let lines = format!("tls-cert-file {certificate}\ntls-key-file {key}\n{lines}\n");
        RedisServer::start_with(Listen::Tls, &[("probe", ALL)], &lines).await
    }
}

/// Returns `cachepulse check` of `redis` as localhost.
fn check(redis: &RedisServer) -> Program {
    cachepulse(["check", "--host", "127.0.0.1", "--server-name", "localhost"])
        .args(["--port", &redis.port().to_string(), "--attempts", "1"])
        .args(["--identity", "password", "--username", "probe", "--password-env", "PROBE_PASSWORD"])
        .env("PROBE_PASSWORD", PASSWORD)
}

fn assert_success(ended: &Ended) {
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
}

fn assert_failure(ended: &Ended, parts: &[&str]) {
    assert_eq!(ended.code, Some(1), "{}{}", ended.stdout, ended.stderr);
    for part in parts {
        assert!(ended.stdout.contains(part), "no {part:?} in:\n{}", ended.stdout);
    }
}

#[tokio::test]
async fn a_certificate_that_openssl_signs_with_itself_is_accepted_if_it_is_the_ca_file() {
    let made = Certificates::new();
    made.openssl(&format!("{SELF_SIGNED} -newkey rsa:2048 -keyout key.pem -out cert.pem"));
    for protocol in PROTOCOLS {
        let redis = made.server("cert.pem", "key.pem", &format!("tls-protocols {protocol}")).await;
        assert_success(&check(&redis).args(["--ca-file"]).args([made.path("cert.pem")]).run().await);
        let says =
            "shows a CA certificate as its own; to trust exactly this certificate, add it to tls.ca_file";
        assert_failure(&check(&redis).run().await, &["tls_certificate", says]);
    }
}

#[tokio::test]
async fn a_certificate_of_version_1_is_accepted_if_it_is_the_ca_file() {
    let made = Certificates::new();
    made.openssl("req -new -nodes -subj /CN=localhost -newkey rsa:2048 -keyout key.pem -out request.pem");
    made.openssl("x509 -req -in request.pem -signkey key.pem -days 2 -out cert.pem");
    for protocol in PROTOCOLS {
        let redis = made.server("cert.pem", "key.pem", &format!("tls-protocols {protocol}")).await;
        assert_success(&check(&redis).args(["--ca-file"]).args([made.path("cert.pem")]).run().await);
        assert_failure(&check(&redis).run().await, &["tls_certificate"]);
    }
}

#[tokio::test]
async fn a_server_with_nothing_in_common_is_told_what_this_agent_offers() {
    let made = Certificates::new();
    made.openssl(&format!(
        "{SELF_SIGNED} -newkey ec -pkeyopt ec_paramgen_curve:P-521 -keyout p521.key -out p521.pem"
    ));
    made.openssl(&format!("{SELF_SIGNED} -newkey rsa:2048 -keyout rsa.key -out rsa.pem"));
    let tls12 = |suite| format!("tls-protocols TLSv1.2\ntls-ciphers {suite}");
    let servers = [
        ("p521", "tls-protocols TLSv1.3".to_owned()),
        ("p521", "tls-protocols TLSv1.2".to_owned()),
        ("rsa", tls12("DHE-RSA-AES256-GCM-SHA384")),
        ("rsa", tls12("ECDHE-RSA-AES256-SHA384")),
        ("rsa", tls12("AES256-GCM-SHA384")),
    ];
    for (name, lines) in servers {
        let redis = made.server(&format!("{name}.pem"), &format!("{name}.key"), &lines).await;
        let ca_file = made.path(&format!("{name}.pem"));
        let offers = "ECDHE and AES-GCM or ChaCha20, for keys of the types P-256, P-384, Ed25519 and RSA";
        let ended = check(&redis).args(["--ca-file"]).args([ca_file]).run().await;
        assert_failure(&ended, &["tls_handshake", offers, "P-521"]);
    }
}

#[tokio::test]
async fn tls_to_a_port_of_plain_text_brings_the_advice_to_turn_it_off() {
    let redis = RedisServer::start(Listen::Plaintext, &[("probe", ALL)]).await;
    let ended = check(&redis).args(["--connect-timeout", "500ms"]).run().await;
    assert_failure(&ended, &["tls_handshake", "sent no byte in answer to the TLS greeting", "`--tls false`"]);
}

#[tokio::test]
async fn plain_text_to_a_port_of_tls_brings_the_advice_to_turn_tls_on() {
    let redis = RedisServer::start(Listen::Tls, &[("probe", ALL)]).await;
    let plain = cachepulse(["check", "--host", "127.0.0.1", "--tls", "false", "--identity", "none"]);
    let ended = plain.args(["--port", &redis.port().to_string(), "--attempts", "1"]).run().await;
    assert_failure(&ended, &["If this port serves TLS, remove `--tls false`"]);
}

/// An authority of clients, `clients.pem`, and clients with certificates: `client` of it, `stranger` of another.
fn clients() -> Certificates {
    let made = Certificates::new();
    for name in ["clients", "strangers"] {
        let key = format!("-newkey rsa:2048 -keyout {name}.key -out {name}.pem");
        made.openssl(&format!("req -x509 -nodes -days 2 -subj /CN={name} {key}"));
    }
    made.openssl(&format!("{SELF_SIGNED} -newkey rsa:2048 -keyout key.pem -out cert.pem"));
    for (name, authority) in [("client", "clients"), ("stranger", "strangers")] {
        made.openssl(&format!("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out {name}.key"));
        made.sign(name, authority);
    }
    made
}

impl Certificates {
    /// Makes a certificate for the key of `name`.
    fn sign(&self, name: &str, authority: &str) {
        self.openssl(&format!("req -new -subj /CN={name} -key {name}.key -out request.pem"));
        let issuer = format!("-CA {authority}.pem -CAkey {authority}.key -CAcreateserial");
        self.openssl(&format!("x509 -req -in request.pem {issuer} -days 2 -out {name}.pem"));
    }

    /// Starts a redis-server that admits only clients of the authority.
    async fn server_for_clients(&self, protocol: &str) -> RedisServer {
        let authority = self.path("clients.pem");
        let lines = format!(
            "tls-auth-clients yes\ntls-ca-cert-file {}\ntls-protocols {protocol}",
            authority.display()
        );
        self.server("cert.pem", "key.pem", &lines).await
    }

    /// Adds the flags of the server's and the client's certificate.
    fn as_client(&self, program: Program, name: &str) -> Program {
        let program = program.args(["--ca-file"]).args([self.path("cert.pem")]);
        let program = program.args(["--cert-file"]).args([self.path(&format!("{name}.pem"))]);
        program.args(["--key-file"]).args([self.path(&format!("{name}.key"))])
    }

    /// Replaces the file `name` by a copy of `with`.
    fn replace(&self, name: &str, with: &str) {
        std::fs::copy(self.path(with), self.path("new")).unwrap();
        std::fs::rename(self.path("new"), self.path(name)).unwrap();
    }
}

#[tokio::test]
async fn a_server_that_asks_for_a_client_certificate_gets_the_configured_one() {
    let made = clients();
    for protocol in PROTOCOLS {
        let redis = made.server_for_clients(protocol).await;
        let none = check(&redis).args(["--ca-file"]).args([made.path("cert.pem")]).run().await;
        let says = "the server requires a client certificate, and none is configured";
        assert_failure(&none, &["tls_client_certificate", says, "`--cert-file`"]);
        assert_success(&made.as_client(check(&redis), "client").run().await);
        let stranger = made.as_client(check(&redis), "stranger").run().await;
        let says = "the server refused the client certificate (alert unknown_ca)";
        assert_failure(&stranger, &["tls_client_certificate", says]);
    }
}

#[tokio::test]
async fn keys_of_every_supported_type_and_encoding_sign_in() {
    let made = clients();
    let redis = made.server_for_clients("\"TLSv1.2 TLSv1.3\"").await;
    let keys = [
        ("pkcs1", "rsa -in client.key -traditional -out pkcs1.key"),
        ("sec1", "ecparam -name prime256v1 -genkey -noout -out sec1.key"),
        ("p384", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out p384.key"),
        ("ed25519", "genpkey -algorithm ED25519 -out ed25519.key"),
    ];
    for (name, command) in keys {
        made.openssl(command);
        made.sign(name, "clients");
        assert_success(&made.as_client(check(&redis), name).run().await);
    }
}

/// Returns `cachepulse run` of `redis` as localhost.
fn agent(redis: &RedisServer, interval: &str) -> Program {
    cachepulse(["run", "--listen", "127.0.0.1:0", "--name", "orders", "--interval", interval])
        .args(["--host", "127.0.0.1", "--server-name", "localhost", "--port", &redis.port().to_string()])
        .args(["--identity", "password", "--username", "probe", "--password-env", "PROBE_PASSWORD"])
        .env("PROBE_PASSWORD", PASSWORD)
}

#[tokio::test]
async fn a_new_authority_in_the_ca_file_is_trusted_at_the_next_connection() {
    for is_signalled in [false, true] {
        let made = Certificates::new();
        made.openssl(&format!("{SELF_SIGNED} -newkey rsa:2048 -keyout key.pem -out cert.pem"));
        made.replace("ca.pem", "cert.pem");
        let mut redis = made.server("cert.pem", "key.pem", "").await;
        let agent = agent(&redis, "300ms").args(["--ca-file"]).args([made.path("ca.pem")]).serve().await;
        agent.until("it is probed", |scrape| scrape.is_up("orders")).await;

        made.openssl(&format!("{SELF_SIGNED} -newkey rsa:2048 -keyout key.pem -out cert.pem"));
        made.replace("ca.pem", "cert.pem");
        redis.kill().await;
        redis.restart().await;
        if is_signalled {
            agent.signal(Signal::HUP);
        }
        let again = |it: &Scrape| it.is_up("orders") && it.connects("success", "orders") == 2;
        let scrape = agent.until("it is probed again", again).await;
        assert_eq!(scrape.failures("tls_certificate", "orders"), 0, "{}", scrape.text);
        assert_eq!(agent.log().matches("TLS files reloaded").count(), 1);
    }
}

#[tokio::test]
async fn a_damaged_ca_file_keeps_the_previous_authorities_and_is_logged_once() {
    let made = Certificates::new();
    made.openssl(&format!("{SELF_SIGNED} -newkey rsa:2048 -keyout key.pem -out cert.pem"));
    made.replace("ca.pem", "cert.pem");
    let redis = made.server("cert.pem", "key.pem", "").await;
    let agent = agent(&redis, "300ms").args(["--ca-file"]).args([made.path("ca.pem")]).serve().await;
    agent.until("it is probed", |scrape| scrape.is_up("orders")).await;
    made.replace("ca.pem", "key.pem");
    agent.logs("holds no certificate in PEM").await;
    redis.ask::<()>(&["CLIENT", "KILL", "ID", &redis.agent("probe").id.to_string()]);
    let again = |it: &Scrape| it.is_up("orders") && it.connects("success", "orders") == 2;
    agent.until("it is probed again", again).await;
    assert_eq!(agent.log().matches("TLS files not usable").count(), 1);
}

#[tokio::test]
async fn a_renewed_client_certificate_ends_the_pause_after_a_refusal() {
    let made = clients();
    made.replace("renewed.pem", "stranger.pem");
    made.replace("renewed.key", "stranger.key");
    let redis = made.server_for_clients("TLSv1.3").await;
    let agent = made.as_client(agent(&redis, "1h"), "renewed").serve().await;
    agent.logs("reason=tls_client_certificate").await;
    // By now the pauses between attempts have grown to several seconds.
    sleep(Duration::from_secs(8)).await;
    made.replace("renewed.pem", "client.pem");
    made.replace("renewed.key", "client.key");
    agent.logs("TLS files reloaded").await;
    let reloaded = Instant::now();
    agent.until("it is probed", |scrape| scrape.is_up("orders")).await;
    assert!(reloaded.elapsed() < Duration::from_secs(2), "{:?}", reloaded.elapsed());
}
