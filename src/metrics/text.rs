//! Prometheus' text format, version 0.0.4.
//!
//! Source: "Exposition formats" in Prometheus' documentation.

use std::borrow::Cow;
use std::io::Write as _;

use super::encoder::{Encoder, Header, Sample, Value};
use super::histogram::{BOUNDS as COUNT, Snapshot};
use super::settings::Settings;
use crate::buffer::Buffer;

/// The classic bounds in seconds, as values of the label `le` with what follows up to the count. Written as Go writes floats,
/// so that the label is the same as from the other formats.
static BOUNDS: [&str; COUNT] = [
    "6.103515625e-05\"} ",
    "0.0001220703125\"} ",
    "0.000244140625\"} ",
    "0.00048828125\"} ",
    "0.0009765625\"} ",
    "0.001953125\"} ",
    "0.00390625\"} ",
    "0.0078125\"} ",
    "0.015625\"} ",
    "0.03125\"} ",
    "0.0625\"} ",
    "0.125\"} ",
    "0.25\"} ",
    "0.5\"} ",
    "1.0\"} ",
    "2.0\"} ",
    "4.0\"} ",
    "8.0\"} ",
    "16.0\"} ",
    "32.0\"} ",
];

/// The bound of the last bucket, likewise.
const INFINITY: &str = "+Inf\"} ";

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

    fn begin(&self, Header { name, kind, help, .. }: Header<'_>, out: &mut Buffer) {
        write(out, format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str()));
    }

    fn value(&self, sample: Sample<'_>, value: Value, out: &mut Buffer) {
        series(sample, "", out);
        match value {
            Value::Count(value) => count(value, out),
            Value::Number(value) => number(value, out),
        }
    }

    fn histogram(&self, sample: Sample<'_>, snapshot: &Snapshot, settings: Settings, out: &mut Buffer) {
        let start = out.len();
        open(sample, "_bucket", out);
        put(if sample.labels.is_empty() { "{le=\"" } else { ",le=\"" }, out);
        let beginning = start..out.len();
        let (cumulative, total) = (snapshot.cumulative(), snapshot.count());
        for number in settings.bounds(sample.header.bounds) {
            put(BOUNDS[number], out);
            count(cumulative[number], out);
            // Each line begins as the first one.
            out.repeat(beginning.clone());
        }
        put(INFINITY, out);
        count(total, out);
        self.summary(sample, snapshot.sum, total, out);
    }

    fn summary(&self, sample: Sample<'_>, sum: f64, observations: u64, out: &mut Buffer) {
        series(sample, "_sum", out);
        number(sum, out);
        series(sample, "_count", out);
        count(observations, out);
    }
}

/// Writes name and labels.
fn series(sample: Sample<'_>, suffix: &str, out: &mut Buffer) {
    open(sample, suffix, out);
    put(if sample.labels.is_empty() { " " } else { "} " }, out);
}

/// Writes name and labels, and leaves the brace open if there are labels.
fn open(sample: Sample<'_>, suffix: &str, out: &mut Buffer) {
    put(sample.header.name, out);
    put(suffix, out);
    let mut separator = b'{';
    for (label, value) in sample.labels {
        out.push(separator);
        put(label, out);
        put("=\"", out);
        put(value, out);
        out.push(b'"');
        separator = b',';
    }
}

fn number(value: f64, out: &mut Buffer) {
    /// Up to here each whole number is a float of its own.
    const EXACT: f64 = (1_u64 << f64::MANTISSA_DIGITS) as f64;
    if value.fract() == 0.0 && value.is_sign_positive() && value < EXACT {
        // Most values are whole numbers. As such they take a tenth of the time.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
        count(value as u64, out);
    } else {
        write(out, format_args!("{value}\n"));
    }
}

fn count(count: u64, out: &mut Buffer) {
    put(itoa::Buffer::new().format(count), out);
    out.push(b'\n');
}

fn put(text: &str, out: &mut Buffer) {
    out.put(text.as_bytes());
}

fn write(out: &mut Buffer, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a buffer cannot fail");
}

#[cfg(test)]
mod tests {
    use super::super::histogram;
    use super::*;

    #[test]
    fn the_labels_of_the_bounds_have_their_values() {
        for (number, bound) in BOUNDS.iter().enumerate() {
            assert_eq!(bound.strip_suffix("\"} ").unwrap().parse(), Ok(histogram::bound(number)));
        }
    }

    #[test]
    fn the_value_of_a_label_is_escaped() {
        assert_eq!(Text.label("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
    }

    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them() {
        let whole = [
            0.0,
            1.0,
            9.0,
            10.0,
            1_800_000_000.0,
            2_f64.powi(53) - 1.0,
            2_f64.powi(53),
            2_f64.powi(70),
            1e300,
        ];
        let others = [0.1, 1e-7, 1.5, 1_800_000_000.25, f64::INFINITY, f64::NAN];
        for value in whole.into_iter().chain(others).flat_map(|value| [value, -value]) {
            let mut out = Buffer::default();
            number(value, &mut out);
            assert_eq!(str::from_utf8(out.as_bytes()).unwrap(), format!("{value}\n"));
        }
    }
}
