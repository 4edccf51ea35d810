//! The series of one identity.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::definition as define;
use super::definition::Definition;
use super::histogram::Histogram;
use super::label::{IDENTITY, REFRESH_RESULT, RefreshResult};
use super::value::{Counter, Gauge};
use super::{Registration, Series, Write};
use crate::clock::unix_seconds;

/// The values of one identity.
#[derive(Debug, Default)]
pub(super) struct IdentitySeries {
    expiry: Gauge,
    /// By [`RefreshResult`].
    refreshes: [Counter; RefreshResult::ALL.len()],
    refresh_duration: Histogram,
}

impl Series for IdentitySeries {
    type Name = Arc<str>;
    const OWNER: &'static str = IDENTITY.name;
    const FAMILIES: &'static [(Definition, Write<Self>)] = &[
        (define::TOKEN_EXPIRY, |it, identity, family| family.gauge(&[identity], &it.expiry)),
        (define::TOKEN_REFRESHES, |it, identity, family| {
            for result in RefreshResult::ALL {
                let labels = [identity, (REFRESH_RESULT.name, result.as_str())];
                family.counter(&labels, &it.refreshes[result as usize]);
            }
        }),
        (define::TOKEN_REFRESH_DURATION, |it, identity, family| {
            family.histogram(&[identity], &it.refresh_duration);
        }),
    ];

    fn new(_: &Arc<str>) -> Self {
        Self::default()
    }
}

/// Writes the series of one identity, and removes them when dropped.
#[derive(Debug)]
pub struct IdentityMetrics(pub(super) Registration<IdentitySeries>);

impl IdentityMetrics {
    /// Records a request that returned a new token, which expires at `expires_at`.
    pub fn refreshed(&self, took: Duration, expires_at: SystemTime) {
        self.requested(RefreshResult::Success, took);
        self.0.series().expiry.set(unix_seconds(expires_at));
    }

    /// Records a request that returned the current token again.
    pub fn unchanged(&self, took: Duration) {
        self.requested(RefreshResult::Unchanged, took);
    }

    /// Records a request that failed or timed out.
    pub fn refresh_failed(&self, took: Duration) {
        self.requested(RefreshResult::Failure, took);
    }

    fn requested(&self, result: RefreshResult, took: Duration) {
        let series = self.0.series();
        series.refreshes[result as usize].increment();
        series.refresh_duration.observe(took);
    }
}
