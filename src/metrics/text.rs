//! Prometheus' text format, version 0.0.4.
//!
//! Source: "Exposition formats" in Prometheus' documentation.

use std::borrow::Cow;
use std::io::Write as _;

use super::encoder::{Encoder, Header, LabelPair, Value};
use super::value::Histogram;

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

    fn begin(&self, Header { name, kind, help }: Header<'_>, out: &mut Vec<u8>) {
        write(out, format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str()));
    }

    fn value(&self, header: Header<'_>, labels: &[LabelPair<'_>], value: Value, out: &mut Vec<u8>) {
        series(header, "", labels, out);
        match value {
            Value::Count(value) => count(value, out),
            Value::Number(value) => number(value, out),
        }
    }

    fn histogram(
        &self,
        header: Header<'_>,
        labels: &[LabelPair<'_>],
        histogram: &Histogram,
        out: &mut Vec<u8>,
    ) {
        // All buckets of a histogram share what precedes the bound, so it is formatted once.
        let start = out.len();
        open(header, "_bucket", labels, out);
        put(if labels.is_empty() { "{le=\"" } else { ",le=\"" }, out);
        let same = start..out.len();
        let mut total = 0;
        for (bucket, (bound, in_bucket)) in BOUNDS.into_iter().zip(histogram.counts()).enumerate() {
            if bucket > 0 {
                out.extend_from_within(same.clone());
            }
            total += in_bucket;
            put(bound, out);
            count(total, out);
        }
        self.summary(header, labels, histogram.sum(), total, out);
    }

    fn summary(
        &self,
        header: Header<'_>,
        labels: &[LabelPair<'_>],
        sum: f64,
        observations: u64,
        out: &mut Vec<u8>,
    ) {
        series(header, "_sum", labels, out);
        number(sum, out);
        series(header, "_count", labels, out);
        count(observations, out);
    }
}

/// Writes name and labels.
fn series(header: Header<'_>, suffix: &str, labels: &[LabelPair<'_>], out: &mut Vec<u8>) {
    open(header, suffix, labels, out);
    put(if labels.is_empty() { " " } else { "} " }, out);
}

/// Writes name and labels, and leaves the brace open if there are labels.
fn open(header: Header<'_>, suffix: &str, labels: &[LabelPair<'_>], out: &mut Vec<u8>) {
    put(header.name, out);
    put(suffix, out);
    let mut separator = b'{';
    for (label, value) in labels {
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
        assert_eq!(Text.label("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
    }
}
