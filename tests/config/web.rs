//! Web configuration files: what is accepted and what is not. Which files are refused follows the tests of Prometheus' exporter
//! toolkit (`web/tls_config_test.go`), where TLS in Rust allows it.

use std::fs;
use std::path::Path;

use cachepulse::config::keys::web;
use cachepulse::config::{Config, WebConfig};
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use crate::{sources, valid, web_config};

/// The password "secret", hashed by Python's bcrypt.
const HASH: &str = "$2b$04$4UU80IkT6aXoE9QImZFKlestKhRSe7x3RHfkrsp6qrMlCCgTT9xx2";

/// A folder with a certificate and its key.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    fs::write(folder.path().join("server.pem"), certificate.pem()).unwrap();
    fs::write(folder.path().join("server.key"), key.serialize_pem()).unwrap();
    let other = KeyPair::generate().unwrap();
    fs::write(folder.path().join("other.key"), other.serialize_pem()).unwrap();
    folder
}

/// Loads a web configuration with this text. The error has the folder's name removed.
fn load(folder: &TempDir, yaml: &str) -> Result<WebConfig, String> {
    let path = folder.path().join("web.yml");
    fs::write(&path, yaml).unwrap();
    let prefix = format!("{}/", folder.path().display());
    WebConfig::load(&path, &sources()).map_err(|problems| problems.to_string().replace(&prefix, ""))
}

/// Returns a web configuration with TLS and these further options.
fn with_tls(options: &str) -> String {
    format!("tls_server_config: {{cert_file: server.pem, key_file: server.key{options}}}\n")
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is one table")]
fn every_mistake_is_refused_in_words() {
    const SUITES: &str = "TLS_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256, TLS_CHACHA20_POLY1305_SHA256, \
                          TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, \
                          TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, \
                          TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 or TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256";
    const MANDATORY: &str = "needs client_auth_type: RequireAndVerifyClientCert or RequireAnyClientCert; otherwise clients \
                             may come without a certificate";
    const BCRYPT: &str =
        "expected the bcrypt hash of a password, such as `cachepulse hash-password` prints it";
    let folder = folder();
    for (yaml, expected) in [
        // The toolkit's own table.
        (
            "hWkNKCp3fvIx3jKnsaBI\nTuEjdwNS8A2vYdFbiKqr\n",
            "web.yml:1:1: expected a mapping such as {tls_server_config: …, basic_auth_users: …}, found other text",
        ),
        (
            "tls_server_config: {cert_filse: server.pem}",
            "web.yml:1:21: tls_server_config: unknown key \"cert_filse\"; did you mean \"cert_file\"?",
        ),
        (
            "tls_server_config: {cert_file: '', key_file: server.key}",
            "tls_server_config.cert_file: empty; give cert_file or cert",
        ),
        (
            "tls_server_config: {cert: '', key_file: server.key}",
            "tls_server_config.cert_file: missing; give cert_file or cert",
        ),
        (
            "tls_server_config: {cert_file: server.pem, key_file: ''}",
            "tls_server_config.key_file: empty; give key_file or key",
        ),
        (
            "tls_server_config: {cert_file: server.pem, key: ''}",
            "tls_server_config.key_file: missing; give key_file or key",
        ),
        (
            "tls_server_config: {cert_file: '', key_file: '', client_auth_type: x}",
            "tls_server_config.cert_file: empty; give cert_file or cert",
        ),
        (
            "tls_server_config: {cert_file: absent, key_file: server.key}",
            "tls_server_config.cert_file: absent cannot be read: No such file or directory (os error 2)",
        ),
        (
            "tls_server_config: {cert_file: server.pem, key_file: absent}",
            "tls_server_config.key_file: absent cannot be read: No such file or directory (os error 2)",
        ),
        (
            "tls_server_config: {cert_file: absent, key_file: absent}",
            "tls_server_config.cert_file: absent cannot be read: No such file or directory (os error 2)",
        ),
        (
            &with_tls(", client_ca_file: server.pem"),
            "tls_server_config.client_ca_file: not used without client_auth_type; RequireAndVerifyClientCert demands certificates of these authorities",
        ),
        (
            &with_tls(", client_auth_type: RequireAndVerifyClientCert, client_ca_file: absent"),
            "tls_server_config.client_ca_file: absent cannot be read: No such file or directory (os error 2)",
        ),
        ("basic_auth_users: {alice: hunter2}", &format!("web.yml:1:27: basic_auth_users.alice: {BCRYPT}")),
        (
            &with_tls(", cipher_suites: [TLS_ECDHE_FISH]"),
            &format!("tls_server_config.cipher_suites[0]: unsupported cipher suite; expected {SUITES}"),
        ),
        (
            &with_tls(", curve_preferences: [CurveP25]"),
            "tls_server_config.curve_preferences[0]: unsupported curve; expected X25519, CurveP256 or CurveP384",
        ),
        (
            &with_tls(", min_version: TLS111"),
            "tls_server_config.min_version: unknown value; did you mean \"TLS12\"?",
        ),
        (
            "http_server_config: {headers: {X-Content-Type-Options: sniff}}",
            "http_server_config.headers.X-Content-Type-Options: expected nosniff, found other text",
        ),
        (
            "http_server_config: {headers: {X-Frame-Options: yes}}",
            "http_server_config.headers.X-Frame-Options: expected deny or sameorigin, found other text",
        ),
        (
            "http_server_config: {headers: {X-Frame-Options: }}",
            "http_server_config.headers.X-Frame-Options: expected deny or sameorigin, found nothing",
        ),
        (
            "http_server_config: {headers: {Server: x}}",
            "http_server_config.headers: unknown key \"Server\"; expected Content-Security-Policy, X-Frame-Options, X-Content-Type-Options, X-XSS-Protection or Strict-Transport-Security",
        ),
        (
            &with_tls(", max_version: TLS12, cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]"),
            "tls_server_config.cipher_suites: HTTP/2 needs TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 or TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256; add it, or set http_server_config.http2 to false",
        ),
        // What TLS in Rust does not have.
        (
            &with_tls(", min_version: TLS10"),
            "tls_server_config.min_version: TLS10 is not supported; the lowest version is TLS12",
        ),
        (
            &with_tls(", min_version: TLS11, max_version: TLS11"),
            "tls_server_config.max_version: TLS11 is not supported; the lowest version is TLS12",
        ),
        (
            &with_tls(", cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]"),
            &format!("tls_server_config.cipher_suites[0]: unsupported cipher suite; expected {SUITES}"),
        ),
        (
            &with_tls(", curve_preferences: [X25519, CurveP521]"),
            "tls_server_config.curve_preferences[1]: unsupported curve; expected X25519, CurveP256 or CurveP384",
        ),
        // What starts in Go and then serves nobody, or everybody.
        (
            &with_tls(", min_version: TLS13, max_version: TLS12"),
            "tls_server_config: max_version is lower than min_version",
        ),
        (
            &with_tls(
                ", max_version: TLS12, cipher_suites: [TLS_AES_128_GCM_SHA256]}\nhttp_server_config: {http2: false",
            ),
            "tls_server_config: cipher_suites has none for TLS 1.2, and max_version allows no other version",
        ),
        (
            &with_tls(", client_auth_type: RequireAndVerifyClientCert"),
            "tls_server_config.client_ca_file: missing; give client_ca_file or client_ca: without authorities, no client is trusted",
        ),
        (
            &with_tls(", client_auth_type: RequireAndVerifyClientCert, client_ca_file: server.key"),
            "tls_server_config.client_ca_file: server.key holds no certificate in PEM (BEGIN CERTIFICATE)",
        ),
        (
            &with_tls(", client_auth_type: VerifyClientCertIfGiven, client_allowed_sans: [a]"),
            &format!("tls_server_config.client_allowed_sans: {MANDATORY}"),
        ),
        (
            &with_tls(", client_allowed_sans: [a]"),
            &format!("tls_server_config.client_allowed_sans: {MANDATORY}"),
        ),
        (
            "tls_server_config: {min_version: TLS13}",
            "tls_server_config.cert_file: missing; give cert_file or cert",
        ),
        (
            "tls_server_config: {cert_file: '', key_file: ''}",
            "tls_server_config.key_file: empty; give key_file or key",
        ),
        // Other mistakes.
        (
            &with_tls(", client_auth_type: requireanyclientcert"),
            "tls_server_config.client_auth_type: expected NoClientCert, RequestClientCert, RequireAnyClientCert, RequireClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert, found other text",
        ),
        (
            "tls_server_config: {cert_file: server.pem, key_file: other.key}",
            "tls_server_config.key_file: other.key holds another private key than that of the certificate",
        ),
        (
            "tls_server_config: {cert_file: server.key, key_file: server.key}",
            "tls_server_config.cert_file: server.key holds no certificate in PEM (BEGIN CERTIFICATE)",
        ),
        (
            "tls_server_config: {cert: hunter2, key: hunter2}",
            "tls_server_config.cert: the text holds no certificate in PEM (BEGIN CERTIFICATE)",
        ),
        (
            "tls_server_config: {cert_file: server.pem, key: [hunter2]}",
            "tls_server_config.key: expected a private key in PEM",
        ),
        (
            &with_tls(", cipher_suites: TLS_AES_128_GCM_SHA256"),
            "tls_server_config.cipher_suites: expected a list, found other text",
        ),
        (
            "http_server_config: {http2: 'false'}",
            "http_server_config.http2: expected true or false, found other text",
        ),
        (
            &format!("basic_auth_users: {{alice: {HASH}, bob: {HASH}, alice: {HASH}}}"),
            "basic_auth_users.alice: duplicate user \"alice\"",
        ),
        (
            "basic_auth_users: hunter2",
            "basic_auth_users: expected a mapping of user names to hashes of their passwords",
        ),
        ("basic_auth_users: {alice: 12345}", &format!("basic_auth_users.alice: {BCRYPT}")),
        (
            &format!("basic_auth_users: {{alice: {}}}", HASH.replace("$04$", "$32$")),
            &format!("basic_auth_users.alice: {BCRYPT}"),
        ),
        (
            &format!("basic_auth_users: {{alice: {}}}", HASH.replace("$04$", "$17$")),
            "basic_auth_users.alice: the cost of the hash is 17; the highest is 16, because passwords are checked one at a time",
        ),
        (
            "rate_limit: {interval: 1d}",
            "rate_limit.interval: expected a duration as in Go, such as 100ms or 1.5s, found other text",
        ),
        (
            "rate_limit: {interval: -1s}",
            "rate_limit.interval: expected a duration as in Go, such as 100ms or 1.5s, found other text",
        ),
        (
            "rate_limit: {interval: 1s, burst: -1}",
            "rate_limit.burst: expected a whole number, found a number",
        ),
        ("rate_limit: {}\nrate_limit: {}\n", "duplicate key \"rate_limit\""),
        ("tls_server_config: {}\n---\n", "not valid YAML: more than one document in the file"),
        (
            "http: {}",
            "unknown key \"http\"; expected tls_server_config, http_server_config, basic_auth_users or rate_limit",
        ),
        ("cert_file: x", "unknown key \"cert_file\"; it belongs in tls_server_config"),
    ] {
        let found = load(&folder, yaml).expect_err(yaml);
        assert!(!found.contains("min_version\n"), "one problem: {found}");
        assert!(found.contains(expected), "{yaml}\n{found}\n{expected}");
        assert!(!found.contains("hunter2"), "{found}");
    }
    let absent = WebConfig::load(Path::new("absent/web.yml"), &sources()).unwrap_err();
    assert_eq!(absent.to_string(), "absent/web.yml: cannot be read: No such file or directory (os error 2)");
}

#[test]
fn no_message_repeats_a_value() {
    let folder = folder();
    let repeated = |yaml: &str, value: &str| {
        let found = load(&folder, yaml).map_or_else(|problems| problems, |it| format!("{:?}", it.warnings));
        assert!(!found.contains(value), "{yaml}\n{found}");
    };
    for value in
        ["correct-horse-battery", "hunter2", "19770525", "k7gQ2vXb9Rw4TzLm8PfYc3NhJd6SaUe1MIIEvQIBADANBgkqh"]
    {
        repeated(value, value);
        repeated(&format!("[{value}]"), value);
        for key in web::all() {
            let path = key.about().path;
            // A file that cannot be read is named, unless it is probably a secret.
            if path.ends_with("_file") && value.len() < 30 {
                continue;
            }
            for value_in in
                [value.to_owned(), format!("'{value}'"), format!("[{value}]"), format!("{{a: {value}}}")]
            {
                let depth = path.matches('.').count();
                let yaml = format!("{{{}: {value_in}{}", path.replace('.', ": {"), "}".repeat(depth + 1));
                repeated(&yaml, value);
            }
        }
    }
    // Nor a key that may be a value.
    let key = "k7gQ2vXb9Rw4TzLm8PfYc3NhJd6SaUe1MIIEvQIBADANBgkqh";
    repeated(&format!("tls_server_config: {{cert_file: server.pem, {key}: }}"), key);
}

#[test]
fn empty_text_removes_no_protection() {
    let folder = folder();
    for (yaml, expected) in [
        ("''".to_owned(), "expected a mapping such as"),
        ("tls_server_config: ''".to_owned(), "tls_server_config: expected a mapping such as"),
        ("http_server_config: ''".to_owned(), "http_server_config: expected a mapping such as"),
        ("http_server_config: {http2: ''}".to_owned(), "http_server_config.http2: expected true or false"),
        (
            "http_server_config: {headers: ''}".to_owned(),
            "http_server_config.headers: expected a mapping such as",
        ),
        ("basic_auth_users: ''".to_owned(), "basic_auth_users: expected a mapping of user names"),
        ("basic_auth_users: {a: ''}".to_owned(), "basic_auth_users.a: expected the bcrypt hash"),
        ("rate_limit: ''".to_owned(), "rate_limit: expected a mapping such as"),
        ("rate_limit: {interval: ''}".to_owned(), "rate_limit.interval: expected a duration"),
        ("rate_limit: {interval: 1s, burst: ''}".to_owned(), "rate_limit.burst: expected a whole number"),
        (with_tls(", client_auth_type: ''"), "tls_server_config.client_auth_type: expected NoClientCert"),
        (
            with_tls(", client_auth_type: RequireAnyClientCert, client_allowed_sans: ''"),
            "tls_server_config.client_allowed_sans: expected a list",
        ),
        (with_tls(", min_version: ''"), "tls_server_config.min_version: expected TLS12 or TLS13"),
        (with_tls(", max_version: ''"), "tls_server_config.max_version: expected TLS12 or TLS13"),
        (with_tls(", cipher_suites: ''"), "tls_server_config.cipher_suites: expected a list"),
        (
            with_tls(", prefer_server_cipher_suites: ''"),
            "tls_server_config.prefer_server_cipher_suites: expected true or false",
        ),
        (with_tls(", curve_preferences: ''"), "tls_server_config.curve_preferences: expected a list"),
    ] {
        let found = load(&folder, &yaml).expect_err(&yaml);
        assert!(found.contains(expected), "{yaml}\n{found}\n{expected}");
    }
}

#[test]
fn every_key_is_accepted_and_files_are_found_beside_the_web_configuration() {
    let folder = folder();
    let pem = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap().replace('\n', "\n    ");
    let (certificate, key) = (pem("server.pem"), pem("server.key"));
    let inline = |client: &str| {
        format!("tls_server_config:\n  cert: |\n    {certificate}\n  key: |\n    {key}\n{client}")
    };
    for yaml in [
        "",
        "# nothing\n",
        "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\nrate_limit:\n",
        &with_tls(""),
        &inline(""),
        &inline(&format!("  client_auth_type: VerifyClientCertIfGiven\n  client_ca: |\n    {certificate}\n")),
        &with_tls(", client_auth_type: VerifyClientCertIfGiven"),
        &with_tls(", client_auth_type: RequireClientCert, client_allowed_sans: []"),
        &with_tls(
            ", client_auth_type: NoClientCert, prefer_server_cipher_suites: off, cipher_suites: [], client_ca_file: ''",
        ),
        &with_tls(
            ", max_version: TLS12, cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]}\nhttp_server_config: {http2: no",
        ),
        &with_tls(", min_version: TLS13, cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]"),
        &with_tls(", curve_preferences: [CurveP256, CurveP384, X25519]"),
        "http_server_config: {headers: {X-XSS-Protection: 1, Content-Security-Policy: \"default-src 'self'\"}}",
        &format!("basic_auth_users: {{alice: {HASH}, 1234: {}}}", HASH.replace("$2b$", "$2y$")),
        &format!(
            "basic_auth_users: {{a: {}, b: {}}}",
            HASH.replace("$2b$", "$2a$"),
            HASH.replace("$2b$", "$2x$")
        ),
        "rate_limit: {interval: 1s}",
        "rate_limit: {interval: 5, burst: 3}",
        "rate_limit: {interval: 0, burst: 3}",
    ] {
        load(&folder, yaml).unwrap_or_else(|problems| panic!("{yaml}\n{problems}"));
    }
    let unused = load(&folder, &with_tls(", key: hunter2")).unwrap().warnings;
    assert!(unused[0].to_string().ends_with("tls_server_config.key: not used, because key_file is given"));
    let of_cost = |cost: &str| format!("basic_auth_users: {{a: {}}}", HASH.replace("$04$", cost));
    let slow = load(&folder, &of_cost("$16$")).unwrap().warnings;
    assert!(
        slow[0]
            .to_string()
            .contains("basic_auth_users.a: the cost of the hash is 16: each check takes seconds")
    );
    assert!(load(&folder, &of_cost("$14$")).unwrap().warnings.is_empty());
    let nobody = load(&folder, "rate_limit: {interval: 1s}").unwrap().warnings;
    assert!(nobody[0].to_string().ends_with("rate_limit: denies every request, because burst is 0"));
    assert_eq!(load(&folder, "rate_limit: {interval: 1s, burst: 1}").unwrap().warnings.len(), 0);
}

#[test]
fn the_example_names_every_key() {
    let (example, rules) = (fs::read_to_string("examples/web.yml").unwrap(), web_config().rules);
    assert!(rules.tls.is_some() && rules.users.is_some() && rules.rate.is_some() && rules.headers.len() == 5);
    for key in web::all() {
        let name = key.about().name();
        let is_inline = ["cert", "key", "client_ca"].contains(&name);
        assert!(is_inline || example.contains(&format!("{name}:")), "{name} is missing");
    }
}

#[test]
fn the_problems_of_a_web_configuration_are_those_of_the_configuration_that_names_it() {
    let folder = folder();
    let web = folder.path().join("web.yml");
    fs::write(&web, "rate_limit: {interval: 1d, burst: x}\n").unwrap();
    let yaml = |path: &Path| {
        format!(
            "http: {{web_config_file: '{}'}}\ntargets: [{{name: a, host: cache.example.com, identity: none}}]",
            path.display()
        )
    };
    let problems = Config::from_yaml("config.yaml", &yaml(&web)).unwrap_err().to_string();
    let lines: Vec<&str> = problems.lines().collect();
    let start =
        format!("config.yaml:1:25: http.web_config_file: {}:1:24: rate_limit.interval: ", web.display());
    assert!(lines.len() == 2 && lines[0].starts_with(&start), "{problems}");
    assert!(lines[1].ends_with("rate_limit.burst: expected a whole number, found other text"), "{problems}");
    fs::write(&web, "rate_limit: {interval: 1m}\n").unwrap();
    let config = valid(&yaml(&web));
    assert_eq!(config.web_config.unwrap().path, web);
}
