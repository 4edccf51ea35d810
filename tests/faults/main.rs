//! That the agent tells the truth under every fault: the fault is brought about, the metrics must show the right
//! reason in time, the agent stays up, and after the fault's end the target is healthy again without a restart.
//!
//! [`row`] says what a row of the table is and plays it; the modules of [`rows`] are the table; [`table`] prints it
//! and keeps `docs/faults.md`; [`secrets`] searches what was shown meanwhile. [`chaos`] compares what the agent recorded
//! with what was done to it, [`soak`] what it takes after minutes of faults with what it took at first.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "shared with the tests of the agent")]
#[path = "../agent/lab.rs"]
mod lab;
#[allow(dead_code, reason = "shared with the tests of the agent")]
#[path = "../agent/port.rs"]
mod port;
#[allow(dead_code, reason = "shared with the tests of the agent")]
#[path = "../agent/program.rs"]
mod program;
#[allow(dead_code, reason = "shared with the tests of the agent")]
#[path = "../agent/redis_server.rs"]
mod redis_server;
#[allow(dead_code, reason = "shared with the tests of the agent")]
#[path = "../agent/scrape.rs"]
mod scrape;

mod bench;
mod chaos;
mod cluster;
mod gate;
mod names;
mod prober;
mod row;
mod rows;
mod run;
mod secrets;
mod soak;
mod table;

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::row::Verdict;

/// How many rows are played at a time: they wait most of the time, but they share a small machine.
const AT_ONCE: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_is_told_by_its_reason_and_got_over_without_a_restart() {
    let rows = rows::all();
    table::assert_documented(&rows);
    // To play some rows only: `FAULTS='packets dropped' cargo test --test faults`.
    let wanted = std::env::var("FAULTS").unwrap_or_default();
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut playing = JoinSet::new();
    let mut verdicts = vec![None; rows.len()];
    let mut names = Vec::new();
    for (index, row) in rows.into_iter().enumerate() {
        names.push((row.group, row.fault.clone(), row.expected.clone()));
        if row.fault.contains(&wanted) {
            let places = Arc::clone(&places);
            playing.spawn(async move {
                let _place = places.acquire_owned().await.unwrap();
                // In a task of its own, so that a row that panics is a row that failed.
                let verdict = tokio::spawn(row.play()).await;
                (index, verdict.unwrap_or_else(|_| Verdict::failed("it panicked: see above")))
            });
        }
    }
    while let Some(ended) = playing.join_next().await {
        let (index, verdict) = ended.unwrap();
        verdicts[index] = Some(verdict);
    }
    table::print(&names, &verdicts);
    let failed = names.iter().zip(&verdicts).filter_map(|(name, verdict)| {
        let words = verdict.as_ref()?.result.as_ref().err()?;
        Some(format!("{}: {words}", name.1))
    });
    let failed: Vec<String> = failed.collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
