//! The health endpoint, and the health check that asks it.

use std::net::{SocketAddr, TcpListener, TcpStream};

use rustix::process::Signal;

use crate::lab::Lab;
use crate::port::Port;
use crate::program::{Program, Running, cachepulse};

const HERE: &str = "127.0.0.1:0";

/// Returns the address of the health endpoint, from the log.
pub(crate) fn health(agent: &Running) -> SocketAddr {
    let log = agent.log();
    let (_, rest) = log.rsplit_once("health_listen=").unwrap();
    rest.split([' ', '\n']).next().unwrap().parse().unwrap()
}

/// Asks the agent at `addr` as a kubelet does.
async fn code(agent: &Running, addr: SocketAddr, path: &str) -> u16 {
    agent.get_at(addr, path).await.code
}

/// Returns `cachepulse healthcheck` with these variables.
fn healthcheck<const N: usize>(variables: [(&str, &str); N]) -> Program {
    variables.into_iter().fold(cachepulse(["healthcheck"]), |check, (name, value)| check.env(name, value))
}

#[tokio::test]
async fn the_health_endpoint_serves_only_liveness_and_readiness() {
    let lab = Lab::start().await;
    let agent = lab.run(["--health-listen", HERE]).serve().await;
    agent.until("it probes", |scrape| scrape.is_up("orders")).await;
    let addr = health(&agent);
    assert_ne!(addr, agent.addr());
    for (path, expected) in
        [("/livez", 200), ("/readyz", 200), ("/metrics", 404), ("/status", 404), ("/", 404)]
    {
        assert_eq!(code(&agent, addr, path).await, expected, "{path}");
    }
    let scrape = agent.scrape().await;
    assert!(scrape.text.contains("cachepulse_tasks{part=\"health\"}"), "{}", scrape.text);
    // A client that never sends its request delays no shutdown.
    let _client = TcpStream::connect(addr).unwrap();
    agent.signal(Signal::TERM);
    assert!(agent.ended().await.is_graceful());
    assert!(TcpStream::connect(addr).is_err());
}

#[tokio::test]
async fn a_health_address_in_use_ends_the_agent_before_the_first_probe() {
    let lab = Lab::start().await;
    let taken = TcpListener::bind(HERE).unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let ended = lab.run(["--health-listen", &addr]).run().await;
    assert_eq!(ended.code, Some(1));
    let message = format!("error: cannot listen on {addr}: another process listens there");
    assert!(ended.stderr.starts_with(&message), "{ended:?}");
    assert_eq!(lab.azure.cache().counters().connections, 0);
}

#[tokio::test]
async fn both_endpoints_at_one_address_are_wrong_wherever_each_comes_from() {
    let lab = Lab::start().await;
    let config = Lab::config([lab.target("orders", "identity: managed_identity")]);
    let file = lab.file("config.yaml", &config.replace("127.0.0.1:0", "127.0.0.1:9860"));
    for (program, problem) in [
        (lab.run_file(&file).args(["--health-listen", ":9860"]), "--health-listen: http.listen has"),
        (
            lab.run_file(&file).env("CACHEPULSE_HEALTH_LISTEN", ":9860"),
            "CACHEPULSE_HEALTH_LISTEN: http.listen has",
        ),
        (
            lab.run_file(&file).args(["--health-listen", ":9861", "--listen", ":9861"]),
            "--health-listen: --listen has",
        ),
    ] {
        let ended = program.run().await;
        assert_eq!(ended.code, Some(64), "{problem}: {ended:?}");
        let message = format!("error: {problem} the same address; choose another port\n");
        assert_eq!(ended.stderr, message);
    }
}

#[tokio::test]
async fn a_waiting_agent_serves_the_health_endpoint_of_a_flag_and_begins_with_that_of_the_file() {
    let lab = Lab::start().await;
    let file = lab.path("config.yaml");
    let begin = async |agent: &Running, http: &str| {
        let config = Lab::config([lab.target("orders", "identity: managed_identity")]);
        lab.file("config.yaml", &config.replace("http: {listen: '127.0.0.1:0'}", http));
        agent.logs("agent started").await;
    };
    let waits = || lab.run_file(&file).args(["--listen", HERE, "--on-invalid-config", "wait"]);
    let agent = waits().env("CACHEPULSE_HEALTH_LISTEN", HERE).wait().await;
    let addr = health(&agent);
    assert_eq!((code(&agent, addr, "/livez").await, code(&agent, addr, "/readyz").await), (200, 200));
    begin(&agent, "http: {health_listen: \"127.0.0.1:9\"}").await;
    assert_eq!(health(&agent), addr, "the flag takes precedence");
    assert_eq!(code(&agent, addr, "/livez").await, 200);

    std::fs::remove_file(&file).unwrap();
    let agent = waits().wait().await;
    assert!(!agent.log().contains("health_listen"), "{}", agent.log());
    begin(&agent, &format!("http: {{health_listen: \"{HERE}\"}}")).await;
    assert_eq!(code(&agent, health(&agent), "/readyz").await, 200);
}

#[tokio::test]
async fn a_changed_health_address_needs_a_restart() {
    let lab = Lab::start().await;
    let config = Lab::config([lab.target("orders", "identity: managed_identity")]);
    let file = lab.file("config.yaml", &config);
    let agent = lab.run_file(&file).serve().await;
    lab.file("config.yaml", &config.replace("http: {", &format!("http: {{health_listen: \"{HERE}\", ")));
    agent.signal(Signal::HUP);
    agent.logs("http or log.format changed; restart to apply").await;
    agent.logs("configuration reloaded").await;
}

#[tokio::test]
async fn the_health_check_asks_where_flags_variables_and_the_file_say() {
    let lab = Lab::start().await;
    let agent = lab.run(["--health-listen", HERE]).serve().await;
    let (main, health) = (agent.addr().to_string(), health(&agent).to_string());
    let reserved = Port::reserve();
    let nobody = format!("127.0.0.1:{}", reserved.number);
    let file = |http: &str| lab.file("check.yaml", http).to_str().unwrap().to_owned();
    // The health endpoint comes first, unless the command line names the other one.
    for (listen, health_listen) in [(&*main, &*nobody), (&*nobody, &*health)] {
        let variables = [("CACHEPULSE_LISTEN", listen), ("CACHEPULSE_HEALTH_LISTEN", health_listen)];
        let asked = healthcheck(variables).run().await;
        assert_eq!(asked.code == Some(0), health_listen == health, "{asked:?}");
        let asked = healthcheck(variables).args(["--listen", &main]).run().await;
        assert_eq!(asked.code, Some(0), "{asked:?}");
        let asked = healthcheck(variables).args(["--health-listen", &health]).run().await;
        assert_eq!(asked.code, Some(0), "{asked:?}");
    }
    // The file says it where no variable does, whatever else is wrong with it.
    for (http, expected) in [
        (format!("http: {{listen: \"{nobody}\", health_listen: \"{health}\"}}\ntargets: 1\n"), 0),
        (format!("http: {{listen: \"{main}\"}}\n"), 0),
        (format!("http: {{listen: \"{main}\", health_listen: \"{nobody}\"}}\n"), 1),
    ] {
        let asked = healthcheck([("CACHEPULSE_CONFIG", &*file(&http))]).run().await;
        assert_eq!(asked.code, Some(expected), "{http}: {asked:?}");
    }
    // What is wrong in it does not hide the rest.
    for http in [
        format!("http: {{colour: blue, listen: \"{nobody}\", health_listen: \"{health}\"}}\n"),
        format!("http: {{listen: here, health_listen: \"{health}\", lifecycle: maybe}}\n"),
        format!("http: {{listen: \"{main}\", health_listen: here}}\n"),
    ] {
        let asked = healthcheck([("CACHEPULSE_CONFIG", &*file(&http))]).run().await;
        assert_eq!(asked.code, Some(0), "{http}: {asked:?}");
    }
    let asked = healthcheck([("CACHEPULSE_LISTEN", &*main)]).args(["--config", &file("}")]).run().await;
    assert_eq!(asked.code, Some(0), "an invalid file is no reason to call the agent dead: {asked:?}");
    let asked = healthcheck([("CACHEPULSE_LISTEN", &*nobody)]).args(["--config", &file("}")]).run().await;
    assert!(asked.stderr.contains("check.yaml:1:") && asked.stderr.contains("no response from"), "{asked:?}");
}

#[tokio::test]
async fn a_health_check_that_cannot_be_run_says_why() {
    for (variables, arguments, code, words) in [
        (&[("CACHEPULSE_LISTEN", "here")][..], &[][..], 64, "error: CACHEPULSE_LISTEN: expected an address"),
        (
            &[("CACHEPULSE_HEALTH_LISTEN", "here")],
            &[],
            64,
            "error: CACHEPULSE_HEALTH_LISTEN: expected an address",
        ),
        (&[], &["--health-listen", "127.0.0.1"], 64, "invalid value '127.0.0.1' for '--health-listen"),
        (&[], &["--health-listen", ":1", "--tls"], 64, "cannot be used with"),
        (&[], &["--cert-file", "examples/client.pem"], 64, "--key-file <FILE>"),
        (&[], &["--username", "a"], 64, "--password-file <FILE>"),
        (&[], &["--ca-file", "/nonexistent"], 1, "/nonexistent"),
        (&[], &["--username", "a", "--password-file", "/nonexistent"], 1, "--password-file: "),
    ] {
        let check =
            variables.iter().fold(cachepulse(["healthcheck"]), |it, (name, value)| it.env(name, value));
        let ended = check.args(arguments).run().await;
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(words), "{words}: {ended:?}");
    }
}
