//! The HTTP endpoint of the running agent: every series of `/metrics`, the readiness and the status.

use std::net::TcpListener;
use std::path::Path;

use cachepulse::metrics::{DEFINITIONS, Definition};
use cachepulse_standin::{Ending, TokenFault};
use rustix::process::Signal;

use crate::lab::Lab;
use crate::port::Port;
use crate::program::cachepulse;
use crate::scrape::Scrape;

/// Returns the text of a scrape without help texts and zeros, with placeholders for values that differ between runs.
fn normalised(scrape: &Scrape) -> String {
    let line = |line: &str| {
        let Some((series, value)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) else {
            return format!("{line}\n");
        };
        let name = series.split('{').next().unwrap_or_default();
        match name {
            "cachepulse_server_info" => return format!("{name}{{<server>}} {value}\n"),
            "cachepulse_build_info" => return format!("{name}{{<build>}} {value}\n"),
            _ => {}
        }
        let value = if name.starts_with("process_") {
            "<value>"
        } else if name.ends_with("_timestamp_seconds") {
            "<time>"
        } else if name.ends_with("_seconds_sum") || name.ends_with("unavailable_seconds_total") {
            "<seconds>"
        } else if name.ends_with("_bucket") && !series.contains("le=\"+Inf\"")
            || name.ends_with("late_ticks_total")
            || name == "cachepulse_tasks"
        {
            "<count>"
        } else {
            value
        };
        format!("{series} {value}\n")
    };
    let is_shown = |line: &String| !line.starts_with("# HELP ") && !line.ends_with("} 0\n");
    scrape.text.lines().map(line).filter(is_shown).collect()
}

/// Compares `text` with the golden file. `UPDATE_GOLDEN=1` in the environment writes the file first.
fn assert_golden(text: &str) {
    let path = Path::new("tests/agent/golden/metrics.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, text).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    let differing = golden.lines().zip(text.lines()).find(|(golden, line)| golden != line);
    assert!(golden == text, "first difference: {differing:?}; the whole text:\n{text}");
}

#[tokio::test]
async fn the_metrics_of_a_scripted_run_equal_the_golden_file() {
    let lab = Lab::start().await;
    let often = ["--new-connection-every", "10s"];
    let agent = lab.run(["--identity", "managed_identity", "--interval", "1h"]).args(often).serve().await;
    agent.until("the one probe succeeds", |scrape| scrape.is_up("orders")).await;
    lab.azure.cache().close_all(Ending::Close);
    let reopened = "the connection is reopened between ticks";
    agent.until(reopened, |it| it.connects("success", "orders") == 2).await;
    agent.until("a new connection is probed", |it| it.new_connections("success", "orders") == 1).await;
    // The last scrape may have been taken between two updates of the metrics.
    let scrape = agent.scrape().await;
    assert_golden(&normalised(&scrape));
    // A metric of clusters, for example, is not there.
    let is_there = |definition: &&Definition| scrape.text.contains(&format!("# TYPE {} ", definition.name));
    for definition in DEFINITIONS.iter().filter(is_there) {
        assert!(scrape.text.contains(&format!("# HELP {} {}\n", definition.name, definition.help)));
    }
    let head = agent.get("/metrics").await.head;
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
}

#[tokio::test]
async fn an_agent_is_ready_when_every_target_has_an_outcome_even_a_failure() {
    let lab = Lab::start().await;
    lab.azure.endpoint().set(|settings| settings.fault = Some(TokenFault::Hang));
    let agent = lab.run(["--identity", "managed_identity", "--interval", "1h"]).serve().await;
    let waiting = agent.get("/readyz").await;
    assert_eq!(waiting.code, 503);
    assert_eq!(waiting.body, "not ready: targets without an outcome yet: 1\n");
    assert_eq!(agent.get("/livez").await.code, 200);
    assert_eq!(agent.status().await["targets"][0]["state"], "unknown");
    assert_eq!(agent.scrape().await.get("probe_success{target=\"orders\"}"), None);

    let scrape = agent.until("the identity endpoint took too long", |scrape| scrape.is_down("orders")).await;
    assert_eq!(scrape.failures("no_token", "orders"), 1);
    assert_eq!((agent.get("/readyz").await.code, agent.get("/livez").await.code), (200, 200));
    let status = agent.status().await;
    assert_eq!(status["targets"][0]["state"], "down");
    assert_eq!(status["targets"][0]["failures"][0]["failure"]["reason"], "no_token");
    assert_eq!(status["identities"][0]["last_error"]["detail"], "no answer within 12 s");
}

#[tokio::test]
async fn the_status_has_targets_outcomes_and_identities() {
    let lab = Lab::start().await;
    // A new connection would be probed at a random time.
    let alone = ["--new-connection-every", "0s"];
    let agent = lab.run(["--identity", "managed_identity", "--interval", "1h"]).args(alone).serve().await;
    agent.until("the one probe succeeds", |scrape| scrape.is_up("orders")).await;
    let status = agent.status().await;
    assert_eq!((&status["ready"], &status["readiness"]), (&true.into(), &"ready".into()));
    let target = &status["targets"][0];
    assert_eq!(target["target"], "orders");
    assert_eq!(target["endpoint"], format!("localhost:{}", lab.azure.cache_port()));
    assert_eq!((&target["state"], &target["connection_state"]), (&"up".into(), &"connected".into()));
    let outcome = &target["recent"][0];
    assert_eq!((&outcome["result"], &outcome["clients"]["count"]), (&"success".into(), &1.into()));
    assert_eq!(outcome["phases"].as_array().unwrap().len(), 5);
    assert_eq!(outcome["steps"].as_array().unwrap().len(), 4);
    let identity = &status["identities"][0];
    assert_eq!(identity["identity"], "managed_identity");
    assert_eq!(identity["object_id"], lab.azure.object_id());
    assert!(identity["token_expiry"].as_str() > status["time"].as_str());
    assert!(agent.get("/").await.body.contains("orders"));
    assert_eq!(agent.get("/nothing").await.code, 404);
}

#[tokio::test]
async fn an_address_in_use_ends_the_agent_before_the_first_probe() {
    let lab = Lab::start().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let config = Lab::config([lab.target("orders", "identity: managed_identity")]);
    let file = lab.file("config.yaml", &config.replace("127.0.0.1:0", &addr.to_string()));
    let ended = lab.run_file(&file).run().await;
    assert_eq!(ended.code, Some(1));
    let message =
        format!("error: cannot listen on {addr}: another process listens there: choose another port: ");
    assert!(ended.stderr.starts_with(&message), "{ended:?}");
    assert_eq!(lab.azure.cache().counters().connections, 0);
    assert_eq!(lab.azure.endpoint().requests(), []);
}

#[tokio::test]
async fn the_health_check_succeeds_only_while_the_agent_responds() {
    let lab = Lab::start().await;
    let agent = lab.run([]).serve().await;
    let ask = async |addr: String| cachepulse(["healthcheck", "--listen", &addr]).run().await;
    let addr = agent.addr().to_string();
    let alive = ask(addr.clone()).await;
    assert_eq!((alive.code, alive.stdout.as_str(), alive.stderr.as_str()), (Some(0), "", ""));
    agent.signal(Signal::STOP);
    let stuck = ask(addr.clone()).await;
    assert_eq!(stuck.code, Some(1));
    assert!(stuck.stderr.contains(&format!("no response from http://{addr}/livez")), "{stuck:?}");
    agent.signal(Signal::CONT);
    assert_eq!(ask(addr).await.code, Some(0));
    let nobody = Port::reserve();
    assert_eq!(ask(format!("127.0.0.1:{}", nobody.number)).await.code, Some(1));
}

#[tokio::test]
async fn the_variable_for_the_address_takes_precedence_over_the_file_unless_it_is_empty() {
    let lab = Lab::start().await;
    let file = lab.path("config.yaml");
    let target = lab.target("orders", "identity: managed_identity");
    // An address reserved for documentation, which no machine has.
    std::fs::write(&file, Lab::config([&target]).replace("127.0.0.1:0", "192.0.2.1:9860")).unwrap();
    let elsewhere = lab.run_file(&file).run().await;
    assert_eq!(elsewhere.code, Some(1));
    assert!(elsewhere.stderr.contains("cannot listen on 192.0.2.1:9860"), "{elsewhere:?}");
    let empty = lab.run_file(&file).env("CACHEPULSE_LISTEN", "").run().await;
    assert!(empty.stderr.contains("cannot listen on 192.0.2.1:9860"), "{empty:?}");
    let here = lab.run_file(&file).env("CACHEPULSE_LISTEN", "127.0.0.1:0").serve().await;
    here.until("it probes", |scrape| scrape.is_up("orders")).await;
}
