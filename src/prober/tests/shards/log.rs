//! What the log says about the shards of a cluster.

use super::*;

/// Returns the lines of the log that contain `message`, from its first field on.
fn lines_of(lines: &str, message: &str) -> Vec<String> {
    let of_message = |line: &str| Some(line.split_once(message)?.1.trim().to_owned());
    lines.lines().filter_map(of_message).collect()
}

#[tokio::test(start_paused = true)]
async fn each_shard_that_goes_down_and_comes_back_is_named_with_its_slots_its_node_and_the_reason() {
    let (lines, _guard) = logged();
    let cluster = Cluster::new(3);
    let _running = start_cluster(&cluster, target()).await;
    assert!(!lines.text().contains("shard available"), "the first success is no news");
    cluster.kill(0);
    sleep(10 * SECOND).await;
    cluster.kill(2);
    sleep(60 * SECOND).await;
    let down = lines_of(&lines.text(), "shard unavailable");
    let shown = |slots: &str, node: usize| {
        format!(
            "target=t slots={slots} address={} reason=\"connect_refused\" stage=\"connect\"",
            endpoint(node)
        )
    };
    assert_eq!(down.len(), 2, "once per outage and reason: {down:?}");
    assert!(down[0].starts_with(&shown("0-5460", 0)), "{}", down[0]);
    assert!(down[1].starts_with(&shown("10922-16383", 2)), "{}", down[1]);
    cluster.with(|state| state.all[0].away = None);
    sleep(10 * SECOND).await;
    let up = lines_of(&lines.text(), "shard available");
    assert_eq!(up.len(), 1, "the other one is still down: {up:?}");
    let expected = format!("target=t slots=0-5460 address={} outage_seconds=", endpoint(0));
    assert!(up[0].starts_with(&expected) && up[0].ends_with("reason=\"connect_refused\""), "{}", up[0]);
}

#[tokio::test(start_paused = true)]
async fn the_outage_of_a_shard_that_was_unwatched_counts_from_the_moment_at_which_it_is_reached() {
    for (refusal, reason) in [("-LOADING Redis is loading\r\n", "loading"), ("-ERR no\r\n", "server_error")] {
        let (lines, _guard) = logged();
        let cluster = Cluster::new(3);
        cluster.with(|state| state.all[1].away = Some(FailureReason::ConnectRefused));
        let running = start_cluster(&cluster, target()).await;
        sleep(100 * SECOND).await;
        cluster.with(|state| (state.all[1].away, state.all[1].refusal) = (None, Some(refusal)));
        sleep(2 * INTERVAL).await;
        cluster.with(|state| state.all[1].refusal = None);
        sleep(INTERVAL).await;
        let text = lines.text();
        assert_eq!(text.matches("shard reached").count(), 1, "{text}");
        let up = lines_of(&text, "shard available");
        let (_, seconds) = up[0].split_once("outage_seconds=").unwrap();
        let seconds: f64 = seconds.split(' ').next().unwrap().parse().unwrap();
        let counted =
            running.value(r#"shard_unavailable_seconds_total{role="primary",shard="5461",target="t"}"#);
        assert!((15.0..=30.0).contains(&seconds) && (seconds - counted).abs() < 0.01, "{seconds} {counted}");
        assert!(up[0].ends_with(&format!("reason=\"{reason}\"")), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_a_redirection_leads_elsewhere_is_down_at_the_address_that_refused() {
    let (lines, _guard) = logged();
    let cluster = Cluster::new(3);
    let _running = start_cluster(&cluster, target()).await;
    // The topology does not know that the slots have gone to the last node, which is dead.
    cluster.with(|state| {
        state.all[1].misdirects = 1000;
        state.all[3].away = Some(FailureReason::ConnectRefused);
    });
    sleep(2 * INTERVAL).await;
    let down = lines_of(&lines.text(), "shard unavailable");
    let refused: Vec<&String> = down.iter().filter(|line| line.contains("connect_refused")).collect();
    assert!(!refused.is_empty(), "{}", lines.text());
    for line in refused {
        assert!(line.contains(&format!("address={} ", endpoint(3))), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_replaced_or_cannot_be_is_named_with_the_slots_of_its_shard() {
    let (lines, _guard) = logged();
    let cluster = Cluster::new(3);
    let aging = Target { max_connection_age: Some(600 * SECOND), ..target() };
    let _running = start_cluster(&cluster, aging).await;
    cluster.with(|state| state.all[1].away = Some(FailureReason::ConnectRefused));
    sleep(620 * SECOND).await;
    let text = lines.text();
    let slots = |message| {
        let lines = lines_of(&text, message).into_iter();
        let mut slots: Vec<_> = lines.map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
        slots.sort();
        slots
    };
    assert_eq!(slots("connection replaced"), ["slots=0-5460", "slots=10922-16383"], "{text}");
    assert_eq!(slots("failed; keeping the connection"), ["slots=5461-10921"], "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_replica_is_named_as_such() {
    let (lines, _guard) = logged();
    let cluster = Cluster::with_replicas(2);
    let _running = start_cluster(&cluster, with_replicas()).await;
    sleep(INTERVAL).await;
    cluster.kill(3);
    sleep(2 * INTERVAL).await;
    cluster.with(|state| state.all[3].away = None);
    sleep(2 * INTERVAL).await;
    for message in ["replica unavailable", "replica available"] {
        let shown = lines_of(&lines.text(), message);
        assert_eq!(shown.len(), 1, "{message}: {shown:?}");
        let expected = format!("target=t slots=8192-16383 address={} ", endpoint(3));
        assert!(shown[0].starts_with(&expected), "{message}: {}", shown[0]);
    }
    assert!(!lines.text().contains("shard unavailable"), "{}", lines.text());
}

#[tokio::test(start_paused = true)]
async fn a_failover_says_which_node_has_which_slots_now() {
    let (lines, _guard) = logged();
    let cluster = Cluster::new(3);
    let _running = start_cluster(&cluster, target()).await;
    cluster.with(|state| {
        state.slots[1].2 = 3;
        state.all[1].is_replica = true;
    });
    sleep(INTERVAL).await;
    let shown = lines_of(&lines.text(), "topology changed");
    let (from, to) = (endpoint(1), endpoint(3));
    assert_eq!(shown, [format!("target=t shards=3 changes=\"5461-10921: primary {from} -> {to}\"")]);
}

#[tokio::test(start_paused = true)]
async fn nodes_over_the_limit_are_a_warning_of_their_own() {
    let (lines, _guard) = logged();
    let mut limited = target();
    limited.cluster.max_nodes = NonZeroU32::new(2).unwrap();
    let _running = start_cluster(&Cluster::new(3), limited).await;
    sleep(200 * SECOND).await;
    let shown = lines_of(&lines.text(), "nodes not monitored; raise `cluster.max_nodes`");
    assert_eq!(shown, ["target=t skipped=1"]);
    assert_eq!(lines_of(&lines.text(), "cluster found"), ["target=t shards=2"]);
}

#[tokio::test(start_paused = true)]
async fn a_topology_that_flaps_fills_no_log() {
    let (lines, _guard) = logged();
    let cluster = Cluster::new(3);
    let mut target = target();
    target.cluster.refresh = SECOND;
    let running = start_cluster(&cluster, target).await;
    cluster.with(|state| state.all[3].takes = Keys::All);
    for _ in 0..60 {
        cluster.with(|state| state.slots[1].2 = 4 - state.slots[1].2);
        sleep(3 * SECOND).await;
    }
    assert!(running.value(r#"topology_changes_total{target="t"}"#) > 20.0);
    assert_eq!(lines_of(&lines.text(), "topology changed").len(), 5, "{}", lines.text());
}

#[tokio::test(start_paused = true)]
async fn a_replica_is_named_with_the_slots_that_its_shard_has_now() {
    let (lines, _guard) = logged();
    let cluster = Cluster::with_replicas(2);
    let _running = start_cluster(&cluster, with_replicas()).await;
    cluster.with(|state| (state.slots[0].1, state.slots[1].0) = (8_999, 9_000));
    sleep(80 * SECOND).await;
    cluster.kill(3);
    sleep(2 * INTERVAL).await;
    let shown = lines_of(&lines.text(), "replica unavailable");
    assert!(shown[0].starts_with("target=t slots=9000-16383 "), "{shown:?}");
}

#[tokio::test(start_paused = true)]
async fn connections_that_are_replaced_again_and_again_fill_no_log() {
    let (lines, _guard) = logged();
    let cluster = Cluster::new(3);
    let aging = Target { max_connection_age: Some(5 * SECOND), ..target() };
    let _running = start_cluster(&cluster, aging).await;
    sleep(300 * SECOND).await;
    assert!(cluster.dials(1) > 20, "{}", cluster.dials(1));
    let replaced = lines_of(&lines.text(), "connection replaced");
    let of_one = replaced.iter().filter(|line| line.contains("slots=5461-10921")).count();
    assert_eq!(of_one, 5, "{replaced:?}");
}
