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
            Err(FetchError("HTTP 503".into()))
        } else {
            let expires_at = self.clock.now() + self.life;
            let secret = Secret::new(format!("{}", crate::clock::unix_seconds(expires_at)));
            Ok(Token { secret, expires_at, object_id: Some("oid".into()) })
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
    let (publish, states) = watch::channel(TokenState::default());
    let refused = Arc::default();
    let refresher = Refresher {
        label: "test".into(),
        source: Box::new(Service { clock: clock.clone(), started: Instant::now(), life, away }),
        publish,
        refused: Arc::clone(&refused),
        clock: clock.clone(),
        rng: fastrand::Rng::with_seed(11),
        metrics: Metrics::new().identity("test"),
        status: Status::new(clock.clone()).identity("test"),
    };
    let refreshing = tokio::spawn(refresher.run()).abort_handle();
    let ending = tokio::spawn(end_sessions(cache.clone(), clock.clone())).abort_handle();
    let sign_in = SignIn::Tokens(Tokens::new(None, states, refused));
    let running = start_with(&cache, Target { interval, ..target() }, sign_in, clock);
    Life { running, cache, tasks: [refreshing, ending] }
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
