//! The settings of a target by key, for people. They name where secrets come from, never what they are.

use super::keys::{Descriptor as _, Key, Value, cluster, connection, identity, labels, probe};
use crate::identity::Identity;
use crate::target::{KeyTemplate, Target, Tls, TlsFiles};

/// The path of a target's keys.
const TARGET: &str = "targets[].";

/// Returns the settings of `target` that have a value, each with its key.
#[must_use]
pub fn settings(target: &Target) -> Vec<(&'static str, String)> {
    let Target { cluster, client_list, .. } = target;
    let mut settings = vec![
        (name(&connection::HOST), target.server.to_string()),
        (connection::TLS.whole.about().path.trim_start_matches(TARGET), tls(&target.tls)),
        (name(&identity::IDENTITY), credentials(&target.identity)),
    ];
    settings.extend(target.username.clone().map(|username| (name(&identity::USERNAME), username)));
    settings.extend([
        setting(&connection::PROTOCOL, &target.protocol),
        setting(&connection::DNS_REFRESH, &target.dns_refresh),
        setting(&connection::MAX_CONNECTION_AGE, &target.max_connection_age),
        setting(&probe::INTERVAL, &target.interval),
        setting(&probe::CONNECT_TIMEOUT, &target.connect_timeout),
        setting(&probe::COMMAND_TIMEOUT, &target.command_timeout),
        setting(&probe::ATTEMPTS, &target.attempts),
        setting(&probe::STARTUP_GRACE, &target.startup_grace),
        (name(&probe::KEY), target.key.render(KeyTemplate::INSTANCE)),
        setting(&probe::KEYS, &target.keys),
        setting(&probe::CLIENT_LIST_MODE, &client_list.mode),
        setting(&probe::CLIENT_LIST_EVERY, &client_list.every),
        setting(&probe::NEW_CONNECTION_EVERY, &target.new_connection_every),
        setting(&probe::REPLY_LIMIT, &target.reply_limit),
        setting(&cluster::CLUSTER_MODE, &cluster.mode),
        setting(&cluster::CLUSTER_MAX_NODES, &cluster.max_nodes),
        setting(&cluster::CLUSTER_REFRESH, &cluster.refresh),
        setting(&cluster::CLUSTER_ADDRESS, &cluster.address),
        setting(&cluster::EXPECT_ROLE, &target.expect_role),
        setting(&cluster::MAINTENANCE, &target.maintenance),
    ]);
    if !target.labels.is_empty() {
        settings.push((name(&labels::LABELS), target.labels.to_string()));
    }
    settings
}

/// Returns the interval of `target`, likewise.
#[must_use]
pub fn interval(target: &Target) -> String {
    setting(&probe::INTERVAL, &target.interval).1
}

fn name<T: Value>(key: &Key<T>) -> &'static str {
    key.about.path.trim_start_matches(TARGET)
}

fn setting<T: Value>(key: &Key<T>, value: &T) -> (&'static str, String) {
    (name(key), key.written(value))
}

fn tls(tls: &Tls) -> String {
    let Tls::On { files, server_name } = tls else { return "false".to_owned() };
    let is_plain = *files == TlsFiles::default();
    let mut parts = vec![if is_plain { "true".to_owned() } else { format!("true, {files}") }];
    parts.extend(server_name.as_ref().map(|name| format!("for {name}")));
    parts.join(", ")
}

fn credentials(identity: &Identity) -> String {
    match identity {
        Identity::Entra(_) | Identity::Token(_) => {
            identity.of_tokens().map_or_else(String::new, |identity| identity.to_string())
        }
        Identity::AccessKey(source) => format!("access_key from {source}"),
        Identity::Password(source) => format!("password from {source}"),
        Identity::None => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::config::keys::{self, Absent};
    use crate::identity::supplied::{SuppliedCommand, SuppliedSource, SuppliedToken};
    use crate::secret::SecretSource;

    #[test]
    fn every_key_with_a_default_is_shown_as_it_is_written() {
        /// Shown in one line together with others.
        const TOGETHER: [&str; 4] = ["identity", "sentinel", "port", "tls"];
        let shown = settings(&Target::plain("a"));
        let mut compared = 0;
        for key in keys::all() {
            let Some(path) = key.about().path.strip_prefix(TARGET) else { continue };
            let is_together = TOGETHER.iter().any(|key| path.split('.').next() == Some(key));
            if let (Absent::Default(default), false) = (key.default_text(), is_together) {
                let value = shown.iter().find(|(name, _)| *name == path).map(|(_, value)| value);
                assert_eq!(value, Some(&default), "{path}");
                compared += 1;
            }
        }
        assert!(compared >= 15, "{compared}");
    }

    #[test]
    fn of_a_command_for_tokens_only_the_program_is_shown() {
        let command = SuppliedCommand {
            program: "/opt/bin/get-token".into(),
            arguments: vec!["--secret".into(), "hunter2".into()],
            timeout: Duration::from_secs(10),
        };
        let supplied =
            SuppliedToken { name: None, source: SuppliedSource::Command(command), lifetime: Duration::ZERO };
        let target = Target { identity: Arc::new(Identity::Token(supplied)), ..Target::plain("a") };
        let shown = settings(&target);
        assert!(shown.contains(&("identity", "token:get-token".to_owned())), "{shown:?}");
        assert!(!format!("{shown:?}").contains("hunter2"), "{shown:?}");
    }

    #[test]
    fn labels_are_shown_if_there_are_any() {
        let labels = [("team", "shop"), ("env", "prod")].map(|(name, value)| (name.into(), value.into()));
        let target = Target { labels: labels.into_iter().collect(), ..Target::plain("a") };
        assert!(settings(&target).contains(&("labels", "env=prod, team=shop".to_owned())));
        assert!(settings(&Target::plain("a")).iter().all(|(key, _)| *key != "labels"));
    }

    #[test]
    fn a_secret_is_shown_by_its_place() {
        let identity = Identity::AccessKey(SecretSource::Env("ACCESS_KEY".into()));
        let server_name = Some("cache.example".to_owned());
        let tls = Tls::On { files: TlsFiles { ca_file: Some("ca.pem".into()), client: None }, server_name };
        let target = Target { identity: Arc::new(identity), tls, ..Target::plain("a") };
        let shown = settings(&target);
        assert!(shown.contains(&("identity", "access_key from environment variable ACCESS_KEY".to_owned())));
        assert!(shown.contains(&("tls", "true, ca.pem, for cache.example".to_owned())), "{shown:?}");
        assert!(shown.contains(&("host", "localhost:6380".to_owned())));
    }
}
