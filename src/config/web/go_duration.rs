//! Durations in the notation of Go's `time.ParseDuration`.

use std::time::Duration;

/// The units, in seconds.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("μs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

/// The longest duration in Go, in seconds: about 292 years.
const LONGEST: f64 = i64::MAX as f64 / 1e9;

/// Parses a duration that is not negative.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return None;
    }
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        seconds += number.parse::<f64>().ok()? * factor;
        rest = after;
    }
    if seconds < LONGEST { Duration::try_from_secs_f64(seconds).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notation_of_go_is_parsed() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("0s", 0),
            ("+5s", 5_000_000_000),
            ("5ns", 5),
            ("1us", 1_000),
            ("1µs", 1_000),
            ("1μs", 1_000),
            ("100ms", 100_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("1h2m3s", 3_723_000_000_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_nanos(nanoseconds)), "{text}");
        }
        for text in ["", "+", "5", "1d", "-1s", "s", ".s", "1 s", "1e3s", "1S", "3000000h", "1.2.3s"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
