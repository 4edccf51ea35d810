//! TLS with real servers: certificates that OpenSSL makes, ports that speak something else, and what is said of them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::program::{Ended, Program, cachepulse};
use crate::redis_server::{ALL, Listen, PASSWORD, RedisServer};

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
    assert_failure(&ended, &["tls_handshake", "sent no byte in answer to the TLS greeting", "`tls: false`"]);
}

#[tokio::test]
async fn plain_text_to_a_port_of_tls_brings_the_advice_to_turn_tls_on() {
    let redis = RedisServer::start(Listen::Tls, &[("probe", ALL)]).await;
    let plain = cachepulse(["check", "--host", "127.0.0.1", "--tls", "false", "--identity", "none"]);
    let ended = plain.args(["--port", &redis.port().to_string(), "--attempts", "1"]).run().await;
    assert_failure(&ended, &["If this port serves TLS, remove `tls: false`"]);
}
