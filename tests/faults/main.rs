//! Fault injection. Each test causes a fault and requires the right reason in the metrics in time, an agent that keeps
//! running, and a healthy target after the fault without a restart.
//!
//! [`row`] defines and runs a row of the table, and the modules of [`rows`] contain the rows. [`table`] prints them and
//! writes `docs/faults.md`, and [`secrets`] searches the output for secrets. [`chaos`] and
//! [`cluster_chaos`] compare the metrics with random outages, and [`soak`] compares the agent's resources before and after minutes of faults.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "shared with the tests of the agent")]
#[path = "../agent/application.rs"]
mod application;
#[allow(dead_code, reason = "shared with the tests of the agent")]
#[path = "../agent/cluster_bed.rs"]
mod cluster_bed;
#[allow(dead_code, reason = "shared with the tests of the agent")]
#[path = "../agent/cluster_client.rs"]
mod cluster_client;
#[path = "../agent/gate.rs"]
mod gate;
#[allow(dead_code, reason = "shared with the tests of the agent")]
#[path = "../agent/lab.rs"]
mod lab;
#[path = "../agent/line_connection.rs"]
mod line_connection;
#[allow(dead_code, reason = "shared with the tests of the agent")]
#[path = "../agent/load.rs"]
mod load;
#[path = "../agent/nodes.rs"]
mod nodes;
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
mod cluster_chaos;
mod moves;
mod names;
mod prober;
mod roles;
mod row;
mod rows;
mod run;
mod secrets;
mod soak;
mod table;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::bench::COMMAND_TIMEOUT;
use crate::load::Beats;
use crate::row::{Row, Verdict};

/// The number of rows that run concurrently. They mostly wait, but they share a small machine.
const AT_ONCE: usize = 10;
/// How much a busy machine may delay a row until its failure proves nothing: half the shortest timeout.
const SPOILT: Duration = COMMAND_TIMEOUT.checked_div(2).unwrap();
/// How often a row is repeated whose failure proves nothing.
const REPEATS: usize = 3;

/// Plays a row, again if it fails while the machine is too busy.
async fn play(mut row: Row, index: usize, beats: &Beats) -> Verdict {
    let mut repeats = 0;
    loop {
        let late = beats.late();
        // In a separate task, so that a panic fails only this row.
        let verdict = tokio::spawn(row.play()).await;
        let verdict = verdict.unwrap_or_else(|_| Verdict::failed("panicked; see above"));
        let delay = beats.late().saturating_sub(late);
        match &verdict.result {
            Err(error) if delay > SPOILT && repeats < REPEATS => {
                repeats += 1;
                row = rows::all().swap_remove(index);
                eprintln!("{}: again, because the machine delayed it by {delay:.1?}: {error}", row.fault);
            }
            _ => return verdict,
        }
    }
}

// More threads than processors, because some steps of a row block.
#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn every_fault_shows_its_reason_and_the_agent_recovers_without_a_restart() {
    let rows = rows::all();
    table::assert_documented(&rows);
    // To run only some rows: `FAULTS='packets dropped' cargo test --test faults`.
    let wanted = std::env::var("FAULTS").unwrap_or_default();
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut playing = JoinSet::new();
    let mut verdicts = vec![None; rows.len()];
    let mut names = Vec::new();
    let beats = Arc::new(Beats::start());
    for (index, row) in rows.into_iter().enumerate() {
        names.push((row.group, row.fault.clone(), row.expected.clone()));
        if row.fault.contains(&wanted) {
            let (places, beats) = (Arc::clone(&places), Arc::clone(&beats));
            playing.spawn(async move {
                let _place = places.acquire_owned().await.unwrap();
                (index, play(row, index, &beats).await)
            });
        }
    }
    while let Some(ended) = playing.join_next().await {
        let (index, verdict) = ended.unwrap();
        verdicts[index] = Some(verdict);
    }
    table::print(&names, &verdicts);
    let failed = names.iter().zip(&verdicts).filter_map(|(name, verdict)| {
        let error = verdict.as_ref()?.result.as_ref().err()?;
        Some(format!("{}: {error}", name.1))
    });
    let failed: Vec<String> = failed.collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
