//! `run --on-invalid-config wait`: an agent without a valid configuration begins as soon as it has one.

use crate::lab::Lab;
use crate::program::{Program, cachepulse};
use crate::redis_server::{ALL, Listen, PASSWORD, RedisServer};

const WAIT: [&str; 4] = ["--listen", "127.0.0.1:0", "--on-invalid-config", "wait"];

/// The seconds of an outage, which must be none: the time without a configuration is not the cache's fault.
const UNAVAILABLE: &str = "unavailable_seconds_total{target=\"orders\"}";

fn waits(lab: &Lab) -> Program {
    let file = lab.path("config.yaml");
    cachepulse(["run", "--config", file.to_str().unwrap()]).args(WAIT)
}

#[tokio::test]
async fn it_begins_when_the_file_and_the_files_that_it_names_are_there() {
    let lab = Lab::start().await;
    let (ca, key) = (lab.path("late-ca.pem"), lab.path("late-key"));
    let key = format!("identity: {{type: access_key, key: {{file: '{}'}}}}", key.display());
    let target = lab.target("orders", &format!("interval: 500ms, {key}"));
    let target = target.replace(lab.ca_file().to_str().unwrap(), ca.to_str().unwrap());
    lab.file("config.yaml", "");
    let agent = waits(&lab).wait().await;
    // Each step leads to the next problem.
    lab.file("config.yaml", &Lab::config([target]));
    agent.logs("late-ca.pem").await;
    lab.file("late-ca.pem", "no certificate\n");
    lab.file("late-key", "");
    agent.logs("late-key").await;
    lab.file("late-key", lab.azure.access_key().expose());
    lab.file("late-ca.pem", &lab.azure.ca_pem());
    let scrape = agent.until("it probes", |it| it.is_up("orders")).await;
    assert!(scrape.value("config_last_reload_successful") > 0.5);
    assert!(scrape.value(UNAVAILABLE) == 0.0, "{}", scrape.text);
    assert_eq!(agent.log().matches("agent started").count(), 1, "{}", agent.log());
}

#[tokio::test]
async fn it_begins_with_flags_when_the_file_that_they_name_appears() {
    let redis = RedisServer::start(Listen::Plaintext, &[("probe", ALL)]).await;
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    let port = redis.port().to_string();
    // As the variables of a sidecar.
    let agent = cachepulse(["run"])
        .args(WAIT)
        .env("CACHEPULSE_NAME", "orders")
        .env("CACHEPULSE_HOST", "127.0.0.1")
        .env("CACHEPULSE_PORT", port)
        .env("CACHEPULSE_TLS", "false")
        .env("CACHEPULSE_IDENTITY", "password")
        .env("CACHEPULSE_USERNAME", "probe")
        .env("CACHEPULSE_PASSWORD_FILE", &password)
        .wait()
        .await;
    std::fs::write(&password, PASSWORD).unwrap();
    let scrape = agent.until("it probes", |it| it.is_up("orders")).await;
    assert!(scrape.value(UNAVAILABLE) == 0.0, "{}", scrape.text);
    agent.signal(rustix::process::Signal::HUP);
    agent.logs("SIGHUP ignored; there is no configuration file").await;
}
