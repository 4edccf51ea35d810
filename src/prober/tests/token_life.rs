//! A prober and the refresh loop of its identity together, over days on paused time. The cache ends each session with
//! its token, as Azure does.

use super::*;
use crate::identity::refresh::Refresher;
use crate::identity::{FetchError, FetchFuture, TokenSource};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Hands out tokens that live for `life`, but for a time from `away` on; a token's text is its end.
struct Service {
    clock: Clock,
    started: Instant,
    life: Duration,
    away: std::ops::Range<Duration>,
}

impl TokenSource for Service {
    fn fetch(&self) -> FetchFuture<'_> {
        let answer = if self.away.contains(&self.started.elapsed()) {
            Err(FetchError::new("HTTP 503"))
        } else {
            let expires_at = self.clock.now() + self.life;
            let secret = Secret::new(format!("{}", crate::clock::unix_seconds(expires_at)));
            Ok(Token { object_id: Some("oid".into()), ..Token::new(secret, expires_at) })
        };
        Box::pin(std::future::ready(answer))
    }
}

struct Life {
    running: Running,
    cache: Cache,
    tasks: [tokio::task::AbortHandle; 2],
}

impl Drop for Life {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::AbortHandle::abort);
    }
}

fn live(life: Duration, away: std::ops::Range<Duration>, interval: Duration) -> Life {
    let (cache, clock) = (Cache::default(), clock());
    let (tokens, refreshing) = refresh(life, away, &clock);
    let ending = tokio::spawn(end_sessions(cache.clone(), clock.clone())).abort_handle();
    let running = start_with(&cache, Target { interval, ..target() }, SignIn::Tokens(tokens()), clock);
    Life { running, cache, tasks: [refreshing, ending] }
}

/// Starts a refresh loop. Returns what gives targets their share of its tokens.
fn refresh(
    life: Duration,
    away: std::ops::Range<Duration>,
    clock: &Clock,
) -> (impl Fn() -> Tokens + use<>, tokio::task::AbortHandle) {
    let (publish, states) = watch::channel(TokenState::default());
    let refused: Arc<tokio::sync::Notify> = Arc::default();
    let refresher = Refresher {
        label: "test".into(),
        source: Box::new(Service { clock: clock.clone(), started: Instant::now(), life, away }),
        publish,
        refused: Arc::clone(&refused),
        clock: clock.clone(),
        rng: fastrand::Rng::with_seed(11),
        metrics: Metrics::new(Clock::system()).identity("test"),
        status: Status::new(clock.clone()).identity("test"),
    };
    let refreshing = tokio::spawn(refresher.run()).abort_handle();
    (move || Tokens::new(None, states.clone(), Arc::clone(&refused)), refreshing)
}

/// Closes the connection when the token that was presented last has ended, within half a minute.
async fn end_sessions(cache: Cache, clock: Clock) {
    loop {
        sleep(30 * SECOND).await;
        let presented = cache.with(|state| {
            let sign_in = state.commands.iter().rev().find_map(|sent| sent.strip_prefix("AUTH oid "));
            sign_in.map(|end| end.parse::<f64>().unwrap())
        });
        if presented.is_some_and(|end| end <= crate::clock::unix_seconds(clock.now())) {
            cache.hang_up();
        }
        // What was sent long ago is of no interest, and there is very much of it.
        cache.with(|state| {
            let signed_in = state.commands.iter().rposition(|sent| sent.starts_with("AUTH "));
            state.commands.drain(..signed_in.unwrap_or_default());
        });
    }
}

impl Life {
    fn assert_unbroken(&self) {
        assert_eq!(self.running.all_failures(), 0.0);
        assert_eq!(self.running.disconnects("token_expired"), 0.0);
        assert_eq!(self.cache.with(|state| state.dials.len()), 1, "one connection");
    }
}

#[tokio::test(start_paused = true)]
async fn an_identity_service_that_is_away_for_17_hours_costs_a_token_of_24_hours_not_one_probe() {
    // Just after the first token, in between, and until shortly before its end.
    for from in [MINUTE, 3 * HOUR, 6 * HOUR + 50 * MINUTE] {
        let life = live(24 * HOUR, from..from + 17 * HOUR, MINUTE);
        sleep(48 * HOUR + SECOND).await;
        life.assert_unbroken();
        assert_eq!(life.running.probes(), 48.0 * 60.0 + 1.0, "away from {from:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_renewals_go_by_on_one_connection() {
    let life = live(20 * MINUTE, Duration::ZERO..Duration::ZERO, 10 * MINUTE);
    sleep(1010 * 15 * MINUTE).await;
    life.assert_unbroken();
    let renewals = life.running.value(r#"reauthentications_total{result="success",target="t"}"#);
    assert!(renewals >= 1000.0, "{renewals}");
}

#[tokio::test(start_paused = true)]
async fn the_first_token_ends_an_outage_of_as_long_as_there_was_none_and_reopens_nothing() {
    let (lines, _guard) = logged();
    let clock = clock();
    let (tokens, refreshing) = refresh(HOUR, Duration::ZERO..3 * SECOND, &clock);
    let caches: [Cache; 4] = std::array::from_fn(|_| Cache::default());
    let targets: Vec<_> = caches
        .iter()
        .enumerate()
        .map(|(place, cache)| {
            let target = Target { interval: 30 * SECOND, ..target() };
            let offset = 10 * SECOND * u32::try_from(place).unwrap() / 4;
            start_after(offset, cache.clone(), target, SignIn::Tokens(tokens()), clock.clone())
        })
        .collect();
    sleep(25 * SECOND).await;
    refreshing.abort();
    let begun = Instant::now() - 25 * SECOND;
    let without_token = (caches[0].with(|state| state.dials[0]) - begun).as_secs_f64();
    assert!((3.0..7.0).contains(&without_token), "{without_token}");
    for (place, target) in targets.iter().enumerate() {
        let (failures, unavailable) = (target.all_failures(), target.unavailable());
        let is_later = 2.5 * place as f64 > without_token;
        let (expected, time) = if is_later { (0.0, 0.0) } else { (1.0, without_token) };
        assert_eq!((failures, target.probes()), (expected, 1.0), "target {place}");
        assert!((unavailable - time).abs() < 0.1, "target {place}: {unavailable} of {time}");
        assert!(target.is_up());
    }
    let lines = lines.text();
    assert!(lines.contains("cache available") && !lines.contains("connection reopened"), "{lines}");
}
