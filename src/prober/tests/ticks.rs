//! Ticks and their outcomes, lost connections and outages.

use super::*;

#[tokio::test(start_paused = true)]
async fn every_tick_has_one_outcome_on_one_connection() {
    let cache = Cache::default();
    let running = start(&cache, target());
    sleep(95 * SECOND).await;
    assert_eq!(running.probes(), 10.0);
    assert_eq!(running.all_failures(), 0.0);
    assert_eq!(running.value(r#"connects_total{result="success",target="t"}"#), 1.0);
    assert_eq!(running.value(r#"cache_clients{target="t"}"#), 1.0);
    assert_eq!(running.unavailable(), 0.0);
    let key = cache.with(|state| state.keys.keys().next().unwrap().clone());
    assert!(key.starts_with("cachepulse:pod-"), "{key}");
}

#[tokio::test(start_paused = true)]
async fn every_tick_has_one_outcome_while_the_cache_is_away() {
    let cache = Cache::default();
    cache.with(|state| state.away = Some(FailureReason::ConnectRefused));
    let running = start(&cache, target());
    sleep(95 * SECOND).await;
    assert_eq!(running.probes(), 10.0);
    assert_eq!(running.failures("connect_refused"), 10.0);
    assert!(!running.is_up());
    // Retries pause at most five seconds, and never turn into a storm.
    let dials = cache.with(|state| state.dials.len());
    assert!((20..80).contains(&dials), "{dials}");
}

#[tokio::test(start_paused = true)]
async fn a_tick_cuts_no_opening_short_and_every_tick_has_its_outcome() {
    let cache = Cache::default();
    cache.with(|state| state.slow_dial = 60 * SECOND);
    let running = start(&cache, Target { interval: SECOND, ..target() });
    sleep(Duration::from_millis(4_900)).await;
    assert_eq!(running.probes(), 0.0, "nothing is known before the first opening has ended");
    sleep(Duration::from_millis(15_600)).await;
    let waiting = 20.5 - running.probes();
    assert!((0.0..=1.5).contains(&waiting), "{waiting}");
    assert_eq!(running.failures("connect_timeout"), running.probes());
    assert_eq!(running.value(r#"late_ticks_total{target="t"}"#), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_takes_longer_to_connect_to_than_from_tick_to_tick_is_healthy() {
    let cache = Cache::default();
    cache.with(|state| state.slow_dial = Duration::from_millis(2_500));
    let running = start(&cache, Target { interval: SECOND, ..target() });
    sleep(Duration::from_millis(13_900)).await;
    assert!(running.is_up());
    assert_eq!((running.probes(), running.all_failures()), (14.0, 0.0), "a tick, an outcome");
    assert_eq!(running.unavailable(), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_lost_between_ticks_is_counted_and_replaced_at_once_without_an_outage() {
    let cache = Cache::default();
    let running = start(&cache, target());
    sleep(12 * SECOND).await;
    cache.hang_up();
    sleep(Duration::from_millis(10)).await;
    assert_eq!(running.disconnects("closed"), 1.0);
    assert_eq!(running.value(r#"connects_total{result="success",target="t"}"#), 2.0);
    sleep(30 * SECOND).await;
    assert_eq!((running.all_failures(), running.unavailable()), (0.0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_closes_idle_connections_is_healthy() {
    let cache = Cache::default();
    let running = start(&cache, target());
    let closing = tokio::spawn({
        let cache = cache.clone();
        async move {
            loop {
                sleep(Duration::from_millis(3_700)).await;
                cache.hang_up();
            }
        }
    });
    sleep(195 * SECOND).await;
    closing.abort();
    assert_eq!((running.probes(), running.all_failures(), running.unavailable()), (20.0, 0.0, 0.0));
    assert_eq!(running.disconnects("closed"), 52.0);
}

#[tokio::test(start_paused = true)]
async fn a_reopening_that_outlasts_its_grace_is_an_outage_without_a_failed_tick() {
    let cache = Cache::default();
    let running = start(&cache, Target { connect_timeout: 60 * SECOND, ..target() });
    sleep(12 * SECOND).await;
    cache.with(|state| state.slow_dial = 7 * SECOND);
    cache.hang_up();
    sleep(17 * SECOND).await;
    assert_eq!(running.value(r#"connects_total{result="failure",target="t"}"#), 0.0);
    assert_eq!(running.value(r#"connects_total{result="success",target="t"}"#), 2.0);
    assert_eq!((running.all_failures(), running.unavailable()), (0.0, 7.0));
}

#[tokio::test(start_paused = true)]
async fn an_outage_counts_from_its_first_sign_to_the_next_success() {
    let cache = Cache::default();
    let running = start(&cache, target());
    sleep(12 * SECOND).await;
    cache.with(|state| state.away = Some(FailureReason::ConnectRefused));
    cache.hang_up();
    sleep(13 * SECOND).await;
    assert_eq!(running.failures("connect_refused"), 1.0);
    cache.with(|state| state.away = None);
    sleep(10 * SECOND).await;
    assert!(running.is_up());
    // Lost at 12 s, away until 25 s, and followed up within 5 s.
    let unavailable = running.unavailable();
    assert!((13.0..18.1).contains(&unavailable), "{unavailable}");
}

#[tokio::test(start_paused = true)]
async fn a_port_that_opens_20_s_after_the_start_costs_no_unavailable_time_with_a_grace() {
    for (grace, unavailable) in [(0, 20.0..25.1), (5, 15.0..20.1), (30, 0.0..0.1)] {
        let cache = Cache::default();
        cache.with(|state| state.away = Some(FailureReason::ConnectRefused));
        let running = start(&cache, Target { startup_grace: grace * SECOND, ..target() });
        sleep(20 * SECOND).await;
        cache.with(|state| state.away = None);
        sleep(20 * SECOND).await;
        assert!(running.is_up());
        assert!(running.failures("connect_refused") >= 2.0);
        assert!(unavailable.contains(&running.unavailable()), "{grace}: {}", running.unavailable());
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_grows_while_it_lasts_however_rare_the_ticks() {
    let cache = Cache::default();
    cache.can("PING", "-LOADING Redis is loading the dataset in memory\r\n");
    let running = start(&cache, Target { interval: 600 * SECOND, ..target() });
    sleep(60 * SECOND + Duration::from_millis(1)).await;
    assert!((55.0..=60.1).contains(&running.unavailable()), "{}", running.unavailable());
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_returns_is_up_within_five_seconds_between_ticks() {
    let cache = Cache::default();
    cache.with(|state| state.away = Some(FailureReason::ConnectTimeout));
    let running = start(&cache, Target { interval: 60 * SECOND, ..target() });
    sleep(30 * SECOND).await;
    cache.with(|state| state.away = None);
    sleep(5 * SECOND).await;
    assert!(running.is_up());
    assert_eq!(running.probes(), 1.0, "a follow-up is no tick");
    let unavailable = running.unavailable();
    assert!((30.0..35.0).contains(&unavailable), "{unavailable}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_and_hangs_up_is_not_hammered() {
    let cache = Cache::default();
    let running = start(&cache, Target { interval: 600 * SECOND, ..target() });
    sleep(SECOND).await;
    for _ in 0..600 {
        cache.hang_up();
        sleep(Duration::from_millis(100)).await;
    }
    let dials = cache.with(|state| state.dials.len());
    assert!(dials < 40, "{dials} dials in a minute");
    drop(running);
}

#[tokio::test(start_paused = true)]
async fn a_half_open_connection_is_found_by_the_command_timeout_and_replaced() {
    let cache = Cache::default();
    let running = start(&cache, target());
    sleep(SECOND).await;
    cache.can("PING", "");
    sleep(10 * SECOND).await;
    cache.with(|state| state.canned.clear());
    sleep(5 * SECOND).await;
    // The first attempt of the second tick timed out, a later one found a cache that answers.
    assert_eq!(running.disconnects("command_timeout"), 1.0);
    assert_eq!(running.probes(), 2.0);
    assert_eq!(running.all_failures(), 0.0);
    assert!((2.0..4.5).contains(&running.unavailable()), "{}", running.unavailable());
}

#[tokio::test(start_paused = true)]
async fn a_tick_that_the_machine_slept_through_is_counted_as_late() {
    let cache = Cache::default();
    let running = start(&cache, target());
    sleep(SECOND).await;
    tokio::time::advance(47 * SECOND).await;
    sleep(SECOND).await;
    assert_eq!(running.value(r#"late_ticks_total{target="t"}"#), 4.0);
    assert_eq!(running.probes(), 2.0);
    // Newest first: the one that was due after 10 s came after 48 s.
    let document = running.status.document();
    let delays =
        document.targets[0].recent.iter().filter_map(|it| it.scheduler_delay_seconds).map(f64::round);
    assert_eq!(delays.collect::<Vec<_>>(), [38.0, 0.0]);
}
