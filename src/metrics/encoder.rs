//! What a format must be able to write. The families know their values, the encoders only bytes.

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use super::definition::{Bounds, Definition, MetricType};
use super::histogram::Snapshot;
use super::settings::Settings;
use crate::buffer::Buffer;

/// The name and the value of a label, the value as [`Encoder::label`] returns it.
pub(super) type LabelPair<'a> = (&'a str, &'a str);

/// What the series of a family have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header<'a> {
    /// The whole name; that of a counter ends with `_total`.
    pub(super) name: &'a str,
    pub(super) kind: MetricType,
    pub(super) help: &'a str,
    /// The classic bounds of a histogram.
    pub(super) bounds: Bounds,
}

impl From<Definition> for Header<'static> {
    fn from(Definition { name, kind, help, bounds, .. }: Definition) -> Self {
        Self { name, kind, help, bounds }
    }
}

/// A series, without its value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample<'a> {
    pub(super) header: Header<'a>,
    pub(super) labels: &'a [LabelPair<'a>],
    /// Since when it has been counted, if that is known.
    pub(super) created: Option<SystemTime>,
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
    fn begin(&self, header: Header<'_>, out: &mut Buffer);

    /// Writes the series of a counter or a gauge.
    fn value(&self, sample: Sample<'_>, value: Value, out: &mut Buffer);

    /// Writes the series of a histogram.
    fn histogram(&self, sample: Sample<'_>, snapshot: &Snapshot, settings: Settings, out: &mut Buffer);

    /// Writes the series of a summary without quantiles.
    fn summary(&self, sample: Sample<'_>, sum: f64, count: u64, out: &mut Buffer);

    /// Whether a family must be complete before any of it is sent. A long one is then sent in parts, each with the header.
    fn is_delimited(&self) -> bool {
        false
    }

    /// Ends the family that began at `start`.
    fn end(&self, start: usize, out: &mut Buffer) {
        let _ = (start, out);
    }

    /// Writes what follows the last family.
    fn finish(&self, out: &mut Buffer) {
        let _ = out;
    }
}
