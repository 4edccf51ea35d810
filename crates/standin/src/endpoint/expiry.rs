//! The forms in which endpoints say when a token expires.

use serde_json::{Map, Value, json};

/// A form of the fields `expires_on` and `expires_in`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryForm {
    /// Seconds since 1970, as text: what is documented.
    Text,
    /// The same as a whole number.
    Integer,
    /// The same with a fraction.
    Float,
    /// The same with a fraction, as text.
    FloatText,
    /// Seconds from now in `expires_on`.
    FromNow,
    /// RFC 3339.
    Rfc3339,
    /// RFC 3339 with a space and without a zone, in UTC.
    Spaced,
    /// As .NET writes a time in the United States, on Windows.
    TwelveHours,
    /// As .NET writes a time on Linux.
    TwentyFourHours,
    /// Seconds from now in `expires_in` alone, as text.
    ExpiresInText,
    /// Seconds from now in `expires_in` alone, as a number.
    ExpiresIn,
    /// Text that says nothing.
    Unreadable,
    /// Nothing.
    Missing,
}

impl ExpiryForm {
    /// Every form.
    pub const ALL: [Self; 13] = [
        Self::Text,
        Self::Integer,
        Self::Float,
        Self::FloatText,
        Self::FromNow,
        Self::Rfc3339,
        Self::Spaced,
        Self::TwelveHours,
        Self::TwentyFourHours,
        Self::ExpiresInText,
        Self::ExpiresIn,
        Self::Unreadable,
        Self::Missing,
    ];

    /// Writes the expiry in `fields` in this form. `left` is for how many seconds the token is valid, `end` when it
    /// expires in seconds since 1970.
    pub(super) fn apply(self, fields: &mut Map<String, Value>, end: u64, left: u64) {
        fields.remove("expires_on");
        fields.remove("expires_in");
        let ((year, month, day), second) = (date(end / 86_400), end % 86_400);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let on = match self {
            Self::Text => json!(end.to_string()),
            Self::Integer => json!(end),
            Self::Float => json!(end as f64 + 0.5),
            Self::FloatText => json!(format!("{end}.5")),
            Self::FromNow => json!(left.to_string()),
            Self::Rfc3339 => json!(format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")),
            Self::Spaced => json!(format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")),
            Self::TwelveHours => {
                let (half, hour) = (if hour < 12 { "AM" } else { "PM" }, (hour + 11) % 12 + 1);
                json!(format!("{month}/{day}/{year} {hour}:{minute:02}:{second:02} {half} +00:00"))
            }
            Self::TwentyFourHours => {
                json!(format!("{month:02}/{day:02}/{year} {hour:02}:{minute:02}:{second:02} +00:00"))
            }
            Self::ExpiresInText | Self::ExpiresIn | Self::Missing => Value::Null,
            Self::Unreadable => json!("soon"),
        };
        if !on.is_null() {
            fields.insert("expires_on".to_owned(), on);
        }
        match self {
            Self::ExpiresInText => fields.insert("expires_in".to_owned(), json!(left.to_string())),
            Self::ExpiresIn => fields.insert("expires_in".to_owned(), json!(left)),
            _ => None,
        };
    }
}

/// Returns the year, month and day of a day since 1970 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
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
