//! The wall clock as an argument. It decides whether tokens have expired; durations are measured with tokio's clock.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

/// A wall clock.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// Returns the system clock.
    #[must_use]
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
        Self::new(SystemTime::now)
    }

    /// Creates a clock from the function `now`.
    #[must_use]
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Creates a clock that starts at `start` and follows tokio's time, which tests can pause.
    #[must_use]
    pub fn from_tokio(start: SystemTime) -> Self {
        let started = tokio::time::Instant::now();
        Self::new(move || start + started.elapsed())
    }

    /// Returns the current time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }

    /// Returns the duration until `time`; zero if it has passed.
    #[must_use]
    pub fn until(&self, time: SystemTime) -> Duration {
        time.duration_since(self.now()).unwrap_or_default()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Returns the seconds since 1970, as in Prometheus metrics.
#[must_use]
pub fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Returns `duration` in seconds, rounded to milliseconds for logs.
#[must_use]
pub fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

/// A UTC time in the format of RFC 3339, with milliseconds: `2026-11-26T09:00:00.123Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rfc3339(pub SystemTime);

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let millisecond = since.subsec_millis();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
    }
}

/// Returns the year, month and day `days` after 1970-01-01. In the computation, years begin in March, so that the leap
/// day is last (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
const fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + (month <= 2) as u64, month, day)
}

/// Returns the days from 1970-01-01 to a date, the inverse of [`date`]; `None` for a date that does not exist.
#[must_use]
pub(crate) fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    ((1970..=9999).contains(&year) && (1..=12).contains(&month)).then_some(())?;
    let from_march = (month + 9) % 12;
    let years = year - u64::from(month <= 2);
    let (era, year_of_era) = (years / 400, years % 400);
    let day_of_year = (153 * from_march + 2) / 5 + day;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = days.checked_sub(719_469)?;
    (date(days) == (year, month, day)).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_in_rfc_3339() {
        for (milliseconds, written) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_735_689_599_120, "2024-12-31T23:59:59.120Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds);
            assert_eq!(Rfc3339(time).to_string(), written);
        }
    }

    #[test]
    fn the_days_of_a_date_are_found_if_it_exists() {
        for number in (0..3_000_000).step_by(97).filter(|number| date(*number).0 <= 9999) {
            let (year, month, day) = date(number);
            assert_eq!(days(year, month, day), Some(number), "{year}-{month}-{day}");
        }
        for (year, month, day) in [
            (1969, 12, 31),
            (2019, 2, 29),
            (2020, 2, 30),
            (2020, 0, 1),
            (2020, 13, 1),
            (2020, 4, 31),
            (2020, 1, 0),
        ] {
            assert_eq!(days(year, month, day), None, "{year}-{month}-{day}");
        }
    }
}
