//! The formats of a scrape.

use std::fmt;

use super::encoder::Encoder;
use super::openmetrics::OpenMetrics;
use super::protobuf::Protobuf;
use super::text::Text;

/// A format in which Prometheus reads metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format, version 0.0.4.
    Text,
    /// OpenMetrics' text format, version 1.0.0.
    OpenMetrics,
    /// Prometheus' protobuf format, delimited. The only one with native histograms.
    Protobuf,
}

impl Format {
    /// Every format, the one that every client understands first.
    pub const ALL: [Self; 3] = [Self::Text, Self::OpenMetrics, Self::Protobuf];

    /// Returns the content type of a response in this format.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    pub(super) const fn encoder(self) -> &'static dyn Encoder {
        match self {
            Self::Text => &Text,
            Self::OpenMetrics => &OpenMetrics,
            Self::Protobuf => &Protobuf,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text 0.0.4",
            Self::OpenMetrics => "OpenMetrics 1.0.0",
            Self::Protobuf => "protobuf",
        })
    }
}
