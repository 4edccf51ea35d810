//! One response of `/metrics`, parsed.

use std::collections::BTreeMap;
use std::time::Duration;

/// The series of one scrape, by name and labels as in the text.
#[derive(Debug)]
pub(crate) struct Scrape {
    pub(crate) text: String,
    series: BTreeMap<String, f64>,
}

impl Scrape {
    pub(crate) fn new(text: String) -> Self {
        let series = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| {
                let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in {line:?}"));
                (series.to_owned(), value.parse().unwrap())
            })
            .collect();
        Self { text, series }
    }

    /// Returns the value of a series, named without the prefix `cachepulse_`: `probe_success{target="orders"}`.
    pub(crate) fn get(&self, series: &str) -> Option<f64> {
        self.series.get(&format!("cachepulse_{series}")).copied()
    }

    /// Returns the value of a series that must exist.
    pub(crate) fn value(&self, series: &str) -> f64 {
        self.get(series).unwrap_or_else(|| panic!("no series cachepulse_{series} in:\n{}", self.text))
    }

    /// Returns a metric of the process, such as `open_fds`.
    pub(crate) fn of_process(&self, name: &str) -> u64 {
        whole(self.series[&format!("process_{name}")])
    }

    /// Returns the number of running tasks in the agent.
    pub(crate) fn tasks(&self) -> u64 {
        ["http", "probing"].map(|part| whole(self.value(&format!("tasks{{part=\"{part}\"}}")))).iter().sum()
    }

    /// Returns the value of a counter of a target.
    pub(crate) fn count(&self, name: &str, target: &str) -> u64 {
        whole(self.value(&format!("{name}{{target=\"{target}\"}}")))
    }

    /// Returns the value of a counter with another label, which is alphabetically before `target`. It is 0 before the
    /// first event.
    pub(crate) fn count_of(&self, name: &str, label: &str, value: &str, target: &str) -> u64 {
        whole(self.get(&format!("{name}{{{label}=\"{value}\",target=\"{target}\"}}")).unwrap_or_default())
    }

    pub(crate) fn failures(&self, reason: &str, target: &str) -> u64 {
        self.count_of("probe_failures_total", "reason", reason, target)
    }

    pub(crate) fn disconnects(&self, reason: &str, target: &str) -> u64 {
        self.count_of("disconnects_total", "reason", reason, target)
    }

    pub(crate) fn connects(&self, result: &str, target: &str) -> u64 {
        self.count_of("connects_total", "result", result, target)
    }

    pub(crate) fn new_connections(&self, result: &str, target: &str) -> u64 {
        self.count_of("new_connections_total", "result", result, target)
    }

    pub(crate) fn new_connection_failures(&self, reason: &str, target: &str) -> u64 {
        self.count_of("new_connection_failures_total", "reason", reason, target)
    }

    /// Whether the target's last probe succeeded; false before the first.
    pub(crate) fn is_up(&self, target: &str) -> bool {
        self.get(&format!("probe_success{{target=\"{target}\"}}")) == Some(1.0)
    }

    /// Whether the target's last probe failed; false before the first.
    pub(crate) fn is_down(&self, target: &str) -> bool {
        self.get(&format!("probe_success{{target=\"{target}\"}}")) == Some(0.0)
    }

    /// Returns for how long the target was unavailable.
    pub(crate) fn unavailable(&self, target: &str) -> Duration {
        Duration::from_secs_f64(self.value(&format!("unavailable_seconds_total{{target=\"{target}\"}}")))
    }

    /// Returns the sum of a counter of a target over its other label.
    pub(crate) fn sum(&self, name: &str, target: &str) -> u64 {
        let (name, target) = (format!("cachepulse_{name}{{"), format!("target=\"{target}\"}}"));
        let of_target = |series: &&String| series.starts_with(&name) && series.ends_with(&target);
        whole(self.series.keys().filter(of_target).map(|series| self.series[series]).sum())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counters are small and positive"
)]
fn whole(value: f64) -> u64 {
    assert!(value >= 0.0 && value.fract() == 0.0, "{value} is not a count");
    value as u64
}
