//! OpenMetrics' text format, version 1.0.0: as Prometheus' text format, except for the names of counters and the end.
//!
//! It has no `_created` series: where Prometheus does not look for them, it stores them as series of their own.

use std::borrow::Cow;

use super::definition::MetricType;
use super::encoder::{Encoder, Header, LabelPair, Value};
use super::text::Text;
use super::value::Histogram;

/// OpenMetrics' text format, version 1.0.0.
#[derive(Debug)]
pub(super) struct OpenMetrics;

impl Encoder for OpenMetrics {
    fn label<'a>(&self, value: &'a str) -> Cow<'a, str> {
        Text.label(value)
    }

    /// A counter's family lacks the suffix that its series have.
    fn begin(&self, header: Header<'_>, out: &mut Vec<u8>) {
        let name = match header.kind {
            MetricType::Counter => header.name.strip_suffix("_total").unwrap_or(header.name),
            _ => header.name,
        };
        Text.begin(Header { name, ..header }, out);
    }

    fn value(&self, header: Header<'_>, labels: &[LabelPair<'_>], value: Value, out: &mut Vec<u8>) {
        Text.value(header, labels, value, out);
    }

    fn histogram(
        &self,
        header: Header<'_>,
        labels: &[LabelPair<'_>],
        histogram: &Histogram,
        out: &mut Vec<u8>,
    ) {
        Text.histogram(header, labels, histogram, out);
    }

    fn summary(&self, header: Header<'_>, labels: &[LabelPair<'_>], sum: f64, count: u64, out: &mut Vec<u8>) {
        Text.summary(header, labels, sum, count, out);
    }

    fn finish(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"# EOF\n");
    }
}
