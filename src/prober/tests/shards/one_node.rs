//! A cluster that is probed as one node, because its topology is refused or not asked for: the node that takes the key.

use super::*;

/// Settings under which nobody says which shards there are: the topology is refused, or not asked for.
fn as_one_node(cluster: &Cluster) -> [Target; 2] {
    cluster.with(|state| {
        state.refusal = Some(refusals::DENIED);
        // Of two writes, the later one is read.
        state.all.iter_mut().for_each(|node| node.latency = SECOND / 1000);
    });
    let mut off = target();
    off.cluster.mode = ClusterMode::Off;
    [target(), off]
}

/// Lets another node take over the slots of one that becomes a replica.
fn fail_over(cluster: &Cluster, from: usize, to: usize) {
    cluster.with(|state| {
        state.slots.iter_mut().filter(|(.., owner)| *owner == from).for_each(|(.., owner)| *owner = to);
        (state.all[from].is_replica, state.all[to].is_replica) = (true, false);
        state.replicas = vec![(from, to)];
    });
}

/// Returns the node to which the target is connected: each has a version of its own.
fn connected(running: &Running) -> usize {
    shown(running).server.unwrap().version.strip_prefix("7.2.").unwrap().parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_demoted_host_leads_to_the_node_that_it_names_and_back_when_that_is_gone() {
    for place in 0..2 {
        // Where the server says so, and where it calls each node a primary.
        for says_so in [true, false] {
            let cluster = Cluster::new(3);
            let target = as_one_node(&cluster)[place].clone();
            let running = start_cluster(&cluster, target).await;
            fail_over(&cluster, 0, 3);
            cluster.with(|state| state.all[0].is_replica = says_so);
            sleep(2 * INTERVAL).await;
            assert_eq!((running.is_up(), running.all_failures(), connected(&running)), (true, 0.0, 3));
            // One attempt, at a host that says the same twice.
            let unavailable = running.unavailable();
            assert!(unavailable < 0.2, "{unavailable}");
            let sets = cluster.count_all("SET");
            sleep(5 * INTERVAL).await;
            assert_eq!((cluster.count_all("SET") - sets, cluster.dials(3)), (5, 1), "it stays there");
            // It closes an idle connection, and is asked again at once.
            cluster.hang_up(3);
            sleep(INTERVAL).await;
            assert_eq!((running.all_failures(), running.unavailable()), (0.0, unavailable));
            // It fails back when that node dies.
            fail_over(&cluster, 3, 0);
            cluster.kill(3);
            sleep(2 * INTERVAL).await;
            assert_eq!((running.is_up(), connected(&running)), (true, 0));
            assert!(running.unavailable() < 1.0, "{}", running.unavailable());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_planned_failover_back_to_the_host_fails_nothing() {
    let cluster = Cluster::new(3);
    for target in as_one_node(&cluster) {
        let (lines, _guard) = logged();
        let running = start_cluster(&cluster, Target { attempts: NonZeroU32::MIN, ..target }).await;
        fail_over(&cluster, 0, 3);
        sleep(2 * INTERVAL).await;
        let failed = running.all_failures();
        assert!(running.is_up() && failed <= 1.0, "{failed}");
        fail_over(&cluster, 3, 0);
        sleep(2 * INTERVAL).await;
        assert_eq!((running.is_up(), running.all_failures()), (true, failed), "{}", lines.text());
        assert_eq!(connected(&running), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_whose_name_leads_elsewhere_while_it_names_another_node_is_asked_again_there() {
    let cluster = Cluster::new(3);
    let [_, off] = as_one_node(&cluster);
    let server = crate::target::Server::Host(Endpoint { host: "cache.test".into(), port: 6379 });
    let running = start_cluster(&cluster, Target { server, dns_refresh: Some(60 * SECOND), ..off }).await;
    fail_over(&cluster, 0, 3);
    sleep(600 * SECOND).await;
    assert_eq!((connected(&running), cluster.dials(3)), (3, 1), "the name leads to the host");
    cluster.with(|state| (state.host, state.all[1].takes) = (1, Keys::All));
    sleep(150 * SECOND).await;
    assert_eq!((running.is_up(), connected(&running), running.all_failures()), (true, 1, 0.0));
    assert_eq!(running.disconnects("wrong_node"), 2.0, "at the failover");
}

#[tokio::test(start_paused = true)]
async fn a_demoted_host_leads_to_the_node_that_it_names_after_a_reload_and_never_if_it_has_not_served() {
    let cluster = Cluster::new(3);
    for target in as_one_node(&cluster) {
        let memory = TargetMemory::default();
        drop(reload::start_after_reload(&cluster, memory.clone(), target.clone()).await);
        fail_over(&cluster, 0, 3);
        for _ in 0..5 {
            let (lines, _guard) = logged();
            let after = reload::start_after_reload(&cluster, memory.clone(), target.clone()).await;
            // Its key lies in the slots of the same shard.
            assert_eq!((after.is_up(), connected(&after)), (true, 3));
            let log = lines.text();
            assert_eq!(log.matches("redirection followed").count(), 1, "{log}");
        }
        let new = start_cluster(&cluster, target).await;
        assert_eq!((new.is_up(), connected(&new)), (false, 0));
        assert!(new.failures("wrong_node") > 0.0);
        fail_over(&cluster, 3, 0);
    }
}
