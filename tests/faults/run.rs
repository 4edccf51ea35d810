//! How long a test of chance goes on, and from which seed.

use std::time::Duration;

/// One run of a test of chance.
pub(crate) struct Run {
    pub(crate) seed: u64,
    pub(crate) length: Duration,
}

impl Run {
    /// What `<name>_SEED` and `<name>_SECONDS` in the environment say; without them, 30 s that are the same each time.
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
