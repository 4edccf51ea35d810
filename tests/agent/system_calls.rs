//! What a probe asks of the system.

use std::io::ErrorKind;

use crate::lab::Lab;
use crate::program::Running;

/// Returns how often the thread that probes has written: to connections, or to wake itself up. Reads from sockets do not count.
/// `None` if this user may not know.
fn writes(agent: &Running) -> Option<u64> {
    let id = agent.id();
    let account = match std::fs::read_to_string(format!("/proc/{id}/task/{id}/io")) {
        // The agent keeps its memory from everyone but root, and with it this account.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return None,
        account => account.unwrap(),
    };
    Some(account.lines().find_map(|line| line.strip_prefix("syscw: ")).unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_probe_writes_its_commands_and_nothing_else() {
    const PROBES: u64 = 30;
    let lab = Lab::start().await;
    let agent = lab.run(["--interval", "200ms"]).serve().await;
    let probes = async |least: u64| {
        let scrape = agent.until("it probes", |scrape| scrape.count("probes_total", "orders") >= least).await;
        assert!(scrape.is_up("orders"));
        (scrape.count("probes_total", "orders"), writes(&agent))
    };
    let (first, before) = probes(5).await;
    let (last, after) = probes(first + PROBES).await;
    let (Some(before), Some(after)) = (before, after) else {
        eprintln!("not tested: it takes root to count the system calls of the agent");
        return;
    };
    let (probes, writes) = (last - first, after - before);
    // Four commands each. Two more writes would be those that wake the thread up for its own timers.
    assert!(writes >= 4 * (probes - 1) && writes < 5 * probes, "{writes} writes in {probes} probes");
}
