//! OpenMetrics' text format, version 1.0.0: as Prometheus' text format, except for the names of counters and the end.
//!
//! It has no `_created` series: where Prometheus does not look for them, it stores them as series of their own.

use std::borrow::Cow;

use super::definition::MetricType;
use super::encoder::{Encoder, Header, Sample, Value};
use super::histogram::Snapshot;
use super::settings::Settings;
use super::text::Text;
use crate::buffer::Buffer;

/// OpenMetrics' text format, version 1.0.0.
#[derive(Debug)]
pub(super) struct OpenMetrics;

impl Encoder for OpenMetrics {
    fn label<'a>(&self, value: &'a str) -> Cow<'a, str> {
        Text.label(value)
    }

    /// A counter's family lacks the suffix that its series have.
    fn begin(&self, header: Header<'_>, out: &mut Buffer) {
        let name = match header.kind {
            MetricType::Counter => header.name.strip_suffix("_total").unwrap_or(header.name),
            _ => header.name,
        };
        Text.begin(Header { name, ..header }, out);
    }

    fn value(&self, sample: Sample<'_>, value: Value, out: &mut Buffer) {
        Text.value(sample, value, out);
    }

    fn histogram(&self, sample: Sample<'_>, snapshot: &Snapshot, settings: Settings, out: &mut Buffer) {
        Text.histogram(sample, snapshot, settings, out);
    }

    fn summary(&self, sample: Sample<'_>, sum: f64, count: u64, out: &mut Buffer) {
        Text.summary(sample, sum, count, out);
    }

    fn finish(&self, out: &mut Buffer) {
        out.put(b"# EOF\n");
    }
}
