//! `/probe`: the last probe of a target from memory, as scrapers know it from the Blackbox exporter. It probes nothing, and
//! takes names of configured targets only.

use std::fmt;
use std::io::Cursor;

use hyper::StatusCode;
use hyper::header::HeaderMap;

use super::accept::Accepted;
use super::pages::Page;
use super::query::Query;
use super::refusal::Refusal;
use crate::counted::counted;
use crate::metrics::{Format, LastProbe};
use crate::status::{OutcomeDocument, Status, TargetDocument};

/// Returns the page, if there is an outcome of the target.
pub(super) fn page(status: &Status, query: Query<'_>, headers: &HeaderMap) -> Result<Page, Refusal> {
    let parameter = |name| query.get(name).map_err(Refusal::bad_request);
    let (name, debug) = (parameter("target")?, parameter("debug")?);
    if name.is_empty() {
        return Err(Refusal::bad_request("Target parameter is missing"));
    }
    let Some(target) = status.target_document(&name) else {
        let text = "not found: no target has this name; an address is not accepted";
        return Err(Refusal::new(StatusCode::NOT_FOUND, text));
    };
    let Some(outcome) = target.recent.first() else {
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the target has no outcome yet"));
    };
    let probe = LastProbe {
        age: status.now().duration_since(outcome.time.0).unwrap_or_default().as_secs_f64(),
        duration: outcome.duration_seconds,
        success: target.state.is_up(),
    };
    if debug == "true" {
        return Ok(Page::text(StatusCode::OK, &Explained { target: &target, outcome, probe }.to_string()));
    }
    let accepted = Accepted::new(headers);
    Ok(Page::metrics(&accepted, Cursor::new(probe.encoded(accepted.format))))
}

/// What is known of the last probe, for people.
struct Explained<'a> {
    target: &'a TargetDocument,
    outcome: &'a OutcomeDocument,
    probe: LastProbe,
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, outcome, probe } = self;
        writeln!(f, "target {}, {}", target.target, target.endpoint)?;
        writeln!(f, "state {} since {}", target.state.as_str(), target.since)?;
        let attempts = counted(outcome.attempts.into(), "attempt");
        let OutcomeDocument { time, result, duration_seconds, .. } = outcome;
        writeln!(f, "last outcome {time}: {result}, {attempts}, {duration_seconds} s")?;
        for phase in &outcome.phases {
            writeln!(f, "phase {}: {} s", phase.phase, phase.duration_seconds)?;
        }
        for step in &outcome.steps {
            writeln!(f, "step {}: {}, {} s", step.step, step.result, step.duration_seconds)?;
        }
        if let Some(failure) = &outcome.failure {
            writeln!(f, "failure {failure}")?;
        }
        f.write_str("\nMetrics that would have been returned:\n")?;
        let metrics = probe.encoded(Format::Text);
        f.write_str(String::from_utf8_lossy(&metrics).trim_end())
    }
}
