//! Tokens: the first one, renewed and refused ones, and those that have expired.

use super::*;

/// A token that lives so long from now on.
pub(super) fn token(text: &str, clock: &Clock, life: Duration) -> TokenState {
    let token = Token {
        secret: Secret::new(text.into()),
        expires_at: clock.now() + life,
        object_id: Some("oid".into()),
        username: None,
        is_expiry_assumed: false,
    };
    TokenState { token: Some(Arc::new(token)), error: None }
}

fn start_with_tokens(cache: &Cache, state: TokenState, clock: Clock) -> (Running, watch::Sender<TokenState>) {
    let (publish, states) = watch::channel(state);
    let sign_in = SignIn::Tokens(Tokens::new(None, states, Arc::default()));
    (start_with(cache, target(), sign_in, clock), publish)
}

#[tokio::test(start_paused = true)]
async fn a_renewed_token_is_presented_on_the_live_connection_at_once() {
    let (cache, clock) = (Cache::default(), clock());
    let (running, publish) = start_with_tokens(&cache, token("first", &clock, 600 * SECOND), clock.clone());
    sleep(3 * SECOND).await;
    for name in ["second", "third"] {
        publish.send_replace(token(name, &clock, 600 * SECOND));
        sleep(Duration::from_millis(10)).await;
        assert_eq!(cache.count(&format!("AUTH oid {name}")), 1);
    }
    assert_eq!(running.value(r#"reauthentications_total{result="success",target="t"}"#), 2.0);
    assert_eq!(cache.with(|state| state.dials.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_renewal_leaves_the_session_standing_and_is_tried_again() {
    let (cache, clock) = (Cache::default(), clock());
    let (running, publish) = start_with_tokens(&cache, token("first", &clock, 600 * SECOND), clock.clone());
    sleep(SECOND).await;
    cache.can("AUTH", "-WRONGPASS invalid username-password pair\r\n");
    publish.send_replace(token("second", &clock, 900 * SECOND));
    sleep(60 * SECOND).await;
    assert_eq!(running.all_failures(), 0.0);
    let refused = running.value(r#"reauthentications_total{result="failure",target="t"}"#);
    assert!((3.0..10.0).contains(&refused), "{refused}");
    cache.with(|state| state.canned.clear());
    sleep(31 * SECOND).await;
    assert_eq!(running.value(r#"reauthentications_total{result="success",target="t"}"#), 1.0);
    assert_eq!(cache.with(|state| state.dials.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_told_from_a_rejected_one_by_its_expiry() {
    for wrongpass in
        ["-WRONGPASS invalid username-password pair\r\n", "-ERR WRONGPASS invalid username-password pair\r\n"]
    {
        for (life, reason) in [(SECOND, "token_expired"), (600 * SECOND, "auth_rejected")] {
            let (cache, clock) = (Cache::default(), clock());
            cache.can("AUTH", wrongpass);
            let (running, _publish) = start_with_tokens(&cache, token("t", &clock, life), clock);
            sleep(SECOND).await;
            assert_eq!(running.failures(reason), 1.0, "{wrongpass}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_with_its_token_is_counted_as_expired() {
    let (cache, clock) = (Cache::default(), clock());
    let (running, _publish) = start_with_tokens(&cache, token("t", &clock, 15 * SECOND), clock);
    sleep(15 * SECOND).await;
    cache.hang_up();
    sleep(SECOND).await;
    assert_eq!(running.disconnects("token_expired"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn without_a_token_a_probe_fails_as_soon_as_the_identity_has_answered() {
    let (cache, clock) = (Cache::default(), clock());
    let (running, publish) = start_with_tokens(&cache, TokenState::default(), clock.clone());
    sleep(6 * SECOND).await;
    assert_eq!(running.probes(), 0.0, "a slow first token is no outage of the cache");
    assert_eq!(running.value(r#"late_ticks_total{target="t"}"#), 0.0);
    let error = Some(crate::identity::FetchError::new("HTTP 400"));
    publish.send_replace(TokenState { token: None, error });
    sleep(Duration::from_millis(10)).await;
    assert_eq!(running.failures("no_token"), 1.0);
    publish.send_replace(token("t", &clock, 600 * SECOND));
    sleep(5 * SECOND).await;
    assert!(running.is_up());
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_the_first_token_is_a_phase_and_no_part_of_the_connect_timeout() {
    let (cache, clock) = (Cache::default(), clock());
    cache.with(|state| state.slow_dial = 4 * SECOND);
    let (running, publish) = start_with_tokens(&cache, TokenState::default(), clock.clone());
    sleep(8 * SECOND).await;
    publish.send_replace(token("t", &clock, 600 * SECOND));
    sleep(10 * SECOND).await;
    let document = running.status.document();
    let outcome = &document.targets[0].recent[0];
    assert_eq!((outcome.result, outcome.duration_seconds.round()), ("success", 12.0));
    let seconds =
        |phase: Phase| running.value(&format!(r#"phase_duration_seconds_sum{{phase="{phase}",target="t"}}"#));
    assert_eq!((seconds(Phase::Token), seconds(Phase::Connect).round()), (8.0, 4.0));
    let phases = outcome.phases.iter().map(|it| it.duration_seconds);
    let steps = outcome.steps.iter().map(|it| it.duration_seconds);
    assert!(
        (phases.chain(steps).sum::<f64>() - outcome.duration_seconds).abs() < 1e-6,
        "they add up: {outcome:?}"
    );
    // The wait says nothing of how long an opening takes: the grace of a loss is still three times 4 s at most.
    assert_eq!(running.unavailable(), 0.0);
}

#[tokio::test(start_paused = true)]
async fn without_an_identity_there_is_no_phase_for_it() {
    let cache = Cache::default();
    let running = start(&cache, target());
    sleep(SECOND).await;
    assert_eq!(running.value(r#"phase_duration_seconds_count{phase="token",target="t"}"#), 0.0);
    assert_eq!(running.value(r#"phase_duration_seconds_count{phase="auth",target="t"}"#), 1.0);
}
