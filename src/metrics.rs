//! Every number that Prometheus scrapes. This module is the only one that knows the `prometheus` crate.
//!
//! What each metric is called and means is in [`DEFINITIONS`]. Series live as long as the handle that writes them:
//! [`Metrics::target`] creates those of a target at 0, dropping the [`TargetMetrics`] removes them. Handles hold
//! their series in arrays, so that recording allocates nothing and looks nothing up.

mod definition;
mod identity;
mod target;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    CounterVec, Encoder as _, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

pub use self::definition::{DEFINITIONS, Definition, Kind};
pub use self::identity::IdentityMetrics;
pub use self::target::TargetMetrics;
use crate::clock::unix_seconds;
use crate::target::TargetName;

/// The first bucket's upper bound in seconds: 50 µs, about what a command takes to a neighbour. Each next one is
/// twice as large; the last is 26.2 s, longer than any timeout that makes sense.
const FIRST_BUCKET: f64 = 0.000_05;
const BUCKETS: usize = 20;

/// The registry of all metrics. Clones share it.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    target: target::Families,
    identity: identity::Families,
    reload_successful: IntGaugeVec,
    reload_success: GaugeVec,
    /// How many handles write the series of each owner: those of a target that is replaced may overlap for a
    /// moment, and only the last one takes the series with it.
    handles: Mutex<HashMap<Owner, usize>>,
}

/// Whose series they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Target(TargetName),
    Identity(Arc<str>),
}

impl Metrics {
    /// A registry with the metrics of the process, the build and the configuration; targets and identities come
    /// with their handles.
    ///
    /// # Panics
    /// Never: the definitions are valid and distinct, as the tests show.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        #[cfg(target_os = "linux")]
        register(&registry, prometheus::process_collector::ProcessCollector::for_self());
        let build_info: IntGaugeVec = family(&registry, definition::BUILD_INFO);
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Self(Arc::new(Inner {
            target: target::Families::new(&registry),
            identity: identity::Families::new(&registry),
            reload_successful: family(&registry, definition::RELOAD_SUCCESSFUL),
            reload_success: family(&registry, definition::RELOAD_SUCCESS),
            registry,
            handles: Mutex::default(),
        }))
    }

    /// The series of the target called `name`, all counters there from now on. While another handle of the same
    /// name lives, both write the same series.
    #[must_use]
    pub fn target(&self, name: &TargetName) -> TargetMetrics {
        let mut handles = self.handles();
        *handles.entry(Owner::Target(name.clone())).or_default() += 1;
        TargetMetrics::new(self.clone(), name.clone())
    }

    /// The series of the identity with this label, likewise.
    #[must_use]
    pub fn identity(&self, label: &str) -> IdentityMetrics {
        let label: Arc<str> = label.into();
        let mut handles = self.handles();
        *handles.entry(Owner::Identity(label.clone())).or_default() += 1;
        IdentityMetrics::new(self.clone(), label)
    }

    /// The configuration was read at `at` and is in use.
    pub fn config_loaded(&self, at: SystemTime) {
        self.0.reload_successful.with_label_values::<&str>(&[]).set(1);
        self.0.reload_success.with_label_values::<&str>(&[]).set(unix_seconds(at));
    }

    /// A changed configuration was refused; the one before stays in use.
    pub fn config_rejected(&self) {
        self.0.reload_successful.with_label_values::<&str>(&[]).set(0);
    }

    /// Appends every metric in Prometheus' text format, version 0.0.4.
    ///
    /// # Panics
    /// Never: writing to memory cannot fail, and the registry leaves out families that are empty.
    pub fn encode(&self, out: &mut Vec<u8>) {
        TextEncoder::new()
            .encode(&self.0.registry.gather(), out)
            .expect("gathered families are complete, and a vector takes every write");
    }

    /// A handle of `owner` goes. If it was the last, `remove` runs before a new one can come.
    fn release(&self, owner: &Owner, remove: impl FnOnce()) {
        let mut handles = self.handles();
        if let Some(count) = handles.get_mut(owner) {
            *count -= 1;
            if *count == 0 {
                handles.remove(owner);
                remove();
            }
        }
    }

    fn handles(&self) -> MutexGuard<'_, HashMap<Owner, usize>> {
        // The map is whole at every moment, also where a holder of the lock panicked.
        self.0.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// A family of series with labels, made from its definition.
trait Family: Collector + Clone + 'static {
    const KIND: Kind;
    fn from_opts(opts: Opts, labels: &[&str]) -> prometheus::Result<Self>;
}

macro_rules! impl_family {
    ($($vec:ty: $kind:ident),*) => {$(
        impl Family for $vec {
            const KIND: Kind = Kind::$kind;
            fn from_opts(opts: Opts, labels: &[&str]) -> prometheus::Result<Self> {
                Self::new(opts, labels)
            }
        }
    )*};
}

impl_family!(IntCounterVec: Counter, CounterVec: Counter, IntGaugeVec: Gauge, GaugeVec: Gauge);

impl Family for HistogramVec {
    const KIND: Kind = Kind::Histogram;
    fn from_opts(opts: Opts, labels: &[&str]) -> prometheus::Result<Self> {
        let buckets = prometheus::exponential_buckets(FIRST_BUCKET, 2.0, BUCKETS)?;
        Self::new(HistogramOpts { common_opts: opts, buckets }, labels)
    }
}

fn family<F: Family>(registry: &Registry, definition: Definition) -> F {
    assert_eq!(F::KIND, definition.kind, "{} is made as it is defined", definition.name);
    let family = F::from_opts(Opts::new(definition.name, definition.help), definition.labels)
        .expect("names and labels of the definitions are valid");
    register(registry, family.clone());
    family
}

fn register(registry: &Registry, collector: impl Collector + 'static) {
    registry.register(Box::new(collector)).expect("every definition is registered once");
}

/// Removes one series. That it may not be there is fine: gauges come with their first value.
fn remove<T: MetricVecBuilder>(family: &MetricVec<T>, labels: &[&str]) {
    let _ = family.remove_label_values(labels);
}

#[cfg(test)]
mod tests;
