//! One family of series, as an owner writes its part of it. How it is written is left to the encoder.

use std::borrow::Cow;
use std::time::SystemTime;

use prometheus::proto::{MetricFamily, MetricType as RegisteredType};

use super::definition::{Bounds, MetricType};
use super::encoder::{Encoder, Header, LabelPair, Sample, Value};
use super::histogram::Histogram;
use super::settings::Settings;
use super::value::{Counter, Gauge, Seconds, Summary};
use crate::buffer::Buffer;

/// How families are written, and which one has been begun.
#[derive(Debug)]
pub(super) struct Output {
    encoder: &'static dyn Encoder,
    settings: Settings,
    /// Where the present family begins, if it has been begun.
    start: Option<usize>,
}

impl Output {
    pub(super) const fn new(encoder: &'static dyn Encoder, settings: Settings) -> Self {
        Self { encoder, settings, start: None }
    }

    /// Begins a family in `bytes`, or continues it after another owner's part.
    pub(super) const fn family<'a>(&'a mut self, header: Header<'a>, bytes: &'a mut Buffer) -> Family<'a> {
        Family { header, created: None, output: self, bytes }
    }

    /// Ends the family.
    pub(super) fn end(&mut self, bytes: &mut Buffer) {
        if let Some(start) = self.start.take() {
            self.encoder.end(start, bytes);
        }
    }

    /// Makes what has been written fit for being sent before the family ends.
    pub(super) fn pause(&mut self, bytes: &mut Buffer) {
        if self.encoder.is_delimited() {
            self.end(bytes);
        }
    }

    /// Ends the scrape.
    pub(super) fn finish(&self, bytes: &mut Buffer) {
        self.encoder.finish(bytes);
    }
}

/// Writes the series of one family. The header is written with the first series, so that a family without series is left
/// out.
pub(super) struct Family<'a> {
    header: Header<'a>,
    created: Option<SystemTime>,
    output: &'a mut Output,
    bytes: &'a mut Buffer,
}

impl<'a> Family<'a> {
    /// Sets since when the next series have been counted.
    pub(super) const fn created(&mut self, at: SystemTime) -> &mut Self {
        self.created = Some(at);
        self
    }

    /// Returns the value of a label as the format writes it. The names of owners are written so already.
    pub(super) fn label<'b>(&self, value: &'b str) -> Cow<'b, str> {
        self.output.encoder.label(value)
    }

    pub(super) fn counter(&mut self, labels: &[LabelPair<'_>], counter: &Counter) {
        self.value(labels, Value::Count(counter.get()));
    }

    pub(super) fn seconds(&mut self, labels: &[LabelPair<'_>], seconds: &Seconds) {
        self.value(labels, Value::Number(seconds.get()));
    }

    pub(super) fn gauge(&mut self, labels: &[LabelPair<'_>], gauge: &Gauge) {
        if let Some(value) = gauge.get() {
            self.value(labels, Value::Number(value));
        }
    }

    /// Writes a series whose labels say everything.
    pub(super) fn info(&mut self, labels: &[LabelPair<'_>]) {
        self.value(labels, Value::Count(1));
    }

    pub(super) fn histogram(&mut self, labels: &[LabelPair<'_>], histogram: &Histogram) {
        debug_assert_eq!(self.header.kind, MetricType::Histogram);
        let snapshot = histogram.snapshot();
        let (sample, settings) = (self.sample(labels), self.output.settings);
        self.begin().histogram(sample, &snapshot, settings, self.bytes);
    }

    /// Writes a summary without quantiles.
    pub(super) fn summary(&mut self, labels: &[LabelPair<'_>], summary: &Summary) {
        let sample = self.sample(labels);
        self.begin().summary(sample, summary.sum(), summary.count(), self.bytes);
    }

    /// Writes the series of a family from the registry of the `prometheus` crate, whose header is [`registered`].
    pub(super) fn registered(&mut self, family: &MetricFamily) {
        for metric in family.get_metric() {
            let values: Vec<_> =
                metric.get_label().iter().map(|pair| (pair.name(), self.label(pair.value()))).collect();
            let labels: Vec<LabelPair<'_>> = values.iter().map(|(name, value)| (*name, &**value)).collect();
            let value = match self.header.kind {
                MetricType::Counter => metric.get_counter().get_value(),
                _ => metric.get_gauge().get_value(),
            };
            self.value(&labels, Value::Number(value));
        }
    }

    pub(super) fn value(&mut self, labels: &[LabelPair<'_>], value: Value) {
        let sample = self.sample(labels);
        self.begin().value(sample, value, self.bytes);
    }

    const fn sample<'b>(&self, labels: &'b [LabelPair<'b>]) -> Sample<'b>
    where
        'a: 'b,
    {
        Sample { header: self.header, labels, created: self.created }
    }

    /// Returns the encoder, after the header.
    fn begin(&mut self) -> &'static dyn Encoder {
        let output = &mut *self.output;
        if output.start.is_none() {
            output.start = Some(self.bytes.len());
            output.encoder.begin(self.header, self.bytes);
        }
        output.encoder
    }
}

/// Returns the header of a family from the registry of the `prometheus` crate, where only counters and gauges are.
pub(super) fn registered(family: &MetricFamily) -> Header<'_> {
    let kind = match family.get_field_type() {
        RegisteredType::COUNTER => MetricType::Counter,
        _ => MetricType::Gauge,
    };
    Header { name: family.name(), kind, help: family.help(), bounds: Bounds::All }
}
