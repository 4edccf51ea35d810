//! The seeds of the simulations: a few in `cargo test`, more in `make simulation-test`, or a single one to replay.

use std::ops::Range;

/// Replays this seed.
const ONE: &str = "SIMULATION_SEED";
/// Multiplies the number of seeds.
const FACTOR: &str = "SIMULATION_FACTOR";

/// Returns `runs` seeds, or what the environment asks for instead.
pub(super) fn seeds(runs: u64) -> Range<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    match number(ONE) {
        Some(seed) => seed..seed + 1,
        None => 0..runs * number(FACTOR).unwrap_or(1),
    }
}
