//! The log: one line per event, and the precedence of the settings of its level.

use rustix::process::Signal;
use tempfile::TempDir;

use crate::program::{Program, Running, cachepulse, eventually};

/// Returns an agent whose cache is down, with this level in its file.
fn without_cache(level: &str) -> (TempDir, Program) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    let target = "{name: orders, host: 127.0.0.1, port: 1, tls: false, interval: 1s, identity: none}";
    let config = format!("http: {{listen: '127.0.0.1:0'}}\nlog: {{level: {level}}}\ntargets:\n- {target}\n");
    std::fs::write(&file, config).unwrap();
    (folder, cachepulse(["run", "--config"]).args([file]))
}

/// Asserts that the level `info` is in effect from the start and after a reload.
async fn stays_at_info(agent: Running) {
    agent.signal(Signal::HUP);
    agent.logs("configuration reloaded").await;
    agent.signal(Signal::TERM);
    let ended = agent.ended().await;
    assert!(ended.is_graceful(), "{ended:?}");
}

#[tokio::test]
async fn a_flag_takes_precedence_over_rust_log_and_the_file() {
    let (_folder, program) = without_cache("error");
    stays_at_info(program.args(["--log-level", "info"]).env("RUST_LOG", "off").serve().await).await;
    let (_folder, program) = without_cache("error");
    stays_at_info(program.env("CACHEPULSE_LOG_LEVEL", "info").serve().await).await;
}

#[tokio::test]
async fn rust_log_takes_precedence_over_the_file() {
    let (_folder, program) = without_cache("error");
    stays_at_info(program.env("RUST_LOG", "info").serve().await).await;
    let (_folder, program) = without_cache("error");
    stays_at_info(program.env("RUST_LOG", "hyper=debug,cachepulse=info").serve().await).await;
}

#[tokio::test]
async fn an_invalid_directive_is_ignored_with_a_warning() {
    let (_folder, program) = without_cache("info");
    let agent = program.env("RUST_LOG", "inof").serve().await;
    agent
        .logs("level=warn module=cachepulse::telemetry msg=\"RUST_LOG directive ignored\" directive=inof")
        .await;
}

#[tokio::test]
async fn an_endless_directive_is_logged_in_part() {
    let (_folder, program) = without_cache("info");
    let agent = program.env("RUST_LOG", "x".repeat(100_000)).serve().await;
    agent.logs("msg=\"RUST_LOG directive ignored\" directive=xxxx").await;
    assert!(agent.log().lines().all(|line| line.len() < 1000), "{}", agent.log());
}

#[tokio::test]
async fn an_unknown_variable_is_a_warning_of_run_and_check() {
    let warning = "msg=\"configuration warning\" \
                   warning=\"CACHEPULSE_INTERVALL: unknown variable; did you mean CACHEPULSE_INTERVAL?\"";
    let (_folder, program) = without_cache("info");
    program.env("CACHEPULSE_INTERVALL", "1s").serve().await.logs(warning).await;
    let check = cachepulse(["check", "--host", "127.0.0.1", "--port", "1", "--tls", "false"]);
    let check = check.args(["--identity", "none", "--attempts", "1"]).env("CACHEPULSE_INTERVALL", "1s");
    let ended = check.run().await;
    assert!(ended.stderr.contains(warning), "{ended:?}");
}

#[tokio::test]
async fn the_start_of_a_shutdown_names_its_signal() {
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        let (_folder, program) = without_cache("info");
        let agent = program.serve().await;
        agent.signal(signal);
        let ended = agent.ended().await;
        assert!(ended.stderr.contains(&format!("msg=\"shutdown started\" signal={name} ")), "{ended:?}");
    }
}

#[tokio::test]
async fn an_invalid_level_in_a_flag_is_an_error_even_with_a_file() {
    let (_folder, program) = without_cache("info");
    let ended = program.args(["--log-level", "loud"]).run().await;
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert!(
        ended
            .stderr
            .starts_with("error: --log-level: expected error, warn, info, debug or trace, found \"loud\""),
        "{ended:?}"
    );
}

#[tokio::test]
async fn in_json_the_field_target_is_the_cache_and_module_is_the_module() {
    let (_folder, program) = without_cache("info");
    let agent = program.args(["--log-format", "json"]).serve().await;
    let unavailable = || {
        let log = agent.log();
        let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter(|line| line["msg"] == "cache unavailable").collect::<Vec<_>>()
    };
    eventually("it is down", || !unavailable().is_empty()).await;
    agent.until("the reason stays the same", |it| it.failures("connect_refused", "orders") > 1).await;
    let [line] = &unavailable()[..] else { panic!("an unchanged state is logged again: {}", agent.log()) };
    assert_eq!((&line["target"], &line["level"]), (&"orders".into(), &"warn".into()), "{line}");
    assert!(line["module"].as_str().unwrap().starts_with("cachepulse::"), "{line}");
}
