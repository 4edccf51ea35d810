//! A slot on its way to another node, where no other key will do: the node that `ASK` names is asked.

use super::*;
use crate::target::KeyTemplate;

const ASK: &str = "-ASK 42 10.0.0.9:8500\r\n";

fn target_with(key: &str) -> Target {
    Target { key: KeyTemplate::new(key).unwrap(), attempts: NonZeroU32::MIN, ..target() }
}

/// Starts a prober with this key, and lets the slots of all keys be on their way.
async fn migrating(cache: &Cache, key: &str) -> Running {
    let running = start(cache, target_with(key));
    sleep(5 * SECOND).await;
    cache.can("SET", ASK);
    cache.can("GET", ASK);
    running
}

/// The text and the advice of the last failure.
fn failure(running: &Running) -> (String, String) {
    let document = running.status.document();
    let failure = document.targets[0].failures[0].failure.as_ref().unwrap();
    (failure.detail.to_string(), failure.advice.to_string())
}

#[tokio::test(start_paused = true)]
async fn a_key_that_has_no_choice_is_written_and_read_on_the_node_that_is_named() {
    for key in ["health", "{orders}:{instance}"] {
        let cache = Cache::default();
        let running = migrating(&cache, key).await;
        sleep(30 * SECOND).await;
        assert_eq!(
            (running.probes(), running.all_failures(), running.unavailable()),
            (4.0, 0.0, 0.0),
            "{key}"
        );
        assert_eq!(cache.with(|state| state.dials.len()), 1, "the connection stays");
        let round =
            ["HELLO", "PING", "ASKING", "SET", "ASKING", "GET"].map(|it| format!("10.0.0.9:8500 {it}"));
        assert_eq!(cache.with(|state| state.asked.clone()), [&round[..]; 3].concat(), "{key}");
        // It has arrived.
        cache.with(|state| state.canned.clear());
        sleep(20 * SECOND).await;
        assert_eq!((running.probes(), running.all_failures()), (6.0, 0.0));
        assert_eq!(cache.with(|state| state.asked.len()), 18);
    }
}

#[tokio::test(start_paused = true)]
async fn if_every_slot_is_on_its_way_the_other_keys_are_tried_once_and_then_the_named_node_is_asked() {
    let cache = Cache::default();
    let running = migrating(&cache, "cachepulse:{instance}").await;
    sleep(30 * SECOND).await;
    assert_eq!((running.probes(), running.all_failures()), (4.0, 0.0));
    // One before; then 64 others; then one other in each probe.
    assert_eq!(cache.count("SET"), 1 + 65 + 2 + 2);
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_leaves_between_set_and_get_takes_the_value_with_it() {
    let cache = Cache::default();
    let running = start(&cache, target_with("health"));
    sleep(5 * SECOND).await;
    cache.can("GET", ASK);
    sleep(10 * SECOND).await;
    assert_eq!((running.probes(), running.all_failures()), (2.0, 0.0));
    assert_eq!(cache.with(|state| state.asked.last().cloned()).unwrap(), "10.0.0.9:8500 GET");
}

/// Lets the node that is named refuse `ASKING`.
fn deny_asking(cache: &Cache) {
    cache.with(|state| state.asking = Some("-NOPERM no permissions to run the 'asking' command\r\n"));
}

fn denied(running: &Running, step: &str) -> f64 {
    running.value(&format!(r#"step_results_total{{result="denied",step="{step}",target="t"}}"#))
}

#[tokio::test(start_paused = true)]
async fn a_user_who_may_not_say_asking_fails_nothing_and_is_not_refused_again_for_an_hour() {
    for key in ["health", "cachepulse:{instance}"] {
        let (lines, _guard) = logged();
        let cache = Cache::default();
        deny_asking(&cache);
        let running = migrating(&cache, key).await;
        sleep(600 * SECOND).await;
        let asked = || cache.with(|state| state.asked.iter().filter(|it| it.ends_with("ASKING")).count());
        assert_eq!(
            (running.all_failures(), running.unavailable(), running.is_up()),
            (0.0, 0.0, true),
            "{key}"
        );
        assert_eq!((asked(), denied(&running, "set")), (1, running.probes() - 1.0), "{key}");
        assert_eq!(lines.text().matches("give the user the right `+asking`").count(), 1, "{}", lines.text());
        assert_eq!(cache.with(|state| state.dials.len()), 1, "the connection stays");
        sleep(3600 * SECOND).await;
        assert_eq!(asked(), 2, "{key}");
        // It has arrived.
        cache.with(|state| state.canned.clear());
        sleep(20 * SECOND).await;
        let (before, gets) = (denied(&running, "set"), cache.count("GET"));
        sleep(20 * SECOND).await;
        assert_eq!((denied(&running, "set"), cache.count("GET")), (before, gets + 2), "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_leaves_between_set_and_get_fails_nothing_where_asking_is_denied() {
    let cache = Cache::default();
    deny_asking(&cache);
    let running = start(&cache, target_with("health"));
    sleep(5 * SECOND).await;
    cache.can("GET", ASK);
    sleep(10 * SECOND).await;
    assert_eq!((running.probes(), running.all_failures(), denied(&running, "get")), (2.0, 0.0, 1.0));
}

#[tokio::test(start_paused = true)]
async fn a_named_node_that_cannot_be_reached_is_the_wrong_node_with_both_texts() {
    let cache = Cache::default();
    cache.with(|state| state.named_away = Some(FailureReason::ConnectRefused));
    let running = migrating(&cache, "health").await;
    sleep(5 * SECOND + Duration::from_millis(1)).await;
    assert_eq!(running.failures("wrong_node"), 1.0);
    let (detail, advice) = failure(&running);
    assert_eq!(detail, "ASK 42 10.0.0.9:8500; that node: connect_refused at connect");
    assert!(advice.contains("allow connections to all nodes"), "{advice}");
    assert_eq!(cache.with(|state| state.dials.len()), 1, "a new connection to the host would not help");
}

#[tokio::test(start_paused = true)]
async fn an_ask_that_names_no_node_is_the_wrong_node() {
    let cache = Cache::default();
    let running = start(&cache, target_with("health"));
    sleep(5 * SECOND).await;
    cache.can("SET", "-ASK 42 ?:8500\r\n");
    sleep(5 * SECOND + Duration::from_millis(1)).await;
    assert_eq!(running.failures("wrong_node"), 1.0);
}
