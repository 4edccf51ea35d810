//! Configuration documents: every input is valid, or has problems with positions and without secrets.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use cachepulse::config::{Config, Finding};
use cachepulse::identity::Identity;
use cachepulse::target::{Endpoint, Server, Target, Tls};
use serde_yaml::Value;

/// The secret in the inputs.
const SECRET: &str = "zt9-Vq7";

/// The start of the message for an input that is not YAML.
const NO_YAML: &str = "not valid YAML: ";

pub(crate) fn holds(input: &[u8]) {
    let yaml = String::from_utf8_lossy(input);
    match Config::from_yaml("config.yaml", &yaml) {
        Ok(config) => is_within_limits(&config),
        Err(problems) => {
            assert_ne!(problems.iter().count(), 0);
            // serde_yaml rejects duplicate keys, which the configuration reports as problems.
            let document = serde_yaml::from_str(&yaml).ok();
            for problem in &problems {
                has_a_position(problem);
                let shown = match &document {
                    Some(document) => is_shown(document, false),
                    None => !problem.message.starts_with(NO_YAML),
                };
                assert!(shown || !problem.to_string().contains(SECRET), "a secret in: {problem}");
            }
        }
    }
}

/// The ranges of the documentation.
fn is_within_limits(config: &Config) {
    const MS: fn(u64) -> Duration = Duration::from_millis;
    let is_in =
        |value: Duration, range: RangeInclusive<Duration>| assert!(range.contains(&value), "{value:?}");
    is_in(config.shutdown_grace_period, MS(0)..=MS(600_000));
    assert!((1..=10_000).contains(&config.targets.len()));
    let names: HashSet<&str> = config.targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names.len(), config.targets.len(), "two targets of one name");
    for target in &config.targets {
        is_in(target.interval, MS(100)..=MS(3_600_000));
        is_in(target.connect_timeout, MS(10)..=MS(300_000));
        is_in(target.command_timeout, MS(10)..=MS(300_000));
        let may_be_off =
            [(target.new_connection_every, 10), (target.dns_refresh, 1), (target.max_connection_age, 10)];
        for (duration, least) in may_be_off {
            assert!(duration.is_none_or(|duration| duration >= Duration::from_secs(least)), "{duration:?}");
        }
        is_possible(target);
    }
}

fn is_possible(target: &Target) {
    assert!((1..=128).contains(&target.name.as_str().chars().count()));
    assert!(!target.name.as_str().contains(char::is_control));
    let endpoints = match &target.server {
        Server::Host(endpoint) => std::slice::from_ref(endpoint),
        Server::Sentinels(sentinels) => &sentinels.addresses,
    };
    assert!(!endpoints.is_empty());
    for Endpoint { host, port } in endpoints {
        assert!(!host.is_empty() && !host.contains(char::is_whitespace));
        assert_ne!(*port, 0);
    }
    assert!((1..=10).contains(&target.attempts.get()));
    assert!(target.client_list.every.is_none_or(|every| (1..=1_000_000).contains(&every.get())));
    assert!((64 * 1024..=64 * 1024 * 1024).contains(&target.reply_limit));
    assert!((1..=512).contains(&target.key.render("{instance}").len()));
    let (has_tokens, takes_user) = match &*target.identity {
        Identity::Entra(_) => (true, true),
        // Google Cloud takes supplied tokens over plaintext, too.
        Identity::Token(_) | Identity::Password(_) => (false, true),
        Identity::AccessKey(_) | Identity::None => (false, false),
    };
    assert!(!has_tokens || target.tls != Tls::Off, "a token over plaintext");
    assert!(takes_user || target.username.is_none(), "a user name for a sign-in without one");
}

/// A problem is one line. It has a position, unless the input is not YAML, and a path, unless the top level is wrong.
fn has_a_position(problem: &Finding) {
    let Finding { position, path, message, .. } = problem;
    assert!(!problem.to_string().contains(char::is_control), "{problem:?}");
    assert!(!message.is_empty());
    assert!(position.is_some() || message.starts_with(NO_YAML), "{problem}");
    let of_document = [
        NO_YAML,
        "expected a mapping with the key targets, found ",
        "expected a mapping or a list of mappings under \"<<\"",
        "unknown key ",
        "duplicate key ",
    ];
    assert!(!path.is_empty() || of_document.iter().any(|start| message.starts_with(start)), "{problem}");
}

/// Whether `value` contains [`SECRET`] where a message may repeat it: not in a value for a secret, and not in a host or
/// authority with a password.
fn is_shown(value: &Value, in_identity: bool) -> bool {
    let says = |value: &Value| value.as_str().is_some_and(|text| text.contains(SECRET));
    match value {
        Value::Mapping(entries) => entries.iter().any(|(key, value)| match key.as_str() {
            Some("key" | "password" | "client_secret") if in_identity => {
                is_source(value) && is_shown(value, true)
            }
            Some("authority") if value.as_str().is_some_and(|url| url.contains('@')) => false,
            Some("host") if value.as_str().is_some_and(|url| url.contains('@')) => {
                value.as_str().is_some_and(is_beside_the_password)
            }
            Some("identity") => is_shown(value, true),
            _ => says(key) || is_shown(value, in_identity),
        }),
        Value::Sequence(items) => items.iter().any(|item| is_shown(item, in_identity)),
        other => says(other),
    }
}

/// Whether [`SECRET`] is in the user or host of a URL, or anywhere in a connection string, but not in a password.
fn is_beside_the_password(url: &str) -> bool {
    let (user, host) = url.rsplit_once('@').unwrap_or(("", url));
    let user = user.split_once("://").map_or("", |(_, user)| user);
    let user = user.split_once(':').map_or(user, |(user, _)| user);
    user.contains(SECRET) || host.contains(SECRET) || url.contains(',')
}

/// Whether `value` is the source of a secret: a file or a variable, whose name is not secret.
fn is_source(value: &Value) -> bool {
    let source = value.as_mapping().filter(|entries| entries.len() == 1);
    source.is_some_and(|entries| entries.contains_key("file") || entries.contains_key("env"))
}
