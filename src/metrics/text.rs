//! Prometheus' text format, version 0.0.4.
//!
//! Source: "Exposition formats" in Prometheus' documentation.

use std::borrow::Cow;
use std::io::Write as _;

use super::encoder::{Encoder, Header, Sample, Value};
use super::histogram::{BOUNDS, Snapshot};
use super::settings::Settings;

/// The classic bounds in seconds as Go writes floats, so that the label is the same as from the other formats.
const LABELS: [&str; BOUNDS] = [
    "6.103515625e-05",
    "0.0001220703125",
    "0.000244140625",
    "0.00048828125",
    "0.0009765625",
    "0.001953125",
    "0.00390625",
    "0.0078125",
    "0.015625",
    "0.03125",
    "0.0625",
    "0.125",
    "0.25",
    "0.5",
    "1.0",
    "2.0",
    "4.0",
    "8.0",
    "16.0",
    "32.0",
];

/// Prometheus' text format, version 0.0.4.
#[derive(Debug)]
pub(super) struct Text;

impl Encoder for Text {
    /// Escapes `value` for use between the quotes.
    fn label<'a>(&self, value: &'a str) -> Cow<'a, str> {
        if value.contains(['\\', '"', '\n']) {
            value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").into()
        } else {
            value.into()
        }
    }

    fn begin(&self, Header { name, kind, help, .. }: Header<'_>, out: &mut Vec<u8>) {
        write(out, format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str()));
    }

    fn value(&self, sample: Sample<'_>, value: Value, out: &mut Vec<u8>) {
        series(sample, "", out);
        match value {
            Value::Count(value) => count(value, out),
            Value::Number(value) => number(value, out),
        }
    }

    fn histogram(&self, sample: Sample<'_>, snapshot: &Snapshot, settings: Settings, out: &mut Vec<u8>) {
        // All buckets of a histogram share what precedes the bound, so it is formatted once.
        let start = out.len();
        open(sample, "_bucket", out);
        put(if sample.labels.is_empty() { "{le=\"" } else { ",le=\"" }, out);
        let same = start..out.len();
        let bucket = |bound: &str, cumulative: u64, out: &mut Vec<u8>| {
            put(bound, out);
            put("\"} ", out);
            count(cumulative, out);
        };
        let cumulative = snapshot.cumulative();
        for number in settings.bounds(sample.header.bounds) {
            bucket(LABELS[number], cumulative[number], out);
            out.extend_from_within(same.clone());
        }
        let total = snapshot.count();
        bucket("+Inf", total, out);
        self.summary(sample, snapshot.sum, total, out);
    }

    fn summary(&self, sample: Sample<'_>, sum: f64, observations: u64, out: &mut Vec<u8>) {
        series(sample, "_sum", out);
        number(sum, out);
        series(sample, "_count", out);
        count(observations, out);
    }
}

/// Writes name and labels.
fn series(sample: Sample<'_>, suffix: &str, out: &mut Vec<u8>) {
    open(sample, suffix, out);
    put(if sample.labels.is_empty() { " " } else { "} " }, out);
}

/// Writes name and labels, and leaves the brace open if there are labels.
fn open(sample: Sample<'_>, suffix: &str, out: &mut Vec<u8>) {
    put(sample.header.name, out);
    put(suffix, out);
    let mut separator = b'{';
    for (label, value) in sample.labels {
        out.push(separator);
        put(label, out);
        // Copying a slice costs a call however short it is, so single bytes are pushed.
        out.push(b'=');
        out.push(b'"');
        put(value, out);
        out.push(b'"');
        separator = b',';
    }
}

fn number(value: f64, out: &mut Vec<u8>) {
    write(out, format_args!("{value}\n"));
}

fn count(count: u64, out: &mut Vec<u8>) {
    put(itoa::Buffer::new().format(count), out);
    out.push(b'\n');
}

fn put(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(text.as_bytes());
}

fn write(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a vector cannot fail");
}

#[cfg(test)]
mod tests {
    use super::super::histogram::bound;
    use super::*;

    #[test]
    fn the_labels_of_the_bounds_have_their_values() {
        for (number, label) in LABELS.into_iter().enumerate() {
            assert_eq!(label.parse(), Ok(bound(number)));
        }
    }

    #[test]
    fn the_value_of_a_label_is_escaped() {
        assert_eq!(Text.label("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
    }
}
