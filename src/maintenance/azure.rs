//! The messages of Azure's channel: `key|value|key|value…`.

use std::time::{Duration, SystemTime};

use super::event::Event;
use super::notice::Notice;

/// The channel to which Azure Cache for Redis publishes.
pub const AZURE_CHANNEL: &str = "AzureRedisEvents";

/// Reads a message. Keys are compared without case, unknown keys are ignored, and a value may be empty or missing.
pub(super) fn read(payload: &str) -> Notice {
    let mut parts = payload.split('|');
    let (mut name, mut start) = ("", "");
    while let Some(key) = parts.next() {
        let value = parts.next().unwrap_or("").trim();
        let is = |names: &[&str]| names.iter().any(|name| key.trim().eq_ignore_ascii_case(name));
        if name.is_empty() && is(&["NotificationType"]) {
            name = value;
        } else if start.is_empty() && is(&["StartTimeInUTC", "StartTimeUtc"]) {
            start = value;
        }
    }
    match (Event::of_azure(name), start, time(start)) {
        (Event::Other, ..) => Notice::other(payload),
        (event, "", _) => Notice::new(event, payload),
        (event, _, Some(start)) => Notice { start: Some(start), ..Notice::new(event, payload) },
        (_, _, None) => Notice::other(payload),
    }
}

/// Reads a time in UTC, as in `2021-03-02T23:26:57`. A fraction of a second and a `Z` are allowed.
fn time(text: &str) -> Option<SystemTime> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let text = text.split_once('.').map_or(text, |(whole, _)| whole);
    let (date, time) = text.split_once(['T', ' '])?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    let is_valid = (1970..10_000).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    let before = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum::<u64>()
        + (1..month).map(|month| days(year, month)).sum::<u64>();
    is_valid.then(|| {
        let seconds = (before + day - 1) * 86_400 + hour * 3600 + minute * 60 + second;
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    })
}

/// Reads three numbers of at most four digits.
fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let mut parts = text.split(separator).map(|digits| {
        let is_short = (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_short.then(|| digits.parse().ok())?
    });
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

const fn days(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_documented_messages_are_read() {
        for (payload, event, start) in [
            (
                "NotificationType|NodeMaintenanceScheduled|StartTimeInUTC|2021-03-02T23:26:57|IsReplica|False|IPAddress|\
                 52.158.249.185|SSLPort|15001|NonSSLPort|13001",
                Event::Scheduled,
                Some(unix(1_614_727_617)),
            ),
            (
                "NotificationType|NodeMaintenanceStarting|StartTimeInUTC|2024-02-29T00:00:00|IsReplica|True|IPAddress||\
                 SSLPort|15001|NonSSLPort|13001",
                Event::Starting,
                Some(unix(1_709_164_800)),
            ),
            (
                "NotificationType|NodeMaintenanceStart|StartTimeInUTC||IsReplica|False|IPAddress||SSLPort|15001|\
                 NonSSLPort|13001",
                Event::Start,
                None,
            ),
            (
                "NotificationType|NodeMaintenanceFailoverComplete|StartTimeInUTC|",
                Event::FailoverComplete,
                None,
            ),
            ("NotificationType|NodeMaintenanceFailover", Event::FailoverComplete, None),
            ("NotificationType|NodeMaintenanceScaleComplete", Event::ScaleComplete, None),
            ("NotificationType|NodeMaintenanceEnded", Event::Ended, None),
        ] {
            let notice = read(payload);
            assert_eq!((notice.event, notice.start), (event, start), "{payload}");
            assert_eq!(notice.detail(), payload);
        }
    }

    #[test]
    fn keys_may_be_in_any_case_and_order_unknown_or_without_a_value() {
        for payload in [
            "notificationtype|nodemaintenancestarting|STARTTIMEINUTC|1970-01-02T00:00:00",
            "StartTimeUtc|1970-01-02T00:00:00Z|NotificationType|NodeMaintenanceStarting|IpAddress",
            "New|x|NotificationType|NodeMaintenanceStarting|SSLPort|many|StartTimeInUTC| 1970-01-02T00:00:00.5 |",
        ] {
            let notice = read(payload);
            assert_eq!((notice.event, notice.start), (Event::Starting, Some(unix(86_400))), "{payload}");
        }
    }

    #[test]
    fn a_message_with_an_unknown_type_or_a_wrong_time_is_another_event() {
        for payload in [
            "",
            "|",
            "NotificationType",
            "NotificationType|",
            "NotificationType|NodeMaintenanceRescheduled",
            "NodeMaintenanceStart|NotificationType",
            "NotificationType|MOVING",
            "NotificationType|NodeMaintenanceScheduled|StartTimeInUTC|soon",
            "NotificationType|NodeMaintenanceScheduled|StartTimeInUTC|2021-02-29T00:00:00",
            "NotificationType|NodeMaintenanceScheduled|StartTimeInUTC|2021-13-01T00:00:00",
            "NotificationType|NodeMaintenanceScheduled|StartTimeInUTC|2021-01-01T24:00:00",
            "NotificationType|NodeMaintenanceScheduled|StartTimeInUTC|99999-01-01T00:00:00",
            "NotificationType|NodeMaintenanceScheduled|StartTimeInUTC|1969-12-31T00:00:00",
            "NotificationType|NodeMaintenanceScheduled|StartTimeInUTC|2021-01-01T00:00:00:00",
            "NotificationType|NodeMaintenanceScheduled|StartTimeInUTC|+21-01-01T00:00:00",
        ] {
            let notice = read(payload);
            assert_eq!((notice.event, notice.start), (Event::Other, None), "{payload}");
        }
    }
}
