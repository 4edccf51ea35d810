//! Servers that are replicas, and primaries that are demoted.

use super::*;
use crate::target::ExpectRole;

/// Lets the server of all connections so far become a replica, and where new ones lead to as well for `more` of them.
fn demote(cache: &Cache, more: usize) {
    cache.with(|state| state.replicas = state.dials.len() + 1 + more);
}

fn dials(cache: &Cache) -> usize {
    cache.with(|state| state.dials.len())
}

fn once() -> Target {
    Target { attempts: NonZeroU32::MIN, ..target() }
}

#[tokio::test(start_paused = true)]
async fn a_demoted_primary_is_left_within_the_tick_which_costs_nothing() {
    let cache = Cache::default();
    cache.with(|state| state.version = Some("7.0.15"));
    let running = start(&cache, once());
    sleep(5 * SECOND).await;
    demote(&cache, 0);
    // It takes a while, but no longer than the grace of a lost connection.
    cache.with(|state| state.slow_dial = Duration::from_millis(900));
    sleep(10 * SECOND).await;
    assert_eq!((running.probes(), running.all_failures(), running.unavailable()), (2.0, 0.0, 0.0));
    assert_eq!((running.disconnects("read_only"), dials(&cache)), (1.0, 2));
    assert_eq!(running.value(r#"role_changes_total{target="t"}"#), 1.0);
    let info = r#"server_info{mode="standalone",role="primary",server="redis",target="t",version="7.0.15"}"#;
    assert_eq!(running.value(info), 1.0);
    // PING and SET on the old connection, all four on the new one.
    assert_eq!(["PING", "SET", "GET", "HELLO"].map(|name| cache.count(name)), [3 + 2, 3, 2, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_that_says_the_same_is_the_failure_and_no_other_replaces_it_for_nothing() {
    let cache = Cache::default();
    let running = start(&cache, once());
    sleep(5 * SECOND).await;
    demote(&cache, 1);
    sleep(5 * SECOND + Duration::from_millis(20)).await;
    assert_eq!((running.probes(), running.failures("read_only"), dials(&cache)), (2.0, 1.0, 2));
    assert!(!running.is_up());
    sleep(5 * SECOND).await;
    assert!(running.is_up(), "followed up between ticks");
    assert_eq!(running.all_failures(), 1.0);
    assert!((0.0..5.1).contains(&running.unavailable()), "{}", running.unavailable());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_calls_itself_primary_and_takes_no_writes_is_one_change_and_one_more_at_the_end() {
    let cache = Cache::default();
    cache.with(|state| state.version = Some("7.0.15"));
    let (lines, _guard) = logged();
    let running = start(&cache, Target { interval: SECOND, ..target() });
    sleep(5 * SECOND).await;
    cache.can("SET", READONLY);
    let before = dials(&cache);
    sleep(300 * SECOND).await;
    let changes = || running.value(r#"role_changes_total{target="t"}"#);
    let told = || lines.text().matches("server role changed").count();
    assert_eq!((changes(), told(), running.is_up()), (1.0, 1, false));
    let lines_so_far = lines.text().lines().count();
    assert!(lines_so_far < 10, "{}", lines.text());
    // A tick, and a follow-up now and then.
    assert!(dials(&cache) - before <= 2 * 300, "{}", dials(&cache) - before);
    cache.with(|state| state.canned.remove("SET"));
    sleep(60 * SECOND).await;
    assert_eq!((changes(), told(), running.is_up()), (2.0, 2, true));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_moved_is_asked_for_its_role_once_and_only_where_that_needs_no_right() {
    for (version, asked, sets) in [(Some("7.0.15"), 1, 1), (Some("6.2.14"), 0, 2), (None, 0, 2)] {
        let cache = Cache::default();
        cache.with(|state| state.version = version);
        let (lines, guard) = logged();
        let running = start(&cache, once());
        sleep(5 * SECOND).await;
        cache.with(|state| state.demoted = 2);
        sleep(5 * SECOND + Duration::from_millis(20)).await;
        drop(guard);
        assert_eq!((running.all_failures(), running.unavailable()), (0.0, 0.0), "{version:?}");
        assert_eq!(running.disconnects("wrong_node"), 1.0);
        assert_eq!(cache.count("HELLO"), asked, "{version:?}");
        // One before, those on the demoted node (another key is tried where the role is not known), and one after.
        assert_eq!(cache.count("SET"), 2 + sets, "{version:?}");
        let shown = "server role changed target=t role=\"replica\" previous=\"primary\"";
        assert_eq!(lines.text().contains(shown), asked > 0, "{version:?}: {}", lines.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_was_configured_says_so_and_costs_one_command_per_connection() {
    for is_cluster in [false, true] {
        let cache = Cache::default();
        cache.with(|state| {
            let count = if is_cluster { &mut state.demoted } else { &mut state.replicas };
            (*count, state.version) = (1_000_000, Some("7.0.15"));
        });
        let running = start(&cache, target());
        sleep(595 * SECOND).await;
        let reason = if is_cluster { "wrong_node" } else { "read_only" };
        // Until it is asked for the topology, which it doesn't know, its keys are left to the shards.
        let left = u8::from(is_cluster);
        assert_eq!((running.probes(), running.failures(reason)), (60.0, 60.0 - f64::from(left)));
        assert_eq!((cache.count("SET"), cache.count("HELLO")), (dials(&cache) + usize::from(left), 0));
        // A tick, and follow-ups of at most 5 s.
        assert!(dials(&cache) <= 60 * 5, "{}", dials(&cache));
        let document = running.status.document();
        let failure = document.targets[0].failures[0].failure.as_ref().unwrap();
        assert!(failure.detail.contains("replica"), "{}", failure.detail);
        assert!(failure.advice.contains("`expect_role: replica`"), "{}", failure.advice);
    }
}

fn expecting(expect_role: ExpectRole) -> Target {
    Target { expect_role, ..once() }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_expected_is_only_read() {
    for version in [Some("7.0.15"), None] {
        let cache = Cache::default();
        cache.with(|state| (state.replicas, state.version) = (1_000_000, version));
        let running = start(&cache, expecting(ExpectRole::Replica));
        sleep(15 * SECOND).await;
        assert_eq!((running.probes(), running.all_failures()), (2.0, 0.0));
        assert_eq!(["PING", "GET", "CLIENT LIST", "SET"].map(|name| cache.count(name)), [3, 2, 2, 0]);
        cache.can(
            "GET",
            "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
        );
        sleep(10 * SECOND).await;
        assert_eq!(running.failures("cluster_down"), 1.0);
    }
}

#[tokio::test(start_paused = true)]
async fn where_any_role_is_expected_hello_decides_and_read_only_where_there_is_none() {
    // A replica that says so is never written; one that does not is asked once per connection.
    for (version, sets) in [(Some("7.0.15"), 0), (None, 1)] {
        let cache = Cache::default();
        cache.with(|state| (state.replicas, state.version) = (1_000_000, version));
        let running = start(&cache, expecting(ExpectRole::Any));
        sleep(25 * SECOND).await;
        assert_eq!((running.probes(), running.all_failures(), running.unavailable()), (3.0, 0.0, 0.0));
        assert_eq!((cache.count("SET"), cache.count("GET"), dials(&cache)), (sets, 3, 1), "{version:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_any_role_is_expected_a_demotion_and_a_promotion_change_what_is_probed() {
    let cache = Cache::default();
    cache.with(|state| state.version = Some("7.0.15"));
    let (lines, guard) = logged();
    let running = start(&cache, expecting(ExpectRole::Any));
    sleep(5 * SECOND).await;
    demote(&cache, 0);
    sleep(10 * SECOND).await;
    assert_eq!((cache.count("SET"), cache.count("GET"), dials(&cache)), (2, 2, 1), "it is only read now");
    let info = r#"server_info{mode="standalone",role="replica",server="redis",target="t",version="7.0.15"}"#;
    assert_eq!(running.value(info), 1.0);
    sleep(60 * SECOND).await;
    assert_eq!(cache.count("SET"), 2);
    cache.with(|state| state.replicas = 0);
    sleep(70 * SECOND).await;
    assert!(cache.count("SET") > 2, "asked again by HELLO within `cluster.refresh`");
    assert_eq!((running.all_failures(), running.unavailable(), dials(&cache)), (0.0, 0.0, 1));
    drop(guard);
    assert_eq!(lines.text().matches("server role changed").count(), 2, "{}", lines.text());
    assert_eq!(running.value(r#"role_changes_total{target="t"}"#), 2.0);
}

#[tokio::test(start_paused = true)]
async fn a_replica_of_a_cluster_is_told_that_reads_are_wanted() {
    let cache = Cache::default();
    cache.with(|state| (state.demoted, state.version) = (1_000_000, Some("7.0.15")));
    let running = start(&cache, expecting(ExpectRole::Replica));
    sleep(5 * SECOND).await;
    // One more connection has asked for the topology, which this server doesn't know.
    assert_eq!(cache.count("READONLY") + 1, dials(&cache), "once on each connection");
    assert_eq!(running.failures("wrong_node"), 1.0, "the slot is of another shard");
    cache.can("GET", "$-1\r\n");
    sleep(10 * SECOND).await;
    assert!(running.is_up());
}
