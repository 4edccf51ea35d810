//! What a format must be able to write. The families know their values, the encoders only bytes.

use std::borrow::Cow;
use std::fmt;

use super::definition::{Definition, MetricType};
use super::value::Histogram;

/// The name and the value of a label, the value as [`Encoder::label`] returns it.
pub(super) type LabelPair<'a> = (&'a str, &'a str);

/// What the series of a family have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header<'a> {
    /// The whole name; that of a counter ends with `_total`.
    pub(super) name: &'a str,
    pub(super) kind: MetricType,
    pub(super) help: &'a str,
}

impl From<Definition> for Header<'static> {
    fn from(Definition { name, kind, help, .. }: Definition) -> Self {
        Self { name, kind, help }
    }
}

/// The value of a counter or gauge.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Count(u64),
    Number(f64),
}

/// Writes families in one format.
pub(super) trait Encoder: fmt::Debug + Sync {
    /// Returns the value of a label as the format writes it.
    fn label<'a>(&self, value: &'a str) -> Cow<'a, str>;

    /// Begins a family, before its first series.
    fn begin(&self, header: Header<'_>, out: &mut Vec<u8>);

    /// Writes the series of a counter or a gauge.
    fn value(&self, header: Header<'_>, labels: &[LabelPair<'_>], value: Value, out: &mut Vec<u8>);

    /// Writes the series of a histogram.
    fn histogram(
        &self,
        header: Header<'_>,
        labels: &[LabelPair<'_>],
        histogram: &Histogram,
        out: &mut Vec<u8>,
    );

    /// Writes the series of a summary without quantiles.
    fn summary(&self, header: Header<'_>, labels: &[LabelPair<'_>], sum: f64, count: u64, out: &mut Vec<u8>);

    /// Writes what follows the last family.
    fn finish(&self, out: &mut Vec<u8>) {
        let _ = out;
    }
}
