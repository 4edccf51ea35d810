//! Prometheus' protobuf format, delimited: the only one that has native histograms.
//!
//! Written by hand, because the `prometheus` crate's messages lack native histograms, and few fields are used. Fields are in
//! the order of their numbers, as Go's library writes them.
//!
//! Source: `io/prometheus/client/metrics.proto` of Prometheus' `client_model`.

use std::borrow::Cow;
use std::ops::Range;
use std::time::SystemTime;

use super::definition::MetricType;
use super::encoder::{Encoder, Header, LabelPair, Sample, Value};
use super::histogram::{self, Snapshot};
use super::settings::Settings;
use crate::buffer::Buffer;

/// Durations up to this one are counted as zero. That no histogram has 0 here marks it as native before its first
/// observation, for every version of Prometheus: 2^-128.
const ZERO_THRESHOLD: f64 = 2.938_735_877_055_719e-39;

/// Prometheus' protobuf format, delimited.
#[derive(Debug)]
pub(super) struct Protobuf;

impl Encoder for Protobuf {
    fn label<'a>(&self, value: &'a str) -> Cow<'a, str> {
        value.into()
    }

    fn begin(&self, header: Header<'_>, out: &mut Buffer) {
        text(1, header.name, out);
        if !header.help.is_empty() {
            text(2, header.help, out);
        }
        integer(3, kind(header.kind), out);
    }

    fn value(&self, sample: Sample<'_>, value: Value, out: &mut Buffer) {
        let value = match value {
            Value::Count(count) => count as f64,
            Value::Number(number) => number,
        };
        let is_counter = sample.header.kind == MetricType::Counter;
        metric(sample.labels, if is_counter { 3 } else { 2 }, out, |out| {
            double(1, value, out);
            if is_counter {
                created(3, sample.created, out);
            }
        });
    }

    fn histogram(&self, sample: Sample<'_>, snapshot: &Snapshot, settings: Settings, out: &mut Buffer) {
        metric(sample.labels, 7, out, |out| {
            let count = snapshot.count();
            integer(1, count, out);
            double(2, snapshot.sum, out);
            if settings.has_classic() {
                let cumulative = snapshot.cumulative();
                for number in settings.bounds(sample.header.bounds) {
                    bucket(cumulative[number], histogram::bound(number), out);
                }
                bucket(count, f64::INFINITY, out);
            }
            if settings.has_native() {
                native(snapshot, out);
            }
            created(15, sample.created, out);
        });
    }

    fn summary(&self, sample: Sample<'_>, sum: f64, count: u64, out: &mut Buffer) {
        metric(sample.labels, 4, out, |out| {
            integer(1, count, out);
            double(2, sum, out);
            created(4, sample.created, out);
        });
    }

    /// A family's length precedes it, so that a family is sent as a whole, or under the same header again.
    fn is_delimited(&self) -> bool {
        true
    }

    fn end(&self, start: usize, out: &mut Buffer) {
        put_length(start..start, out);
    }
}

/// Returns the number of a type in `MetricType`.
const fn kind(kind: MetricType) -> u64 {
    match kind {
        MetricType::Counter => 0,
        MetricType::Gauge => 1,
        MetricType::Summary => 2,
        MetricType::Histogram => 4,
    }
}

/// Writes a `Metric` whose value is the message in `field`.
fn metric(labels: &[LabelPair<'_>], field: u8, out: &mut Buffer, value: impl FnOnce(&mut Buffer)) {
    message(4, out, |out| {
        for (name, value) in labels {
            message(1, out, |out| {
                text(1, name, out);
                text(2, value, out);
            });
        }
        message(field, out, value);
    });
}

/// Writes a classic bucket.
fn bucket(cumulative: u64, bound: f64, out: &mut Buffer) {
    message(3, out, |out| {
        integer(1, cumulative, out);
        double(2, bound, out);
    });
}

/// Writes the native buckets. Only positive ones: no duration is negative.
fn native(snapshot: &Snapshot, out: &mut Buffer) {
    let native = snapshot.native();
    signed(5, native.schema.into(), out);
    double(6, ZERO_THRESHOLD, out);
    integer(7, snapshot.zeros, out);
    let mut end = 0;
    for span in native.spans() {
        message(12, out, |out| {
            signed(1, (span.start - end).into(), out);
            integer(2, span.len() as u64, out);
        });
        end = span.end;
    }
    let mut last = 0;
    for count in native.counts() {
        let count = count.cast_signed();
        signed(13, count.wrapping_sub(last), out);
        last = count;
    }
}

/// Writes since when a value has been counted.
fn created(field: u8, created: Option<SystemTime>, out: &mut Buffer) {
    if let Some(created) = created {
        let since = created.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        message(field, out, |out| {
            integer(1, since.as_secs(), out);
            integer(2, since.subsec_nanos().into(), out);
        });
    }
}

fn message(field: u8, out: &mut Buffer, write: impl FnOnce(&mut Buffer)) {
    tag(field, 2, out);
    // The length of most messages takes one byte. Then their content need not move.
    let start = out.len();
    out.push(0);
    write(out);
    put_length(start..start + 1, out);
}

/// Puts the length of what follows `place` there.
fn put_length(place: Range<usize>, out: &mut Buffer) {
    let (bytes, count) = varint((out.len() - place.end) as u64);
    out.replace(place, &bytes[..count]);
}

fn text(field: u8, text: &str, out: &mut Buffer) {
    tag(field, 2, out);
    put_varint(text.len() as u64, out);
    out.put(text.as_bytes());
}

fn integer(field: u8, value: u64, out: &mut Buffer) {
    tag(field, 0, out);
    put_varint(value, out);
}

/// Writes a number of the type `sint32` or `sint64`.
fn signed(field: u8, value: i64, out: &mut Buffer) {
    integer(field, ((value << 1) ^ (value >> 63)).cast_unsigned(), out);
}

fn double(field: u8, value: f64, out: &mut Buffer) {
    tag(field, 1, out);
    out.put(&value.to_le_bytes());
}

/// Writes the number and the wire type of a field below 16.
fn tag(field: u8, wire_type: u8, out: &mut Buffer) {
    out.push(field << 3 | wire_type);
}

fn put_varint(value: u64, out: &mut Buffer) {
    if let Ok(byte @ ..0x80) = u8::try_from(value) {
        // Most numbers. They need no room for ten bytes.
        out.push(byte);
    } else {
        let (bytes, count) = varint(value);
        out.put(&bytes[..count]);
    }
}

/// Returns the bytes of a number, and how many there are.
fn varint(mut value: u64) -> ([u8; 10], usize) {
    let mut bytes = [0; 10];
    let mut count = 0;
    loop {
        let [low, ..] = value.to_le_bytes();
        bytes[count] = low & 0x7f;
        value >>= 7;
        count += 1;
        if value == 0 {
            return (bytes, count);
        }
        bytes[count - 1] |= 0x80;
    }
}

#[cfg(test)]
mod tests {
    use super::super::definition::Bounds;
    use super::super::settings::Histograms;
    use super::*;
    use crate::hex::hex;
    use std::time::Duration;

    const HEADER: Header<'_> =
        Header { name: "demo_latency_seconds", kind: MetricType::Histogram, help: "", bounds: Bounds::All };

    fn snapshot() -> Snapshot {
        // The indices -20, -19 and -15 at schema 3.
        let octaves = vec![(-2, [0, 0, 0, 2, 1, 0, 0, 0]), (-1, [2, 0, 0, 0, 0, 0, 0, 0])];
        Snapshot { zeros: 1, octaves, sum: 0.9 }
    }

    /// Bytes that Prometheus 2.42, 2.53 and 3.5 read as intended.
    #[test]
    fn a_native_histogram_has_the_bytes_that_prometheus_accepts() {
        let (mut out, settings) =
            (Buffer::default(), Settings { histograms: Histograms::Native, ..Settings::default() });
        Protobuf.begin(HEADER, &mut out);
        let sample = Sample { header: HEADER, labels: &[("target", "a")], created: None };
        Protobuf.histogram(sample, &snapshot(), settings, &mut out);
        Protobuf.end(0, &mut out);
        assert_eq!(
            hex(out.as_bytes()),
            "530a1464656d6f5f6c6174656e63795f7365636f6e6473180422390a0b0a067461726765741201613a2a080611cdcccccc\
             ccccec3f280631000000000000f0373801620408271002620408061001680468016802"
        );
    }

    /// Likewise, with buckets that are not ours.
    #[test]
    fn classic_and_native_buckets_have_the_bytes_that_prometheus_accepts() {
        let mut out = Buffer::default();
        Protobuf.begin(Header { help: "Demo.", ..HEADER }, &mut out);
        metric(&[("target", "a")], 7, &mut out, |out| {
            integer(1, 6, out);
            double(2, 0.9, out);
            for (cumulative, bound) in [(2, 0.1), (5, 0.5), (6, f64::INFINITY)] {
                bucket(cumulative, bound, out);
            }
            native(&snapshot(), out);
            created(15, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)), out);
        });
        Protobuf.end(0, &mut out);
        assert_eq!(
            hex(out.as_bytes()),
            "8b010a1464656d6f5f6c6174656e63795f7365636f6e6473120544656d6f2e1804226a0a0b0a067461726765741201613a5b\
             080611cdccccccccccec3f1a0b0802119a9999999999b93f1a0b080511000000000000e03f1a0b080611000000000000f07f28\
             0631000000000000f03738016204082710026204080610016804680168027a080880e2cfaa061000"
        );
    }

    #[test]
    fn numbers_take_as_many_bytes_as_they_need() {
        for (value, expected) in
            [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (u64::MAX, "ffffffffffffffffff01")]
        {
            let mut out = Buffer::default();
            put_varint(value, &mut out);
            assert_eq!(hex(out.as_bytes()), expected, "{value}");
        }
    }
}
