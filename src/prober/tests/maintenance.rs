//! Maintenance notices, on paused time.

use super::*;
use crate::target::{Maintenance, Protocol};

pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// A target on Azure Cache for Redis.
fn azure() -> Target {
    let endpoint = Endpoint { host: "orders.redis.cache.windows.net".into(), port: 6380 };
    Target { server: endpoint.into(), ..target() }
}

/// A target on Azure Managed Redis.
pub(super) fn managed() -> Target {
    let endpoint = Endpoint { host: "orders.eastus.redis.azure.net".into(), port: 10000 };
    Target { server: endpoint.into(), ..target() }
}

fn message(kind: &str, start: &str) -> String {
    let payload = format!("NotificationType|{kind}|StartTimeInUTC|{start}|IsReplica|False");
    format!(">3\r\n$7\r\nmessage\r\n$16\r\nAzureRedisEvents\r\n${}\r\n{payload}\r\n", payload.len())
}

impl Running {
    fn maintenance(&self, gauge: &str) -> f64 {
        self.value(&format!(r#"maintenance_{gauge}{{target="t"}}"#))
    }

    fn events(&self, event: &str) -> f64 {
        self.value(&format!(r#"maintenance_events_total{{event="{event}",target="t"}}"#))
    }

    fn text(&self) -> String {
        std::io::read_to_string(self.metrics.exposition(Format::Text)).unwrap()
    }

    fn assert_healthy(&self) {
        assert!(self.is_up());
        assert_eq!((self.all_failures(), self.unavailable()), (0.0, 0.0));
    }
}

#[tokio::test(start_paused = true)]
async fn notices_are_asked_for_after_the_connection_is_open_and_only_where_they_exist() {
    let on = |maintenance| Target { maintenance, ..target() };
    for (target, subscribes, requests) in [
        (azure(), 1, 0),
        (managed(), 0, 1),
        (target(), 0, 0),
        (on(Maintenance::On), 1, 1),
        (Target { maintenance: Maintenance::Off, ..azure() }, 0, 0),
        (Target { maintenance: Maintenance::Off, ..managed() }, 0, 0),
        (Target { protocol: Some(Protocol::Resp2), ..azure() }, 0, 0),
    ] {
        let cache = Cache::default();
        let running = start(&cache, target);
        sleep(35 * SECOND).await;
        let asked = (cache.count("SUBSCRIBE AzureRedisEvents"), cache.count("CLIENT MAINT_NOTIFICATIONS ON"));
        assert_eq!(asked, (subscribes, requests), "once on a connection");
        let first_get = cache.with(|state| state.commands.iter().position(|sent| sent.starts_with("GET")));
        let asks = |sent: &String| sent.starts_with("SUBSCRIBE") || sent.starts_with("CLIENT MAINT");
        let first_ask = cache.with(|state| state.commands.iter().position(asks));
        assert!(first_ask.is_none_or(|ask| Some(ask) > first_get), "after the first round");
        assert_eq!(running.probes(), 4.0);
        running.assert_healthy();
    }
    let cache = Cache::default();
    let running = start(&cache, target());
    assert!(!running.text().contains("\ncachepulse_maintenance"), "no series where nothing is asked for");
}

#[tokio::test(start_paused = true)]
async fn the_maintenance_of_a_node_is_counted_and_shown_and_ends() {
    let (cache, (lines, _guard)) = (Cache::default(), logged());
    let running = start(&cache, azure());
    sleep(SECOND).await;
    assert_eq!((running.maintenance("notifications"), running.maintenance("active")), (1.0, 0.0));
    assert!(!running.text().contains("\ncachepulse_maintenance_scheduled"));
    // The test's clock begins at 2027-01-15T08:00:00.
    cache.push(&message("NodeMaintenanceScheduled", "2027-01-15T08:15:00"));
    sleep(SECOND).await;
    assert_eq!(running.maintenance("scheduled_timestamp_seconds"), 1_800_000_900.0);
    assert_eq!((running.events("node_maintenance_scheduled"), running.maintenance("active")), (1.0, 0.0));
    cache.push(&message("NodeMaintenanceStart", ""));
    sleep(SECOND).await;
    assert_eq!(running.maintenance("active"), 1.0);
    let status = serde_json::to_value(running.status.document()).unwrap();
    let maintenance = &status["targets"][0]["maintenance"];
    assert_eq!(maintenance["active"], true);
    assert_eq!(maintenance["scheduled"], "2027-01-15T08:15:00.000Z");
    assert_eq!(maintenance["events"][0]["event"], "node_maintenance_start");
    sleep(HOUR / 2).await;
    assert_eq!(running.maintenance("active"), 0.0, "nobody has ended it");
    sleep(HOUR).await;
    assert!(!running.text().contains("\ncachepulse_maintenance_scheduled"));
    running.assert_healthy();
    let lines = lines.text();
    assert_eq!(lines.matches("maintenance notice received").count(), 2, "{lines}");
    assert_eq!(lines.matches("maintenance announced").count(), 1, "{lines}");
    assert!(!lines.contains("maintenance announced target=t scheduled="), "it begins now: {lines}");
    assert_eq!(lines.matches("maintenance over").count(), 1, "{lines}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_remembered_for_an_hour_and_fails_nothing() {
    for refusal in ["-NOPERM No permissions to access a channel\r\n", "-ERR unknown command 'SUBSCRIBE'\r\n"]
    {
        let (cache, (lines, _guard)) = (Cache::default(), logged());
        cache.can("SUBSCRIBE", refusal);
        let running = start(&cache, azure());
        sleep(HOUR / 2).await;
        cache.hang_up();
        sleep(HOUR / 4).await;
        assert_eq!(cache.count("SUBSCRIBE"), 1, "also on the next connection");
        assert_eq!(running.maintenance("notifications"), 0.0);
        sleep(HOUR / 2).await;
        assert_eq!(cache.count("SUBSCRIBE"), 2);
        running.assert_healthy();
        assert!(!lines.text().contains("notices"), "only at debug");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_hangs_up_or_says_nothing_is_asked_less_and_less_often() {
    for reply in [HANG_UP, "", ":1\r\n"] {
        let cache = Cache::default();
        cache.can("SUBSCRIBE", reply);
        let running = start(&cache, azure());
        sleep(HOUR).await;
        assert_eq!(cache.count("SUBSCRIBE"), 12, "{reply:?}");
        assert_eq!(running.maintenance("notifications"), 0.0);
        running.assert_healthy();
        sleep(3 * HOUR).await;
        assert!(cache.count("SUBSCRIBE") <= 15, "{reply:?}");
        running.assert_healthy();
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_answered_for_seconds_is_made_again_soon() {
    for reply in [HANG_UP, "", "-LOADING Redis is loading the dataset in memory\r\n", "-BUSY a script\r\n"] {
        let cache = Cache::default();
        cache.can("SUBSCRIBE", reply);
        let running = start(&cache, azure());
        sleep(7 * SECOND).await;
        assert_eq!(running.maintenance("notifications"), 0.0, "{reply:?}");
        cache.can("SUBSCRIBE", ">3\r\n$9\r\nsubscribe\r\n$16\r\nAzureRedisEvents\r\n:1\r\n");
        sleep(10 * SECOND).await;
        assert_eq!(running.maintenance("notifications"), 1.0, "{reply:?}");
        running.assert_healthy();
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_when_it_is_asked_for_notices_is_an_outage_from_the_question() {
    let cache = Cache::default();
    cache.can("SUBSCRIBE", "");
    let running = start(&cache, azure());
    sleep(SECOND).await;
    cache.with(|state| state.slow_dial = 4 * SECOND);
    sleep(8 * SECOND).await;
    assert_eq!((running.all_failures(), running.unavailable()), (0.0, 6.0));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_moves_is_left_early_and_the_old_connection_serves_until_then() {
    let cache = Cache::default();
    let running = start(&cache, managed());
    sleep(SECOND).await;
    cache.push(">4\r\n+MOVING\r\n:7\r\n:30\r\n$15\r\n10.0.0.9:100000\r\n");
    cache.push(">4\r\n+MOVING\r\n:7\r\n:30\r\n$14\r\n10.0.0.9:10000\r\n");
    sleep(SECOND).await;
    assert_eq!(cache.with(|state| state.led_to.clone()), ["10.0.0.9:10000"]);
    assert_eq!((running.events("moving"), running.events("other")), (1.0, 1.0));
    assert_eq!(cache.count("CLIENT MAINT_NOTIFICATIONS"), 2, "the new connection asks, too");
    // It is repeated to the connection that asked.
    cache.push(">4\r\n+MOVING\r\n:7\r\n:28\r\n$14\r\n10.0.0.9:10000\r\n");
    sleep(12 * SECOND).await;
    assert_eq!((running.events("moving"), cache.with(|state| state.dials.len())), (1.0, 2));

    cache.push(">4\r\n+MOVING\r\n:8\r\n:30\r\n_\r\n");
    sleep(14 * SECOND).await;
    assert_eq!(cache.with(|state| state.dials.len()), 2, "the name may still lead to the old node");
    sleep(2 * SECOND).await;
    assert_eq!(cache.with(|state| state.dials.len()), 3);
    assert_eq!(cache.with(|state| state.led_to.len()), 1, "to the configured name");
    running.assert_healthy();
    assert_eq!(running.disconnects("closed"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_move_to_where_nobody_answers_leaves_the_connection() {
    let cache = Cache::default();
    let running = start(&cache, managed());
    sleep(SECOND).await;
    cache.with(|state| state.away = Some(FailureReason::ConnectTimeout));
    cache.push(">4\r\n+MOVING\r\n:7\r\n:30\r\n+10.0.0.9:10000\r\n");
    sleep(40 * SECOND).await;
    assert_eq!(cache.with(|state| state.dials.len()), 3, "the new endpoint, then the name");
    running.assert_healthy();
}

#[tokio::test(start_paused = true)]
async fn moves_without_end_open_few_connections_and_delay_no_tick() {
    let cache = Cache::default();
    let running = start(&cache, managed());
    sleep(SECOND).await;
    for number in 0..600 {
        cache.push(&format!(">4\r\n+MOVING\r\n:{number}\r\n:0\r\n_\r\n").repeat(20));
        sleep(SECOND / 10).await;
    }
    assert_eq!(running.probes(), 7.0);
    let dials = cache.with(|state| state.dials.len());
    assert!(dials <= 8, "{dials}");
    running.assert_healthy();
}

#[tokio::test(start_paused = true)]
async fn a_completion_that_is_repeated_to_a_new_connection_is_no_event() {
    let cache = Cache::default();
    cache.can("CLIENT MAINT_NOTIFICATIONS", "+OK\r\n>3\r\n+FAILED_OVER\r\n:6\r\n+1\r\n");
    let running = start(&cache, managed());
    sleep(SECOND).await;
    cache.hang_up();
    sleep(30 * SECOND).await;
    assert_eq!(cache.count("CLIENT MAINT_NOTIFICATIONS"), 2);
    assert_eq!(running.events("failed_over"), 0.0);
    cache.push(">4\r\n+FAILING_OVER\r\n:7\r\n:5\r\n+1\r\n");
    sleep(SECOND).await;
    assert_eq!((running.events("failing_over"), running.maintenance("active")), (1.0, 1.0));
    cache.push(">3\r\n+FAILED_OVER\r\n:8\r\n+1\r\n");
    sleep(SECOND).await;
    assert_eq!((running.events("failed_over"), running.maintenance("active")), (1.0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn a_notice_hides_no_outage() {
    let cache = Cache::default();
    let running = start(&cache, azure());
    sleep(SECOND).await;
    cache.push(&message("NodeMaintenanceStart", ""));
    sleep(SECOND).await;
    cache.with(|state| state.away = Some(FailureReason::ConnectRefused));
    cache.hang_up();
    sleep(30 * SECOND).await;
    assert_eq!((running.maintenance("active"), running.is_up()), (1.0, false));
    assert_eq!(running.failures("connect_refused"), 3.0);
    assert!((25.0..=31.0).contains(&running.unavailable()), "{}", running.unavailable());
    sleep(HOUR / 2).await;
    assert_eq!(running.maintenance("active"), 0.0, "also while the cache is away");
}

#[tokio::test(start_paused = true)]
async fn hostile_notices_change_nothing_but_a_counter() {
    let cache = Cache::default();
    let running = start(&cache, Target { maintenance: Maintenance::On, ..target() });
    sleep(SECOND).await;
    let huge = "x".repeat(5_000_000);
    for push in [
        format!(">3\r\n$7\r\nmessage\r\n$16\r\nAzureRedisEvents\r\n$5000000\r\n{huge}\r\n"),
        ">3\r\n$7\r\nmessage\r\n$16\r\nAzureRedisEvents\r\n*1\r\n:1\r\n".to_owned(),
        message("NodeMaintenanceScheduled", "9999-12-31T23:59:59"),
        message("NodeMaintenanceScheduled", "2026-01-01T00:00:00"),
        message("New", ""),
        ">4\r\n+MOVING\r\n:1\r\n:9223372036854775807\r\n_\r\n".to_owned(),
        ">4\r\n+MIGRATING\r\n%1\r\n+a\r\n+b\r\n:1\r\n+1\r\n".to_owned(),
        ">1\r\n+\u{1b}[31mNEW\r\n".to_owned(),
        ">2\r\n:1\r\n:2\r\n".to_owned(),
        ">0\r\n".to_owned(),
    ] {
        let before = running.events("other");
        cache.push(&push);
        sleep(SECOND).await;
        let shown = push.chars().take(80).collect::<String>();
        assert_eq!(running.events("other"), before + 1.0, "{shown:?}");
        assert_eq!(running.maintenance("active"), 0.0, "{shown:?}");
    }
    assert!(!running.text().contains("\ncachepulse_maintenance_scheduled"));
    assert_eq!(running.value(r#"connects_total{result="success",target="t"}"#), 1.0);
    running.assert_healthy();
}

#[tokio::test(start_paused = true)]
async fn a_long_list_of_clients_is_not_asked_for_on_a_subscribed_connection() {
    let cache = Cache::default();
    let running = start(&cache, azure());
    sleep(SECOND).await;
    assert_eq!(cache.count("SUBSCRIBE"), 1);
    let clients = "id=8 addr=10.0.0.1:50 name=a-client-of-the-cache\n".repeat(100_000);
    cache.can("CLIENT LIST", &format!("${}\r\n{clients}\r\n", clients.len()));
    sleep(HOUR / 2).await;
    assert_eq!(running.value(r#"connects_total{result="success",target="t"}"#), 2.0, "it is replaced");
    assert_eq!((cache.count("SUBSCRIBE"), running.maintenance("notifications")), (1, 0.0));
    running.assert_healthy();
}
