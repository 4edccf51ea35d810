//! An agent that is attacked over HTTP while it is scraped, and a twin that is not attacked.
//!
//! The same task scrapes the twin at the same time. Its scrapes show how much the machine itself adds. How long the
//! attacked agent waits for a processor is not counted as the time of its scrapes.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::client::Client;
use crate::lab::Lab;
use crate::program::{Running, run_delay, within};
use crate::scrape::Scrape;

/// The targets of each agent: some dozens of such responses exceed the limit of memory.
const TARGETS: usize = 16;
/// The longest time of a scrape under attack, in addition to the slowest scrape of the twin.
const SCRAPE: Duration = Duration::from_secs(1);
/// The growth of memory that is allowed, in KiB.
const MEMORY: u64 = 10 * 1024;
/// The pause between scrapes.
const PAUSE: Duration = Duration::from_millis(100);
const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: agent\r\n\r\n";

pub(crate) struct Siege {
    agent: Running,
    twin: Running,
    scraper: JoinHandle<()>,
    seen: Arc<Mutex<Seen>>,
    /// The slowest scrapes of all attacks.
    slowest: Seen,
    before: [Scrape; 2],
    /// The agent's memory at the start, in KiB.
    start: u64,
    report: String,
    _lab: Lab,
}

/// The observations of the scraper.
#[derive(Clone, Copy, Default)]
struct Seen {
    scrapes: u32,
    /// The slowest scrape on a new connection, on the kept connection, and of the twin.
    anew: Duration,
    kept: Duration,
    twin: Duration,
    /// How often the kept connection was closed and reopened.
    reopened: u32,
}

impl Siege {
    pub(crate) async fn begin() -> Self {
        let lab = Lab::start().await;
        let target = |number| lab.target(&name(number), "identity: managed_identity, interval: 1s");
        let file = lab.file("config.yaml", &Lab::config((0..TARGETS).map(target)));
        let (agent, twin) = (lab.run_file(&file).serve().await, lab.run_file(&file).serve().await);
        let mut before = Vec::new();
        for running in [&agent, &twin] {
            let all_up = |scrape: &Scrape| (0..TARGETS).all(|number| scrape.is_up(&name(number)));
            before.push(running.until("every target is up", all_up).await);
        }
        let seen = Arc::default();
        let scraper = tokio::spawn(scrape_on(agent.addr(), agent.id(), twin.addr(), Arc::clone(&seen)));
        sleep(Duration::from_secs(1)).await;
        let start = agent.memory().now;
        let before = before.try_into().unwrap();
        let mut siege = Self {
            agent,
            twin,
            scraper,
            seen,
            slowest: Seen::default(),
            before,
            start,
            report: String::new(),
            _lab: lab,
        };
        siege.write(
            "",
            ["scrapes", "new connection", "kept one", "reopened", "twin", "resident", "peak"]
                .map(str::to_owned),
        );
        siege.note("no attack");
        siege
    }

    /// Returns the address to attack.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.agent.addr()
    }

    pub(crate) async fn endure<T>(&mut self, what: &str, attack: impl Future<Output = T>) -> T {
        let result = attack.await;
        // Waits for a scrape that began after the attack.
        let scrapes = self.seen.lock().unwrap().scrapes;
        within("the agent is scraped", async {
            while self.seen.lock().unwrap().scrapes < scrapes + 2 {
                assert!(!self.scraper.is_finished(), "the scraper has failed: see above");
                sleep(PAUSE).await;
            }
        })
        .await;
        self.note(what);
        result
    }

    /// Ends the siege, prints the figures, and asserts that the attacks did not harm the agent.
    pub(crate) async fn end(self) {
        self.scraper.abort();
        let after = [self.agent.scrape().await, self.twin.scrape().await];
        let sum = |name: &str, at: usize| -> u64 {
            let of = |scrape: &Scrape| {
                (0..TARGETS).map(|number| scrape.sum(name, &self::name(number))).sum::<u64>()
            };
            of(&after[at]) - of(&self.before[at])
        };
        let [probes, late] = ["probes_total", "late_ticks_total"].map(|it| [0, 1].map(|at| sum(it, at)));
        let taken = |scrape: &Scrape| [scrape.of_process("open_fds"), scrape.tasks()];
        let (before, now) = (taken(&self.before[0]), taken(&after[0]));
        let peak = self.agent.memory().peak - self.start;
        let report = format!(
            "\n{}probes {} (twin {}), late {} (twin {}); {peak} KiB more at the peak than at the start; \
             file descriptors and tasks: {before:?} before, {now:?} now\n",
            self.report, probes[0], probes[1], late[0], late[1],
        );
        io::stderr().write_all(report.as_bytes()).unwrap();
        let slowest = self.slowest.anew.max(self.slowest.kept);
        assert!(slowest < SCRAPE + self.slowest.twin, "a scrape took {slowest:?}");
        assert!(peak <= MEMORY, "{peak} KiB more than at the start");
        // Allows for operations in progress, such as the connection of this scrape.
        assert!(
            now.iter().zip(before).all(|(now, before)| *now <= before + 3),
            "{before:?} before, {now:?} now"
        );
        assert_eq!(sum("probe_failures_total", 0), 0, "probes failed:\n{}", after[0].text);
        assert!(probes[0] * 10 >= probes[1] * 9, "{probes:?}: probes were missed");
    }

    fn note(&mut self, what: &str) {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        self.slowest.anew = self.slowest.anew.max(seen.anew);
        self.slowest.kept = self.slowest.kept.max(seen.kept);
        self.slowest.twin = self.slowest.twin.max(seen.twin);
        let memory = self.agent.memory();
        let millis = |duration: Duration| format!("{} ms", duration.as_millis());
        self.write(
            what,
            [
                seen.scrapes.to_string(),
                millis(seen.anew),
                millis(seen.kept),
                seen.reopened.to_string(),
                millis(seen.twin),
                format!("{} KiB", memory.now),
                format!("{} KiB", memory.peak),
            ],
        );
    }

    fn write(&mut self, what: &str, cells: [String; 7]) {
        write!(self.report, "{what:40}").unwrap();
        for cell in cells {
            write!(self.report, "{cell:>15}").unwrap();
        }
        self.report.push('\n');
    }
}

fn name(number: usize) -> String {
    format!("cache-{number}")
}

/// Scrapes both agents forever: on a kept connection, as Prometheus does, which is reopened if it was closed, and on a new
/// one each time.
async fn scrape_on(agent: SocketAddr, process: u32, twin: SocketAddr, seen: Arc<Mutex<Seen>>) {
    let mut connection = Client::connect(agent).await;
    loop {
        let before = run_delay(process);
        let (anew, twin) = tokio::join!(scrape_anew(agent), scrape_anew(twin));
        let between = run_delay(process);
        let (kept, reopened) = within("a scrape is answered", scrape_again(agent, &mut connection)).await;
        let anew = anew.saturating_sub(between.saturating_sub(before));
        let kept = kept.saturating_sub(run_delay(process).saturating_sub(between));
        {
            let mut seen = seen.lock().unwrap();
            seen.scrapes += 1;
            seen.anew = seen.anew.max(anew);
            seen.kept = seen.kept.max(kept);
            seen.twin = seen.twin.max(twin);
            seen.reopened += u32::from(reopened);
        }
        sleep(PAUSE).await;
    }
}

async fn scrape_anew(agent: SocketAddr) -> Duration {
    let began = Instant::now();
    let scraping = async { scrape(&mut Client::connect(agent).await).await.expect("a scrape is answered") };
    within("a scrape is answered", scraping).await;
    began.elapsed()
}

async fn scrape_again(agent: SocketAddr, connection: &mut Client) -> (Duration, bool) {
    let began = Instant::now();
    let reopened = scrape(connection).await.is_err();
    if reopened {
        *connection = Client::connect(agent).await;
        scrape(connection).await.expect("a scrape is answered");
    }
    (began.elapsed(), reopened)
}

/// Scrapes once and requires a complete response.
async fn scrape(client: &mut Client) -> io::Result<()> {
    client.send(REQUEST).await?;
    let response = client.response(false).await?;
    assert_eq!(response.code, 200, "{}", response.head);
    let scrape = Scrape::new(String::from_utf8(response.body).unwrap());
    for number in 0..TARGETS {
        assert!(scrape.is_up(&name(number)), "{}", scrape.text);
    }
    Ok(())
}
