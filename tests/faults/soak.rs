//! That nothing grows: memory, file descriptors, threads and tasks of the agent under constant faults, compared
//! between calm moments, in which the same targets are up and nothing else goes on.

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

/// How many faults come one after the other before the next calm moment.
const FAULTS: usize = 6;
/// Calm moments at least, so that each third has one.
const MOMENTS: usize = 3;
/// Looks at a calm moment. What is merely under way, such as a renewal, is not there in all of them.
const LOOKS: usize = 8;
const PAUSE: Duration = Duration::from_millis(150);

/// What the agent takes. It counts its file descriptors itself: a process that forbids core dumps shows them to
/// nobody else.
type Figures = [u64; 4];
const NAMES: [&str; 4] = ["memory, KiB", "descriptors", "threads", "tasks"];
/// How much each may grow from the first third of the calm moments to the last, which are compared by their medians.
/// For memory that is what the allocator scatters; for the others, what is under way in every look.
const GROWTH: Figures = [512, 2, 2, 2];

fn figures(agent: &Running, scrape: &Scrape) -> Figures {
    [agent.memory().now, scrape.of_process("open_fds"), scrape.of_process("threads"), scrape.tasks()]
}

/// Of each figure, the one that `choose` takes out of all in their order.
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

/// Waits until all is well, and goes on to be well for as long as it takes to tell the figures.
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
        // But for the last one, which starts anew with each reload.
        let sum = |name: &str| TARGETS[..3].iter().map(|target| scrape.sum(name, target)).sum::<u64>();
        let renewals = "token_refreshes_total{identity=\"managed_identity\",result=\"success\"}";
        for count in [sum("probes_total"), sum("probe_failures_total"), sum("connects_total")] {
            write!(self.0, " {count:>9}").unwrap();
        }
        writeln!(self.0, " {:>8} {reloads:>8}", scrape.value(renewals)).unwrap();
    }
}

/// One fault, from its beginning to its end.
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
    // The warm-up: what the agent takes for a fault at its first time may stay with it.
    for fault in &faults {
        play(fault, &mut ground, &agent).await;
    }
    while began.elapsed() < length || moments.len() < MOMENTS {
        let (figures, scrape) = calm_moment(&agent).await;
        report.moment(began.elapsed(), figures, &scrape, ground.reloads);
        moments.push(figures);
        for _ in 0..FAULTS {
            play(random.choice(&faults).expect("there are some"), &mut ground, &agent).await;
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

/// In short; `make soak` takes its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_grows_under_constant_faults() {
    let Run { seed, length } = Run::of("SOAK");
    soak(seed, length).await;
}
