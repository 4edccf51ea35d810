//! One family of series, as an owner writes its part of it. How it is written is left to the encoder.

use std::borrow::Cow;

use prometheus::proto::{MetricFamily, MetricType as RegisteredType};

use super::definition::MetricType;
use super::encoder::{Encoder, Header, LabelPair, Value};
use super::value::{Counter, Gauge, Histogram, Seconds, Summary};

/// What has been written ahead of the reader.
#[derive(Debug)]
pub(super) struct Output {
    encoder: &'static dyn Encoder,
    pub(super) bytes: Vec<u8>,
    /// Whether the family has been begun.
    begun: bool,
}

impl Output {
    pub(super) const fn new(encoder: &'static dyn Encoder) -> Self {
        Self { encoder, bytes: Vec::new(), begun: false }
    }

    /// Begins a family, or continues it after another owner's part.
    pub(super) const fn family<'a>(&'a mut self, header: Header<'a>) -> Family<'a> {
        Family { header, output: self }
    }

    /// Ends the family.
    pub(super) const fn end(&mut self) {
        self.begun = false;
    }

    /// Ends the scrape.
    pub(super) fn finish(&mut self) {
        self.encoder.finish(&mut self.bytes);
    }
}

/// Writes the series of one family. The header is written with the first series, so that a family without series is left
/// out.
pub(super) struct Family<'a> {
    header: Header<'a>,
    output: &'a mut Output,
}

impl Family<'_> {
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
        let header = self.header;
        let (encoder, out) = self.begin();
        encoder.histogram(header, labels, histogram, out);
    }

    /// Writes a summary without quantiles.
    pub(super) fn summary(&mut self, labels: &[LabelPair<'_>], summary: &Summary) {
        let header = self.header;
        let (encoder, out) = self.begin();
        encoder.summary(header, labels, summary.sum(), summary.count(), out);
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

    fn value(&mut self, labels: &[LabelPair<'_>], value: Value) {
        let header = self.header;
        let (encoder, out) = self.begin();
        encoder.value(header, labels, value, out);
    }

    /// Returns the encoder and its output, after the header.
    fn begin(&mut self) -> (&'static dyn Encoder, &mut Vec<u8>) {
        let Output { encoder, bytes, begun } = self.output;
        if !std::mem::replace(begun, true) {
            encoder.begin(self.header, bytes);
        }
        (*encoder, bytes)
    }
}

/// Returns the header of a family from the registry of the `prometheus` crate, where only counters and gauges are.
pub(super) fn registered(family: &MetricFamily) -> Header<'_> {
    let kind = match family.get_field_type() {
        RegisteredType::COUNTER => MetricType::Counter,
        _ => MetricType::Gauge,
    };
    Header { name: family.name(), kind, help: family.help() }
}
