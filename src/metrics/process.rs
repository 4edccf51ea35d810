//! The metrics of the process: those of the `prometheus` crate, with the CPU time in full resolution.
//!
//! The crate counts whole seconds of CPU time. An agent that uses 3 s a day would show a rate of 0 most of the time.

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Counter, MetricFamily};
use rustix::time::{ClockId, clock_gettime};

use super::definition::PROCESS_CPU;

/// Collects the metrics named `process_*`.
#[derive(Debug)]
pub(super) struct Process(ProcessCollector);

impl Process {
    pub(super) fn new() -> Self {
        Self(ProcessCollector::for_self())
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.0.collect();
        let cpu = families.iter_mut().find(|family| family.name() == PROCESS_CPU.name);
        for metric in cpu.into_iter().flat_map(MetricFamily::mut_metric) {
            let mut counter = Counter::default();
            counter.set_value(cpu_seconds());
            metric.set_counter(counter);
        }
        families
    }
}

/// Returns the user and system CPU time of the process, in seconds.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
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
