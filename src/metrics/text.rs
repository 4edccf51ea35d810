//! Prometheus' text format, version 0.0.4, for the families that are stored compactly.
//!
//! Source: "Exposition formats" in Prometheus' documentation.

use std::io::Write as _;

use super::definition::{Definition, MetricType};
use super::value::{Counter, Gauge, Histogram, Seconds, Summary};

/// The upper bounds of a histogram's buckets in seconds, each with the end of its label.
const BOUNDS: [&str; Histogram::BUCKETS + 1] = [
    "0.00005\"} ",
    "0.0001\"} ",
    "0.0002\"} ",
    "0.0004\"} ",
    "0.0008\"} ",
    "0.0016\"} ",
    "0.0032\"} ",
    "0.0064\"} ",
    "0.0128\"} ",
    "0.0256\"} ",
    "0.0512\"} ",
    "0.1024\"} ",
    "0.2048\"} ",
    "0.4096\"} ",
    "0.8192\"} ",
    "1.6384\"} ",
    "3.2768\"} ",
    "6.5536\"} ",
    "13.1072\"} ",
    "26.2144\"} ",
    "+Inf\"} ",
];

/// The name and the value of a label, the value escaped.
pub(super) type LabelPair<'a> = (&'static str, &'a str);

/// Writes the series of one family. The header is written with the first series, so that a family without series is left
/// out.
pub(super) struct Family<'a> {
    definition: Definition,
    begun: &'a mut bool,
    out: &'a mut Vec<u8>,
}

impl<'a> Family<'a> {
    /// Continues a family; `begun` says whether its header has been written.
    pub(super) const fn new(definition: Definition, begun: &'a mut bool, out: &'a mut Vec<u8>) -> Self {
        Self { definition, begun, out }
    }

    pub(super) fn counter(&mut self, labels: &[LabelPair<'_>], counter: &Counter) {
        self.series("", labels);
        self.count(counter.get());
    }

    pub(super) fn seconds(&mut self, labels: &[LabelPair<'_>], seconds: &Seconds) {
        self.series("", labels);
        self.value(seconds.get());
    }

    pub(super) fn gauge(&mut self, labels: &[LabelPair<'_>], gauge: &Gauge) {
        if let Some(value) = gauge.get() {
            self.series("", labels);
            self.value(value);
        }
    }

    pub(super) fn histogram(&mut self, labels: &[LabelPair<'_>], histogram: &Histogram) {
        debug_assert_eq!(self.definition.kind, MetricType::Histogram);
        self.begin();
        // All buckets of a histogram share what precedes the bound, so it is formatted once.
        let start = self.out.len();
        self.open("_bucket", labels);
        self.put(if labels.is_empty() { "{le=\"" } else { ",le=\"" });
        let same = start..self.out.len();
        let mut total = 0;
        for (bucket, (bound, count)) in BOUNDS.into_iter().zip(histogram.counts()).enumerate() {
            if bucket > 0 {
                self.out.extend_from_within(same.clone());
            }
            total += count;
            self.put(bound);
            self.count(total);
        }
        self.series("_sum", labels);
        self.value(histogram.sum());
        self.series("_count", labels);
        self.count(total);
    }

    /// Writes a summary without quantiles.
    pub(super) fn summary(&mut self, labels: &[LabelPair<'_>], summary: &Summary) {
        self.series("_sum", labels);
        self.value(summary.sum());
        self.series("_count", labels);
        self.count(summary.count());
    }

    /// Writes a series whose labels say everything.
    pub(super) fn info(&mut self, labels: &[LabelPair<'_>]) {
        self.series("", labels);
        self.count(1);
    }

    /// Writes the header, before the first series.
    fn begin(&mut self) {
        if !*self.begun {
            *self.begun = true;
            let Definition { name, kind, help, .. } = self.definition;
            self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str()));
        }
    }

    /// Writes name and labels.
    fn series(&mut self, suffix: &str, labels: &[LabelPair<'_>]) {
        self.begin();
        self.open(suffix, labels);
        self.put(if labels.is_empty() { " " } else { "} " });
    }

    /// Writes name and labels, and leaves the brace open if there are labels.
    fn open(&mut self, suffix: &str, labels: &[LabelPair<'_>]) {
        self.put(self.definition.name);
        self.put(suffix);
        let mut separator = b'{';
        for (label, value) in labels {
            self.out.push(separator);
            self.put(label);
            // Copying a slice costs a call however short it is, so single bytes are pushed.
            self.out.push(b'=');
            self.out.push(b'"');
            self.put(value);
            self.out.push(b'"');
            separator = b',';
        }
    }

    fn value(&mut self, value: f64) {
        self.write(format_args!("{value}\n"));
    }

    fn count(&mut self, count: u64) {
        self.put(itoa::Buffer::new().format(count));
        self.out.push(b'\n');
    }

    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("writing to a vector cannot fail");
    }
}

/// Escapes `value` for use between the quotes of a label.
pub(super) fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_the_bounds_match_their_values() {
        for (bucket, written) in BOUNDS.iter().take(Histogram::BUCKETS).enumerate() {
            let micros = written.strip_suffix("\"} ").unwrap().parse::<f64>().unwrap() * 1e6;
            assert_eq!(format!("{micros:.0}"), Histogram::bound(bucket).as_micros().to_string());
        }
        assert_eq!(BOUNDS.last(), Some(&"+Inf\"} "));
    }

    #[test]
    fn the_value_of_a_label_is_escaped() {
        assert_eq!(escape("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
    }
}
