//! What programs read: selections of `/status`, `/probe` and `/sd`.

use super::*;
use crate::probe::{Outcome, Phase, PhaseTimes, Step, StepResult, StepResults};
use crate::status::TargetStatus;

fn outcome(result: Result<(), Failure>) -> Outcome {
    let (mut phases, mut steps) = (PhaseTimes::default(), StepResults::default());
    phases.set(Phase::Connect, Duration::from_millis(125));
    steps.set(Step::Ping, StepResult::Success, Duration::from_millis(250));
    Outcome { result, attempts: 2, duration: Duration::from_millis(1500), phases, steps, clients: None }
}

/// Records that the last probe failed, or succeeded, three seconds ago.
pub(super) fn record(target: &TargetStatus, result: Result<(), Failure>) {
    let at = Clock::system().now() - Duration::from_secs(3);
    let is_up = result.is_ok();
    target.record(&outcome(result), 1, Duration::ZERO, is_up, at);
}

/// Returns the values of a response in the text format, by name.
fn values(response: &Response) -> Vec<(&str, f64)> {
    let lines = response.text().lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
}

#[test]
fn status_has_the_targets_that_its_parameters_select() {
    let agent = Agent::start(Limits::DEFAULT);
    let _targets = ["orders", "Orders EU", "baskets"].map(|name| agent.status.target(&Target::plain(name)));
    for (query, expected) in [
        ("", "Orders EU baskets orders"),
        ("?q=orders", "Orders EU orders"),
        ("?q=s%20e&state=unknown&utm=1", "Orders EU"),
        ("?state=up", ""),
    ] {
        let status: serde_json::Value =
            serde_json::from_str(agent.get(&format!("/status{query}")).text()).unwrap();
        let names = status["targets"].as_array().unwrap().iter().map(|it| it["target"].as_str().unwrap());
        assert_eq!(names.collect::<Vec<_>>().join(" "), expected, "{query}");
    }
    for (query, error) in [
        ("?state=broken", "state: expected one of up, down, failing, unknown\n"),
        ("?q=a&q=b", "q: given more than once\n"),
    ] {
        let refused = agent.get(&format!("/status{query}"));
        assert_eq!((refused.code(), refused.text()), (400, error), "{query}");
    }
}

#[test]
fn probe_returns_the_last_outcome_of_a_target_without_labels() {
    let agent = Agent::start(Limits::DEFAULT);
    let target = agent.status.target(&Target::plain("a/b & é"));
    let get = || agent.get("/probe?module=http_2xx&target=a/b+%26+%C3%A9");
    assert_eq!((get().code(), get().text()), (503, "the target has no outcome yet\n"));
    for (result, success) in [(Ok(()), 1.0), (Err(Failure::new(FailureReason::Closed, Stage::Idle, "")), 0.0)]
    {
        record(&target, result);
        let response = get();
        assert_eq!(
            (response.code(), response.header("content-type")),
            (200, Some(Format::Text.content_type()))
        );
        assert_eq!(response.header("vary"), Some("Accept, Accept-Encoding"));
        let values = values(&response);
        let [("probe_age_seconds", age), duration, verdict] = values[..] else { panic!("{values:?}") };
        assert!((3.0..60.0).contains(&age), "{age}");
        assert_eq!((duration, verdict), (("probe_duration_seconds", 1.5), ("probe_success", success)));
    }
    let posted = agent.exchange(&request("POST", "/probe?target=a/b+%26+%C3%A9", "Content-Length: 0\r\n"));
    assert_eq!((posted.code(), values(&posted)[2]), (200, ("probe_success", 0.0)));
}

#[test]
fn probe_comes_in_the_format_that_is_asked_for() {
    let agent = Agent::start(Limits::DEFAULT);
    let target = agent.status.target(&Target::plain("orders"));
    record(&target, Ok(()));
    for format in Format::ALL {
        let accept = format!("Accept: {}\r\n", format.content_type());
        let response = agent.exchange(&request("GET", "/probe?target=orders", &accept));
        assert_eq!((response.code(), response.header("content-type")), (200, Some(format.content_type())));
        assert!(response.is_whole());
        let (is_text, is_open) = (response.body.starts_with(b"# HELP"), response.body.ends_with(b"# EOF\n"));
        let expected = match format {
            Format::Text => (true, false),
            Format::OpenMetrics => (true, true),
            Format::Protobuf => (false, false),
        };
        assert_eq!((is_text, is_open), expected, "{format:?}");
    }
}

#[test]
fn probe_takes_one_name_of_a_target_and_nothing_else() {
    let agent = Agent::start(Limits::DEFAULT);
    let target = agent.status.target(&Target::plain("orders"));
    record(&target, Ok(()));
    let missing = "not found: no target has this name; an address is not accepted\n";
    for (query, code, text) in [
        ("", 400, "Target parameter is missing\n"),
        ("?target=", 400, "Target parameter is missing\n"),
        ("?Target=orders", 400, "Target parameter is missing\n"),
        ("?target=orders&target=orders", 400, "target: given more than once\n"),
        ("?target=orders&debug=true&debug=true", 400, "debug: given more than once\n"),
        ("?target=Orders", 404, missing),
        ("?target=localhost:6380", 404, missing),
        ("?target=%0aorders", 404, missing),
    ] {
        let response = agent.get(&format!("/probe{query}"));
        assert_eq!((response.code(), response.text()), (code, text), "{query}");
    }
    let long = agent.get(&format!("/probe?target={}", "x".repeat(200)));
    assert_eq!((long.code(), long.text()), (400, "target: longer than 128 characters\n"));
}

#[test]
fn probe_explains_the_last_outcome_where_debug_is_true() {
    let agent = Agent::start(Limits::DEFAULT);
    let target = agent.status.target(&Target::plain("<orders>"));
    let failure = Failure::new(FailureReason::ReadOnly, Stage::Step(Step::Set), "READONLY <replica>");
    record(&target, Err(failure));
    let response = agent.get("/probe?target=%3Corders%3E&debug=true");
    assert_eq!((response.code(), response.header("content-type")), (200, Some("text/plain; charset=utf-8")));
    for part in [
        "target <orders>, localhost:6380\nstate down since ",
        ": failure, 2 attempts, 1.5 s\nphase connect: 0.125 s\nstep ping: success, 0.25 s\n\
         failure read_only at set: READONLY <replica>. ",
        "\n\nMetrics that would have been returned:\n# HELP probe_age_seconds ",
        "\nprobe_duration_seconds 1.5\n",
    ] {
        assert!(response.text().contains(part), "{part}\n{}", response.text());
    }
    assert_eq!(
        agent.get("/probe?target=%3Corders%3E&debug=1").text().lines().count(),
        9,
        "only true is true"
    );
}

#[test]
fn discovery_lists_each_target_at_the_address_of_the_request() {
    let agent = Agent::start(Limits::DEFAULT);
    let empty = agent.get("/sd");
    assert_eq!(
        (empty.code(), empty.header("content-type"), empty.text()),
        (200, Some("application/json"), "[]")
    );
    let _targets = ["b", "a \"1\""].map(|name| agent.status.target(&Target::plain(name)));
    let listed: serde_json::Value = serde_json::from_str(
        agent.exchange("GET /sd HTTP/1.1\r\nHost: agent.shop.svc:9860\r\nConnection: close\r\n\r\n").text(),
    )
    .unwrap();
    let item = |name: &str| {
        serde_json::json!({
            "targets": ["agent.shop.svc:9860"],
            "labels": {"__metrics_path__": "/probe", "__param_target": name, "instance": name},
        })
    };
    assert_eq!(listed, serde_json::json!([item("a \"1\""), item("b")]));
    let absolute = "GET http://proxied:1/sd HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n";
    assert!(agent.exchange(absolute).text().starts_with("[{\"targets\":[\"proxied:1\"]"));
    for headers in ["Host: a b\r\n", "Host: <a>\r\n", "Host: ..\r\n", ""] {
        let refused = agent.exchange(&format!("GET /sd HTTP/1.1\r\n{headers}Connection: close\r\n\r\n"));
        assert_eq!(
            (refused.code(), refused.text()),
            (400, "Host: expected a host, with or without a port\n")
        );
    }
}

#[test]
fn an_agent_that_waits_has_nothing_to_probe_and_to_discover() {
    let agent = Agent::start(Limits::DEFAULT);
    agent.status.config_rejected(None);
    for path in ["/probe?target=orders", "/sd", "/targets/orders", "/"] {
        assert_eq!(agent.get(path).code(), 503, "{path}: Prometheus keeps its last list");
    }
}

#[test]
fn the_paths_that_prometheus_has_for_liveness_and_readiness_work_as_well() {
    let agent = Agent::start(Limits::DEFAULT);
    assert_eq!(agent.get("/-/ready").text(), "not ready: starting\n");
    agent.status.started();
    assert_eq!((agent.get("/-/ready").code(), agent.get("/-/ready").text()), (200, "ready\n"));
    assert_eq!(agent.get("/-/healthy").text(), "not alive: the probing loop does not respond\n");
    assert_eq!(agent.get("/-/quit").code(), 404);
}

#[tokio::test]
async fn a_reload_waits_for_its_result_and_shows_the_problems_that_the_status_shows() {
    let Agent { server, pages, status, mut reloads, .. } = Agent::start(Limits::DEFAULT);
    let addr = server.local_addr();
    let post = |method: &str| {
        let request = request(method, "/-/reload", "Content-Length: 0\r\n");
        tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.set_read_timeout(Some(LONG)).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let response = Response::read(&mut stream);
            (response.code(), response.text().to_owned(), response.header("allow").map(str::to_owned))
        })
    };
    let forbidden = "Lifecycle API is not enabled: set http.lifecycle to true and restart the agent\n";
    assert_eq!(post("POST").await.unwrap(), (403, forbidden.into(), None));
    pages.lifecycle.enable(true);
    for (method, result, detail, expected) in [
        ("POST", Reloaded::Accepted, None, (200, "configuration reloaded\n")),
        ("PUT", Reloaded::NoFile, None, (500, "there is no configuration file to load\n")),
        ("PUT", Reloaded::Rejected, Some("a: b"), (500, "configuration rejected: a: b\n")),
        ("POST", Reloaded::Rejected, None, (500, "configuration rejected: the log says why\n")),
    ] {
        status.config_rejected(detail);
        let posted = post(method);
        reloads.next().await;
        reloads.finish(result);
        let (code, text, _) = posted.await.unwrap();
        assert_eq!((code, &*text), expected, "{method} {result:?} {detail:?}");
    }
    status.config_rejected(Some("a: b"));
    status.web_config_rejected("c: d");
    let posted = post("POST");
    reloads.next().await;
    reloads.finish(Reloaded::Rejected);
    let (code, text, _) = posted.await.unwrap();
    assert_eq!((code, &*text), (500, "configuration rejected: a: b\nweb configuration rejected: c: d\n"));
    let (code, text, allow) = post("GET").await.unwrap();
    assert_eq!(
        (code, &*text, allow.as_deref()),
        (405, "method not allowed: use POST, PUT\n", Some("POST, PUT"))
    );
    drop(server);
}
