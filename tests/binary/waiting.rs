//! `run --on-invalid-config wait` without a cache: what it serves, what ends it, and what counts as configuration.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::process::Signal;

use crate::port::Port;
use crate::program::{Program, Running, cachepulse, eventually};

/// Returns an agent that waits for a valid configuration, on a free port.
fn waiting() -> Program {
    cachepulse(["run", "--listen", "127.0.0.1:0", "--on-invalid-config", "wait"])
}

/// Asserts that the agent waits because of `problem`, and what it serves meanwhile.
async fn assert_waits(agent: &Running, problem: &str) {
    agent.logs("configuration rejected; waiting for a valid one").await;
    assert!(agent.log().contains(problem), "{problem}: {}", agent.log());
    assert_eq!(agent.get("/livez").await.code, 200);
    let ready = agent.get("/readyz").await;
    assert_eq!((ready.code, ready.body.as_str()), (200, "ready: waiting for a valid configuration\n"));
    let scrape = agent.scrape().await;
    assert!(scrape.value("config_last_reload_successful") < 0.5, "{}", scrape.text);
    assert!(!scrape.text.contains("target="), "{}", scrape.text);
    let status = agent.status().await;
    let detail = status["config_error"]["detail"].as_str().unwrap();
    assert!(detail.contains(problem), "{problem}: {detail}");
    assert_eq!(status["targets"], serde_json::json!([]));
    assert_eq!(agent.get("/").await.code, 503);
}

#[tokio::test]
async fn without_a_valid_configuration_it_waits_and_shows_the_problem() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    let empty = empty.path().to_str().unwrap();
    let smallest = "examples/smallest.yaml";
    for (arguments, problem) in [
        (&[][..], "no cache to probe"),
        (&["--config", "/nonexistent/config.yaml"], "cannot be read: No such file or directory"),
        (&["--config", empty], "expected a mapping with the key targets"),
        (&["--config", "tests/config/invalid/attempts.yaml"], "attempts: expected a whole number"),
        (&["--config", smallest, "--interval", "1s"], "--interval: not allowed with --config"),
        (&["--config", smallest, "--log-level", "loud"], "--log-level: expected "),
        (&["--host", "two words"], "--host: expected a host name"),
        (&["--host", "localhost", "--password-file", "/nonexistent"], "--password-file: "),
        (&["--host", "localhost", "--health-listen", "here"], "--health-listen: expected an address"),
        (&["--config", smallest, "--health-listen", "here"], "--health-listen: expected an address"),
        (&["--health-listen", ":1", "--health-listen", ":2"], "cannot be used multiple times"),
        (&["--host", "localhost", "--colour", "blue"], "unexpected argument '--colour' found"),
        (&["--interval", "1s", "--interval", "2s"], "cannot be used multiple times"),
        (&["--host"], "a value is required for '--host"),
    ] {
        let agent = waiting().args(arguments).wait().await;
        assert_waits(&agent, problem).await;
    }
}

#[tokio::test]
async fn wrong_variables_count_as_configuration() {
    let by_variables = || {
        let listen = cachepulse(["run"]).env("CACHEPULSE_LISTEN", "127.0.0.1:0");
        listen.env("CACHEPULSE_ON_INVALID_CONFIG", "wait")
    };
    let agent = by_variables().env("CACHEPULSE_HOST", "two words").wait().await;
    assert_waits(&agent, "CACHEPULSE_HOST: expected a host name").await;
    let agent = by_variables().env("CACHEPULSE_HOST", OsStr::from_bytes(b"caf\xe9")).wait().await;
    assert_waits(&agent, "CACHEPULSE_HOST: the value is not UTF-8 text").await;
    let agent =
        by_variables().env("CACHEPULSE_HEALTH_LISTEN", "here").env("CACHEPULSE_HOST", "a").wait().await;
    assert_waits(&agent, "CACHEPULSE_HEALTH_LISTEN: expected an address").await;
}

#[tokio::test]
async fn a_health_endpoint_at_the_address_of_the_other_one_counts_as_configuration() {
    let port = Port::reserve();
    let listen = format!("127.0.0.1:{}", port.number);
    drop(port);
    let wait = ["run", "--on-invalid-config", "wait", "--host", "localhost", "--listen", &listen];
    let agent = cachepulse(wait).args(["--health-listen", &listen]).wait().await;
    assert_waits(&agent, "--health-listen: --listen has the same address; choose another port").await;
}

#[tokio::test]
async fn a_wrong_listen_address_or_mode_exits_with_64() {
    let run = || cachepulse(["run"]);
    let wait = ["--on-invalid-config", "wait"];
    let variable = "CACHEPULSE_ON_INVALID_CONFIG";
    for (program, problem) in [
        (run().args(wait).args(["--listen", "here"]), "--listen: expected an address and a port"),
        (run().args(wait).args(["--host", "localhost", "--listen", "here"]), "--listen: expected an address"),
        (run().args(wait).args(["--colour", "blue", "--listen", "here"]), "--listen: expected an address"),
        (run().args(wait).env("CACHEPULSE_LISTEN", "here"), "CACHEPULSE_LISTEN: expected an address"),
        (run().args(wait).args(["--listen", ":1", "--listen", ":2"]), "'--listen <ADDRESS>' cannot be used"),
        (run().args(["--on-invalid-config", "retry"]), "invalid value 'retry' for '--on-invalid-config"),
        (run().env(variable, "retry"), "invalid value 'retry' for '--on-invalid-config"),
        // Without it, and where it is empty.
        (run().args(["--config", "/nonexistent"]), "cannot be read"),
        (run().args(["--config", "/nonexistent"]).env(variable, ""), "cannot be read"),
        (
            run().args(["--config", "/nonexistent", "--on-invalid-config", "exit"]).env(variable, "wait"),
            "cannot be",
        ),
        (run().args(["--colour", "blue"]), "unexpected argument '--colour' found"),
    ] {
        let ended = program.run().await;
        assert_eq!(ended.code, Some(64), "{problem}: {ended:?}");
        assert!(
            ended.stderr.starts_with("error: ") && ended.stderr.contains(problem),
            "{problem}: {ended:?}"
        );
    }
}

#[tokio::test]
async fn an_address_that_is_in_use_ends_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let ended = cachepulse(["run", "--on-invalid-config", "wait", "--listen", &listen]).run().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("another process listens there"), "{ended:?}");
}

#[tokio::test]
async fn a_health_address_that_is_in_use_is_waited_for_wherever_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    let target = "{name: a, host: 127.0.0.1, port: 1, tls: false, identity: none}";
    std::fs::write(&file, format!("targets: [{target}]\n")).unwrap();
    for config in [file.as_path(), Path::new("/nonexistent/config.yaml")] {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let health = taken.local_addr().unwrap().to_string();
        let agent = waiting().args(["--health-listen", &health]).args([Path::new("--config"), config]);
        let agent = agent.wait().await;
        agent.logs("another process listens there").await;
        assert_eq!(agent.get("/livez").await.code, 200);
        drop(taken);
        agent.logs(if config == file { "agent started" } else { "health endpoint served" }).await;
        assert_eq!(agent.get_at(health.parse().unwrap(), "/livez").await.code, 200);
    }
}

#[tokio::test]
async fn the_health_check_finds_an_agent_that_waits_elsewhere_than_its_file_says() {
    let folder = tempfile::tempdir().unwrap();
    let (file, nobody) = (folder.path().join("config.yaml"), Port::reserve());
    std::fs::write(&file, format!("http: {{health_listen: '127.0.0.1:{}'}}\nbogus: 1\n", nobody.number))
        .unwrap();
    let check = async |listen: String| {
        let check = cachepulse(["healthcheck"]).env("CACHEPULSE_CONFIG", &file);
        check.env("CACHEPULSE_LISTEN", listen).run().await
    };
    let agent = waiting().args([Path::new("--config"), &file]).wait().await;
    let asked = check(agent.addr().to_string()).await;
    assert_eq!(asked.code, Some(0), "{asked:?}");
    // Another agent, which does not wait, says nothing about the one that is looked for.
    let target = ["--host", "127.0.0.1", "--port", "1", "--tls", "false", "--identity", "none"];
    let other = cachepulse(["run", "--listen", "127.0.0.1:0"]).args(target).serve().await;
    for listen in [other.addr().to_string(), format!("127.0.0.1:{}", nobody.number)] {
        let asked = check(listen).await;
        assert_eq!(asked.code, Some(1), "{asked:?}");
        assert!(asked.stderr.contains(&format!("127.0.0.1:{}/livez", nobody.number)), "{asked:?}");
    }
}

#[tokio::test]
async fn sigterm_ends_the_wait_at_once_and_sighup_tries_again() {
    let agent = waiting().args(["--config", "/nonexistent/config.yaml"]).wait().await;
    let rejections = |agent: &Running| agent.log().matches("configuration rejected").count();
    assert_eq!(rejections(&agent), 1);
    agent.signal(Signal::HUP);
    eventually("it tries again", || rejections(&agent) == 2).await;
    // A client that never sends its request does not delay the end.
    let _client = std::net::TcpStream::connect(agent.addr()).unwrap();
    agent.signal(Signal::TERM);
    let ended = agent.ended().await;
    assert!(ended.is_graceful(), "{ended:?}");
    assert!(ended.stderr.contains("grace_period_seconds=0\n"), "{ended:?}");
}

#[tokio::test]
async fn a_password_in_an_argument_is_not_shown_while_it_waits() {
    let agent = waiting().args(["rediss://probe:hunter2@localhost:6380"]).wait().await;
    assert_waits(&agent, "unexpected argument").await;
    assert!(!agent.log().contains("hunter2"), "{}", agent.log());
    assert!(!agent.get("/status").await.body.contains("hunter2"));
}

#[tokio::test]
async fn it_begins_once_the_file_is_there_in_the_log_format_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    let agent = waiting().args([Path::new("--config"), &file]).wait().await;
    let port = Port::reserve().number;
    let target = format!("{{name: a, host: 127.0.0.1, port: {port}, tls: false, identity: none}}");
    std::fs::write(&file, format!("log: {{format: json}}\ntargets: [{target}]\n")).unwrap();
    agent.logs("\"msg\":\"agent started\"").await;
    // An agent that was ready stays so, whatever its targets do.
    assert_eq!(agent.get("/readyz").await.code, 200);
    assert_eq!(agent.get("/").await.code, 200);
    assert_eq!(agent.status().await.get("config_error"), None);
    let scrape = agent.until("it probes", |it| it.is_down("a")).await;
    assert!(scrape.value("config_last_reload_successful") > 0.5);
    // From now on a rejected file changes nothing, and shows in the status as well.
    std::fs::write(&file, "targets: []\n").unwrap();
    agent.logs("configuration rejected; keeping the previous one").await;
    assert!(agent.status().await["config_error"]["detail"].as_str().unwrap().contains("targets"));
    assert_eq!(agent.get("/").await.code, 200);
}

#[tokio::test]
async fn a_problem_is_hidden_while_only_the_rejected_file_names_what_guards_the_endpoint() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let web = write("web.yml", "http_server_config: {headers: {X-Frame-Options: sameorigin}}\n");
    let http = format!("http: {{web_config_file: '{}'}}\n", web.display());
    let rejected = write("rejected.yaml", &format!("{http}targets: []\n"));
    let damaged = write("damaged.yaml", &format!("{http}targets: [\n"));
    let broken_web = write("broken-web.yaml", "http: {web_config_file: absent}\ntargets: []\n");
    for (file, arguments) in [
        (&rejected, &[][..]),
        (&damaged, &[]),
        (&broken_web, &[]),
        // The command line cannot be parsed, so the file is not read as a configuration.
        (&rejected, &["--colour", "blue"]),
    ] {
        let agent = waiting().args([Path::new("--config"), file]).args(arguments).wait().await;
        agent.logs("configuration rejected; waiting for a valid one").await;
        let status = agent.get("/status").await;
        assert!(!status.body.contains("config_error"), "{}", status.body);
        assert!(!status.head.contains("x-frame-options"), "{}", status.head);
    }
    // With the flag or the variable it is guarded.
    let by_flag = waiting().args([Path::new("--config"), &rejected, Path::new("--web-config-file"), &web]);
    let by_variable =
        waiting().args([Path::new("--config"), &damaged]).env("CACHEPULSE_WEB_CONFIG_FILE", &web);
    let by_alias = waiting().args([Path::new("--colour"), Path::new("--web.config.file"), &web]);
    for program in [by_flag, by_variable, by_alias] {
        let agent = program.wait().await;
        let status = agent.get("/status").await;
        assert!(status.body.contains("config_error"), "{}", status.body);
        assert!(status.head.contains("x-frame-options: sameorigin"), "{}", status.head);
    }
    // As soon as a file is accepted, its web configuration is in force.
    let agent = waiting().args([Path::new("--config"), &rejected]).wait().await;
    let target = "{name: a, host: 127.0.0.1, port: 1, tls: false, identity: none}";
    write("rejected.yaml", &format!("{http}targets: [{target}]\n"));
    agent.logs("agent started").await;
    assert!(agent.get("/status").await.head.contains("x-frame-options: sameorigin"));
}

#[tokio::test]
async fn a_broken_web_configuration_of_a_flag_counts_as_configuration_and_hides_the_problem() {
    let folder = tempfile::tempdir().unwrap();
    let web = folder.path().join("web.yml");
    let by_flag = ["--host", "127.0.0.1", "--port", "1", "--tls", "false", "--identity", "none"];
    let by_flag = waiting().args(by_flag).args([Path::new("--web-config-file"), &web]);
    let by_variable = waiting().args(["--host", "two words"]).env("CACHEPULSE_WEB_CONFIG_FILE", &web);
    let given_twice = ["--web-config-file", "a", "--web.config.file", "b"];
    let unparsed = waiting().args(["--colour"]).args([Path::new("--web.config.file"), &web]);
    let mut agents = Vec::new();
    for program in [by_flag, by_variable, waiting().args(given_twice), unparsed] {
        let agent = program.wait().await;
        agent.logs("configuration rejected; waiting for a valid one").await;
        let status = agent.get("/status").await;
        assert!(!status.body.contains("config_error"), "{}", status.body);
        assert_eq!(agent.get("/livez").await.code, 200);
        agents.push(agent);
    }
    assert!(agents[0].log().contains("--web-config-file: "), "{}", agents[0].log());
    assert!(agents[0].log().contains("web.yml: cannot be read"), "{}", agents[0].log());
    // Once it is repaired, the agent begins, and is guarded.
    std::fs::write(&web, "http_server_config: {headers: {X-Frame-Options: sameorigin}}\n").unwrap();
    agents[0].logs("agent started").await;
    let status = agents[0].get("/status").await;
    assert!(status.head.contains("x-frame-options: sameorigin"), "{}", status.head);
}
