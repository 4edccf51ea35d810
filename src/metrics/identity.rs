//! The series of one identity.

use std::time::{Duration, SystemTime};

use super::definition as define;
use super::definition::Definition;
use super::value::{Counter, Gauge, Histogram};
use super::{Handle, Series, Write};
use crate::clock::unix_seconds;

/// What is counted of one identity.
#[derive(Debug, Default)]
pub(super) struct IdentitySeries {
    expiry: Gauge,
    refreshes: Counter,
    refreshes_unchanged: Counter,
    refresh_failures: Counter,
    refresh_duration: Histogram,
}

impl Series for IdentitySeries {
    const OWNER: &'static str = "identity";
    const FAMILIES: &'static [(Definition, Write<Self>)] = &[
        (define::TOKEN_EXPIRY, |it, identity, family| family.gauge(&[identity], &it.expiry)),
        (define::TOKEN_REFRESHES, |it, identity, family| {
            family.counter(&[identity, ("result", "success")], &it.refreshes);
            family.counter(&[identity, ("result", "unchanged")], &it.refreshes_unchanged);
            family.counter(&[identity, ("result", "failure")], &it.refresh_failures);
        }),
        (define::TOKEN_REFRESH_DURATION, |it, identity, family| {
            family.histogram(&[identity], &it.refresh_duration);
        }),
    ];
}

/// Writes the series of one identity, and removes them when dropped.
#[derive(Debug)]
pub struct IdentityMetrics(pub(super) Handle<IdentitySeries>);

impl IdentityMetrics {
    /// A request took `took` and brought a new token that ends at `expires_at`.
    pub fn refreshed(&self, took: Duration, expires_at: SystemTime) {
        let series = self.0.series();
        series.refreshes.increment();
        series.refresh_duration.observe(took);
        series.expiry.set(unix_seconds(expires_at));
    }

    /// A request took `took` and brought the token that was there already.
    pub fn unchanged(&self, took: Duration) {
        let series = self.0.series();
        series.refreshes_unchanged.increment();
        series.refresh_duration.observe(took);
    }

    /// A request failed, or was given up, after `took`.
    pub fn refresh_failed(&self, took: Duration) {
        let series = self.0.series();
        series.refresh_failures.increment();
        series.refresh_duration.observe(took);
    }
}
