//! The page of one target: its last probes and failures, the nodes of a cluster, queries, and its configuration.

use std::time::{Duration, SystemTime};

use maud::{Markup, html};

use super::layout::Layout;
use super::{View, card, charts, words};
use crate::config::settings;
use crate::metrics::queries;
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
            ul {
                @for alike in document.failures.chunk_by(are_alike) { li.event { (failed(alike, now)) } }
            }
            @if document.cluster.is_some() {
                h2 { "Nodes" }
                ul { @for node in nodes { li.event { (self::node(node, now)) } } }
            }
            h2 { "Queries for Prometheus" }
            dl.event { @for (meaning, query) in queries(&document.target) { (card::fact(meaning, &html! { code { (query) } })) } }
            h2 { "Configuration" }
            dl.event { @for (key, value) in settings(&details.target) { (card::fact(key, &html! { (value) })) } }
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

/// Whether two outcomes failed in the same way.
fn are_alike(one: &OutcomeDocument, other: &OutcomeDocument) -> bool {
    let essence = |outcome: &OutcomeDocument| {
        outcome.failure.as_ref().map(|it| (it.reason, it.stage, it.slots.clone(), it.detail.clone()))
    };
    essence(one) == essence(other)
}

/// Returns outcomes that failed in the same way, the newest first.
fn failed(alike: &[OutcomeDocument], now: SystemTime) -> Markup {
    html! {
        @if let [newest, .., oldest] = alike {
            (alike.len()) " times, from " (words::ago(now, oldest.time.0)) " to " (words::ago(now, newest.time.0))
        } @else if let [only] = alike {
            (words::ago(now, only.time.0))
        }
        @if let Some(failure) = alike.first().and_then(|it| it.failure.as_ref()) { ": " (card::failure(failure)) }
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
