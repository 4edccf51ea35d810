//! The coordinator of a cluster's shards, on a cluster in memory.

mod cluster;
mod log;
mod refusals;
mod reload;
mod renewal;
mod slots;
mod survey;
mod views;

use super::*;
use crate::probe::Step;
use crate::status::{ClusterDocument, ConnectionState, NodeDocument, TargetDocument, Watch};
use crate::target::ClusterMode;
use cluster::{Cluster, Keys, Node, endpoint};

/// Starts a prober of the cluster, and waits until each of its shards was probed.
async fn start_cluster(cluster: &Cluster, target: Target) -> Running {
    let running = start_prober(cluster.clone(), target, SignIn::None, clock());
    sleep(2 * INTERVAL).await;
    running
}

fn shown(running: &Running) -> TargetDocument {
    running.status.document().targets.remove(0)
}

fn cluster_of(running: &Running) -> ClusterDocument {
    shown(running).cluster.unwrap()
}

/// Shards with their states and addresses.
fn shards(running: &Running) -> Vec<(String, Watch, String)> {
    let shard = |NodeDocument { shard, state, address, .. }| (shard, state, address.unwrap());
    cluster_of(running).shards.into_iter().map(shard).collect()
}

fn of_cluster(running: &Running, metric: &str) -> f64 {
    running.value(&format!(r#"cluster_{metric}{{target="t"}}"#))
}

fn text(running: &Running) -> String {
    std::io::read_to_string(running.metrics.exposition(Format::Text)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_shard_is_found_watched_and_shown_and_the_front_link_ends() {
    let cluster = Cluster::new(3);
    let running = start_cluster(&cluster, target()).await;
    let expected = [("0", 0), ("5461", 1), ("10922", 2)];
    assert_eq!(
        shards(&running),
        expected.map(|(shard, node)| (shard.to_owned(), Watch::Up, endpoint(node).to_string()))
    );
    let shown = cluster_of(&running);
    let counts = shown.counts.unwrap();
    assert_eq!((counts.slots_covered, counts.slots_available, shown.uncovered), (16_384, 16_384, None));
    assert_eq!(
        (of_cluster(&running, "slots_available"), of_cluster(&running, "nodes_watched")),
        (16_384.0, 3.0)
    );
    assert_eq!((running.all_failures(), running.unavailable()), (0.0, 0.0));
    // Two to the configured host's node, of which one has ended; each shard is probed once in an interval.
    assert_eq!((0..3).map(|node| cluster.dials(node)).collect::<Vec<_>>(), [2, 1, 1]);
    let before = cluster.count_all("SET");
    sleep(INTERVAL).await;
    assert_eq!(cluster.count_all("SET") - before, 3);
}

#[tokio::test(start_paused = true)]
async fn first_connections_to_shards_are_spread_over_one_interval() {
    let cluster = Cluster::new(5);
    let _running = start_cluster(&cluster, target()).await;
    let first = cluster.with(|state| state.all[0].dials[0]);
    let dials = (1..5).map(|node| cluster.with(|state| (state.all[node].dials[0] - first).as_secs()));
    assert_eq!(dials.collect::<Vec<_>>(), [2, 4, 6, 8]);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_was_never_reached_is_unwatched_and_does_not_decide() {
    let (lines, _guard) = logged();
    let cluster = Cluster::new(3);
    cluster.with(|state| state.all[1].away = Some(FailureReason::ConnectTimeout));
    let running = start_cluster(&cluster, target()).await;
    sleep(3 * INTERVAL).await;
    assert!(running.is_up());
    assert_eq!((running.all_failures(), running.unavailable()), (0.0, 0.0));
    assert_eq!((of_cluster(&running, "nodes_watched"), of_cluster(&running, "nodes_unwatched")), (2.0, 1.0));
    assert!(!text(&running).contains(r#"shard="5461""#));
    let shard = cluster_of(&running).shards.remove(1);
    assert_eq!(shard.state, Watch::Unwatched);
    let advice = shard.last_failure.unwrap().failure.advice;
    assert!(advice.contains("Open port 7001"), "{advice}");
    assert_eq!(lines.text().matches("shard not reached; open port 7001").count(), 1, "{}", lines.text());
    // Once it is reached it decides.
    cluster.with(|state| state.all[1].away = None);
    sleep(2 * INTERVAL).await;
    assert_eq!((of_cluster(&running, "nodes_unwatched"), shards(&running)[1].1), (0.0, Watch::Up));
    assert_eq!(lines.text().matches("shard reached").count(), 1, "{}", lines.text());
    cluster.kill(1);
    sleep(2 * SECOND).await;
    assert!(!running.is_up());
    assert_eq!(shards(&running)[1].1, Watch::Down);
}

#[tokio::test(start_paused = true)]
async fn a_shard_whose_node_takes_connections_decides_also_if_it_has_never_served() {
    for (refusal, reason) in [(Some("-WRONGPASS invalid\r\n"), "auth_rejected"), (None, "command_timeout")] {
        let (lines, _guard) = logged();
        let cluster = Cluster::new(3);
        cluster.with(|state| {
            state.all[1].refusal = refusal;
            state.all[1].hangs = refusal.is_none();
        });
        let running = start_cluster(&cluster, target()).await;
        sleep(INTERVAL).await;
        assert!(!running.is_up(), "{reason}");
        assert_eq!(of_cluster(&running, "nodes_unwatched"), 0.0);
        assert_eq!(running.value(r#"shard_success{role="primary",shard="5461",target="t"}"#), 0.0);
        assert!(running.failures(reason) > 0.0 && running.unavailable() > 5.0);
        assert_eq!(shards(&running)[1].1, Watch::Down);
        assert!(!lines.text().contains("shard not reached"), "{}", lines.text());
        assert!(lines.text().contains("cache unavailable"), "{}", lines.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_down_shows_no_steps_of_before() {
    let cluster = Cluster::new(3);
    let running = start_cluster(&cluster, target()).await;
    let steps = || cluster_of(&running).shards.remove(1).steps.len();
    assert_eq!(steps(), Step::ALL.len());
    cluster.kill(1);
    sleep(SECOND).await;
    assert_eq!((shards(&running)[1].1, steps()), (Watch::Down, 0));
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_reached_at_last_was_not_down_before() {
    let cluster = Cluster::new(3);
    cluster.with(|state| state.all[1].away = Some(FailureReason::ConnectRefused));
    let running = start_cluster(&cluster, target()).await;
    cluster.with(|state| (state.all[1].away, state.all[1].latency) = (None, SECOND / 4));
    sleep(2 * INTERVAL).await;
    assert_eq!(shards(&running)[1].1, Watch::Up);
    assert!(running.is_up());
    assert_eq!((running.all_failures(), running.unavailable()), (0.0, 0.0));
    assert_eq!(
        running.value(r#"shard_unavailable_seconds_total{role="primary",shard="5461",target="t"}"#),
        0.0
    );
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_not_probed_for_want_of_resources_fails_ticks_and_is_not_unavailable() {
    let cluster = Cluster::new(3);
    cluster.with(|state| state.all[1].away = Some(FailureReason::LocalResource));
    let running = start_cluster(&cluster, target()).await;
    sleep(INTERVAL).await;
    assert!(running.failures("local_resource") > 0.0);
    assert_eq!((running.is_up(), running.unavailable()), (false, 0.0));
    cluster.with(|state| state.all[1].away = Some(FailureReason::ConnectTimeout));
    sleep(3 * INTERVAL).await;
    let failures = running.all_failures();
    sleep(2 * INTERVAL).await;
    assert!(running.is_up(), "it was never reached");
    assert_eq!(running.all_failures(), failures);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_down_decides_while_others_are_still_being_tried() {
    let cluster = Cluster::new(3);
    let patient = Target { connect_timeout: 50 * SECOND, ..target() };
    cluster.with(|state| state.all[2].away = Some(FailureReason::ConnectTimeout));
    let running = start_cluster(&cluster, patient).await;
    assert!(running.is_up());
    cluster.kill(1);
    sleep(INTERVAL).await;
    assert!(!running.is_up());
    assert_eq!(shards(&running)[2].1, Watch::Unknown);
}

#[tokio::test(start_paused = true)]
async fn shards_that_all_want_resources_of_the_agent_decide_beside_the_host_that_has_them() {
    let cluster = Cluster::new(3);
    cluster.with(|state| {
        for (node, room) in state.all.iter_mut().zip([1, 0, 0]) {
            node.room = Some(room);
        }
    });
    let running = start_cluster(&cluster, target()).await;
    assert!(running.failures("local_resource") > 0.0);
    assert_eq!((running.is_up(), running.unavailable()), (false, 0.0));
    assert_eq!((of_cluster(&running, "nodes_watched"), of_cluster(&running, "nodes_unwatched")), (0.0, 0.0));
    assert!(shards(&running).iter().all(|(_, watch, _)| *watch == Watch::Down));
    cluster.with(|state| state.all.iter_mut().for_each(|node| node.room = None));
    sleep(3 * INTERVAL).await;
    assert_eq!((running.is_up(), of_cluster(&running, "nodes_watched")), (true, 3.0));
}

#[tokio::test(start_paused = true)]
async fn a_shard_whose_first_opening_is_led_on_each_time_has_been_tried() {
    let cluster = Cluster::new(3);
    let mut patient = Target { connect_timeout: 50 * SECOND, ..target() };
    patient.cluster.refresh = SECOND;
    cluster.with(|state| {
        for node in [1, 3] {
            state.all[node].away = Some(FailureReason::ConnectTimeout);
        }
    });
    let led_on = cluster.clone();
    tokio::spawn(async move {
        loop {
            sleep(3 * SECOND).await;
            led_on.with(|state| state.slots[1].2 = 4 - state.slots[1].2);
        }
    });
    let running = start_cluster(&cluster, patient).await;
    sleep(INTERVAL).await;
    assert_eq!(shards(&running)[1].1, Watch::Unwatched);
    assert!(running.value(r#"connects_total{result="failure",target="t"}"#) > 2.0);
    assert!(running.is_up());
    let before = cluster.count_all("SET");
    sleep(INTERVAL).await;
    assert_eq!(cluster.count_all("SET") - before, 2, "the link to the host has ended");
}

#[tokio::test(start_paused = true)]
async fn one_lost_connection_of_several_is_no_lost_target() {
    let cluster = Cluster::new(3);
    for (node, clients) in [(0, 3), (1, 5), (2, 7)] {
        cluster.with(|state| state.all[node].clients = clients);
    }
    let running = start_cluster(&cluster, target()).await;
    let protocol = || running.value(r#"protocol{target="t",version="3"}"#);
    assert_eq!((shown(&running).connection_state, protocol()), (ConnectionState::Connected, 1.0));
    assert_eq!(running.value(r#"cache_clients{target="t"}"#), 3.0, "the lowest shard's");
    cluster.kill(2);
    sleep(3 * SECOND).await;
    assert_eq!((shown(&running).connection_state, protocol()), (ConnectionState::Connected, 1.0));
    assert!(!running.is_up());
    cluster.kill(0);
    cluster.kill(1);
    sleep(3 * SECOND).await;
    assert_ne!(shown(&running).connection_state, ConnectionState::Connected);
    assert!(!text(&running).contains("cachepulse_protocol{"));
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_moves_is_followed_without_an_outage() {
    let cluster = Cluster::new(3);
    let running = start_cluster(&cluster, target()).await;
    // The first node without slots takes over.
    cluster.with(|state| {
        state.slots[1].2 = 3;
        state.all[1].is_replica = true;
    });
    sleep(INTERVAL).await;
    assert_eq!(shards(&running)[1], ("5461".to_owned(), Watch::Up, endpoint(3).to_string()));
    assert_eq!((running.all_failures(), running.unavailable()), (0.0, 0.0));
    assert_eq!((cluster.dials(3), running.value(r#"topology_changes_total{target="t"}"#)), (1, 1.0));
    assert_eq!(running.disconnects("wrong_node"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn slots_that_leave_a_shard_which_goes_on_to_serve_are_noticed_at_once() {
    let cluster = Cluster::new(3);
    let running = start_cluster(&cluster, target()).await;
    let slot = Slot::of_key(cluster.written(1).as_bytes()).number();
    cluster.with(|state| {
        let (first, last, owner) = state.slots[1];
        state.slots[1] = (first, slot - 1, owner);
        state.slots.extend([(slot, slot, 3), (slot + 1, last, owner)]);
    });
    sleep(INTERVAL + SECOND).await;
    assert_eq!((shards(&running).len(), of_cluster(&running, "slots_covered")), (4, 16_384.0));
    assert_eq!((running.all_failures(), running.disconnects("wrong_node")), (0.0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn a_failover_that_closes_connections_costs_nothing_even_before_any_node_lists_it() {
    let cluster = Cluster::new(3);
    let running = start_cluster(&cluster, Target { attempts: NonZeroU32::MIN, ..target() }).await;
    cluster.with(|state| {
        let old = state.slots.clone();
        state.all.iter_mut().for_each(|node| node.view = Some(old.clone()));
        state.slots[1].2 = 3;
        state.all[1].is_replica = true;
    });
    // It is opened again, to the same node.
    cluster.hang_up(1);
    sleep(2 * INTERVAL).await;
    assert_eq!((running.is_up(), running.all_failures(), running.unavailable()), (true, 0.0, 0.0));
    assert!(cluster.count(3, "SET") > 0, "the new primary is probed");
}

#[tokio::test(start_paused = true)]
async fn slots_that_lose_their_owner_are_noticed_within_a_second_and_shown_if_two_nodes_agree() {
    for agree in [true, false] {
        let cluster = Cluster::new(3);
        let running = start_cluster(&cluster, target()).await;
        cluster.with(|state| {
            if !agree {
                let before = state.slots.clone();
                for node in &mut state.all[1..] {
                    node.view = Some(before.clone());
                }
                state.all[0].view = Some(before[..2].to_vec());
            }
            state.slots.pop();
        });
        sleep(INTERVAL + SECOND).await;
        assert!(!running.is_up());
        let uncovered = cluster_of(&running).uncovered;
        let reasons = ["slots_uncovered", "cluster_down"].map(|reason| running.failures(reason) > 0.0);
        if agree {
            assert_eq!(uncovered.as_deref(), Some("10922-16383"));
        } else {
            assert_eq!(reasons, [false, true]);
        }
        sleep(INTERVAL).await;
        assert_eq!(running.failures("slots_uncovered") > 0.0, agree);
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_shards_server_stands_for_a_cluster_that_is_entered_through_a_replica() {
    let cluster = Cluster::new(2);
    // The configured host's node has no slots, and the third one takes its place.
    cluster.with(|state| (state.slots[0].2, state.all[0].is_replica) = (2, true));
    let running = start_cluster(&cluster, target()).await;
    let server = shown(&running).server.unwrap();
    assert_eq!((server.role, &*server.version), ("primary", "7.2.2"));
    let info = r#"server_info{mode="cluster",role="primary",server="unknown",target="t",version="7.2.2"}"#;
    assert_eq!(running.value(info), 1.0, "{}", text(&running));
}

#[tokio::test(start_paused = true)]
async fn nodes_over_the_limit_are_counted_and_not_probed() {
    let cluster = Cluster::new(3);
    let mut limited = target();
    limited.cluster.max_nodes = NonZeroU32::new(2).unwrap();
    let running = start_cluster(&cluster, limited).await;
    assert_eq!(
        (of_cluster(&running, "nodes_skipped"), cluster_of(&running).counts.unwrap().nodes_skipped),
        (1.0, 1)
    );
    assert_eq!((shards(&running).len(), cluster.dials(2), running.all_failures()), (2, 0, 0.0));
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
async fn a_node_that_hangs_delays_no_other_and_its_shard_follows_a_failover() {
    let cluster = Cluster::new(3);
    let running = start_cluster(&cluster, target()).await;
    cluster.with(|state| state.all[2].hangs = true);
    sleep(INTERVAL + 3 * SECOND).await;
    assert!(running.failures("command_timeout") > 0.0);
    assert_eq!(
        shards(&running).iter().map(|(_, watch, _)| *watch).collect::<Vec<_>>(),
        [Watch::Up, Watch::Up, Watch::Down]
    );
    cluster.with(|state| state.slots[2].2 = 3);
    // The topology is asked for each second, and the hung node is left at once.
    sleep(3 * SECOND).await;
    assert_eq!(shards(&running)[2], ("10922".to_owned(), Watch::Up, endpoint(3).to_string()));
    assert!(running.is_up());
}

fn with_replicas() -> Target {
    let mut target = target();
    target.cluster.mode = ClusterMode::All;
    target
}

fn states(running: &Running) -> Vec<(&'static str, Watch)> {
    cluster_of(running).shards.into_iter().map(|node| (node.role.as_str(), node.state)).collect()
}

#[tokio::test(start_paused = true)]
async fn each_replica_is_shown_beside_its_primary_until_it_is_forgotten() {
    let cluster = Cluster::with_replicas(2);
    let running = start_cluster(&cluster, with_replicas()).await;
    sleep(2 * INTERVAL).await;
    let up = [("primary", Watch::Up), ("replica", Watch::Up)];
    assert_eq!(states(&running), [up, up].concat());
    assert_eq!(shards(&running)[3].2, endpoint(3).to_string());
    cluster.kill(3);
    sleep(2 * INTERVAL).await;
    let down = [("primary", Watch::Up), ("replica", Watch::Down)];
    assert_eq!((states(&running), running.is_up()), ([up, down].concat(), true));
    let failure = cluster_of(&running).shards.remove(3).last_failure.unwrap().failure;
    assert_eq!(failure.reason, FailureReason::ConnectRefused);
    // The servers hide it.
    cluster.with(|state| state.replicas.truncate(1));
    sleep(200 * SECOND).await;
    assert_eq!(states(&running), [up, down].concat());
    sleep(300 * SECOND).await;
    assert_eq!(states(&running), [&up[..], &up[..1]].concat());
}

#[tokio::test(start_paused = true)]
async fn replicas_that_may_not_be_read_are_unwatched_and_the_missing_right_is_named_once() {
    let (lines, _guard) = logged();
    let cluster = Cluster::with_replicas(2);
    cluster.with(|state| state.read_only = "-NOPERM no permissions to run the 'readonly' command\r\n");
    let running = start_cluster(&cluster, with_replicas()).await;
    sleep(4_000 * SECOND).await;
    let unwatched = [("primary", Watch::Up), ("replica", Watch::Unwatched)];
    assert_eq!(states(&running), [unwatched, unwatched].concat());
    let shown = cluster_of(&running);
    assert!(shown.to_string().ends_with("2 never reached; replicas not watched"), "{shown}");
    let failure = shown.replica_failure.unwrap().failure;
    assert_eq!(failure.reason, FailureReason::PermissionDenied);
    assert!(failure.advice.contains("`+readonly`"), "{}", failure.advice);
    assert_eq!(lines.text().matches("give the user the right `+readonly`").count(), 1, "{}", lines.text());
    cluster.with(|state| state.read_only = "+OK\r\n");
    sleep(3_600 * SECOND).await;
    assert!(states(&running).iter().all(|(_, watch)| *watch == Watch::Up));
    assert!(cluster_of(&running).replica_failure.is_none());
    assert_eq!(running.all_failures(), 0.0);
}

#[tokio::test(start_paused = true)]
async fn every_connection_counts_phases_and_the_first_certificate_to_expire_of_all_is_shown() {
    let expiry = |days: u64| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400));
    let cluster = Cluster::with_replicas(2);
    cluster.with(|state| {
        for (node, days) in state.all.iter_mut().zip([40, 30, 20, 50]) {
            node.expiry = expiry(days);
        }
    });
    let every = Some(60 * SECOND);
    let running = start_cluster(&cluster, Target { new_connection_every: every, ..with_replicas() }).await;
    sleep(2 * INTERVAL).await;
    let shown = || running.value(r#"tls_certificate_expiry_timestamp_seconds{target="t"}"#) / 86_400.0;
    let phases = || running.value(r#"phase_duration_seconds_count{phase="connect",target="t"}"#);
    let dials = || (0..4).map(|node| cluster.dials(node)).sum::<usize>();
    assert_eq!(shown(), 20.0, "a replica's");
    // They are renewed, which new connections to the host and in turn to each shard find first.
    cluster.with(|state| state.all[1].expiry = expiry(10));
    let before = dials();
    sleep(300 * SECOND).await;
    assert_eq!(shown(), 10.0, "of a new connection to a shard");
    assert!(dials() >= before + 8, "two each time");
    assert_eq!(phases(), f64::from(u32::try_from(dials()).unwrap()), "every connection");
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
async fn a_failover_is_followed_within_an_interval_of_less_than_a_second() {
    let interval = SECOND / 2;
    for after in [1_700, 2_100, 2_500, 2_900].map(Duration::from_millis) {
        let cluster = Cluster::new(3);
        let running = start_cluster(&cluster, Target { interval, ..target() }).await;
        cluster.kill(2);
        let asked = cluster.count_all("CLUSTER SLOTS");
        sleep(after).await;
        let asked = cluster.count_all("CLUSTER SLOTS") - asked;
        assert!(asked <= 12, "twice per interval: {asked} times in {after:?}");
        cluster.with(|state| state.slots[2].2 = 3);
        sleep(interval).await;
        assert_eq!(
            shards(&running)[2],
            ("10922".to_owned(), Watch::Up, endpoint(3).to_string()),
            "{after:?}"
        );
        assert!(running.is_up(), "{after:?}");
    }
}
