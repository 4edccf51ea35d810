//! The page of one target: its last probes, its last failures, and the nodes of a cluster.

use std::time::{Duration, SystemTime};

use maud::{Markup, html};

use super::layout::Layout;
use super::{View, card, charts, words};
use crate::status::{Details, NodeDocument, OutcomeDocument};

/// Returns the page of a target.
pub(in crate::http) fn target(details: &Details, now: SystemTime, view: &View) -> String {
    let document = &details.document;
    let title = format!("{} · {}", document.target, card::word(document.state));
    let nodes = document.cluster.iter().flat_map(|cluster| &cluster.shards);
    let content = html! {
        header {
            p { a href="../" { "All caches" } }
            h1 { (title) }
        }
        main {
            (card::summary(details, now))
            h2 { "Last probes" }
            (probes(&document.recent, now))
            h2 { "Last failures" }
            @if document.failures.is_empty() { p { "None." } }
            ul { @for outcome in &document.failures { li.event { (failed(outcome, now)) } } }
            @if document.cluster.is_some() {
                h2 { "Nodes" }
                ul { @for node in nodes { li.event { (self::node(node, now)) } } }
            }
        }
    };
    let other = View { is_live: !view.is_live, ..View::default() }.link();
    Layout { title: &title, root: "../", is_live: view.is_live, other: &other }.page(&content)
}

/// Returns the phases and steps of each probe.
fn probes(outcomes: &[OutcomeDocument], now: SystemTime) -> Markup {
    let stages: Vec<_> = outcomes.iter().map(stages).collect();
    let longest =
        stages.iter().map(|stages| stages.iter().map(|(_, took)| *took).sum()).max().unwrap_or_default();
    html! {
        @if outcomes.is_empty() { p { "None yet." } }
        ul {
            @for (outcome, stages) in outcomes.iter().zip(&stages) {
                li.event {
                    p {
                        b { (outcome.result) } " " (words::ago(now, outcome.time.0)) " in "
                        (words::latency(Duration::from_secs_f64(outcome.duration_seconds)))
                    }
                    @if !stages.is_empty() {
                        (charts::stages(stages, longest))
                        p.dim { @for (stage, took) in stages { (stage) " " (words::latency(*took)) " " } }
                    }
                }
            }
        }
    }
}

/// Returns the phases and steps of a probe, in order, and how long each took.
fn stages(outcome: &OutcomeDocument) -> Vec<(&'static str, Duration)> {
    let phases = outcome.phases.iter().map(|it| (it.phase.as_str(), it.duration_seconds));
    let steps = outcome.steps.iter().map(|it| (it.step.as_str(), it.duration_seconds));
    phases.chain(steps).map(|(stage, seconds)| (stage, Duration::from_secs_f64(seconds))).collect()
}

fn failed(outcome: &OutcomeDocument, now: SystemTime) -> Markup {
    html! {
        (words::ago(now, outcome.time.0))
        @if let Some(failure) = &outcome.failure { ": " (card::failure(failure)) }
    }
}

fn node(node: &NodeDocument, now: SystemTime) -> Markup {
    let NodeDocument { slots, role, state, since, address, staleness_seconds, last_failure, .. } = node;
    html! {
        p {
            b { (role) } " of the slots " (slots) ": " (state.as_str()) " " (words::since(now, since.0))
            @if let Some(address) = address { ", " (address) }
            @if let Some(seconds) = staleness_seconds {
                ", " (words::latency(Duration::from_secs_f64(*seconds))) " behind its primary"
            }
        }
        @if let Some(failed) = last_failure {
            p { "Last failure " (words::ago(now, failed.time.0)) ": " (card::failure(&failed.failure)) }
        }
    }
}
