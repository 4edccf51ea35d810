//! Settings that are valid, but probably mistakes.

use cachepulse::config::Config;
use cachepulse::config::flags::{Flags, Origin};
use cachepulse::config::keys::{connection, probe};

use crate::{sources, valid};

fn warnings(yaml: &str) -> Vec<String> {
    valid(yaml).warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_timeout_over_five_intervals_is_a_warning() {
    assert_eq!(
        warnings("targets: [{name: a, host: a, interval: 1s, command_timeout: 5001ms, connect_timeout: 5s}]"),
        [
            "config.yaml:1:61: targets[0] (a).command_timeout: command_timeout of 5001ms is longer than 5 intervals of \
          1s; lower it or raise the interval"
        ]
    );
    assert_eq!(
        warnings("targets: [{name: a, host: a, interval: 300ms}]"),
        [
            "config.yaml:1:40: targets[0] (a).interval: connect_timeout of 5s is longer than 5 intervals of 300ms; \
             lower it or raise the interval",
            "config.yaml:1:40: targets[0] (a).interval: command_timeout of 2s is longer than 5 intervals of 300ms; \
             lower it or raise the interval",
        ]
    );
}

#[test]
fn a_warning_about_the_defaults_is_reported_once() {
    assert_eq!(
        warnings("defaults: {connect_timeout: 49ms}\ntargets: [{name: a, host: a}, {name: b, host: b}]"),
        [
            "config.yaml:1:29: defaults.connect_timeout: connect_timeout of 49ms is too short for most networks; use \
          50ms or more"
        ]
    );
    let two = warnings("defaults: {interval: 300ms}\ntargets: [{name: a, host: a}, {name: b, host: b}]");
    assert_eq!(two.len(), 2, "one about each timeout: {two:?}");
}

#[test]
fn a_key_without_effect_is_a_warning() {
    assert_eq!(
        warnings("targets: [{name: a, host: a, client_list: {mode: off, every: 2}}]"),
        ["config.yaml:1:62: targets[0] (a).client_list.every: not used, since the mode is off"]
    );
    assert_eq!(
        warnings(
            "targets: [{name: a, host: a, cluster: {mode: off, max_nodes: 2, refresh: 1m, address: host}}]"
        ),
        [
            "config.yaml:1:62: targets[0] (a).cluster.max_nodes: not used, since the mode is off",
            "config.yaml:1:74: targets[0] (a).cluster.refresh: not used, since the mode is off",
            "config.yaml:1:87: targets[0] (a).cluster.address: not used, since the mode is off",
        ]
    );
    assert_eq!(
        warnings("targets: [{name: a, host: a, keys: 2, cluster: {mode: all}}]"),
        ["config.yaml:1:36: targets[0] (a).keys: not used, since cluster.mode: all gives each shard a key"]
    );
    assert_eq!(
        warnings("defaults: {expect_role: replica}\ntargets: [{name: a, host: a, keys: 2}]"),
        ["config.yaml:2:36: targets[0] (a).keys: not used, since expect_role: replica"]
    );
}

#[test]
fn a_warning_about_a_flag_names_the_flag() {
    let flags = Flags::default().with(&connection::HOST, Origin::CommandLine, "a").with(
        &probe::CONNECT_TIMEOUT,
        Origin::Variable,
        "10ms",
    );
    let config = Config::from_flags(&flags, &sources()).unwrap();
    assert_eq!(
        config.warnings[0].to_string(),
        "CACHEPULSE_CONNECT_TIMEOUT: CACHEPULSE_CONNECT_TIMEOUT of 10ms is too short for most networks; use 50ms or more"
    );
}
