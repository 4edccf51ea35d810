//! The first line of the page `/`: what matters.

use std::time::Duration;

use super::words;
use crate::counted::counted;
use crate::status::{Overview, Readiness, Verdict};

/// Ticks that begin later than this show that the agent lacks CPU.
const LATE: Duration = Duration::from_millis(500);

/// Returns the first line: the caches that are available and that are not, and how the agent does.
pub(super) fn headline(overview: &Overview) -> String {
    let count = |state: Verdict| overview.targets.iter().filter(|target| target.state == state).count();
    let (up, down, unknown) = (count(Verdict::Up), count(Verdict::Down), count(Verdict::Unknown));
    let mut parts = Vec::new();
    match overview.targets.len() {
        0 => parts.push("No caches yet".to_owned()),
        all => parts.push(format!("{up} of {} available", counted(all as u64, "cache"))),
    }
    if down > 0 {
        parts.push(format!("{down} failing"));
    }
    if unknown > 0 {
        parts.push(format!("{unknown} not probed yet"));
    }
    parts.push(agent(overview));
    parts.join(" · ")
}

fn agent(overview: &Overview) -> String {
    let delay = overview.targets.iter().map(|target| target.delay).max().unwrap_or_default();
    match overview.readiness {
        Readiness::Unconfigured => "waiting for a valid configuration".to_owned(),
        Readiness::Draining => "agent shutting down".to_owned(),
        _ if overview.config_error.is_some() => "new configuration rejected".to_owned(),
        _ if overview.web_config_error.is_some() => "new web configuration rejected".to_owned(),
        _ if !overview.target_file_errors.is_empty() => "target file rejected".to_owned(),
        Readiness::Starting | Readiness::Waiting(_) => "agent starting".to_owned(),
        Readiness::Ready if delay > LATE => {
            format!("agent starved: probes begin {} late", words::latency(delay))
        }
        Readiness::Ready => "agent healthy".to_owned(),
    }
}
