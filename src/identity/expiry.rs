//! When a token expires: the forms in which token endpoints say so. Pure.
//!
//! Documented are seconds since 1970 as text or a number. Seen are also dates in several forms, seconds from now, and
//! nothing at all. What cannot be read counts as absent, never as now.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use crate::clock::days;

/// Smaller numbers are seconds from now, larger ones seconds since 1970. This is 2001-01-01; MSAL for .NET has the same
/// limit.
const RELATIVE: f64 = 978_307_200.0;

/// No token is valid for longer. A later time is one in another unit, or damaged.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// If the endpoint and the token differ by more than this, the earlier time holds.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// Returns when a token expires: by the fields `expires_on` and `expires_in` of the endpoint's `response`, or by the
/// token's own `claim`. `None` if none of them can be read.
pub(super) fn expires_at(
    response: &Map<String, Value>,
    claim: Option<SystemTime>,
    now: SystemTime,
) -> Option<SystemTime> {
    let said = response.get("expires_on").and_then(|value| moment(value, now, now));
    let said = said.or_else(|| after(now, number(response.get("expires_in")?)?));
    agreed(said, claim.filter(|claim| is_plausible(*claim, now)))
}

/// Returns when a token expires of which this is `said` and its own `claim`.
pub(super) fn agreed(said: Option<SystemTime>, claim: Option<SystemTime>) -> Option<SystemTime> {
    match (said, claim) {
        (Some(said), Some(claim)) => {
            let apart = said.max(claim).duration_since(said.min(claim)).unwrap_or_default();
            Some(if apart > TOLERANCE { said.min(claim) } else { said })
        }
        (said, claim) => said.or(claim),
    }
}

/// Whether `expires_in` says that the token has already expired.
pub(super) fn is_over(expires_in: &Value) -> bool {
    number(expires_in).is_some_and(|seconds| seconds <= 0.0)
}

/// Reads a moment: seconds since 1970 or from `start`, as a number or text, or a date.
pub(super) fn moment(value: &Value, start: SystemTime, now: SystemTime) -> Option<SystemTime> {
    let moment = match number(value) {
        Some(seconds) if seconds < RELATIVE => return after(start, seconds),
        Some(seconds) => after(SystemTime::UNIX_EPOCH, seconds)?,
        None => date(value.as_str()?)?,
    };
    is_plausible(moment, now).then_some(moment)
}

/// Whether a token may expire at `moment`.
pub(super) fn is_plausible(moment: SystemTime, now: SystemTime) -> bool {
    moment.duration_since(now).is_ok_and(|left| left <= LONGEST) || moment <= now
}

/// Returns the number in `value`, which may be text.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Returns the time `seconds` after `start`, unless that is no time of a token.
fn after(start: SystemTime, seconds: f64) -> Option<SystemTime> {
    let span = Duration::try_from_secs_f64(seconds).ok().filter(|span| !span.is_zero())?;
    (start == SystemTime::UNIX_EPOCH || span <= LONGEST).then_some(())?;
    start.checked_add(span)
}

/// Parses a date: RFC 3339, with a space instead of the `T` and without a zone, too, or as .NET writes it in the United
/// States, `1/16/2020 5:24:12 AM +00:00`. Without a zone it is UTC.
pub(super) fn date(text: &str) -> Option<SystemTime> {
    let (day, rest) = text.trim().split_once(['T', 't', ' '])?;
    let [year, month, day] = if day.contains('/') {
        let [month, day, year] = numbers(day, '/')?;
        [year, month, day]
    } else {
        numbers(day, '-')?
    };
    let end = rest.find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.')).unwrap_or(rest.len());
    let (time, rest) = rest.split_at(end);
    let whole = time.split_once('.').map_or(time, |(whole, _)| whole);
    let [hour, minute, second] = numbers(whole, ':')?;
    let (hour, zone) = match rest.trim() {
        rest if rest.starts_with("AM") || rest.starts_with("PM") => {
            let hour = (1..=12).contains(&hour).then_some(hour % 12)?;
            (if rest.starts_with('P') { hour + 12 } else { hour }, rest[2..].trim())
        }
        rest => (hour, rest),
    };
    (hour < 24 && minute < 60 && second <= 60).then_some(())?;
    let since = days(year, month, day)? * 86_400 + hour * 3600 + minute * 60 + second;
    let since = i64::try_from(since).ok()?.checked_sub(offset(zone)?)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(since).ok()?))
}

/// Parses three whole numbers.
fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let mut numbers = text.split(separator).map(|part| {
        let is_short = (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        if is_short { part.parse().ok() } else { None }
    });
    let three = [numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(three)
}

/// Returns the seconds by which a zone is ahead of UTC: `Z`, nothing, or `+hh:mm`.
fn offset(zone: &str) -> Option<i64> {
    if zone.is_empty() || zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match zone.as_bytes()[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits = zone[1..].replace(':', "");
    (digits.len() == 4).then_some(())?;
    let digits: i64 = digits.parse().ok().filter(|digits| (0..2400).contains(digits))?;
    Some(sign * (digits / 100 * 3600 + digits % 100 * 60))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// 2020-01-16 05:24:12 UTC.
    const END: u64 = 1_579_152_252;
    /// An hour before.
    const NOW: u64 = END - 3600;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Returns the expiry in seconds since 1970 by `response` and the claim `exp`.
    fn read(response: Value, exp: Option<u64>) -> Option<u64> {
        let Value::Object(response) = response else { panic!("{response}") };
        let end = expires_at(&response, exp.map(at), at(NOW))?;
        Some(end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
    }

    #[test]
    fn every_form_that_was_seen_is_read() {
        for value in [
            json!("1579152252"),
            json!(1_579_152_252),
            json!(1_579_152_252.9),
            json!("1579152252.9"),
            json!(" 1579152252 "),
            json!(3600),
            json!("3600"),
            json!("2020-01-16T05:24:12Z"),
            json!("2020-01-16T05:24:12.3456789Z"),
            json!("2020-01-16T07:24:12+02:00"),
            json!("2020-01-15t21:24:12-0800"),
            json!("2020-01-16 05:24:12"),
            json!("2020-01-16 05:24:12.000000"),
            json!("1/16/2020 5:24:12 AM +00:00"),
            json!("01/16/2020 05:24:12 +00:00"),
            json!("01/16/2020 10:54:12 +05:30"),
            json!("1/15/2020 9:24:12 PM -08:00"),
        ] {
            assert_eq!(read(json!({"expires_on": value}), None), Some(END), "{value}");
        }
        assert_eq!(read(json!({"expires_on": "1/16/2020 12:00:00 AM +00:00"}), None), Some(1_579_132_800));
        assert_eq!(read(json!({"expires_on": "1/16/2020 12:00:00 PM +00:00"}), None), Some(1_579_176_000));
        assert_eq!(read(json!({"expires_on": "2020-02-29T00:00:00Z"}), None), Some(1_582_934_400));
    }

    #[test]
    fn what_cannot_be_read_counts_as_absent() {
        for value in [
            json!(null),
            json!(true),
            json!([]),
            json!(""),
            json!("soon"),
            json!("N/A"),
            json!(0),
            json!(-1),
            json!("-3600"),
            json!("NaN"),
            json!("inf"),
            json!(1e300),
            json!(u64::MAX),
            // Milliseconds.
            json!(1_579_152_252_000_u64),
            json!("2020-13-01T00:00:00Z"),
            json!("2019-02-29T00:00:00Z"),
            json!("2020-01-16T24:00:00Z"),
            json!("2020-01-16T05:24:12 EST"),
            json!("2020-01-16T05:24:12+é0:00"),
            json!("2020-01-16"),
            json!("13/16/2020 5:24:12 AM +00:00"),
            json!("1/16/2020 13:24:12 AM +00:00"),
            json!("9999-01-16T05:24:12Z"),
            json!("1/16/2020 5:24 AM"),
        ] {
            assert_eq!(read(json!({"expires_on": value}), None), None, "{value}");
            assert_eq!(
                read(json!({"expires_on": value, "expires_in": "60"}), None),
                Some(NOW + 60),
                "{value}"
            );
            assert_eq!(read(json!({"expires_on": value}), Some(END)), Some(END), "{value}");
        }
    }

    #[test]
    fn seconds_from_now_alone_are_read_as_a_number_or_text() {
        for value in [json!(3600), json!("3600"), json!(3600.0), json!("3600.0")] {
            assert_eq!(read(json!({"expires_in": value}), None), Some(END), "{value}");
        }
        for value in [json!(0), json!("x"), json!(-5), json!(1e12), json!(u64::MAX)] {
            assert_eq!(read(json!({"expires_in": value}), None), None, "{value}");
        }
    }

    #[test]
    fn a_token_without_any_expiry_has_none_and_never_expires_now() {
        assert_eq!(read(json!({}), None), None);
        assert_eq!(read(json!({}), Some(END)), Some(END));
        assert_eq!(read(json!({}), Some(u64::MAX / 2)), None);
    }

    #[test]
    fn an_expiry_in_the_past_is_an_expiry() {
        assert_eq!(read(json!({"expires_on": NOW - 60}), None), Some(NOW - 60));
    }

    #[test]
    fn the_earlier_of_two_times_holds_if_they_differ_by_more_than_five_minutes() {
        for (said, claimed, expected) in [
            (END, END + 300, END),
            (END, END - 300, END),
            (END, END + 301, END),
            (END, END - 301, END - 301),
            (END + 7200, END, END),
        ] {
            assert_eq!(read(json!({"expires_on": said}), Some(claimed)), Some(expected), "{said} {claimed}");
        }
    }
}
