//! Prometheus' text format, version 0.0.4.
//!
//! Source: "Exposition formats" in Prometheus' documentation.

mod buckets;

use std::borrow::Cow;
use std::io::Write as _;

use super::encoder::{Encoder, Header, Sample, Value};
use super::histogram::Snapshot;
use super::settings::Settings;
use buckets::{BOUNDS, INFINITY, buckets};

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
        let start = out.len();
        open(sample, "_bucket", out);
        put(if sample.labels.is_empty() { "{le=\"" } else { ",le=\"" }, out);
        let (cumulative, total) = (snapshot.cumulative(), snapshot.count());
        let finite =
            settings.bounds(sample.header.bounds).map(|number| (&BOUNDS[number], cumulative[number]));
        buckets(start, finite.chain([(&INFINITY, total)]), out);
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
            let mut out = Vec::new();
            number(value, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{value}\n"));
        }
    }
}
