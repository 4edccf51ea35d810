use super::*;
use crate::identity::Token;
use crate::probe::{
    ClientCount, Failure, FailureReason, Outcome, Phase, PhaseTimes, Stage, Step, StepResult, StepResults,
};
use crate::secret::Secret;
use crate::target::{Endpoint, Server};
use base64::Engine as _;
use serde_json::json;

const DELAY: Duration = Duration::from_millis(250);

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn status() -> Status {
    Status::new(Clock::from_tokio(at(1_000)))
}

/// Returns an outcome with one phase, one step and one client.
pub(super) fn outcome(result: Result<(), Failure>) -> Outcome {
    let mut phases = PhaseTimes::default();
    phases.set(Phase::Resolve, Duration::from_millis(500));
    let mut steps = StepResults::default();
    steps.set(Step::Ping, StepResult::Success, Duration::from_millis(250));
    Outcome {
        result,
        attempts: 1,
        duration: Duration::from_secs(1),
        phases,
        steps,
        clients: Some(ClientCount { clients: 3, own_seen: true }),
    }
}

fn success() -> Outcome {
    outcome(Ok(()))
}

fn failure() -> Outcome {
    let failure = Failure::new(FailureReason::ReadOnly, Stage::Step(Step::Set), "READONLY replica");
    Outcome { clients: None, ..outcome(Err(failure)) }
}

fn json(status: &Status) -> serde_json::Value {
    serde_json::to_value(status.document()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_agent_is_ready_when_every_initial_target_has_an_outcome() {
    let status = status();
    assert_eq!(status.readiness(), Readiness::Starting);
    let (first, second) = (status.target(&Target::plain("a")), status.target(&Target::plain("b")));
    first.record(&failure(), 1, DELAY, false, at(1_001));
    assert_eq!(status.readiness(), Readiness::Starting);
    status.started();
    assert_eq!(status.readiness(), Readiness::Waiting(1));
    second.record(&success(), 1, DELAY, true, at(1_001));
    assert!(status.is_ready(), "a failure is an outcome too");
    let _added = status.target(&Target::plain("c"));
    assert!(status.is_ready(), "a target that a reload adds does not make the agent unready");
    status.drain();
    assert_eq!(status.readiness(), Readiness::Draining);
    status.started();
    assert_eq!(status.readiness(), Readiness::Draining);
}

#[tokio::test(start_paused = true)]
async fn readiness_waits_ten_seconds_for_a_target_that_never_answers() {
    let status = status();
    let _silent = status.target(&Target::plain("a"));
    status.started();
    tokio::time::sleep(Duration::from_millis(9_900)).await;
    assert_eq!(status.readiness(), Readiness::Waiting(1));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(status.readiness(), Readiness::Ready);
}

#[tokio::test(start_paused = true)]
async fn readiness_does_not_wait_for_a_target_that_was_removed() {
    let status = status();
    let handle = status.target(&Target::plain("a"));
    status.started();
    assert_eq!(status.readiness(), Readiness::Waiting(1));
    drop(handle);
    assert!(status.is_ready());
}

#[tokio::test(start_paused = true)]
async fn later_successes_do_not_remove_failures() {
    let status = status();
    let handle = status.target(&Target::plain("a"));
    for second in 1..=22 {
        handle.record(&failure(), 1, DELAY, false, at(second));
    }
    for second in 23..=40 {
        handle.record(&success(), 1, DELAY, true, at(second));
    }
    let document = status.document();
    let times = |outcomes: &[OutcomeDocument]| outcomes.iter().map(|it| it.time.0).collect::<Vec<_>>();
    assert_eq!(times(&document.targets[0].recent), (31..=40).rev().map(at).collect::<Vec<_>>());
    assert_eq!(times(&document.targets[0].failures), (3..=22).rev().map(at).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_state_starts_with_its_first_outcome() {
    let status = status();
    let handle = status.target(&Target::plain("a"));
    let state = || {
        let target = status.document().targets.remove(0);
        (target.state, target.since.0, target.last_success.map(|time| time.0))
    };
    assert_eq!(state(), (Verdict::Unknown, at(1_000), None));
    handle.record(&success(), 1, DELAY, true, at(1_010));
    handle.record(&success(), 1, DELAY, true, at(1_020));
    assert_eq!(state(), (Verdict::Up, at(1_010), Some(at(1_020))));
    handle.record(&failure(), 1, DELAY, false, at(1_030));
    handle.record(&failure(), 1, DELAY, false, at(1_040));
    assert_eq!(state(), (Verdict::Down, at(1_030), Some(at(1_020))));
}

#[tokio::test(start_paused = true)]
async fn a_failure_between_ticks_is_among_the_failures_and_no_outcome() {
    let status = status();
    let handle = status.target(&Target::plain("a"));
    handle.record(&success(), 1, DELAY, true, at(1_010));
    handle.failed(&failure(), at(1_020));
    handle.verdict(false, at(1_020));
    let target = status.document().targets.remove(0);
    assert_eq!((target.state, target.recent.len(), target.failures.len()), (Verdict::Down, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_document_is_exactly_this_json() {
    let status = status();
    let handle = status.target(&Target::plain("orders"));
    handle.connection(ConnectionState::Connected);
    handle.record(&success(), 1, DELAY, true, at(1_010));
    handle.record(&failure(), 1, DELAY, false, at(1_020));
    handle.new_connection(failure().result, 2, failure().phases, at(1_025));
    let identity = status.identity("azure_cli");
    let claims = json!({"oid": "oid-1", "appid": "app-1", "xms_mirid": "/subscriptions/0"}).to_string();
    let jwt = format!("e30.{}.x", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims));
    identity.token(Duration::from_millis(500), &Token::new(Secret::new(jwt), at(9_000)));
    tokio::time::advance(Duration::from_secs(60)).await;
    identity.failed(Duration::from_millis(250), "no answer");
    status.started();
    let failure = json!({
        "time": "1970-01-01T00:17:00.000Z", "result": "failure",
        "failure": {
            "reason": "read_only", "stage": "set", "detail": "READONLY replica",
            "advice": FailureReason::ReadOnly.advice(),
        },
        "attempts": 1, "scheduler_delay_seconds": 0.25, "duration_seconds": 1.0,
        "phases": [{"phase": "resolve", "duration_seconds": 0.5}],
        "steps": [{"step": "ping", "result": "success", "duration_seconds": 0.25}],
    });
    let success = json!({
        "time": "1970-01-01T00:16:50.000Z", "result": "success", "attempts": 1, "scheduler_delay_seconds": 0.25, "duration_seconds": 1.0,
        "phases": [{"phase": "resolve", "duration_seconds": 0.5}],
        "steps": [{"step": "ping", "result": "success", "duration_seconds": 0.25}],
        "clients": {"count": 3, "own_seen": true},
    });
    let expected = json!({
        "version": env!("CARGO_PKG_VERSION"), "time": "1970-01-01T00:17:40.000Z", "ready": true,
        "readiness": "ready",
        "targets": [{
            "target": "orders", "endpoint": "localhost:6380", "state": "down", "since": "1970-01-01T00:17:00.000Z",
            "connection_state": "connected", "last_success": "1970-01-01T00:16:50.000Z",
            "new_connection": {
                "time": "1970-01-01T00:17:05.000Z", "result": "failure", "failure": failure["failure"],
                "consecutive_failures": 2, "phases": failure["phases"],
            },
            "recent": [failure, success], "failures": [failure],
        }],
        "identities": [{
            "identity": "azure_cli", "object_id": "oid-1", "client_id": "app-1", "resource_id": "/subscriptions/0",
            "token_obtained": "1970-01-01T00:16:40.000Z",
            "token_expiry": "1970-01-01T02:30:00.000Z", "duration_seconds": 0.25,
            "last_error": {"time": "1970-01-01T00:17:40.000Z", "detail": "no answer"},
        }],
    });
    assert_eq!(json(&status), expected);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_handle_removes_its_own_entry_but_not_a_newer_one() {
    let status = status();
    let (old, old_identity) = (status.target(&Target::plain("a")), status.identity("i"));
    let (new, new_identity) = (status.target(&Target::plain("a")), status.identity("i"));
    old.record(&failure(), 1, DELAY, false, at(1));
    drop((old, old_identity));
    assert_eq!(status.document().targets[0].state, Verdict::Unknown);
    assert_eq!(status.document().identities.len(), 1);
    drop((new, new_identity));
    assert!(status.document().targets.is_empty() && status.document().identities.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_target_that_a_reload_restarts_keeps_its_past_unless_its_server_is_another_one() {
    let status = status();
    let fail = |target: &Target| {
        let handle = status.target(target);
        handle.record(&failure(), 1, DELAY, false, at(1_001));
        handle
    };
    let seen = |target: &Target| {
        let _handle = status.target(target);
        let overview = status.overview();
        let Details { document, history, .. } = overview.details(&overview.targets[0]);
        assert_eq!((document.state, document.recent.len()), (Verdict::Unknown, 0), "nothing is known yet");
        assert_eq!(document.failures.len(), history.outcomes.len());
        history.outcomes.len()
    };
    let target = Target::plain("a");
    drop(fail(&target));
    let changed = Target { interval: 2 * target.interval, ..target.clone() };
    assert_eq!((seen(&changed), seen(&changed)), (1, 1));
    let moved = Endpoint { host: "elsewhere".into(), port: 6380 };
    assert_eq!(seen(&Target { server: Server::Host(moved), ..target.clone() }), 0);
    drop(fail(&target));
    status.started();
    assert_eq!(seen(&target), 0, "it was not configured for a while");
}

#[tokio::test(start_paused = true)]
async fn an_invalid_file_with_targets_is_shown_with_the_time_of_its_problem() {
    let status = Status::new(Clock::from_tokio(SystemTime::UNIX_EPOCH));
    let shown = || {
        let errors = status.document().target_file_errors;
        let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let shown = errors.iter().map(|it| format!("{} {} {}", it.file, seconds(it.time.0), it.detail));
        shown.collect::<Vec<_>>()
    };
    status.target_file("b", Some("one"));
    tokio::time::advance(Duration::from_secs(5)).await;
    status.target_file("b", Some("one"));
    status.target_file("a", Some("two"));
    status.target_file("c", None);
    assert_eq!(shown(), ["a 5 two", "b 0 one"]);
    status.target_file("b", Some("three"));
    status.target_file("a", None);
    assert_eq!(shown(), ["b 5 three"]);
}
