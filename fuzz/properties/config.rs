//! The configuration document: an input is one, or is none, and the operator is told why.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use cachepulse::config::{Config, Finding};
use cachepulse::identity::Identity;
use cachepulse::target::{Target, Tls};
use serde_yaml::Value;

/// What stands for a secret in an input.
const SECRET: &str = "zt9-Vq7";

/// How the message about a text begins that is no document at all.
const NO_YAML: &str = "not valid YAML: ";

pub(crate) fn holds(input: &[u8]) {
    let yaml = String::from_utf8_lossy(input);
    match Config::from_yaml("config.yaml", &yaml) {
        Ok(config) => is_within_limits(&config),
        Err(problems) => {
            assert_ne!(problems.iter().count(), 0);
            // Where a key comes twice there is no such value, but a document all the same.
            let document = serde_yaml::from_str(&yaml).ok();
            for problem in &problems {
                tells_its_place(problem);
                let shown = match &document {
                    Some(document) => is_shown(document, false),
                    None => !problem.message.starts_with(NO_YAML),
                };
                assert!(shown || !problem.to_string().contains(SECRET), "a secret in: {problem}");
            }
        }
    }
}

/// The ranges are those that the README tells.
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
        is_possible(target);
    }
}

fn is_possible(target: &Target) {
    assert!((1..=128).contains(&target.name.as_str().chars().count()));
    assert!(!target.name.as_str().contains(char::is_control));
    assert!(!target.endpoint.host.is_empty() && !target.endpoint.host.contains(char::is_whitespace));
    assert_ne!(target.endpoint.port, 0);
    assert!((1..=10).contains(&target.attempts.get()));
    assert!((1..=1_000_000).contains(&target.client_list.every.get()));
    assert!((64 * 1024..=64 * 1024 * 1024).contains(&target.reply_limit));
    assert!((1..=512).contains(&target.key.render("{instance}").len()));
    let (has_tokens, takes_user) = match &*target.identity {
        Identity::Entra(_) => (true, true),
        Identity::Password(_) => (false, true),
        Identity::AccessKey(_) | Identity::None => (false, false),
    };
    assert!(!has_tokens || target.tls != Tls::Off, "a token over plaintext");
    assert!(takes_user || target.username.is_none(), "a user name for a sign-in without one");
}

/// One line with a position, unless the text as a whole is no YAML; and a key, unless the top level is wrong.
fn tells_its_place(problem: &Finding) {
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

/// Whether [`SECRET`] stands in `value` where a message may repeat it: anywhere but in the place of a secret, and in a
/// host or authority with a password in it.
fn is_shown(value: &Value, in_identity: bool) -> bool {
    let says = |value: &Value| value.as_str().is_some_and(|text| text.contains(SECRET));
    match value {
        Value::Mapping(entries) => entries.iter().any(|(key, value)| match key.as_str() {
            Some("key" | "password" | "client_secret") if in_identity => {
                names_a_place(value) && is_shown(value, true)
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

/// Whether [`SECRET`] is in the user or host of a URL, or somewhere in a connection string. A password is neither.
fn is_beside_the_password(url: &str) -> bool {
    let (user, host) = url.rsplit_once('@').unwrap_or(("", url));
    let user = user.split_once("://").map_or("", |(_, user)| user);
    let user = user.split_once(':').map_or(user, |(user, _)| user);
    user.contains(SECRET) || host.contains(SECRET) || url.contains(',')
}

/// The name of a file or variable with a secret is none.
fn names_a_place(value: &Value) -> bool {
    let place = value.as_mapping().filter(|entries| entries.len() == 1);
    place.is_some_and(|entries| entries.contains_key("file") || entries.contains_key("env"))
}
