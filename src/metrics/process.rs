//! The metrics of the process, as other exporters have them. Only Linux has them.

use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType as ProtoType};

use super::definition::{
    Definition, MetricType, PROCESS_CPU, PROCESS_MAX_FDS, PROCESS_OPEN_FDS, PROCESS_RESIDENT_MEMORY,
    PROCESS_START_TIME, PROCESS_THREADS, PROCESS_VIRTUAL_MEMORY,
};
use crate::os::{Usage, descriptors, usage};

/// Computes the value of a metric.
type Value = fn(&Usage) -> f64;

/// Each metric, and its value.
const METRICS: [(Definition, Value); 7] = [
    (PROCESS_CPU, |usage| usage.cpu_seconds),
    (PROCESS_MAX_FDS, |_| descriptors::limit() as f64),
    (PROCESS_OPEN_FDS, |usage| usage.open_descriptors as f64),
    (PROCESS_RESIDENT_MEMORY, |usage| usage.resident_bytes as f64),
    (PROCESS_START_TIME, |usage| usage.started),
    (PROCESS_THREADS, |usage| usage.threads as f64),
    (PROCESS_VIRTUAL_MEMORY, |usage| usage.virtual_bytes as f64),
];

/// Collects the metrics named `process_*`.
#[derive(Debug)]
pub(super) struct Process(Vec<Desc>);

impl Process {
    pub(super) fn new() -> Self {
        let described = METRICS.map(|(definition, _)| {
            Desc::new(definition.name.to_owned(), definition.help.to_owned(), Vec::new(), HashMap::new())
                .expect("the names of the definitions are valid")
        });
        Self(described.into())
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.0.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(usage) = usage() else { return Vec::new() };
        METRICS.map(|(definition, value)| family(definition, value(&usage))).into()
    }
}

fn family(definition: Definition, value: f64) -> MetricFamily {
    let (mut metric, mut family) = (Metric::default(), MetricFamily::default());
    if definition.kind == MetricType::Counter {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
        family.set_field_type(ProtoType::COUNTER);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
        family.set_field_type(ProtoType::GAUGE);
    }
    family.set_name(definition.name.to_owned());
    family.set_help(definition.help.to_owned());
    family.set_metric(vec![metric]);
    family
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    #[test]
    fn the_cpu_time_grows_by_less_than_a_second() {
        let collector = Process::new();
        let seconds = || {
            let families = collector.collect();
            let family = families.iter().find(|family| family.name() == PROCESS_CPU.name).unwrap();
            family.get_metric()[0].get_counter().get_value()
        };
        let (before, since) = (seconds(), Instant::now());
        // Busy until a whole number of seconds could not show it.
        while since.elapsed() < Duration::from_millis(5) {}
        let grown = seconds() - before;
        assert!(grown > 0.0, "from {before} by {grown}");
        assert!(before.fract() != 0.0, "{before}");
    }
}
