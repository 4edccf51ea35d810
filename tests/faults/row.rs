//! A row of the table: a fault, its expected signs, and how to run it.

use std::pin::Pin;
use std::time::Duration;

use cachepulse::config::keys::probe;
use cachepulse::probe::FailureReason;
use tokio::time::{Instant, sleep};

use crate::bench::{Agent, Bench, CONNECT_TIMEOUT, INTERVAL, TARGET};
use crate::lab::Lab;
use crate::program::Memory;
use crate::scrape::Scrape;
use crate::secrets::no_secret;

/// The longest time until a recovered cache is up, if the interval is shorter.
const RECOVERY: Duration = Duration::from_secs(5);
/// The tolerance of every bound: ten agents in debug builds and their servers may share two busy cores.
pub(crate) const LOAD: Duration = Duration::from_secs(3);
/// The duration of a fault that must not show.
const UNSEEN: Duration = Duration::from_secs(4);
const LOOK: Duration = Duration::from_millis(50);
/// The growth of memory that is allowed under a fault that sends much data, in KiB.
const MEMORY: u64 = 10 * 1024;

pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// An action on the bench.
pub(crate) type Act = Box<dyn for<'a> Fn(&'a mut Bench) -> Boxed<'a, ()> + Send>;
type SetUp = Box<dyn FnOnce() -> Boxed<'static, Bench> + Send>;

/// Returns an action that does not wait.
pub(crate) fn at_once(act: impl Fn(&mut Bench) + Send + 'static) -> Act {
    Box::new(move |bench| {
        act(bench);
        Box::pin(std::future::ready(()))
    })
}

pub(crate) struct Row {
    pub(crate) group: &'static str,
    pub(crate) fault: String,
    /// The expected reason, or a description.
    pub(crate) expected: String,
    pub(crate) proof: Proof,
}

pub(crate) enum Proof {
    /// Run here by the common procedure.
    Case(Case),
    /// Run here by its own procedure, which returns what was observed.
    Scenario(fn() -> Boxed<'static, Result<String, String>>),
    /// Proved by another test: its file and name.
    Test(&'static str, &'static str),
}

/// A fault that begins, shows and ends.
pub(crate) struct Case {
    signs: Signs,
    pace: Pace,
    /// Whether the fault begins before the agent starts.
    first: bool,
    /// How long it lasts after it has shown.
    lasts: Duration,
    /// Whether the agent's memory must not grow.
    frugal: bool,
    set_up: SetUp,
    inject: Act,
    mend: Act,
}

/// The interval and timeout of a row's agent.
#[derive(Clone, Copy)]
struct Pace {
    interval: Duration,
    /// The longest timeout of a probe.
    timeout: Duration,
}

/// With the limits of the bench.
const QUICK: Pace = Pace { interval: INTERVAL, timeout: CONNECT_TIMEOUT };
/// With the defaults.
const DEFAULT: Pace = Pace { interval: probe::INTERVAL.default(), timeout: probe::CONNECT_TIMEOUT.default() };

/// The signs of a fault in the metrics.
struct Signs {
    /// One of these must be the reason of a failed probe. If empty, no probe may fail.
    reasons: Vec<&'static str>,
    /// Further reasons that may follow.
    wake: Vec<&'static str>,
    /// How much later than interval plus timeout it may show.
    late: Duration,
    /// Whether a lost connection is enough, because it is reopened before the next probe.
    blink: bool,
}

/// The result of a row.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    /// What was observed, or what went wrong.
    pub(crate) result: Result<String, String>,
    /// The time until the target was healthy again.
    pub(crate) recovery: Option<Duration>,
}

impl Verdict {
    pub(crate) fn failed(text: &str) -> Self {
        Self { result: Err(text.to_owned()), recovery: None }
    }
}

impl Row {
    pub(crate) async fn play(self) -> Verdict {
        match self.proof {
            Proof::Case(case) => match case.play().await {
                Ok((seen, recovery)) => Verdict { result: Ok(seen), recovery: Some(recovery) },
                Err(text) => Verdict::failed(&text),
            },
            Proof::Scenario(play) => Verdict { result: play().await, recovery: None },
            Proof::Test(file, test) => {
                Verdict { result: Ok(format!("see {test} in {file}")), recovery: None }
            }
        }
    }
}

impl Case {
    /// Returns a fault of the lab, with an agent that uses a managed identity.
    pub(crate) fn new<const N: usize>(reasons: [&'static str; N], inject: Act, mend: Act) -> Self {
        Self {
            signs: Signs { reasons: reasons.into(), wake: Vec::new(), late: Duration::ZERO, blink: false },
            pace: QUICK,
            first: false,
            lasts: 2 * INTERVAL,
            frugal: false,
            set_up: Box::new(|| Box::pin(async { Bench::of(Lab::start().await) })),
            inject,
            mend,
        }
    }

    /// Uses another bench.
    pub(crate) fn on<F: Future<Output = Bench> + Send + 'static>(
        self,
        set_up: impl FnOnce() -> F + Send + 'static,
    ) -> Self {
        Self { set_up: Box::new(|| Box::pin(set_up())), ..self }
    }

    /// Uses an agent with the defaults: three attempts per probe, every 10 s.
    pub(crate) fn by_default(self) -> Self {
        Self { pace: DEFAULT, ..self }.on(Bench::by_default)
    }

    pub(crate) fn wake<const N: usize>(self, wake: [&'static str; N]) -> Self {
        Self { signs: Signs { wake: wake.into(), ..self.signs }, ..self }
    }

    pub(crate) fn first(self) -> Self {
        Self { first: true, ..self }
    }

    pub(crate) fn lasts(self, lasts: Duration) -> Self {
        Self { lasts, ..self }
    }

    /// Requires that the agent's memory does not grow.
    pub(crate) fn in_little_memory(self) -> Self {
        Self { frugal: true, ..self }
    }

    pub(crate) fn shows_late(self, late: Duration) -> Self {
        Self { signs: Signs { late, ..self.signs }, ..self }
    }

    /// Marks a momentary fault, for which no probe needs to fail.
    pub(crate) fn blink(self) -> Self {
        Self { signs: Signs { blink: true, ..self.signs }, ..self }
    }

    pub(crate) fn expected(&self) -> String {
        let reasons: Vec<String> = self.signs.reasons.iter().map(|reason| format!("`{reason}`")).collect();
        match reasons.join(" or ") {
            none if none.is_empty() => "no failure".to_owned(),
            lost if self.signs.blink => format!("lost connection: {lost}"),
            failed => failed,
        }
    }

    async fn play(self) -> Result<(String, Duration), String> {
        let Self { signs, pace, first, lasts, frugal, set_up, inject, mend } = self;
        let mut bench = set_up().await;
        if first {
            inject(&mut bench).await;
        }
        let agent = bench.start().await;
        let memory = frugal.then(|| agent.memory());
        let before = if first {
            Shown::default()
        } else {
            let up = until(&agent, pace.interval + RECOVERY + LOAD, |scrape| scrape.is_up(TARGET)).await;
            let up = up.map_err(|scrape| format!("it was never up: {}", Shown::of(&scrape).describe()))?;
            inject(&mut bench).await;
            Shown::of(&up)
        };
        let mut seen = signs.watch(&agent, &before, pace).await?;
        sleep(lasts).await;
        let last = agent.scrape().await;
        signs.only_right_reasons(&Shown::of(&last).since(&before))?;
        let probes = last.sum("probes_total", TARGET);
        mend(&mut bench).await;
        let mended = Instant::now();
        let bound = pace.interval.max(RECOVERY) + LOAD;
        let healthy =
            until(&agent, bound, |it| it.is_up(TARGET) && it.sum("probes_total", TARGET) > probes).await;
        healthy.map_err(|scrape| format!("not healthy again: {}", Shown::of(&scrape).describe()))?;
        let recovery = mended.elapsed();
        if let Some(memory) = memory {
            seen = format!("{seen}; {}", little_more(memory, agent.memory())?);
        }
        let shown = agent.end().await?;
        no_secret(&bench.lab, &shown)?;
        Ok((seen, recovery))
    }
}

impl Signs {
    /// Waits until the fault shows, or makes sure that it does not. Returns a description.
    async fn watch(&self, agent: &Agent, before: &Shown, pace: Pace) -> Result<String, String> {
        if self.reasons.is_empty() {
            sleep(UNSEEN).await;
            let scrape = agent.scrape().await;
            let shown = Shown::of(&scrape).since(before);
            let quiet = shown.failures.is_empty() && scrape.is_up(TARGET);
            return if quiet {
                Ok("no failure".to_owned())
            } else {
                Err(format!("observed: {}", shown.describe()))
            };
        }
        let bound = pace.interval + pace.timeout + self.late + LOAD;
        let expected = |scrape: &Scrape| {
            let shown = Shown::of(scrape).since(before);
            let counts = if self.blink { &shown.disconnects } else { &shown.failures };
            self.reasons.iter().any(|reason| counts.iter().any(|it| it.0 == *reason))
        };
        match until(agent, bound, expected).await {
            Ok(scrape) => Ok(Shown::of(&scrape).since(before).describe()),
            Err(scrape) => Err(format!("observed: {}", Shown::of(&scrape).since(before).describe())),
        }
    }

    fn only_right_reasons(&self, shown: &Shown) -> Result<(), String> {
        let right = |reason: &&String| {
            self.reasons.contains(&reason.as_str()) || self.wake.contains(&reason.as_str())
        };
        match shown.failures.iter().map(|(reason, _)| reason).find(|reason| !right(reason)) {
            Some(_) => Err(format!("wrong reasons: {}", shown.describe())),
            None => Ok(()),
        }
    }
}

/// Returns a description of how much the agent's peak memory grew; an error if it grew by more than [`MEMORY`].
pub(crate) fn little_more(before: Memory, after: Memory) -> Result<String, String> {
    let text = format!("{} KiB more memory", after.peak - before.peak);
    if after.peak <= before.peak + MEMORY { Ok(text) } else { Err(text) }
}

async fn until(
    agent: &Agent,
    bound: Duration,
    condition: impl Fn(&Scrape) -> bool,
) -> Result<Scrape, Scrape> {
    let began = Instant::now();
    loop {
        let scrape = agent.scrape().await;
        if condition(&scrape) {
            return Ok(scrape);
        }
        if began.elapsed() > bound {
            return Err(scrape);
        }
        sleep(LOOK).await;
    }
}

/// The failures in the metrics, by reason.
#[derive(Default)]
struct Shown {
    failures: Vec<(String, u64)>,
    disconnects: Vec<(String, u64)>,
}

impl Shown {
    fn of(scrape: &Scrape) -> Self {
        let counts = |reasons: Vec<FailureReason>, counter: fn(&Scrape, &str, &str) -> u64| {
            let count = |reason: FailureReason| {
                (reason.as_str().to_owned(), counter(scrape, reason.as_str(), TARGET))
            };
            reasons.into_iter().map(count).filter(|(_, count)| *count > 0).collect()
        };
        let of_disconnects = FailureReason::of_disconnects().collect();
        Self {
            failures: counts(FailureReason::ALL.into(), Scrape::failures),
            disconnects: counts(of_disconnects, Scrape::disconnects),
        }
    }

    fn since(self, before: &Self) -> Self {
        let less = |now: Vec<(String, u64)>, before: &[(String, u64)]| {
            now.into_iter()
                .filter_map(|(reason, count)| {
                    let known = before.iter().find(|it| it.0 == reason).map_or(0, |it| it.1);
                    (count > known).then(|| (reason, count - known))
                })
                .collect()
        };
        Self {
            failures: less(self.failures, &before.failures),
            disconnects: less(self.disconnects, &before.disconnects),
        }
    }

    fn describe(&self) -> String {
        let list = |what: &str, counts: &[(String, u64)]| {
            counts.iter().map(|(reason, count)| format!("{what} {reason} {count}")).collect::<Vec<_>>()
        };
        let all = [list("failed", &self.failures), list("lost", &self.disconnects)].concat();
        if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
    }
}
