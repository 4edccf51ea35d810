//! Readings of the topology: each is counted, also before it is known that there is a cluster.

use super::*;

const LOADING: &str = "-LOADING Redis is loading the dataset in memory\r\n";

fn readings(running: &Running, result: &str) -> f64 {
    running.value(&format!(r#"topology_refreshes_total{{result="{result}",target="t"}}"#))
}

fn has_series(running: &Running) -> bool {
    let text = text(running);
    ["cachepulse_topology_", "cachepulse_cluster_", "cachepulse_shard_"]
        .into_iter()
        .any(|name| text.lines().any(|line| line.starts_with(name)))
}

#[tokio::test(start_paused = true)]
async fn readings_that_fail_before_the_cluster_is_found_are_counted() {
    for (failing, result) in
        [(LOADING, "failure"), ("-MOVED 42 10.0.0.1:7001\r\n", "failure"), ("*0\r\n", "success")]
    {
        let cluster = Cluster::new(3);
        cluster.with(|state| state.refusal = Some(failing));
        let running = start_prober(cluster.clone(), target(), SignIn::None, clock());
        sleep(2 * SECOND).await;
        let asked = cluster.count_all("CLUSTER");
        assert!(asked > 0 && readings(&running, result) == asked as f64, "{failing}: {}", text(&running));
        assert!(!text(&running).contains("cachepulse_cluster_slots_covered{"), "nothing is known of them");
        cluster.with(|state| state.refusal = None);
        sleep(8 * INTERVAL).await;
        assert_eq!(of_cluster(&running, "slots_available"), 16_384.0, "{failing}");
        let counted = readings(&running, "success") + readings(&running, "failure");
        // Whether a node has no owner of a slot, a second one is asked for the same reading.
        assert!(readings(&running, "success") > 0.0 && counted <= cluster.count_all("CLUSTER") as f64);
        assert!(counted >= asked as f64, "{failing}");
    }
}

#[tokio::test(start_paused = true)]
async fn readings_of_what_is_no_cluster_are_not_counted() {
    for found in [false, true] {
        let cluster = Cluster::new(3);
        cluster.with(|state| (state.is_cluster, state.refusal) = (false, Some(LOADING)));
        let mut target = target();
        // Asks also a server that does not say that it belongs to a cluster.
        target.cluster.mode = ClusterMode::Primaries;
        let running = start_prober(cluster.clone(), target, SignIn::None, clock());
        sleep(2 * SECOND).await;
        assert!(cluster.count_all("CLUSTER") > 0 && !has_series(&running), "{}", text(&running));
        if found {
            let before = cluster.count_all("CLUSTER");
            cluster.with(|state| state.refusal = None);
            sleep(3 * INTERVAL).await;
            assert!(readings(&running, "failure") >= before as f64, "{}", text(&running));
        } else {
            cluster.with(|state| state.refusal = Some("-ERR This instance has cluster support disabled\r\n"));
            sleep(3 * INTERVAL).await;
            assert!(running.is_up() && !has_series(&running), "{}", text(&running));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_leaves_the_readings_of_before_counted() {
    let cluster = Cluster::new(3);
    cluster.with(|state| state.refusal = Some(LOADING));
    let running = start_prober(cluster.clone(), target(), SignIn::None, clock());
    sleep(2 * SECOND).await;
    let failed = readings(&running, "failure");
    cluster.with(|state| state.refusal = Some(refusals::DENIED));
    sleep(3 * INTERVAL).await;
    assert_eq!(readings(&running, "denied"), 1.0);
    assert!(failed > 0.0 && readings(&running, "failure") >= failed, "{}", text(&running));
    assert!(!text(&running).contains("cachepulse_cluster_slots_covered{"));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_when_it_is_asked_for_more_than_a_probe_is_an_outage_from_the_question() {
    // The topology is read between two ticks; the role is asked for at the next one.
    for (hangs, question) in [(12, "CLUSTER SLOTS"), (19, "HELLO")] {
        let cluster = Cluster::new(1);
        let mut target = target();
        target.cluster.refresh = 13 * SECOND;
        let running = start_prober(cluster.clone(), target, SignIn::None, clock());
        sleep(hangs * SECOND + SECOND / 2).await;
        let disconnects = || running.disconnects("command_timeout");
        cluster.with(|state| state.all[0].hangs = true);
        while running.unavailable() == 0.0 {
            assert_eq!(running.all_failures(), 0.0, "{question}");
            sleep(SECOND / 100).await;
        }
        assert_eq!(disconnects(), 1.0, "{question}");
        // For so long it is waited for the answer, and then for a new connection.
        assert_eq!(running.unavailable(), 3.0, "{question}");
    }
}
