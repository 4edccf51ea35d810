//! Maintenance notices of a cluster: each link asks its own node for them.

use super::super::maintenance::{HOUR, managed};
use super::*;

const REQUEST: &str = "CLIENT MAINT_NOTIFICATIONS";
const UNKNOWN: &str = "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.\r\n";
const DENIED: &str =
    "-NOPERM this user has no permissions to run the 'client|maint_notifications' command\r\n";

fn are_received(running: &Running) -> bool {
    running.value(r#"maintenance_notifications{target="t"}"#) == 1.0
}

#[tokio::test(start_paused = true)]
async fn a_node_that_sends_no_notices_keeps_no_other_link_from_asking() {
    // Silence first.
    for no_notices in ["", HANG_UP, UNKNOWN, DENIED] {
        let cluster = Cluster::new(3);
        cluster.with(|state| state.all[1].no_notices = Some(no_notices));
        let running = start_cluster(&cluster, managed()).await;
        assert!(are_received(&running), "{no_notices:?}");
        sleep(HOUR / 2).await;
        assert!(are_received(&running), "{no_notices:?}");
        let asked = [0, 2].map(|node| (cluster.count(node, REQUEST), cluster.dials(node)));
        assert!(asked.iter().all(|(requests, dials)| requests == dials), "each once a connection: {asked:?}");
        for node in [0, 2] {
            cluster.hang_up(node);
        }
        sleep(SECOND).await;
        let again = [0, 2].map(|node| cluster.count(node, REQUEST));
        assert_eq!(again, asked.map(|(before, _)| before + 1), "{no_notices:?}");
        assert!(are_received(&running) && running.is_up(), "{no_notices:?}");
        assert_eq!((running.all_failures(), running.unavailable()), (0.0, 0.0));
    }
}

#[tokio::test(start_paused = true)]
async fn notices_come_as_long_as_one_node_sends_them() {
    let cluster = Cluster::new(3);
    let refuse = |node: usize, refusal| cluster.with(|state| state.all[node].no_notices = refusal);
    (0..3).for_each(|node| refuse(node, Some(UNKNOWN)));
    let running = start_cluster(&cluster, managed()).await;
    let shown =
        || serde_json::to_value(running.status.document()).unwrap()["targets"][0]["maintenance"].clone();
    assert!(!are_received(&running));
    assert_eq!((cluster.count(1, REQUEST), cluster.count(2, REQUEST)), (1, 1), "{}", shown());
    // A refusal is remembered for an hour.
    refuse(2, None);
    sleep(HOUR / 2).await;
    assert!(!are_received(&running));
    sleep(HOUR).await;
    assert!(are_received(&running), "{}", shown());
    // The shard goes, and its slots to a node that sends none.
    cluster.with(|state| {
        state.slots[1].1 = 16_383;
        state.slots.truncate(2);
    });
    sleep(2 * INTERVAL).await;
    assert_eq!(shards(&running).len(), 2);
    sleep(HOUR).await;
    assert!(!are_received(&running), "{}", shown());
}
