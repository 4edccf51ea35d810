//! The length and the seed of a randomized test.

use std::time::Duration;

/// One run of a randomized test.
pub(crate) struct Run {
    pub(crate) seed: u64,
    pub(crate) length: Duration,
}

impl Run {
    /// Reads `<name>_SEED` and `<name>_SECONDS` from the environment. The defaults are seed 1 and 30 s.
    pub(crate) fn of(name: &str) -> Self {
        let number = |what: &str| {
            let text = std::env::var(format!("{name}_{what}")).ok().filter(|text| !text.is_empty());
            text.map(|text| text.parse().unwrap_or_else(|error| panic!("{name}_{what}: {error}")))
        };
        Self {
            seed: number("SEED").unwrap_or(1),
            length: Duration::from_secs(number("SECONDS").unwrap_or(30)),
        }
    }
}
