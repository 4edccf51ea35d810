//! One target: its state, its past in pictures, and facts.

use std::time::SystemTime;

use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{charts, words};
use crate::config::interval;
use crate::status::{
    Availability, ClusterDocument, ConnectionInfo, ConnectionState, Details, FailureDocument,
    NewConnectionDocument, NoticeState, Quantiles, TargetDocument, Verdict,
};

/// Returns a target as an item of a list.
pub(super) fn card(details: &Details, now: SystemTime, is_live: bool) -> Markup {
    let TargetDocument { target, state, .. } = &details.document;
    let query = if is_live { "" } else { "?refresh=off" };
    html! {
        li class={ "target " (state.as_str()) } {
            div {
                h2 { a href={ "targets/" (utf8_percent_encode(target, NON_ALPHANUMERIC)) (query) } { bdi { (target) } } }
                (state_of(details, now))
            }
            (past(details))
            (facts(details, now))
        }
    }
}

/// Returns a target for its own page.
pub(super) fn summary(details: &Details, now: SystemTime) -> Markup {
    html! {
        div class={ "target " (details.document.state.as_str()) } {
            div { (state_of(details, now)) }
            (past(details))
            (facts(details, now))
        }
    }
}

fn state_of(
    Details { document: TargetDocument { state, since, endpoint, .. }, .. }: &Details,
    now: SystemTime,
) -> Markup {
    html! {
        p { b.state { (word(*state)) } " " (words::since(now, since.0)) }
        p.dim { (words::host(endpoint)) }
    }
}

/// Returns the word for a state.
pub(super) const fn word(state: Verdict) -> &'static str {
    match state {
        Verdict::Up => "available",
        Verdict::Down => "failing",
        Verdict::Unknown => "not probed yet",
    }
}

/// Returns the past of a target, drawn.
fn past(Details { history, target, .. }: &Details) -> Markup {
    let newest = history.pings.iter().flatten().next_back();
    let pings = newest.map_or_else(
        || "PING: no reply in the last hour".to_owned(),
        |Quantiles { p50, p99 }| {
            format!("PING, newest minute: median {}, p99 {}", words::latency(*p50), words::latency(*p99))
        },
    );
    html! {
        div {
            (charts::outcomes(&history.outcomes, &interval(target)))
            (charts::pings(&history.pings))
            p.dim { (pings) }
        }
    }
}

fn facts(details: &Details, now: SystemTime) -> Markup {
    let Details { document, history, certificate_expiry, token_expiry, .. } = details;
    let failed =
        document.failures.first().and_then(|outcome| Some((outcome.time, outcome.failure.as_ref()?)));
    let maintenance = document.maintenance.as_ref().filter(|it| it.notices != NoticeState::NotRequested);
    html! {
        dl {
            (fact("Available in 1 h", &availability(&history.hour)))
            (fact("Available in 24 h", &availability(&history.day)))
            @if let Some(probed) = document.new_connection.as_ref().filter(|it| it.failure.is_none()) {
                (fact("New connection", &new_connection(probed, now)))
            }
            @if let Some(end) = token_expiry { (fact("Token ends", &words::until(now, *end))) }
            @if let Some(end) = certificate_expiry { (fact("Certificate ends", &words::until(now, *end))) }
            @if let Some(sentinel) = &document.sentinel { (fact("Sentinels", &html! { (sentinel) })) }
            @if let Some(maintenance) = maintenance { (fact("Maintenance", &html! { (maintenance) })) }
            (long_fact("Connection", &connection(details)))
            @if let Some(probed) = document.new_connection.as_ref().filter(|it| it.failure.is_some()) {
                (long_fact("New connection", &new_connection(probed, now)))
            }
            @if let Some(cluster) = &document.cluster { (long_fact("Shards", &shards(cluster, now))) }
            @if let Some((time, failed)) = failed {
                (long_fact("Last failure", &html! { (words::ago(now, time.0)) ": " (failure(failed)) }))
            }
        }
    }
}

/// Returns a fact.
pub(super) fn fact(name: &str, value: &Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

/// Returns a fact that takes a line of its own.
pub(super) fn long_fact(name: &str, value: &Markup) -> Markup {
    html! { div.wide { dt { (name) } dd { (value) } } }
}

fn availability(availability: &Availability) -> Markup {
    let watched = words::percent(availability.watched_share());
    html! {
        @match availability.available() {
            Some(share) => { (words::percent(share)) " " span.dim { "(" (watched) " watched)" } },
            None => "not watched",
        }
    }
}

pub(super) fn failure(FailureDocument { reason, stage, slots, detail, advice }: &FailureDocument) -> Markup {
    html! {
        b { (reason) } " at " (stage)
        @if let Some(slots) = slots { " (slots " (slots) ")" }
        @if !detail.is_empty() { ": " (detail) }
        p.dim { (words::code(advice)) }
    }
}

fn connection(Details { document, connection, .. }: &Details) -> Markup {
    let state = match document.connection_state {
        ConnectionState::Connected => "open",
        ConnectionState::Connecting => "being opened",
        ConnectionState::Disconnected => "none",
    };
    html! {
        (state)
        @if let Some(ConnectionInfo { address, tls_version, username }) = connection.as_deref() {
            @if let Some(address) = address { " · " (address) }
            " · " @if let Some(version) = tls_version { "TLS " (version) } @else { "no TLS" }
            @if let Some(username) = username { " · signed in as " (username) }
        }
        @if let Some(server) = &document.server { " · " (server) }
    }
}

fn new_connection(probed: &NewConnectionDocument, now: SystemTime) -> Markup {
    html! {
        @match &probed.failure {
            None => { "succeeded " (words::ago(now, probed.time.0)) },
            Some(failed) => {
                "failed " (words::ago(now, probed.time.0))
                @if probed.consecutive_failures > 1 { ", " (probed.consecutive_failures) " times in a row" }
                ": " (failure(failed))
            },
        }
    }
}

fn shards(cluster: &ClusterDocument, now: SystemTime) -> Markup {
    let nodes: Vec<_> = cluster.shards.iter().map(|node| node.state).collect();
    let text = cluster.to_string();
    html! {
        @if !nodes.is_empty() { (charts::nodes(&nodes, &text)) }
        (text)
        @for failed in cluster.topology_failure.iter().chain(&cluster.replica_failure) {
            p { (words::ago(now, failed.time.0)) ": " (failure(&failed.failure)) }
        }
    }
}
