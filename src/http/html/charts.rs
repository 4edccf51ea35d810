//! Small pictures in SVG. The title of each, or the text below it, says in words what it shows.

use std::fmt::Write as _;
use std::time::Duration;

use maud::{Markup, Render, html};

use super::words;
use crate::status::{Cell, OUTCOMES, Quantiles, Watch};

/// The height of a curve. Whole numbers are short.
const HEIGHT: f64 = 20.0;

/// Draws the last outcomes: low if they succeeded, high if they failed, nothing if nobody probed.
pub(super) fn outcomes(cells: &[Cell], interval: &str) -> Markup {
    let is_failure = |cell: &Cell| matches!(cell, Cell::Failure(_));
    let succeeded = cells.iter().filter(|cell| **cell == Cell::Success).count();
    let failed = cells.iter().filter(|cell| is_failure(cell)).count();
    let label = format!("Last probes, every {interval}: {succeeded} succeeded, {failed} failed");
    let offset = OUTCOMES - cells.len();
    html! {
        svg.strip viewBox={ "0 0 " (OUTCOMES) " 10" } preserveAspectRatio="none" role="img" {
            title { (label) }
            path.up d=(runs(cells, offset, 4, |cell| *cell == Cell::Success)) {}
            path.down d=(runs(cells, offset, 0, is_failure)) {}
        }
    }
}

/// Draws the nodes of a cluster, likewise.
pub(super) fn nodes(nodes: &[Watch], label: &str) -> Markup {
    html! {
        svg.strip.nodes viewBox={ "0 0 " (nodes.len()) " 10" } preserveAspectRatio="none" role="img" {
            title { (label) }
            path.up d=(runs(nodes, 0, 4, |node| *node == Watch::Up)) {}
            path.down d=(runs(nodes, 0, 0, |node| *node == Watch::Down)) {}
            path.unknown d=(runs(nodes, 0, 7, |node| matches!(node, Watch::Unknown | Watch::Unwatched))) {}
            @if nodes.len() > 1 { path.divider d=(dividers(nodes.len())) {} }
        }
    }
}

/// Returns a path with a line between each cell and the next.
fn dividers(cells: usize) -> String {
    (1..cells).fold(String::new(), |mut path, place| {
        // Writing to a string cannot fail.
        let _ = write!(path, "M{place} 0V10");
        path
    })
}

/// Returns a path with a rectangle from `top` down for each run of cells of one kind.
fn runs<T>(cells: &[T], offset: usize, top: u8, is_kind: impl Fn(&T) -> bool) -> String {
    let (mut path, mut place) = (String::new(), offset);
    for run in cells.chunk_by(|one, other| is_kind(one) == is_kind(other)) {
        let length = run.len();
        if run.first().is_some_and(&is_kind) {
            // Writing to a string cannot fail.
            let _ = write!(path, "M{place} {top}h{length}V10h-{length}z");
        }
        place += length;
    }
    path
}

/// Draws the median and the 99th percentile of PING in each of the last minutes, on a logarithmic scale.
pub(super) fn pings(minutes: &[Option<Quantiles>]) -> Markup {
    let known = || minutes.iter().flatten();
    let lowest = known().map(|it| it.p50).min().unwrap_or_default();
    let highest = known().map(|it| it.p99).max().unwrap_or_default();
    html! {
        svg.pings viewBox={ "0 0 " (minutes.len()) " " (HEIGHT) } preserveAspectRatio="none" aria-hidden="true" {
            path.p99 d=(curve(minutes, |it| it.p99, lowest, highest)) {}
            path.p50 d=(curve(minutes, |it| it.p50, lowest, highest)) {}
        }
    }
}

/// Returns a path through a value of each minute; minutes without one interrupt it.
fn curve(
    minutes: &[Option<Quantiles>],
    value: impl Fn(&Quantiles) -> Duration,
    lowest: Duration,
    highest: Duration,
) -> String {
    // The smallest range is a factor of four, so that a steady latency is a steady line.
    let bottom = (lowest.as_secs_f64() / 2.0).max(1e-9).ln();
    let range = (highest.as_secs_f64() * 1.1).max(1e-9).ln().max(bottom + 4_f64.ln()) - bottom;
    let y = |minute: &Quantiles| {
        let share = (value(minute).as_secs_f64().max(1e-9).ln() - bottom) / range;
        (HEIGHT * (1.0 - share.clamp(0.0, 1.0))).round()
    };
    let heights: Vec<_> = minutes.iter().map(|minute| minute.as_ref().map(y)).collect();
    let (mut path, mut place, mut before) = (String::new(), 0, None);
    for run in heights.chunk_by(PartialEq::eq) {
        let (height, length) = (run.first().copied().flatten(), run.len() - 1);
        // Writing to a string cannot fail.
        let _ = match (before, height) {
            (_, None) => Ok(()),
            // A line of no length is a dot.
            (None, Some(y)) => write!(path, "M{place} {y}h{length}"),
            (Some(before), Some(y)) if length == 0 => write!(path, "l1 {}", y - before),
            (Some(before), Some(y)) => write!(path, "l1 {}h{length}", y - before),
        };
        (place, before) = (place + run.len(), height);
    }
    path
}

/// A part of a probe's duration.
pub(super) struct Bar {
    pub(super) name: &'static str,
    /// Its colour in the style sheet.
    pub(super) class: String,
    pub(super) took: Duration,
}

impl Render for Bar {
    fn render_to(&self, buffer: &mut String) {
        // Writing to a string cannot fail.
        let _ = write!(buffer, "{} {}", self.name, words::latency(self.took));
    }
}

/// Draws the parts of a probe, one after the other. One that takes as long as `longest` is as wide as the page.
pub(super) fn bars(bars: &[Bar], longest: Duration) -> Markup {
    let label: Vec<_> = bars.iter().map(|bar| bar.render().into_string()).collect();
    let label = label.join(", ");
    let width = longest.as_secs_f64().max(1e-9);
    let mut end = 0.0;
    let mut path = |took: &Duration| {
        let begin = end;
        end += 1000.0 * took.as_secs_f64() / width;
        format!("M{begin:.1} 0H{end:.1}V10H{begin:.1}z")
    };
    html! {
        svg.stages viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" {
            title { (label) }
            @for bar in bars { path class=(bar.class) d=(path(&bar.took)) {} }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::FailureReason;

    #[test]
    fn failures_are_higher_than_successes_and_gaps_are_empty() {
        let cells = [Cell::Failure(FailureReason::Closed), Cell::Gap, Cell::Success, Cell::Success];
        let strip = outcomes(&cells, "10s").into_string();
        assert!(strip.contains("<title>Last probes, every 10s: 2 succeeded, 1 failed</title>"), "{strip}");
        // The newest is at the right edge.
        assert!(strip.contains(r#"class="up" d="M58 4h2V10h-2z""#), "{strip}");
        assert!(strip.contains(r#"class="down" d="M56 0h1V10h-1z""#), "{strip}");
    }

    #[test]
    fn a_curve_is_interrupted_by_minutes_without_a_reply_and_level_where_nothing_changes() {
        let minute = |milliseconds| {
            let took = Duration::from_millis(milliseconds);
            Some(Quantiles { p50: took, p99: took })
        };
        let minutes = [minute(1), None, minute(1), minute(1), minute(1), minute(64), minute(64), minute(1)];
        let drawn = pings(&minutes).into_string();
        assert!(drawn.contains(r#"class="p50" d="M0 17h0M2 17h2l1 -17h1l1 17""#), "{drawn}");
    }

    #[test]
    fn each_node_has_the_colour_of_its_state_and_is_apart_from_the_next() {
        let strip =
            nodes(&[Watch::Up, Watch::Down, Watch::Unknown, Watch::Unwatched], "4 nodes").into_string();
        for path in [
            r#"class="up" d="M0 4h1V10h-1z""#,
            r#"class="down" d="M1 0h1V10h-1z""#,
            r#"class="unknown" d="M2 7h2V10h-2z""#,
            r#"class="divider" d="M1 0V10M2 0V10M3 0V10""#,
        ] {
            assert!(strip.contains(path), "{path}: {strip}");
        }
        assert!(!nodes(&[Watch::Up], "1 node").into_string().contains("divider"));
    }
}
