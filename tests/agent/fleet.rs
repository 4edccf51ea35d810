//! A fleet: several real agents that share the targets of one file.

use std::collections::BTreeSet;
use std::path::Path;

use rustix::process::Signal;

use crate::lab::Lab;
use crate::program::{Running, eventually};
use crate::scrape::Scrape;

/// More than enough for each of four agents to have some.
const TARGETS: usize = 30;

/// Returns the configuration of a fleet of so many agents, in which two probe each target.
fn config(lab: &Lab, of: usize) -> String {
    let target =
        |number| lab.target(&name(number), "interval: 1s, identity: managed_identity, labels: {team: shop}");
    format!("partition: {{of: {of}, copies: 2}}\n{}", Lab::config((0..TARGETS).map(target)))
}

fn name(number: usize) -> String {
    format!("cache-{number}")
}

async fn start(lab: &Lab, file: &Path, index: usize) -> Running {
    // As in a pod of a StatefulSet.
    lab.run_file(file).env("CACHEPULSE_PARTITION_INDEX", format!("cachepulse-{index}")).serve().await
}

/// Returns the targets of each agent, once all of them are up.
async fn shares(agents: &[&Running]) -> Vec<BTreeSet<usize>> {
    let mut shares = Vec::new();
    for agent in agents {
        let is_own = |scrape: &Scrape, number: &usize| {
            scrape.get(&format!("probes_total{{target=\"{}\"}}", name(*number))).is_some()
        };
        let are_up = |scrape: &Scrape| {
            (0..TARGETS).filter(|number| is_own(scrape, number)).all(|number| scrape.is_up(&name(number)))
        };
        let scrape = agent.until("every target of the agent is up", are_up).await;
        shares.push((0..TARGETS).filter(|number| is_own(&scrape, number)).collect());
    }
    shares
}

fn copies(shares: &[BTreeSet<usize>], number: usize) -> usize {
    shares.iter().filter(|share| share.contains(&number)).count()
}

#[tokio::test]
async fn three_agents_share_the_targets_also_when_one_is_killed_and_one_is_added() {
    let lab = Lab::start().await;
    let file = lab.file("config.yaml", &config(&lab, 3));
    let first = start(&lab, &file, 0).await;
    let second = start(&lab, &file, 1).await;
    let third = start(&lab, &file, 2).await;

    let before = shares(&[&first, &second, &third]).await;
    assert!((0..TARGETS).all(|number| copies(&before, number) == 2), "{before:?}");
    let scrape = first.scrape().await;
    assert!((scrape.value("partition_targets") - TARGETS as f64).abs() < 0.5);
    let own = name(*before[0].first().unwrap());
    assert!((scrape.value(&format!("target_labels{{team=\"shop\",target=\"{own}\"}}")) - 1.0).abs() < 0.5);

    // Whatever happens to one, the others have every target.
    third.signal(Signal::KILL);
    third.ended().await;
    let left = shares(&[&first, &second]).await;
    assert_eq!(left, before[..2]);
    assert!((0..TARGETS).all(|number| copies(&left, number) >= 1), "{left:?}");

    // It returns, and there is one more.
    lab.file("config.yaml", &config(&lab, 4));
    for agent in [&first, &second] {
        agent.signal(Signal::HUP);
        eventually("the agent reloads", || agent.log().contains("configuration reloaded")).await;
    }
    let (third, fourth) = (start(&lab, &file, 2).await, start(&lab, &file, 3).await);
    let after = shares(&[&first, &second, &third, &fourth]).await;
    assert!((0..TARGETS).all(|number| copies(&after, number) == 2), "{after:?}");
    assert!(!after[3].is_empty());
    for (before, after) in before.iter().zip(&after) {
        assert!(after.is_subset(before), "only the new agent takes over: {before:?} to {after:?}");
    }
    // What an agent keeps, it probes on the same connection.
    let scrape = first.scrape().await;
    let mut kept = after[0].iter().map(|number| name(*number));
    assert!(kept.all(|name| scrape.connects("success", &name) == 1), "{}", scrape.text);
}

#[tokio::test]
async fn an_agent_of_a_fleet_needs_its_index() {
    let lab = Lab::start().await;
    let file = lab.file("config.yaml", &config(&lab, 3));
    let ended = lab.run_file(&file).run().await;
    assert_eq!(ended.code, Some(64), "{}", ended.stderr);
    assert!(ended.stderr.contains("partition.index: missing; "), "{}", ended.stderr);
    let ended = lab.run_file(&file).args(["--partition-index", "3"]).run().await;
    assert_eq!(ended.code, Some(64), "{}", ended.stderr);
    let message = "partition.index: the partitions are numbered from 0 to 2";
    assert!(ended.stderr.contains(message), "{}", ended.stderr);
}
