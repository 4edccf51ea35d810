//! How histograms are exported. It changes nothing of what is recorded, so that a reload can change it.

use super::definition::Bounds;
use super::histogram::BOUNDS;
use crate::closed_set::closed_set;

/// The settings of the key `metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The kinds of histograms.
    pub histograms: Histograms,
    /// The distance of classic buckets.
    pub classic_factor: ClassicFactor,
}

closed_set! {
    /// The kinds of histograms that are exported.
    pub enum Histograms {
        /// Classic buckets, and native ones where Prometheus asks for them.
        Both = "both",
        /// Only classic buckets.
        Classic = "classic",
        /// Only native buckets; in text only sum and count.
        Native = "native",
    }
}

closed_set! {
    /// The factor from one bound of classic buckets to the next.
    pub enum ClassicFactor {
        /// Each bound is twice the previous one.
        Two = "2",
        /// Every other bound.
        Four = "4",
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { histograms: Histograms::Both, classic_factor: ClassicFactor::Two }
    }
}

impl Settings {
    /// Returns the numbers of the classic bounds that a histogram has, of all in [`super::bucket_bounds`].
    pub(super) fn bounds(self, bounds: Bounds) -> impl Iterator<Item = usize> {
        let count = if self.has_classic() { BOUNDS } else { 0 };
        let distance = match self.classic_factor {
            ClassicFactor::Two => 1,
            ClassicFactor::Four => 2,
        };
        let (first, step) = match bounds {
            Bounds::All => (0, 1),
            Bounds::Few => (3, 2),
        };
        (first * distance..count).step_by(step * distance)
    }

    /// Whether classic buckets are exported.
    pub(super) fn has_classic(self) -> bool {
        self.histograms != Histograms::Native
    }

    /// Whether native buckets are exported.
    pub(super) fn has_native(self) -> bool {
        self.histograms != Histograms::Classic
    }
}
