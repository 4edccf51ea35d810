//! A probe on a warm connection allocates nothing: it costs no time in the allocator, and memory that is not asked for
//! cannot be lacking. On TLS, rustls allocates for each record; a probe does so as often as a loop over rustls alone. And a
//! further target takes little memory while it waits for its next probe.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, unused_imports, reason = "shared with the benchmarks")]
#[path = "../../bench/driver/src/lab.rs"]
mod lab;
mod tls;

use std::alloc::System;
use std::io::{Read, Write};

use cachepulse::identity::sign_in::SignIn;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use lab::{Cache, INTERVAL, LAST_COMMAND, Lab};
use tls::TlsCache;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The probes that are counted.
const PROBES: u64 = 500;
/// After so many, a target has all of its last outcomes.
const PROBES_OF_EACH: u64 = 12;
/// What a further target uses more than a connection of rustls alone, buffers of 4 KiB included, in bytes.
const OF_TARGET: usize = 9_000;
/// Now and then the test's harness allocates something.
const OF_HARNESS: usize = 50;

/// How often memory was asked for.
fn asked() -> usize {
    ALLOCATOR.stats().allocations + ALLOCATOR.stats().reallocations
}

/// Returns how often memory is asked for in `PROBES` probes on a warm connection; `count` runs some with their preparation.
async fn allocations(count: impl AsyncFn(u64)) -> usize {
    let asked_in = async |probes| {
        let before = asked();
        count(probes).await;
        asked() - before
    };
    // What is allocated once per process.
    asked_in(20).await;
    let few = asked_in(20).await;
    asked_in(20 + PROBES).await.saturating_sub(few)
}

/// Runs `count` probes over TLS.
async fn probe_over_tls(count: u64) {
    let (lab, cache) = (Lab::new(), Cache::until(LAST_COMMAND, count));
    let prober = lab.prober("t", &TlsCache::new(&cache), INTERVAL, SignIn::None);
    tokio::select! {
        never = prober.run(Instant::now()) => match never {},
        () = cache.done() => {}
    }
}

/// Sends the commands of `count` probes over TLS, and reads their replies.
fn bare_loop(count: u64) {
    let mut stream = TlsCache::new(&Cache::until(LAST_COMMAND, count)).bare();
    let mut reply = vec![0; 16 * 1024];
    (0..count).for_each(|_| bare_probe(&mut stream, &mut reply));
}

/// Sends the commands of one probe, and reads the replies into `reply`.
fn bare_probe(stream: &mut (impl Read + Write), reply: &mut [u8]) {
    for command in [
        "*1\r\n$4\r\nPING\r\n",
        "*5\r\n$3\r\nSET\r\n$16\r\ncachepulse:bare:\r\n$32\r\n0123456789abcdef0123456789abcdef\r\n$2\r\nPX\r\n$5\r\n30000\r\n",
        "*2\r\n$3\r\nGET\r\n$16\r\ncachepulse:bare:\r\n",
        "*2\r\n$6\r\nCLIENT\r\n$4\r\nLIST\r\n",
    ] {
        stream.write_all(command.as_bytes()).unwrap();
        stream.flush().unwrap();
        // The list is the only reply that takes more than one read.
        while stream.read(reply).is_ok_and(|length| length > 0) {}
    }
}

/// How many bytes are in use.
fn used() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Returns how many bytes `count` targets on TLS use, each after some probes.
async fn used_by_targets(count: u64) -> usize {
    let (lab, cache) = (Lab::new(), Cache::until(LAST_COMMAND, count * PROBES_OF_EACH));
    let over_tls = TlsCache::new(&cache);
    let (before, start) = (used(), Instant::now());
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let prober = lab.prober(&format!("target-{number}"), &over_tls, INTERVAL, SignIn::None);
        tasks.spawn(prober.run(start));
    }
    cache.done().await;
    // The last of them is to be at rest.
    sleep(INTERVAL / 2).await;
    let used = used() - before;
    // Dropped, they would be freed later.
    tasks.shutdown().await;
    used
}

/// Returns how many bytes `count` connections of rustls alone use, with their servers.
fn used_by_bare(count: u64) -> usize {
    let over_tls = TlsCache::new(&Cache::until(LAST_COMMAND, 1));
    let mut reply = vec![0; 16 * 1024];
    let before = used();
    let streams: Vec<_> = (0..count)
        .map(|_| {
            let mut stream = over_tls.bare();
            bare_probe(&mut stream, &mut reply);
            stream
        })
        .collect();
    let after = used();
    drop(streams);
    after - before
}

// The only test here: the allocator counts for the whole process.
#[tokio::test(start_paused = true)]
async fn a_probe_allocates_nothing_of_its_own_and_a_further_target_takes_little_memory() {
    let plain = allocations(async |count| Lab::new().probe("t", count).await).await;
    assert!(plain < OF_HARNESS, "{plain} allocations in {PROBES} probes");
    let over_tls = allocations(probe_over_tls).await;
    let bare = allocations(async |count| bare_loop(count)).await;
    assert!(bare as u64 > PROBES, "{bare} allocations are counted");
    assert!(
        over_tls <= bare + OF_HARNESS,
        "{over_tls} allocations in {PROBES} probes, {bare} in the bare loop"
    );

    let further = (used_by_targets(60).await - used_by_targets(20).await) / 40;
    let bare = (used_by_bare(60) - used_by_bare(20)) / 40;
    let own = further.saturating_sub(bare);
    assert!(own < OF_TARGET, "{further} bytes for each further target, {bare} for a bare connection: {own}");
}
