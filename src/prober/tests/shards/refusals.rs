//! Servers that do not say which shards there are: one of several, or all of them.

use super::*;

pub(super) const DENIED: &str = "-NOPERM this user has no permissions to run the 'cluster|slots' command\r\n";

fn refreshes(running: &Running, result: &str) -> f64 {
    running.value(&format!(r#"topology_refreshes_total{{result="{result}",target="t"}}"#))
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_one_node_ends_nothing_and_is_asked_of_another() {
    for refusal in [DENIED, "-ERR This instance has cluster support disabled\r\n", HANG_UP] {
        let cluster = Cluster::new(3);
        cluster.with(|state| state.all[1].no_topology = Some(refusal));
        let running = start_cluster(&cluster, target()).await;
        sleep(3_000 * SECOND).await;
        // It is remembered for an hour.
        let (asked, most) = (cluster.count(1, "CLUSTER"), if refusal == HANG_UP { 2 } else { 1 });
        assert!((1..=most).contains(&asked), "{asked}: {refusal}");
        assert_eq!((running.is_up(), running.all_failures()), (true, 0.0));
        assert!(refreshes(&running, "success") > 45.0);
        // Those that are left to be asked are down, and come back elsewhere.
        cluster.kill(0);
        cluster.kill(2);
        sleep(INTERVAL + SECOND).await;
        let down = [("0", Watch::Down), ("5461", Watch::Up), ("10922", Watch::Down)];
        let states = shards(&running).into_iter().map(|(shard, watch, _)| (shard, watch));
        assert_eq!(states.collect::<Vec<_>>(), down.map(|(shard, watch)| (shard.to_owned(), watch)));
        assert!(!running.is_up());
        cluster.with(|state| {
            state.all[0].away = None;
            state.slots[2].2 = 3;
        });
        sleep(2 * INTERVAL).await;
        assert!(running.is_up());
        assert_eq!(shards(&running)[2].2, endpoint(3).to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_survive_the_question_is_asked_at_most_once_in_a_minute_beside_the_probes() {
    let unknown = "-ERR CLUSTER is not available on this tier\r\n";
    for refusal in [HANG_UP, "", unknown] {
        let (lines, _guard) = logged();
        let cluster = Cluster::new(1);
        cluster.with(|state| state.all[0].no_topology = Some(refusal));
        let running = start_cluster(&cluster, target()).await;
        sleep(3_000 * SECOND).await;
        let asked = cluster.count_all("CLUSTER");
        assert!((45..=90).contains(&asked), "{refusal}: {asked}");
        assert_eq!((running.is_up(), running.all_failures(), running.unavailable()), (true, 0.0, 0.0));
        let lost = running.disconnects("closed") + running.disconnects("command_timeout");
        assert!(lost <= 1.0, "{refusal}: {lost} connections of the probes");
        assert_eq!((refreshes(&running, "unsupported"), refreshes(&running, "failure") > 40.0), (0.0, true));
        assert!(cluster_of(&running).topology_failure.is_some());
        let told = |line| lines.text().matches(line).count();
        assert_eq!((told("topology not read"), told("topology read again")), (1, 0), "{}", lines.text());
        cluster.with(|state| state.all[0].no_topology = None);
        sleep(60 * SECOND + INTERVAL).await;
        assert_eq!((shards(&running).len(), told("topology read again")), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn questions_that_are_lost_for_seconds_at_the_start_do_not_hide_the_shards() {
    for refusal in [HANG_UP, "", "-LOADING Redis is loading the dataset in memory\r\n"] {
        let cluster = Cluster::new(3);
        cluster.with(|state| state.refusal = Some(refusal));
        let running = start_cluster(&cluster, target()).await;
        assert_eq!((running.is_up(), running.all_failures()), (true, 0.0));
        cluster.with(|state| state.refusal = None);
        sleep(2 * INTERVAL).await;
        assert_eq!((shards(&running).len(), running.all_failures()), (3, 0.0), "{refusal}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_topology_that_cannot_be_read_any_more_is_logged_once_and_shown_and_the_shards_are_probed() {
    for refusal in [HANG_UP, "", "-LOADING Redis is loading the dataset in memory\r\n"] {
        let (lines, _guard) = logged();
        let cluster = Cluster::new(3);
        let running = start_cluster(&cluster, target()).await;
        let asked = cluster.count_all("CLUSTER");
        cluster.with(|state| state.refusal = Some(refusal));
        sleep(600 * SECOND).await;
        assert_eq!((running.is_up(), running.all_failures(), running.unavailable()), (true, 0.0, 0.0));
        let asked = cluster.count_all("CLUSTER") - asked;
        let most = if refusal.starts_with('-') { 600 / 2 } else { 25 };
        assert!(asked <= most, "{refusal}: {asked}");
        assert!(cluster_of(&running).topology_failure.is_some());
        let told = |line| lines.text().matches(line).count();
        assert_eq!((told("topology not read"), told("topology read again")), (1, 0), "{}", lines.text());
        cluster.with(|state| state.refusal = None);
        sleep(61 * SECOND).await;
        assert_eq!((told("topology not read"), told("topology read again")), (1, 1), "{}", lines.text());
        assert!(cluster_of(&running).topology_failure.is_none());
    }
}

const TOO_LARGE: &str = "$99999999999\r\n";

#[tokio::test(start_paused = true)]
async fn a_topology_that_is_too_large_to_be_read_is_asked_for_once_in_an_hour_and_shown_as_not_monitored() {
    let (lines, _guard) = logged();
    let cluster = Cluster::new(3);
    cluster.with(|state| state.refusal = Some(TOO_LARGE));
    let running = start_cluster(&cluster, target()).await;
    sleep(3_000 * SECOND).await;
    assert_eq!((cluster.count_all("CLUSTER"), cluster.dials(0)), (1, 2));
    assert_eq!((running.is_up(), running.all_failures(), running.unavailable()), (true, 0.0, 0.0));
    assert_eq!(refreshes(&running, "unsupported"), 1.0);
    let failure = cluster_of(&running).topology_failure.unwrap().failure;
    assert!(failure.detail.contains("reply_limit"), "{}", failure.detail);
    let log = lines.text();
    assert_eq!(log.matches("shards not monitored").count(), 1, "{log}");
    assert!(log.contains("reply_limit"), "{log}");
    cluster.with(|state| state.refusal = None);
    sleep(700 * SECOND).await;
    assert_eq!(shards(&running).len(), 3, "it is asked again after an hour");
}

#[tokio::test(start_paused = true)]
async fn a_topology_that_has_become_too_large_leaves_the_known_shards_monitored_on_their_connections() {
    let cluster = Cluster::new(3);
    let running = start_cluster(&cluster, target()).await;
    let dials = || (0..3).map(|node| cluster.dials(node)).sum::<usize>();
    let (asked, dialed) = (cluster.count_all("CLUSTER"), dials());
    cluster.with(|state| state.refusal = Some(TOO_LARGE));
    sleep(3_000 * SECOND).await;
    // Each shard, and then the configured host.
    assert_eq!((cluster.count_all("CLUSTER") - asked, dials() - dialed), (4, 4));
    assert_eq!((shards(&running).len(), running.is_up(), running.all_failures()), (3, true, 0.0));
    assert!(cluster_of(&running).topology_failure.is_some());
}

#[tokio::test(start_paused = true)]
async fn only_the_replica_that_may_not_be_read_is_unwatched_and_the_failure_names_it() {
    let cluster = Cluster::with_replicas(2);
    cluster.with(|state| state.all[3].read_only = Some("-NOPERM no permissions to run 'readonly'\r\n"));
    let running = start_cluster(&cluster, with_replicas()).await;
    sleep(2 * INTERVAL).await;
    let up = [("primary", Watch::Up), ("replica", Watch::Up)];
    let unread = [("primary", Watch::Up), ("replica", Watch::Unwatched)];
    assert_eq!(states(&running), [up, unread].concat());
    let failure = cluster_of(&running).replica_failure.unwrap().failure;
    assert!(failure.detail.contains(&endpoint(3).to_string()), "{}", failure.detail);
    sleep(3_000 * SECOND).await;
    assert_eq!(cluster.count(3, "READONLY"), 1, "it is remembered for an hour");
    cluster.kill(2);
    sleep(2 * INTERVAL).await;
    assert_eq!(running.value(r#"shard_success{role="replica",shard="0",target="t"}"#), 0.0);
    cluster.with(|state| (state.all[2].away, state.all[3].read_only) = (None, None));
    sleep(700 * SECOND).await;
    assert_eq!(states(&running), [up, up].concat());
    assert!(cluster_of(&running).replica_failure.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_remembered_for_an_hour_and_the_target_goes_on_as_one_node() {
    let (lines, _guard) = logged();
    let cluster = Cluster::new(1);
    let denied = "-NOPERM this user has no permissions to run the 'cluster|slots' command\r\n";
    cluster.with(|state| state.refusal = Some(denied));
    let running = start_cluster(&cluster, target()).await;
    sleep(3_500 * SECOND).await;
    assert_eq!((cluster.count_all("CLUSTER"), running.all_failures(), running.is_up()), (1, 0.0, true));
    let advice = cluster_of(&running).topology_failure.unwrap().failure.advice;
    assert!(advice.contains("+cluster|slots"), "{advice}");
    assert_eq!(lines.text().matches("shards not monitored").count(), 1);
    cluster.with(|state| state.refusal = None);
    sleep(200 * SECOND).await;
    assert_eq!((shards(&running).len(), cluster_of(&running).topology_failure.is_none()), (1, true));
}

#[tokio::test(start_paused = true)]
async fn a_topology_that_the_server_does_not_know_is_counted_and_the_advice_fits_what_is_set() {
    for (keys, advised) in [(1, "Set `keys`"), (16, "`keys` spreads the probes")] {
        let cluster = Cluster::new(1);
        cluster.with(|state| state.refusal = Some("-ERR unknown command 'CLUSTER'\r\n"));
        let running =
            start_cluster(&cluster, Target { keys: NonZeroU32::new(keys).unwrap(), ..target() }).await;
        let refreshes = running.value(r#"topology_refreshes_total{result="unsupported",target="t"}"#);
        assert_eq!((refreshes, running.all_failures()), (1.0, 0.0));
        let advice = cluster_of(&running).topology_failure.unwrap().failure.advice;
        assert!(advice.contains(advised), "{keys}: {advice}");
    }
    // A server that belongs to no cluster has none of it.
    let cluster = Cluster::new(1);
    cluster.with(|state| state.refusal = Some("-ERR This instance has cluster support disabled\r\n"));
    let running = start_cluster(&cluster, target()).await;
    assert!(shown(&running).cluster.is_none() && !text(&running).contains("cachepulse_topology_"));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_ceases_to_be_a_cluster_gets_its_front_link_back() {
    let cluster = Cluster::new(3);
    let running = start_cluster(&cluster, target()).await;
    let front = cluster.dials(0);
    cluster.with(|state| {
        state.refusal = Some("-ERR This instance has cluster support disabled\r\n");
        state.is_cluster = false;
    });
    sleep(80 * SECOND).await;
    assert!(shown(&running).cluster.is_none());
    let text = text(&running);
    assert!(!text.contains("cachepulse_cluster_") && !text.contains("cachepulse_shard_"), "{text}");
    assert_eq!(cluster.dials(0), front + 1);
    let (probes, sets) = (running.probes(), cluster.count_all("SET"));
    sleep(3 * INTERVAL).await;
    assert_eq!((running.probes() - probes, cluster.count_all("SET") - sets), (3.0, 3));
    assert_eq!((running.all_failures(), running.is_up()), (0.0, true));
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_slot_has_moved_is_followed_by_one_more_command_in_each_tick_where_slots_are_not_listed()
{
    let cluster = Cluster::new(3);
    cluster
        .with(|state| state.refusal = Some("-NOPERM no permissions to run the 'cluster|slots' command\r\n"));
    let running = start_cluster(&cluster, Target { attempts: NonZeroU32::MIN, ..target() }).await;
    assert_eq!(running.all_failures(), 0.0);
    // A tenth of all slots stays, without the one of the key.
    let is_low = Slot::of_key(cluster.written(0).as_bytes()).number() < 2700;
    cluster.with(|state| {
        let (moved, stays) = if is_low { ((0, 3799), (3800, 5460)) } else { ((1700, 5460), (0, 1699)) };
        state.slots[0] = (stays.0, stays.1, 0);
        state.slots.push((moved.0, moved.1, 1));
    });
    // Follow-ups of a failed tick ask for the key alone, each on a connection of its own.
    let asked = || f64::from(u32::try_from(cluster.count_all("SET") - cluster.dials(0)).unwrap());
    let (before, probes) = (asked(), running.probes());
    sleep(25 * INTERVAL).await;
    let (asked, probes) = (asked() - before, running.probes() - probes);
    assert!(running.is_up());
    let failed = running.failures("wrong_node");
    assert!(failed <= 20.0, "{failed}");
    assert!(asked <= 2.0 * probes, "{asked} in {probes} probes");
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_revoked_is_logged_as_such_and_a_cluster_that_ends_as_that() {
    let revoked = "shards not monitored; give the user the right `+cluster|slots`";
    for (refusal, expected, other) in [
        (DENIED, revoked, "not a cluster any more"),
        (
            "-ERR This instance has cluster support disabled\r\n",
            "not a cluster any more",
            "shards not monitored",
        ),
    ] {
        let (lines, _guard) = logged();
        let cluster = Cluster::new(3);
        let _running = start_cluster(&cluster, target()).await;
        cluster.with(|state| state.refusal = Some(refusal));
        sleep(80 * SECOND).await;
        let text = lines.text();
        assert_eq!((text.matches(expected).count(), text.matches(other).count()), (1, 0), "{text}");
    }
}
