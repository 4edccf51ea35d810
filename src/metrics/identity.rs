//! The series of one identity.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use prometheus::{Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, Registry};

use super::{Metrics, Owner, definition, family, remove};
use crate::clock::unix_seconds;

const SUCCESS: &str = "success";
const UNCHANGED: &str = "unchanged";
const FAILURE: &str = "failure";

/// The families whose first label is `identity`.
#[derive(Debug)]
pub(super) struct Families {
    expiry: GaugeVec,
    refreshes: IntCounterVec,
    refresh_duration: HistogramVec,
}

impl Families {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            expiry: family(registry, definition::TOKEN_EXPIRY),
            refreshes: family(registry, definition::TOKEN_REFRESHES),
            refresh_duration: family(registry, definition::TOKEN_REFRESH_DURATION),
        }
    }

    fn remove(&self, identity: &str) {
        remove(&self.expiry, &[identity]);
        remove(&self.refresh_duration, &[identity]);
        for result in [SUCCESS, UNCHANGED, FAILURE] {
            remove(&self.refreshes, &[identity, result]);
        }
    }
}

/// Writes the series of one identity, and removes them when dropped.
#[derive(Debug)]
pub struct IdentityMetrics {
    metrics: Metrics,
    label: Arc<str>,
    refreshes: IntCounter,
    refreshes_unchanged: IntCounter,
    refresh_failures: IntCounter,
    refresh_duration: Histogram,
    expiry: OnceLock<Gauge>,
}

impl IdentityMetrics {
    pub(super) fn new(metrics: Metrics, label: Arc<str>) -> Self {
        let families = &metrics.0.identity;
        let refreshes = |result| families.refreshes.with_label_values(&[&*label, result]);
        Self {
            refreshes: refreshes(SUCCESS),
            refreshes_unchanged: refreshes(UNCHANGED),
            refresh_failures: refreshes(FAILURE),
            refresh_duration: families.refresh_duration.with_label_values(&[&*label]),
            expiry: OnceLock::new(),
            metrics,
            label,
        }
    }

    /// A request took `took` and brought a new token that ends at `expires_at`.
    pub fn refreshed(&self, took: Duration, expires_at: SystemTime) {
        self.refreshes.inc();
        self.refresh_duration.observe(took.as_secs_f64());
        self.expiry
            .get_or_init(|| self.metrics.0.identity.expiry.with_label_values(&[&*self.label]))
            .set(unix_seconds(expires_at));
    }

    /// A request took `took` and brought the token that was there already.
    pub fn unchanged(&self, took: Duration) {
        self.refreshes_unchanged.inc();
        self.refresh_duration.observe(took.as_secs_f64());
    }

    /// A request failed, or was given up, after `took`.
    pub fn refresh_failed(&self, took: Duration) {
        self.refresh_failures.inc();
        self.refresh_duration.observe(took.as_secs_f64());
    }
}

impl Drop for IdentityMetrics {
    fn drop(&mut self) {
        let families = &self.metrics.0.identity;
        self.metrics.release(&Owner::Identity(self.label.clone()), || families.remove(&self.label));
    }
}
