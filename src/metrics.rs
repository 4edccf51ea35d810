//! Every number that Prometheus scrapes. This module is the only one that knows the `prometheus` crate.
//!
//! What each metric is called and means is in [`DEFINITIONS`]. What there is once in a process is the crate's;
//! what there is once for each target or identity is kept compact in `value.rs`, by its owner in `owners.rs`, and
//! written by `text.rs`: recording takes no lock and allocates nothing. All of it comes together in `exposition.rs`.

mod definition;
mod exposition;
mod identity;
mod owners;
mod target;
mod text;
mod value;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use prometheus::core::Collector;
#[cfg(target_os = "linux")]
use prometheus::process_collector::ProcessCollector;
use prometheus::{Gauge, GaugeVec, Opts, Registry};
use tokio::runtime::{Handle as Runtime, RuntimeMetrics};

pub use self::definition::{DEFINITIONS, Definition, Kind};
pub use self::exposition::Exposition;
pub use self::identity::IdentityMetrics;
use self::identity::IdentitySeries;
use self::owners::{Handle, Owners, Series, Write};
pub use self::target::TargetMetrics;
use self::target::TargetSeries;
use self::value::Histogram;
use crate::clock::unix_seconds;
use crate::target::TargetName;

/// All metrics. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    targets: Owners<TargetSeries>,
    identities: Owners<IdentitySeries>,
    scheduler_delay: Arc<Histogram>,
    /// By the part of the agent that runs on it.
    runtimes: Mutex<BTreeMap<&'static str, RuntimeMetrics>>,
    /// What else there is once.
    registry: Registry,
    tasks: GaugeVec,
    reload_successful: Gauge,
    reload_success: Gauge,
}

impl Metrics {
    /// The metrics of the process, the build and the configuration; targets and identities come with their handles.
    ///
    /// # Panics
    /// Never: the definitions are valid and distinct, as the tests show.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        let register = |collector: Box<dyn Collector>| {
            registry.register(collector).expect("every definition is valid and registered once");
        };
        let gauge = |options: Opts| {
            let gauge = Gauge::with_opts(options).expect("the names and labels of the definitions are valid");
            register(Box::new(gauge.clone()));
            gauge
        };
        #[cfg(target_os = "linux")]
        register(Box::new(ProcessCollector::for_self()));
        let tasks = GaugeVec::new(options(definition::TASKS), definition::TASKS.labels)
            .expect("the names and labels of the definitions are valid");
        register(Box::new(tasks.clone()));
        gauge(options(definition::BUILD_INFO).const_label("version", env!("CARGO_PKG_VERSION"))).set(1.0);
        Self(Arc::new(Inner {
            targets: Owners::default(),
            identities: Owners::default(),
            scheduler_delay: Arc::default(),
            runtimes: Mutex::default(),
            tasks,
            reload_successful: gauge(options(definition::RELOAD_SUCCESSFUL)),
            reload_success: gauge(options(definition::RELOAD_SUCCESS)),
            registry,
        }))
    }

    /// The series of the target called `name`, all counters there from now on. While another handle of the same
    /// name lives, both write the same series.
    #[must_use]
    pub fn target(&self, name: &TargetName) -> TargetMetrics {
        TargetMetrics::new(self.0.targets.handle(name.as_str()), Arc::clone(&self.0.scheduler_delay))
    }

    /// The series of the identity with this label, likewise.
    #[must_use]
    pub fn identity(&self, label: &str) -> IdentityMetrics {
        IdentityMetrics(self.0.identities.handle(label))
    }

    /// Counts, at each scrape, the tasks of the runtime on which this part of the agent runs.
    pub fn count_tasks(&self, part: &'static str, runtime: &Runtime) {
        self.runtimes().insert(part, runtime.metrics());
    }

    /// The configuration was read at `at` and is in use.
    pub fn config_loaded(&self, at: SystemTime) {
        self.0.reload_successful.set(1.0);
        self.0.reload_success.set(unix_seconds(at));
    }

    /// A changed configuration was refused; the one before stays in use.
    pub fn config_rejected(&self) {
        self.0.reload_successful.set(0.0);
    }

    /// What a scrape gets of this moment's targets and identities.
    #[must_use]
    pub fn exposition(&self) -> Exposition {
        for (part, runtime) in &*self.runtimes() {
            self.0.tasks.with_label_values(&[part]).set(runtime.num_alive_tasks() as f64);
        }
        Exposition::new(
            self.0.registry.gather(),
            Arc::clone(&self.0.scheduler_delay),
            self.0.targets.snapshot(),
            self.0.identities.snapshot(),
        )
    }

    fn runtimes(&self) -> MutexGuard<'_, BTreeMap<&'static str, RuntimeMetrics>> {
        // The map is whole at every moment, also where a holder of the lock panicked.
        self.0.runtimes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn options(definition: Definition) -> Opts {
    Opts::new(definition.name, definition.help)
}

#[cfg(test)]
mod tests;
