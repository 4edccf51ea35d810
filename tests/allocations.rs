//! A probe on a warm connection allocates nothing: it costs no time in the allocator, and memory that is not asked for
//! cannot be lacking.

#[path = "../bench/driver/src/lab.rs"]
mod lab;

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use lab::Lab;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Returns how often memory was asked for in `probes` probes and their preparation.
async fn allocations(probes: u64) -> usize {
    let asked = || ALLOCATOR.stats().allocations + ALLOCATOR.stats().reallocations;
    let before = asked();
    Lab::new().probe("t", probes).await;
    asked() - before
}

// The only test here: the allocator counts for the whole process.
#[tokio::test(start_paused = true)]
async fn a_probe_on_a_warm_connection_allocates_nothing() {
    // What is allocated once per process.
    allocations(20).await;
    let (few, many) = (allocations(20).await, allocations(520).await);
    // Now and then the test's harness allocates something.
    assert!(many < few + 50, "{few} allocations with 20 probes, {many} with 500 more");
}
