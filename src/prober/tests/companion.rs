//! Connections beside the open one: probes of new connections, and replacements.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn with_new_connections(every: Duration) -> Target {
    Target { new_connection_every: Some(every), ..target() }
}

impl Running {
    fn new_connections(&self, result: &str) -> f64 {
        self.value(&format!(r#"new_connections_total{{result="{result}",target="t"}}"#))
    }

    fn new_connection_failures(&self, reason: &str) -> f64 {
        self.value(&format!(r#"new_connection_failures_total{{reason="{reason}",target="t"}}"#))
    }

    fn failed_in_a_row(&self) -> f64 {
        self.value(r#"new_connection_consecutive_failures{target="t"}"#)
    }

    fn opened(&self) -> f64 {
        self.value(r#"connects_total{result="success",target="t"}"#)
    }

    fn not_opened(&self) -> f64 {
        self.value(r#"connects_total{result="failure",target="t"}"#)
    }

    fn assert_unbroken(&self) {
        assert!(self.is_up());
        assert_eq!((self.all_failures(), self.unavailable()), (0.0, 0.0));
        assert_eq!((self.disconnects("closed"), self.disconnects("token_expired")), (0.0, 0.0));
    }
}

#[tokio::test(start_paused = true)]
async fn new_connections_are_probed_all_day_and_belong_to_no_other_series() {
    let cache = Cache::default();
    let running = start(&cache, with_new_connections(MINUTE));
    assert!(!text(&running).contains("\ncachepulse_new_connection_success"), "absent before the first");
    sleep(59 * MINUTE + 59 * SECOND).await;
    let probed = running.new_connections("success");
    assert!((54.0..=67.0).contains(&probed), "{probed}");
    assert_eq!((running.opened(), running.failed_in_a_row()), (1.0, 0.0));
    assert_eq!(running.value(r#"new_connection_success{target="t"}"#), 1.0);
    let phases = running.value(r#"phase_duration_seconds_count{phase="connect",target="t"}"#);
    assert_eq!(phases, probed + 1.0);
    assert_eq!(cache.with(|state| state.dials.len()) as f64, probed + 1.0);
    running.assert_unbroken();
    assert_eq!(running.probes(), 360.0);
}

#[tokio::test(start_paused = true)]
async fn targets_that_start_together_do_not_probe_new_connections_together() {
    let cache = Cache::default();
    let running: Vec<Running> = (0..100)
        .map(|seed| {
            let target = with_new_connections(MINUTE);
            start_seeded(seed, Duration::ZERO, cache.clone(), target, SignIn::None, clock())
        })
        .collect();
    sleep(SECOND / 2).await;
    let before = cache.with(|state| state.dials.len());
    sleep(MINUTE / 2).await;
    let half = cache.with(|state| state.dials.len()) - before;
    assert!((30..=70).contains(&half), "{half} of {}", running.len());
}

#[tokio::test(start_paused = true)]
async fn a_full_server_fails_new_connections_and_nothing_else() {
    let cache = Cache::default();
    let running = start(&cache, with_new_connections(5 * MINUTE));
    sleep(SECOND).await;
    cache.with(|state| state.away = Some(FailureReason::TooManyClients));
    sleep(20 * MINUTE).await;
    // Every half minute once it fails, whatever `every` says.
    let failed = running.new_connection_failures("too_many_clients");
    assert!((25.0..=45.0).contains(&failed), "{failed}");
    assert_eq!(running.failed_in_a_row(), failed);
    assert_eq!(running.value(r#"new_connection_success{target="t"}"#), 0.0);
    running.assert_unbroken();
    assert_eq!((running.opened(), running.not_opened()), (1.0, 0.0));
    let document = running.status.document();
    let shown = document.targets[0].new_connection.as_ref().unwrap();
    assert_eq!((shown.result, f64::from(shown.consecutive_failures)), ("failure", failed));
    assert_eq!(shown.failure.as_ref().unwrap().reason, FailureReason::TooManyClients);
    cache.with(|state| state.away = None);
    sleep(MINUTE).await;
    assert_eq!((running.failed_in_a_row(), running.new_connections("success") > 0.0), (0.0, true));
}

#[tokio::test(start_paused = true)]
async fn the_agents_own_limits_are_no_failures_in_a_row() {
    let cache = Cache::default();
    let running = start(&cache, with_new_connections(MINUTE));
    sleep(SECOND).await;
    cache.with(|state| state.away = Some(FailureReason::LocalResource));
    sleep(10 * MINUTE).await;
    assert!(running.new_connection_failures("local_resource") > 15.0);
    assert_eq!(running.failed_in_a_row(), 0.0);
    running.assert_unbroken();
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_whose_ping_is_answered_with_an_error_has_failed() {
    let cache = Cache::default();
    let running = start(&cache, Target { interval: 3600 * SECOND, ..with_new_connections(MINUTE) });
    sleep(SECOND / 2).await;
    cache.can("PING", "-BUSY Redis is busy running a script.\r\n");
    sleep(5 * MINUTE).await;
    assert!(running.new_connection_failures("busy") > 5.0);
    running.assert_unbroken();
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_presents_the_newest_token_and_asks_for_another_if_that_is_refused() {
    let (cache, clock) = (Cache::default(), clock());
    let (_publish, states) = watch::channel(token("first", &clock, 3600 * SECOND));
    let refused = Arc::new(tokio::sync::Notify::new());
    let sign_in = SignIn::Tokens(Tokens::new(None, states, Arc::clone(&refused)));
    let running = start_with(&cache, with_new_connections(MINUTE), sign_in, clock);
    sleep(SECOND / 2).await;
    cache.can("AUTH", "-WRONGPASS invalid username-password pair\r\n");
    let asked = tokio::time::timeout(MINUTE, refused.notified()).await;
    assert!(asked.is_ok(), "another token is asked for");
    assert_eq!(running.new_connection_failures("auth_rejected"), 1.0);
    running.assert_unbroken();
}

const OLD: &str = "10.0.0.1:6380";
const NEW: &str = "10.0.0.2:6380";

/// Lets the name lead to `addresses`.
fn name(cache: &Cache, addresses: &[&str]) {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    cache.with(|state| state.addresses = Some(addresses));
}

fn with_look_ups() -> Target {
    Target { dns_refresh: Some(MINUTE), ..target() }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_moves_moves_the_connection_without_a_disconnect() {
    let cache = Cache::default();
    name(&cache, &[OLD]);
    let running = start(&cache, with_look_ups());
    sleep(5 * MINUTE).await;
    assert_eq!(running.opened(), 1.0);
    name(&cache, &[NEW]);
    sleep(3 * MINUTE).await;
    assert_eq!(running.opened(), 2.0);
    running.assert_unbroken();
    // Commands go to the new node only, whose end is noticed.
    sleep(60 * MINUTE).await;
    assert_eq!(running.opened(), 2.0);
    cache.with(|state| state.away = Some(FailureReason::ConnectRefused));
    cache.with(|state| state.open.pop()).unwrap().abort();
    sleep(15 * SECOND).await;
    assert!(!running.is_up());
    assert_eq!(running.disconnects("closed"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn look_ups_that_fail_and_names_that_move_back_change_nothing() {
    let cache = Cache::default();
    name(&cache, &[OLD]);
    let running = start(&cache, with_look_ups());
    sleep(SECOND).await;
    cache.with(|state| state.addresses = None);
    sleep(30 * MINUTE).await;
    for _ in 0..10 {
        // One lookup at most finds it away.
        name(&cache, &[NEW]);
        sleep(50 * SECOND).await;
        name(&cache, &[NEW, OLD]);
        sleep(2 * MINUTE).await;
    }
    assert_eq!(running.opened(), 1.0);
    running.assert_unbroken();
}

#[tokio::test(start_paused = true)]
async fn a_name_whose_answers_rotate_replaces_the_connection_every_ten_minutes_at_most() {
    let cache = Cache::default();
    name(&cache, &[OLD]);
    let running = start(&cache, with_look_ups());
    for round in 0_u32..12 {
        sleep(5 * MINUTE).await;
        name(&cache, &[&format!("10.0.1.{round}:6380")]);
    }
    let connects = running.opened();
    assert!((5.0..=7.0).contains(&connects), "{connects} in an hour");
    running.assert_unbroken();
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_is_replaced_by_one_that_is_opened_first() {
    let cache = Cache::default();
    let running = start(&cache, Target { max_connection_age: Some(60 * MINUTE), ..target() });
    sleep(59 * MINUTE + 59 * SECOND).await;
    assert_eq!(running.opened(), 1.0);
    cache.with(|state| state.slow_dial = 4 * SECOND);
    sleep(60 * MINUTE).await;
    assert_eq!(running.opened(), 2.0);
    running.assert_unbroken();
    assert_eq!(running.probes(), 720.0, "slow openings delay no round on the old connection");
    assert_eq!(cache.with(|state| state.open.iter().filter(|task| !task.is_finished()).count()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_cannot_be_replaced_goes_on() {
    let cache = Cache::default();
    let interval = 3600 * SECOND;
    let running = start(&cache, Target { max_connection_age: Some(10 * MINUTE), interval, ..target() });
    sleep(MINUTE).await;
    cache.with(|state| state.away = Some(FailureReason::ConnectTimeout));
    sleep(19 * MINUTE).await;
    let failed = running.not_opened();
    assert!((18.0..=21.0).contains(&failed), "every half minute: {failed}");
    running.assert_unbroken();
    cache.with(|state| state.away = None);
    cache.can("PING", "-LOADING Redis is loading the dataset in memory\r\n");
    sleep(MINUTE).await;
    cache.with(|state| state.canned.clear());
    sleep(MINUTE).await;
    assert_eq!(cache.with(|state| state.open.iter().filter(|task| !task.is_finished()).count()), 1);
    assert_eq!(running.disconnects("loading"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_token_renewed_while_a_replacement_opens_is_presented_on_it() {
    let (cache, clock) = (Cache::default(), clock());
    let (publish, states) = watch::channel(token("first", &clock, 24 * 60 * MINUTE));
    let sign_in = SignIn::Tokens(Tokens::new(None, states, Arc::default()));
    let target = Target { max_connection_age: Some(10 * MINUTE), ..target() };
    let running = start_with(&cache, target, sign_in, clock.clone());
    sleep(MINUTE).await;
    cache.with(|state| state.slow_dial = 4 * SECOND);
    sleep(9 * MINUTE + 2 * SECOND).await;
    publish.send_replace(token("second", &clock, 24 * 60 * MINUTE));
    sleep(MINUTE).await;
    assert_eq!(running.opened(), 2.0);
    let presented = ["first", "second"].map(|name| cache.count(&format!("AUTH oid {name}")));
    assert_eq!(presented, [2, 2], "the second on the old connection and on the new one");
    running.assert_unbroken();
}

fn text(running: &Running) -> String {
    std::io::read_to_string(running.metrics.exposition(Format::Text)).unwrap()
}
