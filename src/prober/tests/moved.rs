//! A server that is known to be elsewhere now, as after a failover that sentinels announce.

use super::*;

/// Lets the dialer know that the server has moved.
fn move_server(cache: &Cache) {
    cache.with(|state| state.epoch.send_modify(|epoch| *epoch += 1));
}

fn dials(cache: &Cache) -> usize {
    cache.with(|state| state.dials.len())
}

#[tokio::test(start_paused = true)]
async fn a_connection_to_a_server_that_has_moved_is_left_at_once_and_no_tick_fails() {
    let cache = Cache::default();
    let running = start(&cache, target());
    sleep(15 * SECOND).await;
    move_server(&cache);
    sleep(SECOND / 100).await;
    assert_eq!((dials(&cache), running.disconnects("wrong_node")), (2, 1.0));
    sleep(INTERVAL).await;
    assert_eq!((running.all_failures(), running.unavailable(), dials(&cache)), (0.0, 0.0, 2));
    assert!(running.is_up());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_has_moved_and_cannot_be_reached_is_unavailable_since_then() {
    let cache = Cache::default();
    let running = start(&cache, target());
    sleep(15 * SECOND).await;
    // The previous one would go on to answer.
    cache.with(|state| state.away = Some(FailureReason::ConnectRefused));
    move_server(&cache);
    sleep(INTERVAL).await;
    assert!(!running.is_up());
    assert_eq!(running.failures("connect_refused"), 1.0);
    assert!(running.unavailable() > 5.0, "{}", running.unavailable());
}

#[tokio::test(start_paused = true)]
async fn an_opening_to_a_server_that_moves_meanwhile_begins_again_at_once() {
    let cache = Cache::default();
    cache.can("HELLO", "");
    cache.can("PING", "");
    let running = start(&cache, target());
    sleep(SECOND).await;
    cache.with(|state| state.canned.clear());
    move_server(&cache);
    sleep(SECOND / 100).await;
    assert!(running.is_up(), "before the connect timeout");
    assert_eq!((dials(&cache), running.all_failures()), (2, 0.0));
}
