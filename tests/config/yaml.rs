//! Features of YAML: anchors, merge keys and keys for anchors.

use std::num::NonZeroU32;
use std::time::Duration;

use cachepulse::config::{Config, Position, Problems};
use tokio::time::Instant;

use crate::valid;

/// Returns the problems of `yaml`.
fn problems(yaml: &str) -> Problems {
    Config::from_yaml("config.yaml", yaml).expect_err("it has problems")
}

#[test]
fn a_merge_key_adds_the_keys_that_the_mapping_lacks() {
    let config = valid(
        "x-common: &common {interval: 1m, attempts: 5, client_list: {mode: required, every: 2}}\n\
         x-quick: &quick {interval: 1s, command_timeout: 100ms}\n\
         targets:\n\
         - {<<: *common, name: a, host: a, attempts: 1}\n\
         - {name: b, host: b, <<: [*quick, *common], client_list: {mode: off}}\n",
    );
    let [a, b] = config.targets.as_slice() else { panic!("two targets") };
    assert_eq!(
        (a.interval, a.attempts.get(), a.client_list.every),
        (Duration::from_secs(60), 1, NonZeroU32::new(2))
    );
    assert_eq!((b.interval, b.command_timeout), (Duration::from_secs(1), Duration::from_millis(100)));
    assert_eq!((b.attempts.get(), b.client_list.every), (5, None), "merging is shallow");
}

#[test]
fn a_merged_mapping_can_merge_another_one() {
    let config = valid(
        "x-a: &a {interval: 1m, attempts: 5}\n\
         x-b: &b {<<: *a, attempts: 4}\n\
         targets: [{<<: *b, name: a, host: a}]",
    );
    assert_eq!(config.targets[0].interval, Duration::from_secs(60));
    assert_eq!(config.targets[0].attempts.get(), 4);
}

#[test]
fn a_problem_in_an_anchor_is_reported_once_at_its_own_line() {
    let targets: Vec<_> = (0..100).map(|n| format!("- {{<<: *common, name: t{n}, host: a}}\n")).collect();
    let targets = targets.concat();
    let yaml = format!("x-common: &common\n  intervall: 1s\n  attempts: 0\ntargets:\n{targets}");
    let problems = problems(&yaml);
    let places: Vec<_> = problems.iter().map(|problem| problem.position).collect();
    assert_eq!(
        places,
        [Some(Position { line: 2, column: 3 }), Some(Position { line: 3, column: 13 })],
        "{problems}"
    );
}

#[test]
fn the_positions_of_many_problems_in_a_large_file_are_found_quickly() {
    let target = |n: usize| {
        let interval = if n % 180 == 7 { "0s" } else { "10s" };
        format!(
            "- {{name: target-{n}, host: orders.redis.cache.windows.net, attempts: 3, interval: {interval}}}\n"
        )
    };
    let yaml: String = std::iter::once("targets:\n".to_owned()).chain((0..9000).map(target)).collect();
    let started = Instant::now();
    let problems = problems(&yaml);
    let took = started.elapsed();
    let lines: Vec<_> = problems.iter().map(|problem| problem.position.unwrap().line).collect();
    assert_eq!(lines, (0..50).map(|n| n * 180 + 7 + 2).collect::<Vec<_>>());
    // Generous for a debug build on a busy machine. Parsing once per problem would take minutes.
    assert!(took < Duration::from_secs(10), "{took:?} for {} bytes", yaml.len());
}

#[test]
fn brackets_without_an_end_are_refused_sooner_than_a_list_of_that_length_is_read() {
    let (deep, flat) = ("[a: ".repeat(20_000), "aaa,".repeat(20_000));
    let target = "targets: [{name: a, host: localhost, identity: none}]";
    let start = Instant::now();
    assert_eq!(problems(&deep).iter().next().unwrap().message, "not valid YAML: nested too deeply");
    let refused = start.elapsed();
    let start = Instant::now();
    valid(&format!("x-list: [{flat}]\n{target}\n"));
    // If every bracket were parsed, it would take many times as long.
    assert!(refused < start.elapsed(), "{refused:?}");
}
