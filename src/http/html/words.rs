//! Times, durations and shares in words.

use std::time::{Duration, SystemTime};

use maud::{Markup, html};

use crate::clock::Rfc3339;
use crate::counted::counted;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Returns a long duration, rounded down: `40 s`, `12 min`, `5 h 20 min`, `3 days`.
pub(super) fn span(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ ..MINUTE => format!("{seconds} s"),
        seconds @ ..HOUR => format!("{} min", seconds / MINUTE),
        seconds @ ..DAY => format!("{} h {} min", seconds / HOUR, seconds % HOUR / MINUTE),
        seconds => counted(seconds / DAY, "day"),
    }
}

/// Returns a short duration with two or three digits: `0.42 ms`, `12.3 ms`, `1.25 s`.
pub(super) fn latency(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let (value, unit) = if seconds < 1.0 { (seconds * 1e3, "ms") } else { (seconds, "s") };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {unit}")
}

/// Returns how long ago `time` was, with the time itself as a tooltip.
pub(super) fn ago(now: SystemTime, time: SystemTime) -> Markup {
    moment(time, &format!("{} ago", span(now.duration_since(time).unwrap_or_default())))
}

/// Returns how long it is until `time`, likewise.
pub(super) fn until(now: SystemTime, time: SystemTime) -> Markup {
    match time.duration_since(now) {
        Ok(left) => moment(time, &format!("in {}", span(left))),
        Err(_) => ago(now, time),
    }
}

/// Returns how long something has lasted since `time`, likewise.
pub(super) fn since(now: SystemTime, time: SystemTime) -> Markup {
    moment(time, &format!("for {}", span(now.duration_since(time).unwrap_or_default())))
}

fn moment(time: SystemTime, words: &str) -> Markup {
    let exact = Rfc3339(time).to_string();
    html! { time datetime=(exact) title=(exact) { (words) } }
}

/// Returns a share from 0 to 1 in percent, rounded down: only the whole is 100 %.
pub(super) fn percent(share: f64) -> String {
    let digits: i32 = if share < 0.99 { 1 } else { 3 };
    let scale = 10_f64.powi(digits);
    let percent = (share * 100.0 * scale).floor() / scale;
    if percent == 0.0 && share > 0.0 {
        return "< 0.1 %".to_owned();
    }
    format!("{percent} %")
}

/// Returns a host and its port, which may be broken after a dot.
pub(super) fn host(text: &str) -> Markup {
    html! { @for part in text.split_inclusive('.') { (part) wbr; } }
}

/// Returns a text in which what stands between backticks is code.
pub(super) fn code(text: &str) -> Markup {
    html! {
        @for (place, part) in text.split('`').enumerate() {
            @if place % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_durations_are_rounded_down_to_what_people_say() {
        for (seconds, words) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_599, "59 min"),
            (3_600, "1 h 0 min"),
            (86_399, "23 h 59 min"),
            (86_400, "1 day"),
            (200_000, "2 days"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), words);
        }
    }

    #[test]
    fn short_durations_have_two_or_three_digits() {
        for (microseconds, words) in [
            (4, "0.00 ms"),
            (423, "0.42 ms"),
            (12_345, "12.3 ms"),
            (250_000, "250 ms"),
            (1_250_000, "1.25 s"),
        ] {
            assert_eq!(latency(Duration::from_micros(microseconds)), words);
        }
    }

    #[test]
    fn only_the_whole_is_100_percent() {
        for (share, words) in [
            (1.0, "100 %"),
            (0.999_999_9, "99.999 %"),
            (0.9995, "99.95 %"),
            (0.5, "50 %"),
            (0.98765, "98.7 %"),
            (0.000_4, "< 0.1 %"),
            (0.0, "0 %"),
        ] {
            assert_eq!(percent(share), words);
        }
    }
}
