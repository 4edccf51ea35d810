//! The page of one target: its last probes and failures, the nodes of a cluster, queries, and its configuration.

use std::time::{Duration, SystemTime};

use maud::{Markup, html};

use super::charts::Bar;
use super::layout::{Layout, Reload};
use super::{View, card, charts, words};
use crate::config::settings;
use crate::counted::counted;
use crate::metrics::queries;
use crate::status::{Details, NodeDocument, OutcomeDocument};

/// Returns the page of a target.
pub(in crate::http) fn target(details: &Details, now: SystemTime, view: &View) -> String {
    let document = &details.document;
    let title = format!("{} · {}", document.target, card::word(document.state));
    let nodes = document.cluster.iter().flat_map(|cluster| &cluster.shards);
    let content = html! {
        header {
            p { a href={ "../" (View { is_live: view.is_live, ..View::default() }.link()) } { "All caches" } }
            h1 { bdi { (document.target) } " · " (card::word(document.state)) }
        }
        main {
            (card::summary(details, now))
            h2 { "Last probes" }
            @if document.cluster.is_some() {
                p.dim { "Phases and steps are those of the slowest node, or of the one that failed." }
            }
            (probes(&document.recent, now))
            h2 { "Last failures" }
            @match document.failures.len() {
                0 => p { "None." },
                count => p.dim { "The last " (counted(count as u64, "outcome")) " that failed. One outcome can fail several ticks." },
            }
            ul {
                @for alike in document.failures.chunk_by(are_alike) { li.event { (failed(alike, now)) } }
            }
            @if document.cluster.is_some() {
                h2 { "Nodes" }
                ul { @for node in nodes { li.event { (self::node(node, now)) } } }
            }
            h2 { "Queries for Prometheus" }
            dl.event { @for (meaning, query) in queries(&document.target) { (card::long_fact(meaning, &html! { code { (query) } })) } }
            h2 { "Configuration" }
            dl.event { @for (key, value) in settings(&details.target) { (card::fact(key, &html! { (value) })) } }
        }
    };
    let other = View { is_live: !view.is_live, ..View::default() }.link();
    let reload = Some(Reload { is_live: view.is_live, other: &other });
    Layout { title: &title, root: "../", reload }.page(&content)
}

/// Returns the phases and steps of each probe.
fn probes(outcomes: &[OutcomeDocument], now: SystemTime) -> Markup {
    let bars: Vec<_> = outcomes.iter().map(bars).collect();
    let longest = bars.iter().map(|bars| bars.iter().map(|bar| bar.took).sum()).max().unwrap_or_default();
    html! {
        @if outcomes.is_empty() { p { "None yet." } }
        ul {
            @for (outcome, bars) in outcomes.iter().zip(&bars) {
                li.event {
                    p {
                        b { (outcome.result) } " " (words::ago(now, outcome.time.0))
                        @if outcome.duration_seconds > 0.0 {
                            " in " (words::latency(Duration::from_secs_f64(outcome.duration_seconds)))
                        }
                        @if let Some(failure) = &outcome.failure { ": " (failure.reason) " at " (failure.stage) }
                    }
                    @if !bars.is_empty() {
                        (charts::bars(bars, longest))
                        p.dim.legend { @for bar in bars { span { i class=(bar.class) {} (bar) } " " } }
                    }
                }
            }
        }
    }
}

/// Returns the phases and steps of a probe, in order, and what else its duration consists of.
fn bars(outcome: &OutcomeDocument) -> Vec<Bar> {
    let phases = outcome.phases.iter().map(|it| Bar {
        name: it.phase.as_str(),
        class: format!("phase{}", it.phase as usize),
        took: Duration::from_secs_f64(it.duration_seconds),
    });
    let steps = outcome.steps.iter().map(|it| Bar {
        name: it.step.as_str(),
        class: format!("step{}", it.step as usize),
        took: Duration::from_secs_f64(it.duration_seconds),
    });
    let mut bars: Vec<_> = phases.chain(steps).collect();
    let known: Duration = bars.iter().map(|bar| bar.took).sum();
    let rest = Duration::from_secs_f64(outcome.duration_seconds).saturating_sub(known);
    let failed = outcome.failure.as_ref().map(|failure| failure.stage.as_str());
    bars.iter_mut()
        .filter(|bar| Some(bar.name) == failed)
        .for_each(|bar| "failed".clone_into(&mut bar.class));
    match failed.filter(|stage| bars.iter().all(|bar| bar.name != *stage)) {
        // The stage that failed did not complete. What earlier attempts took is not known apart from it.
        Some(name) if outcome.attempts == 1 && !rest.is_zero() => {
            bars.push(Bar { name, class: "failed".to_owned(), took: rest });
        }
        _ if rest > Duration::from_micros(5) => {
            bars.push(Bar { name: "other", class: "other".to_owned(), took: rest });
        }
        _ => {}
    }
    bars
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
            (alike.len()) " outcomes, from " (words::ago(now, oldest.time.0)) " to " (words::ago(now, newest.time.0))
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
