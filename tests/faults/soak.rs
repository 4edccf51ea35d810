//! Memory, file descriptors, threads and tasks of the agent do not grow under constant faults. They are compared between
//! calm moments, in which the same targets are up and there is no fault.

mod fault;
#[allow(dead_code, reason = "shared with the tests of the agent")]
#[path = "../agent/hostile/requests.rs"]
mod requests;

use std::array;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep};

use self::fault::{Fault, Ground, TARGETS};
use crate::program::{Running, within};
use crate::run::Run;
use crate::scrape::Scrape;

/// The number of faults between two calm moments.
const FAULTS: usize = 6;
/// The minimum number of calm moments, so that each third has one.
const MOMENTS: usize = 3;
/// The number of samples in a calm moment. The lowest one excludes temporary use, such as that of a renewal.
const LOOKS: usize = 8;
const PAUSE: Duration = Duration::from_millis(150);

/// The resources of the agent. Its file descriptors come from its metrics, because other processes cannot list those of
/// a process without core dumps.
type Figures = [u64; 4];
const NAMES: [&str; 4] = ["memory, KiB", "descriptors", "threads", "tasks"];
/// How much the median may grow from the first third of the calm moments to the last. Memory varies by the allocator's
/// fragmentation, the others by temporary use.
const GROWTH: Figures = [512, 2, 2, 2];

fn figures(agent: &Running, scrape: &Scrape) -> Figures {
    [agent.memory().now, scrape.of_process("open_fds"), scrape.of_process("threads"), scrape.tasks()]
}

/// Sorts all values of each figure and chooses one of them with `choose`.
fn each(all: &[Figures], choose: impl Fn(&[u64]) -> u64) -> Figures {
    array::from_fn(|place| {
        let mut numbers: Vec<u64> = all.iter().map(|figures| figures[place]).collect();
        numbers.sort_unstable();
        choose(&numbers)
    })
}

fn median(all: &[Figures]) -> Figures {
    each(all, |numbers| numbers[numbers.len() / 2])
}

/// Waits for a calm moment that lasts for all samples, and returns its figures.
async fn calm_moment(agent: &Running) -> (Figures, Scrape) {
    let well = |scrape: &Scrape| {
        TARGETS.iter().all(|name| scrape.is_up(name))
            && !scrape.text.contains("\"extra-")
            && scrape.value("config_last_reload_successful") > 0.5
    };
    loop {
        let mut last = agent.until("every target is up, and no other", well).await;
        let mut looks = Vec::new();
        while looks.len() < LOOKS && well(&last) {
            looks.push(figures(agent, &last));
            sleep(PAUSE).await;
            last = agent.scrape().await;
        }
        if well(&last) {
            return (each(&looks, |numbers| numbers[0]), last);
        }
    }
}

/// The report of a run, line by line.
struct Report(String);

impl Report {
    fn new(seed: u64) -> Self {
        let mut report = Self(format!("\nseed {seed}\n"));
        report.row("second", NAMES);
        report.0.push_str("    probes   failed connects renewals  reloads\n");
        report
    }

    fn row<T: ToString>(&mut self, title: &str, cells: [T; 4]) {
        write!(self.0, "{title:>12}").unwrap();
        for cell in cells {
            write!(self.0, "{:>13}", cell.to_string()).unwrap();
        }
    }

    fn moment(&mut self, since: Duration, figures: Figures, scrape: &Scrape, reloads: u32) {
        self.row(&since.as_secs().to_string(), figures);
        // Without the last target, whose counters restart with each reload.
        let sum = |name: &str| TARGETS[..3].iter().map(|target| scrape.sum(name, target)).sum::<u64>();
        let renewals = "token_refreshes_total{identity=\"managed_identity\",result=\"success\"}";
        for count in [sum("probes_total"), sum("probe_failures_total"), sum("connects_total")] {
            write!(self.0, " {count:>9}").unwrap();
        }
        writeln!(self.0, " {:>8} {reloads:>8}", scrape.value(renewals)).unwrap();
    }
}

/// Causes one fault and ends it.
async fn play(fault: &Fault, ground: &mut Ground, agent: &Running) {
    within(&format!("{fault:?}"), async {
        ground.begin(fault, agent).await;
        sleep(ground.length(fault)).await;
        ground.end(fault, agent).await;
    })
    .await;
}

async fn soak(seed: u64, length: Duration) {
    let mut random = Rng::with_seed(seed);
    let mut ground = Ground::new(random.fork()).await;
    let agent = ground.agent().serve().await;
    let mut report = Report::new(seed);
    let mut moments = Vec::new();
    let mut faults = Fault::all();
    random.shuffle(&mut faults);
    let began = Instant::now();
    // Warm-up: the agent may keep memory after the first occurrence of a fault.
    for fault in &faults {
        play(fault, &mut ground, &agent).await;
    }
    while began.elapsed() < length || moments.len() < MOMENTS {
        let (figures, scrape) = calm_moment(&agent).await;
        report.moment(began.elapsed(), figures, &scrape, ground.reloads);
        moments.push(figures);
        for _ in 0..FAULTS {
            play(random.choice(&faults).expect("the list is not empty"), &mut ground, &agent).await;
        }
    }
    let third = moments.len() / 3;
    let (first, last) = (median(&moments[..third]), median(&moments[moments.len() - third..]));
    for (title, figures) in [("first third", first), ("last third", last), ("may grow by", GROWTH)] {
        report.row(title, figures);
        report.0.push('\n');
    }
    std::io::stderr().write_all(report.0.as_bytes()).unwrap();
    for (place, name) in NAMES.iter().enumerate() {
        assert!(
            last[place] <= first[place] + GROWTH[place],
            "{name}: from {} to {}",
            first[place],
            last[place]
        );
    }
}

/// The short form; `make soak` runs longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_grows_under_constant_faults() {
    let Run { seed, length } = Run::of("SOAK");
    soak(seed, length).await;
}
