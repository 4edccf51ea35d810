//! The refresh loop on paused time, against a scripted source.

#![allow(clippy::unchecked_time_subtraction, reason = "a panic is what a test wants")]

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::coop;

use super::*;
use crate::identity::{ChangeFuture, FetchFuture};
use crate::metrics::Metrics;
use crate::secret::Secret;
use crate::status::Status;

/// An endpoint with scripted answers, which records the times of the requests, and how many there were at a time.
#[derive(Clone, Default)]
struct Endpoint {
    script: Arc<Mutex<VecDeque<Fetched>>>,
    requests: Arc<Mutex<Vec<Instant>>>,
    open: Arc<()>,
    most: Arc<AtomicUsize>,
    is_command: bool,
    is_latest: bool,
    change: Arc<Notify>,
    clock: Option<Clock>,
}

#[derive(Clone)]
enum Fetched {
    /// A token with this text and lifetime.
    Token(&'static str, Duration),
    /// A token with this text that expires this long after the start, within the rounding to whole seconds.
    Until(&'static str, Duration),
    /// A token with this text, of which nothing says when it expires.
    Assumed(&'static str),
    /// After this delay, a token with this text and a lifetime of an hour.
    Slow(Duration, &'static str),
    /// An error, after this delay.
    SlowError(Duration),
    Error,
    Hang,
    /// Data without an end: each poll takes a second, and all of the runtime's budget. An error after a minute.
    Flood,
}

impl TokenSource for Endpoint {
    fn fetch(&self) -> FetchFuture<'_> {
        self.requests.lock().unwrap().push(Instant::now());
        let mut script = self.script.lock().unwrap();
        // The last answer repeats.
        let answer = if script.len() > 1 { script.pop_front() } else { script.front().cloned() };
        let now = self.clock.as_ref().unwrap().now();
        Box::pin(async move {
            let _open = Arc::clone(&self.open);
            // One is the endpoint's own, and one the test's.
            self.most.fetch_max(Arc::strong_count(&self.open) - 2, Ordering::Relaxed);
            match answer.unwrap() {
                Fetched::Token(text, lifetime) => Ok(Token::new(Secret::new(text.into()), now + lifetime)),
                Fetched::Until(text, end) => {
                    let jitter =
                        Duration::from_millis(700 * (self.requests.lock().unwrap().len() as u64 % 2));
                    Ok(Token::new(Secret::new(text.into()), START + end + jitter))
                }
                Fetched::Assumed(text) => {
                    let token = Token::new(Secret::new(text.into()), now + 10 * MINUTE);
                    Ok(Token { is_expiry_assumed: true, ..token })
                }
                Fetched::Slow(delay, text) => {
                    tokio::time::sleep(delay).await;
                    Ok(Token::new(Secret::new(text.into()), now + HOUR))
                }
                Fetched::SlowError(delay) => {
                    tokio::time::sleep(delay).await;
                    Err(FetchError::new("slow"))
                }
                Fetched::Error => Err(FetchError::new("HTTP 500")),
                Fetched::Hang => std::future::pending().await,
                Fetched::Flood => {
                    for _ in 0..60 {
                        while coop::has_budget_remaining() {
                            coop::consume_budget().await;
                        }
                        tokio::time::advance(Duration::from_secs(1)).await;
                    }
                    Err(FetchError::new("endless"))
                }
            }
        })
    }

    fn runs_command(&self) -> bool {
        self.is_command
    }

    fn is_latest(&self) -> bool {
        self.is_latest
    }

    fn changed(&self) -> ChangeFuture<'_> {
        Box::pin(self.change.notified())
    }
}

/// When each test begins.
const START: SystemTime = SystemTime::UNIX_EPOCH;

struct Running {
    endpoint: Endpoint,
    states: watch::Receiver<TokenState>,
    clock: Clock,
    refused: Arc<Notify>,
    started: Instant,
    task: tokio::task::JoinHandle<std::convert::Infallible>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn start(script: impl IntoIterator<Item = Fetched>, seed: u64) -> Running {
    start_as(script, seed, false)
}

/// As [`start`], with an endpoint that is a command.
fn start_command(script: impl IntoIterator<Item = Fetched>) -> Running {
    start_as(script, 16, true)
}

fn start_as(script: impl IntoIterator<Item = Fetched>, seed: u64, is_command: bool) -> Running {
    start_endpoint(script, seed, Endpoint { is_command, ..Endpoint::default() })
}

fn start_endpoint(script: impl IntoIterator<Item = Fetched>, seed: u64, endpoint: Endpoint) -> Running {
    let clock = Clock::from_tokio(START);
    let endpoint = Endpoint {
        script: Arc::new(Mutex::new(script.into_iter().collect())),
        clock: Some(clock.clone()),
        ..endpoint
    };
    let (publish, states) = watch::channel(TokenState::default());
    let refused = Arc::default();
    let refresher = Refresher {
        label: "test".into(),
        source: Box::new(endpoint.clone()),
        publish,
        refused: Arc::clone(&refused),
        clock: clock.clone(),
        rng: fastrand::Rng::with_seed(seed),
        metrics: Metrics::new(Clock::system()).identity("test"),
        status: Status::new(clock.clone()).identity("test"),
    };
    let task = tokio::spawn(refresher.run());
    Running { endpoint, states, clock, refused, started: Instant::now(), task }
}

impl Running {
    fn requests(&self) -> Vec<Duration> {
        self.endpoint.requests.lock().unwrap().iter().map(|at| *at - self.started).collect()
    }

    fn token(&self) -> Option<String> {
        self.states.borrow().token.as_ref().map(|token| token.secret.expose().to_owned())
    }

    fn answer(&self, script: impl IntoIterator<Item = Fetched>) {
        *self.endpoint.script.lock().unwrap() = script.into_iter().collect();
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn a_token_that_does_not_say_when_it_expires_is_kept_while_it_stays_the_same() {
    let mut running = start([Fetched::Assumed("first")], 1);
    tokio::time::sleep(MINUTE).await;
    running.states.borrow_and_update();
    tokio::time::sleep(HOUR).await;
    assert!(!running.states.has_changed().unwrap(), "the same token was published again");
    let expires_at = running.states.borrow().token.as_ref().unwrap().expires_at;
    assert!(running.clock.until(expires_at) > 4 * MINUTE);
    let requests = running.requests().len();
    assert!((12..=15).contains(&requests), "every 5 minutes: {requests}");
    running.answer([Fetched::Assumed("second")]);
    tokio::time::sleep(5 * MINUTE).await;
    assert_eq!(running.token().as_deref(), Some("second"));
}

#[tokio::test(start_paused = true)]
async fn the_same_token_with_a_later_expiry_is_renewed_and_published_without_a_notice() {
    let mut running = start([Fetched::Token("lease", MINUTE)], 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.states.borrow_and_update();
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let expires_at = running.states.borrow().token.as_ref().unwrap().expires_at;
        assert!(running.clock.until(expires_at) > Duration::from_secs(14), "{:?}", running.requests());
    }
    assert!(!running.states.has_changed().unwrap(), "the same token was published again");
    // Of 1,001 s: after 40 to 45 s each.
    let requests = running.requests().len();
    assert!((22..=26).contains(&requests), "{requests}");
    // One that has not been prolonged is not renewed.
    running.answer([Fetched::Token("lease", Duration::ZERO)]);
    tokio::time::sleep(2 * MINUTE).await;
    assert!(running.requests().len() > requests + 10, "it is urgent");
}

#[tokio::test(start_paused = true)]
async fn a_change_is_fetched_at_once_and_many_in_a_row_once_per_second() {
    let running = start([Fetched::Token("first", HOUR), Fetched::Token("second", 2 * HOUR)], 1);
    tokio::time::sleep(MINUTE).await;
    running.endpoint.change.notify_one();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(running.token().as_deref(), Some("second"));
    for _ in 0..100 {
        running.endpoint.change.notify_one();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let requests = running.requests().len();
    assert!((3..=5).contains(&requests), "{requests}");
}

#[tokio::test(start_paused = true)]
async fn of_a_source_without_a_cache_a_token_that_ends_sooner_is_published_unless_it_has_expired() {
    for (is_latest, lifetime, expected) in
        [(true, HOUR, "second"), (true, Duration::ZERO, "first"), (false, HOUR, "first")]
    {
        let endpoint = Endpoint { is_latest, ..Endpoint::default() };
        let script = [Fetched::Token("first", 2 * HOUR), Fetched::Token("second", lifetime)];
        let running = start_endpoint(script, 1, endpoint);
        tokio::time::sleep(MINUTE).await;
        running.endpoint.change.notify_one();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(running.token().as_deref(), Some(expected), "{is_latest} {lifetime:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_after_three_quarters_of_its_lifetime() {
    let running = start([Fetched::Token("first", 24 * HOUR), Fetched::Token("second", 24 * HOUR)], 1);
    tokio::time::sleep(16 * HOUR).await;
    assert_eq!(running.token().as_deref(), Some("first"));
    tokio::time::sleep(2 * HOUR + MINUTE).await;
    assert_eq!(running.token().as_deref(), Some("second"));
    assert_eq!(running.requests().len(), 2);
}

#[test]
fn a_renewal_is_due_by_the_fraction_or_the_margin_whichever_is_earlier() {
    let mut rng = fastrand::Rng::with_seed(2);
    for (lifetime, latest) in [
        (24 * HOUR, 18 * HOUR),
        (75 * MINUTE, 75 * MINUTE * 3 / 4),
        // Five minutes before the expiry is earlier than three quarters.
        (12 * MINUTE, 7 * MINUTE),
        // Short lifetimes: only the fraction.
        (Duration::from_secs(200), Duration::from_secs(150)),
        (Duration::from_secs(20), Duration::from_secs(15)),
    ] {
        for _ in 0..100 {
            let delay = renewal_delay(lifetime, &mut rng);
            assert!((latest.mul_f64(0.9)..=latest).contains(&delay), "{delay:?} of {lifetime:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_token_is_published_three_minutes_before_the_old_one_expires() {
    for lifetime in [10 * MINUTE, 15 * MINUTE, 75 * MINUTE, 24 * HOUR] {
        let running = start([Fetched::Token("first", lifetime), Fetched::Token("second", lifetime)], 3);
        tokio::time::sleep(lifetime - 3 * MINUTE).await;
        assert_eq!(running.token().as_deref(), Some("second"), "{lifetime:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_renewal_keeps_the_old_token_and_is_retried_forever() {
    let running = start([Fetched::Token("first", HOUR), Fetched::Error], 4);
    tokio::time::sleep(50 * HOUR).await;
    assert_eq!(running.token().as_deref(), Some("first"));
    let requests = running.requests();
    assert!(requests.last().unwrap() > &(50 * HOUR - 5 * Duration::from_secs(1)), "it still retries");
    running.answer([Fetched::Token("second", HOUR)]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(running.token().as_deref(), Some("second"));
}

#[tokio::test(start_paused = true)]
async fn the_same_token_again_is_a_failed_renewal_without_urgency() {
    // Tokens are compared by their text; the expiry differs a little.
    let running = start([Fetched::Until("same", 24 * HOUR)], 5);
    tokio::time::sleep(24 * HOUR - 2 * MINUTE).await;
    let requests = running.requests();
    assert!(requests.len() < 6 * 60 * 3, "{} requests", requests.len());
    assert!(requests[1..].windows(2).skip(8).all(|pair| pair[1] - pair[0] >= Duration::from_secs(30)));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_hangs_times_out() {
    let running = start([Fetched::Hang], 6);
    tokio::time::sleep(FETCH_TIMEOUT + Duration::from_secs(1)).await;
    let error = running.states.borrow().error.clone();
    assert_eq!(error.unwrap().to_string(), "no answer within 12 s");
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_endpoint_sends_data_without_an_end_times_out() {
    let mut running = start([Fetched::Flood], 6);
    running.states.changed().await.unwrap();
    let error = running.states.borrow().error.clone();
    assert_eq!(error.unwrap().to_string(), "no answer within 12 s");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_hung_is_used_within_five_seconds_of_its_recovery() {
    for after in [1, 6, 11, 14, 60, 3_601] {
        let running = start([Fetched::Hang], 6);
        tokio::time::sleep(Duration::from_secs(after)).await;
        running.answer([Fetched::Token("late", HOUR)]);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(running.token().as_deref(), Some("late"), "after {after} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_response_is_accepted_although_the_request_was_hedged() {
    let running = start([Fetched::Slow(Duration::from_secs(11), "slow")], 6);
    tokio::time::sleep(Duration::from_secs(11) + Duration::from_millis(10)).await;
    assert_eq!(running.token().as_deref(), Some("slow"));
    assert_eq!(running.requests().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn at_most_one_request_runs_beside_another() {
    let running = start([Fetched::Hang], 6);
    tokio::time::sleep(HOUR).await;
    assert!(running.requests().len() > 100);
    assert_eq!(running.endpoint.most.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_command_has_its_time_and_is_not_hedged() {
    let running = start_command([Fetched::Slow(Duration::from_secs(50), "slow")]);
    tokio::time::sleep(Duration::from_secs(51)).await;
    assert_eq!(running.token().as_deref(), Some("slow"));
    assert_eq!(running.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_command_that_failed_is_not_run_again_at_once() {
    let running = start_command([Fetched::SlowError(MINUTE)]);
    tokio::time::sleep(HOUR).await;
    let requests = running.requests();
    assert!(requests.len() > 50 && requests.windows(2).all(|pair| pair[1] - pair[0] >= MINUTE + MIN_PAUSE));
    assert_eq!(running.endpoint.most.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_token_an_endpoint_is_used_within_five_seconds_of_its_recovery() {
    let running = start([Fetched::Error], 7);
    tokio::time::sleep(HOUR).await;
    running.answer([Fetched::Token("first", HOUR)]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(running.token().as_deref(), Some("first"));
}

#[tokio::test(start_paused = true)]
async fn requests_are_at_least_a_second_apart_whatever_the_answers() {
    let texts = ["a", "b", "c", "d"];
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let script: Vec<Fetched> = (0..200)
            .map(|_| match rng.u8(..6) {
                0 => Fetched::Error,
                1 => Fetched::Hang,
                2 => Fetched::Token(texts[rng.usize(..4)], Duration::ZERO),
                3 => Fetched::Token(texts[rng.usize(..4)], Duration::from_millis(rng.u64(..3000))),
                4 => Fetched::Token(texts[rng.usize(..4)], Duration::from_secs(rng.u64(..300))),
                _ => Fetched::Token(texts[rng.usize(..4)], Duration::from_secs(rng.u64(..100_000))),
            })
            .collect();
        let running = start(script, seed);
        tokio::time::sleep(6 * HOUR).await;
        let requests = running.requests();
        assert!(requests.windows(2).all(|pair| pair[1] - pair[0] >= MIN_PAUSE), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_a_cache_rejects_is_renewed_early() {
    let running = start([Fetched::Token("refused", 24 * HOUR), Fetched::Token("good", 24 * HOUR)], 12);
    tokio::time::sleep(HOUR).await;
    running.refused.notify_one();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(running.token().as_deref(), Some("good"));
    tokio::time::sleep(10 * HOUR).await;
    assert_eq!(running.requests().len(), 2, "that was all");
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_is_replaced_also_by_one_that_expires_sooner() {
    let running = start([Fetched::Token("refused", HOUR), Fetched::Token("good", HOUR - MINUTE)], 15);
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.refused.notify_one();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(running.token().as_deref(), Some("good"));
}

#[tokio::test(start_paused = true)]
async fn renewals_back_off_while_a_cache_rejects_every_token() {
    let running = start([Fetched::Token("refused", 24 * HOUR)], 13);
    for _ in 0..6_000 {
        running.refused.notify_one();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let requests = running.requests();
    assert!(requests.windows(2).all(|pair| pair[1] - pair[0] >= MIN_PAUSE));
    assert!((8..16).contains(&requests.len()), "{} requests in ten minutes", requests.len());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_one_cache_rejects_is_renewed_in_time_for_the_others() {
    let script = ["even", "odd"].into_iter().cycle().take(100).map(|text| Fetched::Token(text, 5 * MINUTE));
    let running = start(script, 14);
    for second in 0..3_600 {
        running.refused.notify_one();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let token = running.states.borrow().token.clone().unwrap();
        assert!(token.expires_at > running.clock.now(), "it has expired after {second} s");
    }
}

#[tokio::test(start_paused = true)]
async fn agents_that_start_together_do_not_renew_together() {
    let script = [Fetched::Token("first", 24 * HOUR), Fetched::Token("second", 24 * HOUR)];
    let agents: Vec<Running> = (0..1000).map(|seed| start(script.clone(), seed)).collect();
    tokio::time::sleep(18 * HOUR + MINUTE).await;
    let mut renewals: Vec<Duration> = agents.iter().map(|agent| agent.requests()[1]).collect();
    renewals.sort();
    let busiest = renewals
        .iter()
        .map(|from| renewals.iter().filter(|at| (*from..*from + MINUTE).contains(*at)).count())
        .max()
        .unwrap();
    let span = *renewals.last().unwrap() - renewals[0];
    eprintln!("1,000 renewals within {} min, at most {busiest} within one", span.as_secs() / 60);
    // 1,000 renewals over 108 minutes: about 9 per minute.
    assert!(busiest < 40, "{busiest} renewals within a minute");
}

#[tokio::test(start_paused = true)]
async fn setting_the_clock_forward_does_not_delay_a_renewal() {
    let offset = Arc::new(Mutex::new(Duration::ZERO));
    let running = start([Fetched::Token("first", 24 * HOUR), Fetched::Token("second", 24 * HOUR)], 8);
    // A second loop with a clock that jumps.
    let jumping = {
        let offset = Arc::clone(&offset);
        let steady = running.clock.clone();
        Clock::new(move || steady.now() + *offset.lock().unwrap())
    };
    let endpoint = Endpoint {
        script: Arc::new(Mutex::new(
            [Fetched::Token("first", 24 * HOUR), Fetched::Token("second", 24 * HOUR)].into(),
        )),
        clock: Some(jumping.clone()),
        ..Endpoint::default()
    };
    let (publish, states) = watch::channel(TokenState::default());
    let refresher = Refresher {
        label: "jumping".into(),
        source: Box::new(endpoint),
        publish,
        refused: Arc::default(),
        clock: jumping.clone(),
        rng: fastrand::Rng::with_seed(9),
        metrics: Metrics::new(Clock::system()).identity("jumping"),
        status: Status::new(jumping).identity("jumping"),
    };
    let task = tokio::spawn(refresher.run());
    tokio::time::sleep(HOUR).await;
    *offset.lock().unwrap() = 20 * HOUR;
    tokio::time::sleep(2 * MINUTE).await;
    assert_eq!(states.borrow().token.as_ref().unwrap().secret.expose(), "second");
    assert_eq!(running.token().as_deref(), Some("first"), "the steady one waits");
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_published_but_never_replaces_a_valid_one() {
    let running = start([Fetched::Token("expired", Duration::ZERO), Fetched::Token("good", HOUR)], 10);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(running.token().as_deref(), Some("expired"), "the cache's clock decides");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(running.token().as_deref(), Some("good"));
    running.answer([Fetched::Token("expired too", Duration::ZERO)]);
    tokio::time::sleep(50 * MINUTE).await;
    assert_eq!(running.token().as_deref(), Some("good"));
}
