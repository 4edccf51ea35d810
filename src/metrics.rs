//! Every metric that Prometheus scrapes. Only this module knows the `prometheus` crate.
//!
//! `definition.rs` describes each metric, `label.rs` the labels. Metrics of the process are the crate's, see `process.rs`. Metrics of a
//! target, an identity, a cluster or a shard are stored compactly in `value.rs`, by owner in `owners.rs`: recording the
//! outcome of a probe takes no lock and allocates nothing. `exposition.rs` puts all of them together, `family.rs` by
//! family; `probe.rs` has those of `/probe`. `encoder.rs` is what a format must write, and `format.rs` lists the formats.

mod cluster;
mod definition;
mod encoder;
mod exposition;
mod family;
mod format;
mod histogram;
mod identity;
mod label;
mod openmetrics;
mod owners;
mod probe;
mod process;
mod protobuf;
mod queries;
mod settings;
mod shard;
mod target;
mod text;
mod value;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::SystemTime;

use prometheus::core::Collector;
use prometheus::{Gauge, GaugeVec, Opts, Registry};
use tokio::runtime::{Handle, RuntimeMetrics};

pub use self::cluster::ClusterMetrics;
use self::cluster::ClusterSeries;
pub use self::definition::{DEFINITIONS, Definition, MetricType};
use self::exposition::{Exposition, Snapshots};
use self::family::Output;
pub use self::format::Format;
use self::histogram::Histogram;
pub use self::identity::IdentityMetrics;
use self::identity::IdentitySeries;
pub use self::label::{AttemptResult, Label, LabelValue, Part, RefreshResult};
use self::owners::{Owners, Registration, Series, Write};
pub use self::probe::{LastProbe, PROBE_DEFINITIONS};
pub use self::queries::queries;
pub use self::settings::{ClassicFactor, Histograms, Settings};
pub use self::shard::ShardMetrics;
use self::shard::{ShardName, ShardSeries};
pub use self::target::TargetMetrics;
use self::target::TargetSeries;
use crate::build_info::BUILD_INFO;
use crate::clock::{Clock, unix_seconds};
use crate::lock::lock;
use crate::piecewise::Piecewise;
use crate::target::TargetName;

/// All metrics. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    targets: Owners<TargetSeries>,
    identities: Owners<IdentitySeries>,
    clusters: Owners<ClusterSeries>,
    shards: Owners<ShardSeries>,
    scheduler_delay: Arc<Histogram>,
    clock: Clock,
    started: SystemTime,
    settings: Mutex<Settings>,
    runtimes: Mutex<BTreeMap<&'static str, RuntimeMetrics>>,
    /// The metrics that have no owner.
    registry: Registry,
    tasks: GaugeVec,
    /// Has its only series with a partition.
    partition_targets: GaugeVec,
    target_file_valid: GaugeVec,
    reload_successful: Gauge,
    reload_success: Gauge,
    /// Exists only with a web configuration.
    web_config_reload_successful: OnceLock<Gauge>,
}

impl Metrics {
    /// Creates the metrics of the process, the build and the configuration. [`Self::target`] and [`Self::identity`]
    /// add those of targets and identities. `clock` tells when each was created.
    ///
    /// # Panics
    /// Never: the definitions are valid and distinct, as the tests show.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let registry = Registry::new();
        let register = |collector: Box<dyn Collector>| {
            registry.register(collector).expect("every definition is valid and registered once");
        };
        let gauge = |options: Opts| registered(&registry, options);
        register(Box::new(process::Process::new()));
        let vector = |definition: Definition| {
            let labels: Vec<&str> = definition.labels.iter().map(|label| label.name).collect();
            let vector = GaugeVec::new(options(definition), &labels)
                .expect("the names and labels of the definitions are valid");
            register(Box::new(vector.clone()));
            vector
        };
        let build_info = options(definition::BUILD_INFO)
            .const_label(label::VERSION.name, BUILD_INFO.version)
            .const_label(label::REVISION.name, BUILD_INFO.revision)
            .const_label(label::RUSTC.name, BUILD_INFO.rustc);
        gauge(build_info).set(1.0);
        Self(Arc::new(Inner {
            targets: Owners::default(),
            identities: Owners::default(),
            clusters: Owners::default(),
            shards: Owners::default(),
            scheduler_delay: Arc::default(),
            started: clock.now(),
            clock,
            settings: Mutex::default(),
            runtimes: Mutex::default(),
            tasks: vector(definition::TASKS),
            partition_targets: vector(definition::PARTITION_TARGETS),
            target_file_valid: vector(definition::TARGET_FILE_VALID),
            reload_successful: gauge(options(definition::RELOAD_SUCCESSFUL)),
            reload_success: gauge(options(definition::RELOAD_SUCCESS)),
            web_config_reload_successful: OnceLock::new(),
            registry,
        }))
    }

    /// Adds the series of the target called `name`. Totals are 0, and the series of a reason, a result, a step or a phase
    /// appear with the first event. While two of the same name exist, both write
    /// the same series.
    #[must_use]
    pub fn target(&self, name: &TargetName) -> TargetMetrics {
        TargetMetrics::new(self.0.targets.register(name.as_str().into(), self.0.clock.now()), self.clone())
    }

    /// Adds the series of the identity with this label, likewise.
    #[must_use]
    pub fn identity(&self, label: &str) -> IdentityMetrics {
        IdentityMetrics(self.0.identities.register(label.into(), self.0.clock.now()))
    }

    fn cluster(&self, target: Arc<str>) -> ClusterMetrics {
        ClusterMetrics::new(self.0.clusters.register(target, self.0.clock.now()), self.clone())
    }

    fn shard(&self, name: ShardName) -> ShardMetrics {
        ShardMetrics::new(self.0.shards.register(name, self.0.clock.now()))
    }

    /// Counts, at each scrape, the tasks of the runtime of this part of the agent.
    pub fn count_tasks(&self, part: Part, runtime: &Handle) {
        self.runtimes().insert(part.as_str(), runtime.metrics());
    }

    /// Changes how histograms are exported from the next scrape on.
    pub fn configure(&self, settings: Settings) {
        *self.settings() = settings;
    }

    /// Records that the configuration was loaded at `at` and is in use.
    pub fn config_loaded(&self, at: SystemTime) {
        self.0.reload_successful.set(1.0);
        self.0.reload_success.set(unix_seconds(at));
    }

    /// Records how many targets the fleet has, of which this agent has a partition; `None` without partitions.
    pub fn partition_targets(&self, targets: Option<usize>) {
        match targets {
            Some(targets) => self.0.partition_targets.with_label_values::<&str>(&[]).set(targets as f64),
            None => self.0.partition_targets.reset(),
        }
    }

    /// Records whether the file with targets at this path is valid; `None` if it is not used any more.
    pub fn target_file(&self, file: &str, is_valid: Option<bool>) {
        match is_valid {
            Some(is_valid) => {
                self.0.target_file_valid.with_label_values(&[file]).set(f64::from(u8::from(is_valid)));
            }
            // There is none if it was never used.
            None => drop(self.0.target_file_valid.remove_label_values(&[file])),
        }
    }

    /// Records that a changed configuration was rejected and the previous one kept.
    pub fn config_rejected(&self) {
        self.0.reload_successful.set(0.0);
    }

    /// Records that the web configuration was loaded and is in use.
    pub fn web_config_loaded(&self) {
        self.web_config_reload_successful().set(1.0);
    }

    /// Records that a changed web configuration was rejected and the previous one kept.
    pub fn web_config_rejected(&self) {
        self.web_config_reload_successful().set(0.0);
    }

    /// Returns a scrape in `format` for the present targets and identities. Reading it never fails.
    #[must_use]
    pub fn exposition(&self, format: Format) -> impl BufRead + Send + use<> {
        for (part, runtime) in &*self.runtimes() {
            self.0.tasks.with_label_values(&[part]).set(runtime.num_alive_tasks() as f64);
        }
        let encoder = format.encoder();
        Piecewise::new(Exposition::new(
            Output::new(encoder, *self.settings()),
            self.0.registry.gather(),
            Arc::clone(&self.0.scheduler_delay),
            self.0.started,
            Snapshots {
                targets: self.0.targets.snapshot(encoder),
                identities: self.0.identities.snapshot(encoder),
                clusters: self.0.clusters.snapshot(encoder),
                shards: self.0.shards.snapshot(encoder),
            },
        ))
    }

    fn web_config_reload_successful(&self) -> &Gauge {
        self.0
            .web_config_reload_successful
            .get_or_init(|| registered(&self.0.registry, options(definition::WEB_CONFIG_RELOAD_SUCCESSFUL)))
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        lock(&self.0.settings)
    }

    fn runtimes(&self) -> MutexGuard<'_, BTreeMap<&'static str, RuntimeMetrics>> {
        lock(&self.0.runtimes)
    }
}

/// Returns all upper bounds that classic buckets can have, in seconds, without the last one, which is infinite.
pub fn bucket_bounds() -> impl Iterator<Item = f64> {
    (0..histogram::BOUNDS).map(histogram::bound)
}

/// Creates a gauge in `registry`.
fn registered(registry: &Registry, options: Opts) -> Gauge {
    let gauge = Gauge::with_opts(options).expect("the names and labels of the definitions are valid");
    registry.register(Box::new(gauge.clone())).expect("every definition is valid and registered once");
    gauge
}

fn options(definition: Definition) -> Opts {
    Opts::new(definition.name, definition.help)
}

#[cfg(test)]
mod tests;
