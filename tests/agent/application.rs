//! An application that uses a cache all the time: the truth that the agent's record is compared with.
//!
//! It knows nothing of the agent. How it finds the server that takes a write is in [`cluster_client`](crate::cluster_client)
//! and [`sentinel_client`](crate::sentinel_client).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use crate::load::Beats;
use crate::program::{Running, eventually};
use crate::scrape::Scrape;

/// The time from one write to the next.
const EVERY: Duration = Duration::from_millis(50);

/// When writes failed: from the start of the first that did to the end of the next that did not.
type Outages = Arc<Mutex<Vec<(Instant, Option<Instant>)>>>;

/// What writes to a cache.
pub(crate) trait Writer: Send + 'static {
    /// Writes once, and returns whether a server accepted it.
    async fn write(&mut self) -> bool;
}

/// An application that runs until it is dropped, on a thread of its own: nothing that a test waits for makes it late.
pub(crate) struct Application {
    /// Of each writer.
    outages: Vec<Outages>,
    beats: Beats,
    _end: oneshot::Sender<()>,
}

impl Application {
    /// Lets all `writers` write, side by side.
    pub(crate) fn start(writers: Vec<impl Writer>) -> Self {
        let outages: Vec<_> = writers.iter().map(|_| Outages::default()).collect();
        let recorded = outages.clone();
        let (end, ended) = oneshot::channel();
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let writing = writers.into_iter().zip(recorded).map(|(writer, outages)| run(writer, outages));
                tokio::select! {
                    _ = join_all(writing) => {}
                    _ = ended => {}
                }
            });
        });
        Self { outages, beats: Beats::start(), _end: end }
    }

    /// Returns for how long the writes of one writer have failed so far.
    pub(crate) fn unavailable_to(&self, writer: usize) -> Duration {
        union(&self.outages[writer..=writer])
    }

    /// Returns for how long those of any writer have failed so far.
    pub(crate) fn unavailable(&self) -> Duration {
        union(&self.outages)
    }

    /// Waits until the last write of each writer has succeeded.
    pub(crate) async fn recovers(&self) {
        let is_over =
            |outages: &Outages| outages.lock().unwrap().last().is_none_or(|(_, until)| until.is_some());
        eventually("the application writes", || self.outages.iter().all(is_over)).await;
    }

    /// Returns by how much timers of this process were late so far: a measure of how busy the machine is.
    pub(crate) fn late(&self) -> Duration {
        self.beats.late()
    }

    /// The agent has recorded the outages of the target `orders` that the application saw, within `tolerance` and what the
    /// load of the machine adds.
    pub(crate) fn agrees(&self, agent: &Running, scrape: &Scrape, tolerance: Duration) {
        let (recorded, truth) = (scrape.unavailable("orders"), self.unavailable());
        let load = self.late() + agent.run_delay();
        eprintln!("recorded {recorded:.1?}, truth {truth:.1?}, load {load:.1?}");
        assert!(
            recorded.abs_diff(truth) <= tolerance + load,
            "{recorded:?} recorded, but {truth:?}, and {load:?} are due to load\n{}",
            scrape.text
        );
    }
}

async fn run(mut writer: impl Writer, outages: Outages) {
    let mut due = Instant::now();
    loop {
        sleep_until(due).await;
        let started = Instant::now();
        let is_written = writer.write().await;
        let mut outages = outages.lock().unwrap();
        match (outages.last_mut().filter(|(_, until)| until.is_none()), is_written) {
            (None, false) => outages.push((started, None)),
            (Some(outage), true) => outage.1 = Some(Instant::now()),
            (Some(_), false) | (None, true) => {}
        }
        due = (due + EVERY).max(Instant::now());
    }
}

fn union(of: &[Outages]) -> Duration {
    let now = Instant::now();
    let mut intervals = Vec::new();
    for outages in of {
        let outages = outages.lock().unwrap();
        intervals.extend(outages.iter().map(|(from, until)| (*from, until.unwrap_or(now))));
    }
    intervals.sort_unstable();
    let (mut sum, mut end) = (Duration::ZERO, None);
    for (from, until) in intervals {
        let from = end.map_or(from, |end| from.max(end));
        sum += until.saturating_duration_since(from);
        end = end.max(Some(until));
    }
    sum
}
