//! One answer of `/metrics`, read as Prometheus reads it.

use std::collections::BTreeMap;

/// The series of one scrape, by name and labels as the text has them.
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

    /// The value of a series, its prefix `cachepulse_` left out: `probe_success{target="orders"}`.
    pub(crate) fn get(&self, series: &str) -> Option<f64> {
        self.series.get(&format!("cachepulse_{series}")).copied()
    }

    /// The value of a series that must be there.
    pub(crate) fn value(&self, series: &str) -> f64 {
        self.get(series).unwrap_or_else(|| panic!("no series cachepulse_{series} in:\n{}", self.text))
    }

    /// A whole number that the agent tells of its process: `open_fds`.
    pub(crate) fn of_process(&self, name: &str) -> u64 {
        whole(self.series[&format!("process_{name}")])
    }

    /// How many tasks run in the agent.
    pub(crate) fn tasks(&self) -> u64 {
        ["http", "probing"].map(|part| whole(self.value(&format!("tasks{{part=\"{part}\"}}")))).iter().sum()
    }

    /// The value of a counter of a target, as the whole number that it is.
    pub(crate) fn count(&self, name: &str, target: &str) -> u64 {
        whole(self.value(&format!("{name}{{target=\"{target}\"}}")))
    }

    /// The same of a counter with one more label, which the alphabet puts before `target`.
    pub(crate) fn count_of(&self, name: &str, label: &str, value: &str, target: &str) -> u64 {
        whole(self.value(&format!("{name}{{{label}=\"{value}\",target=\"{target}\"}}")))
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

    /// Whether the target's last probe succeeded; false before the first.
    pub(crate) fn is_up(&self, target: &str) -> bool {
        self.get(&format!("probe_success{{target=\"{target}\"}}")) == Some(1.0)
    }

    /// Whether the target's last probe failed; false before the first.
    pub(crate) fn is_down(&self, target: &str) -> bool {
        self.get(&format!("probe_success{{target=\"{target}\"}}")) == Some(0.0)
    }

    /// A counter of a target, summed up over its other label.
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
    assert!(value >= 0.0 && value.fract() == 0.0, "{value} counts nothing");
    value as u64
}
