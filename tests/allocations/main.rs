//! A probe on a warm connection allocates nothing: it costs no time in the allocator, and memory that is not asked for
//! cannot be lacking. On TLS, rustls allocates for each record; a probe does so as often as a loop over rustls alone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, unused_imports, reason = "shared with the benchmarks")]
#[path = "../../bench/driver/src/lab.rs"]
mod lab;
mod tls;

use std::alloc::System;
use std::io::{Read as _, Write as _};

use cachepulse::identity::sign_in::SignIn;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::time::Instant;

use lab::{Cache, INTERVAL, LAST_COMMAND, Lab};
use tls::TlsCache;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The probes that are counted.
const PROBES: u64 = 500;
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
    for _ in 0..count {
        for command in [
            "*1\r\n$4\r\nPING\r\n",
            "*5\r\n$3\r\nSET\r\n$16\r\ncachepulse:bare:\r\n$32\r\n0123456789abcdef0123456789abcdef\r\n$2\r\nPX\r\n$5\r\n30000\r\n",
            "*2\r\n$3\r\nGET\r\n$16\r\ncachepulse:bare:\r\n",
            "*2\r\n$6\r\nCLIENT\r\n$4\r\nLIST\r\n",
        ] {
            stream.write_all(command.as_bytes()).unwrap();
            stream.flush().unwrap();
            // The list is the only reply that takes more than one read.
            while stream.read(&mut reply).is_ok_and(|length| length > 0) {}
        }
    }
}

// The only test here: the allocator counts for the whole process.
#[tokio::test(start_paused = true)]
async fn a_probe_on_a_warm_connection_allocates_nothing_of_its_own() {
    let plain = allocations(async |count| Lab::new().probe("t", count).await).await;
    assert!(plain < OF_HARNESS, "{plain} allocations in {PROBES} probes");
    let over_tls = allocations(probe_over_tls).await;
    let bare = allocations(async |count| bare_loop(count)).await;
    assert!(bare as u64 > PROBES, "{bare} allocations are counted");
    assert!(
        over_tls <= bare + OF_HARNESS,
        "{over_tls} allocations in {PROBES} probes, {bare} in the bare loop"
    );
}
