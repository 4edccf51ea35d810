//! The metrics of `/probe`: the last probe of one target, with the names that the Blackbox exporter has, and without labels.

use super::definition::{Bounds, Definition, MetricType};
use super::encoder::Value;
use super::family::Output;
use super::format::Format;
use super::settings::Settings;
use crate::buffer::Buffer;

/// The metrics of `/probe`, in the order of their names.
pub const PROBE_DEFINITIONS: [Definition; 3] = [
    gauge("probe_age_seconds", "Time since the last outcome."),
    gauge("probe_duration_seconds", "Duration of the last probe, all attempts included."),
    gauge("probe_success", "Whether the last probe succeeded (1) or failed (0)."),
];

const fn gauge(name: &'static str, help: &'static str) -> Definition {
    Definition { name, kind: MetricType::Gauge, labels: &[], help, doc: "", bounds: Bounds::All }
}

/// The last probe of a target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LastProbe {
    /// The seconds since the last outcome.
    pub age: f64,
    /// The duration in seconds.
    pub duration: f64,
    /// Whether the target is up.
    pub success: bool,
}

impl LastProbe {
    /// Returns the metrics in `format`.
    #[must_use]
    pub fn encoded(&self, format: Format) -> Vec<u8> {
        let mut output = Output::new(format.encoder(), Settings::default());
        let mut bytes = Buffer::default();
        let values = [self.age, self.duration, if self.success { 1.0 } else { 0.0 }];
        for (definition, value) in PROBE_DEFINITIONS.into_iter().zip(values) {
            output.family(definition.into(), &mut bytes).value(&[], Value::Number(value));
            output.end(&mut bytes);
        }
        output.finish(&mut bytes);
        bytes.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_are_the_same_in_every_format() {
        let probe = LastProbe { age: 1.5, duration: 0.25, success: true };
        let [text, open, protobuf] = Format::ALL.map(|format| probe.encoded(format));
        let text = String::from_utf8(text).unwrap();
        let values: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(values, ["probe_age_seconds 1.5", "probe_duration_seconds 0.25", "probe_success 1"]);
        assert_eq!(String::from_utf8(open).unwrap(), format!("{text}# EOF\n"));
        for (definition, value) in PROBE_DEFINITIONS.into_iter().zip([1.5_f64, 0.25, 1.0]) {
            assert!(text.contains(&format!("# TYPE {} gauge\n", definition.name)), "{text}");
            // The metric with a gauge, whose value is a double.
            let metric = [&[0x22, 11, 0x12, 9, 9], &value.to_le_bytes()[..]].concat();
            assert!(protobuf.windows(metric.len()).any(|bytes| bytes == metric), "{}", definition.name);
        }
        let failed = LastProbe { success: false, ..probe }.encoded(Format::Text);
        assert!(String::from_utf8(failed).unwrap().ends_with("\nprobe_success 0\n"));
    }
}
