//! The formats of a scrape.

use std::fmt;

use super::encoder::Encoder;
use super::openmetrics::OpenMetrics;
use super::text::Text;

/// A format in which Prometheus reads metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format, version 0.0.4.
    Text,
    /// OpenMetrics' text format, version 1.0.0.
    OpenMetrics,
}

impl Format {
    /// Every format, the one that every client understands first.
    pub const ALL: [Self; 2] = [Self::Text, Self::OpenMetrics];

    /// Returns the content type of a response in this format.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    pub(super) const fn encoder(self) -> &'static dyn Encoder {
        match self {
            Self::Text => &Text,
            Self::OpenMetrics => &OpenMetrics,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text 0.0.4",
            Self::OpenMetrics => "OpenMetrics 1.0.0",
        })
    }
}
