//! Peers that do not know HELLO, on paused time.

use super::*;
use crate::target::Protocol;

const UNKNOWN: &str =
    "-ERR unknown command 'HELLO', with args beginning with: '3' 'SETNAME' 'cachepulse' \r\n";
const HOUR: Duration = Duration::from_secs(3600);

impl Running {
    fn protocol(&self) -> [bool; 2] {
        let text = std::io::read_to_string(self.metrics.exposition(Format::Text)).unwrap();
        ["2", "3"].map(|version| {
            text.contains(&format!("cachepulse_protocol{{target=\"t\",version=\"{version}\"}} 1\n"))
        })
    }

    fn connects(&self) -> [f64; 2] {
        ["success", "failure"]
            .map(|result| self.value(&format!(r#"connects_total{{result="{result}",target="t"}}"#)))
    }
}

/// Closes the connection, and waits until another one is open.
async fn reconnect(cache: &Cache) {
    cache.hang_up();
    sleep(2 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn the_protocol_of_the_open_connection_is_exported_and_no_other() {
    let cache = Cache::default();
    let running = start(&cache, target());
    assert_eq!(running.protocol(), [false, false]);
    sleep(SECOND).await;
    assert_eq!(running.protocol(), [false, true]);
    cache.with(|state| state.away = Some(FailureReason::ConnectRefused));
    reconnect(&cache).await;
    assert_eq!(running.protocol(), [false, false], "there is no connection");
    cache.can("HELLO", UNKNOWN);
    cache.with(|state| state.away = None);
    sleep(10 * SECOND).await;
    assert_eq!(running.protocol(), [true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_hello_is_asked_again_after_an_hour_without_a_failure() {
    for (unknown, dials) in [(UNKNOWN, 1), (HANG_UP, 2)] {
        let cache = Cache::default();
        cache.can("HELLO", unknown);
        let running = start(&cache, target());
        sleep(SECOND).await;
        assert_eq!(cache.with(|state| state.dials.len()), dials, "{unknown}");
        // One hang-up may have another cause.
        reconnect(&cache).await;
        assert_eq!(cache.count("HELLO"), dials);
        for _ in 0..5 {
            reconnect(&cache).await;
        }
        assert_eq!(cache.count("HELLO"), dials, "it is remembered: {unknown}");
        sleep(HOUR).await;
        reconnect(&cache).await;
        assert_eq!(cache.count("HELLO"), dials + 1, "it is asked again: {unknown}");
        reconnect(&cache).await;
        assert_eq!(cache.count("HELLO"), dials + 1, "and not again: {unknown}");
        assert_eq!((running.all_failures(), running.unavailable()), (0.0, 0.0));
        assert_eq!((running.connects(), running.disconnects("closed")), ([9.0, 0.0], 8.0), "{unknown}");
        sleep(HOUR).await;
        cache.with(|state| state.canned.clear());
        reconnect(&cache).await;
        assert_eq!(running.protocol(), [false, true], "the server was updated");
    }
}

#[tokio::test(start_paused = true)]
async fn resp2_that_is_refused_is_not_remembered() {
    let cache = Cache::default();
    cache.can("HELLO", UNKNOWN);
    cache.can("PING", "-LOADING Redis is loading the dataset in memory\r\n");
    let running = start(&cache, target());
    sleep(SECOND).await;
    cache.with(|state| state.canned.clear());
    reconnect(&cache).await;
    assert_eq!(running.protocol(), [false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_configured_protocol_is_the_only_one() {
    let cache = Cache::default();
    let running = start(&cache, Target { protocol: Some(Protocol::Resp2), ..target() });
    sleep(SECOND).await;
    assert_eq!((running.protocol(), running.all_failures()), ([true, false], 0.0));
    for (unknown, reason) in [(UNKNOWN, "protocol_error"), (HANG_UP, "closed")] {
        let cache = Cache::default();
        cache.can("HELLO", unknown);
        let running = start(&cache, Target { protocol: Some(Protocol::Resp3), ..target() });
        sleep(9 * SECOND).await;
        assert_eq!((running.protocol(), running.failures(reason)), ([false, false], 1.0), "{unknown}");
        assert_eq!(cache.count("AUTH"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_knows_neither_hello_nor_client_list_is_asked_once_in_an_hour() {
    for silence in [HANG_UP, ""] {
        let cache = Cache::default();
        cache.can("HELLO", HANG_UP);
        cache.can("CLIENT LIST", silence);
        let running = start(&cache, target());
        sleep(1800 * SECOND).await;
        assert_eq!((running.all_failures(), running.unavailable()), (0.0, 0.0), "{silence}");
        assert_eq!((cache.count("HELLO"), cache.count("CLIENT LIST")), (2, 1), "{silence}");
        assert_eq!(running.connects(), [2.0, 0.0], "{silence}");
        sleep(HOUR).await;
        assert_eq!(cache.count("CLIENT LIST"), 2, "{silence}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_busy_once_is_asked_for_its_clients_again() {
    let cache = Cache::default();
    let running = start(&cache, target());
    cache.can("CLIENT LIST", "");
    sleep(5 * SECOND).await;
    assert_eq!(cache.count("CLIENT LIST"), 1);
    cache.with(|state| state.canned.clear());
    sleep(30 * SECOND).await;
    assert_eq!((cache.count("CLIENT LIST"), running.value(r#"cache_clients{target="t"}"#)), (4, 1.0));
    cache.can("CLIENT LIST", "");
    sleep(1800 * SECOND).await;
    assert_eq!(cache.count("CLIENT LIST"), 6, "it does not answer at all");
    assert_eq!((running.all_failures(), running.unavailable()), (0.0, 0.0));
    assert_eq!(running.value(r#"cache_clients{target="t"}"#), 1.0, "the last known number");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_clients_are_listed_in_every_second_probe() {
    let cache = Cache::default();
    let lines = "id=7 addr=10.0.0.1:50\n".repeat(1_000);
    cache.can("CLIENT LIST", &format!("${}\r\n{lines}\r\n", lines.len()));
    let running = start(&cache, target());
    sleep(95 * SECOND).await;
    assert_eq!((cache.count("SET"), cache.count("CLIENT LIST")), (10, 5));
    assert_eq!(running.value(r#"cache_clients{target="t"}"#), 1_000.0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_hangs_up_on_every_greeting_completes_no_sign_in() {
    let cache = Cache::default();
    cache.can("HELLO", HANG_UP);
    cache.can("AUTH", HANG_UP);
    cache.can("PING", HANG_UP);
    let running = start(&cache, target());
    sleep(SECOND).await;
    assert!(running.connects()[1] > 0.0);
    assert_eq!(running.value(r#"phase_duration_seconds_count{phase="auth",target="t"}"#), 0.0);
}
