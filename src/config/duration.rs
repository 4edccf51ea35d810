//! Durations in the configuration: numbers with units, such as `10s`, `500ms` or `1m30s`.

use std::time::Duration;

use super::parse::Parse;

/// The units, in seconds, the largest first.
const UNITS: [(&str, f64); 4] = [("h", 3600.0), ("m", 60.0), ("s", 1.0), ("ms", 0.001)];

impl Parse for Duration {
    const NOUN: &'static str = "a duration";
    const SUCH_AS: &'static str = ", such as 10s or 1m30s (units: h, m, s, ms)";

    fn parse(text: &str) -> Option<Self> {
        parse(text)
    }
}

/// Zero is off.
impl Parse for Option<Duration> {
    const NOUN: &'static str = "0s or a duration";
    const SUCH_AS: &'static str = Duration::SUCH_AS;

    fn parse(text: &str) -> Option<Self> {
        parse(text).map(|duration| (!duration.is_zero()).then_some(duration))
    }

    fn is_outside_ranges(&self) -> bool {
        self.is_none()
    }
}

/// Parses numbers with units, the larger unit first. Saturates at the longest duration.
fn parse(text: &str) -> Option<Duration> {
    let mut units = UNITS.iter();
    let mut sum = Duration::ZERO;
    let mut rest = text;
    loop {
        let (number, after) = rest.split_at(rest.find(|c: char| c.is_ascii_alphabetic())?);
        let (unit, after) =
            after.split_at(after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len()));
        // Each unit is allowed once and in order, so earlier units are skipped.
        let (_, seconds) = units.find(|(name, _)| *name == unit)?;
        let number: f64 = is_number(number).then(|| number.parse().ok())??;
        sum = sum.saturating_add(Duration::try_from_secs_f64(number * seconds).unwrap_or(Duration::MAX));
        rest = after;
        if rest.is_empty() {
            return Some(sum);
        }
    }
}

/// Whether `text` is digits with an optional fraction. `f64` alone would also accept `1e3`, `inf` and `-1`.
fn is_number(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(text),
    }
}

/// Returns `duration` in the largest unit in which it is a whole number.
pub(super) fn written(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    match units.iter().find(|(_, unit)| milliseconds.is_multiple_of(*unit)) {
        _ if milliseconds == 0 => "0s".to_owned(),
        Some((name, unit)) => format!("{}{name}", milliseconds / unit),
        None => format!("{milliseconds}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_numbers_with_units() {
        for (text, milliseconds) in [
            ("10s", 10_000),
            ("500ms", 500),
            ("0.5s", 500),
            ("0.1s", 100),
            ("1.5m", 90_000),
            ("1h", 3_600_000),
            ("0s", 0),
            ("007s", 7000),
            ("1m30s", 90_000),
            ("1h30m", 5_400_000),
            ("1h1m1s1ms", 3_661_001),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn text_that_is_not_a_duration_is_rejected() {
        for text in [
            "", "s", "10", "10 s", "10S", "10sec", "1h30", "30m1h", "1s1s", "1h 30m", "-1s", "+1s", "1e3s",
            ".5s", "5.s", "1.2.3s", "infs", "NaNs", "١s", "1_000ms", "10s ", "10µs",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_duration_that_is_too_long_saturates() {
        assert_eq!(parse(&format!("{}h", "9".repeat(400))), Some(Duration::MAX));
    }

    #[test]
    fn bounds_are_written_in_their_natural_unit() {
        let written = |milliseconds| written(Duration::from_millis(milliseconds));
        assert_eq!(
            [0, 10, 100, 1000, 1500, 300_000, 3_600_000].map(written),
            ["0s", "10ms", "100ms", "1s", "1500ms", "5m", "1h"]
        );
    }
}
