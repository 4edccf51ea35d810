//! The flags that describe one target and the agent around it, for use without a configuration file.
//!
//! They are taken as text: what they mean and whether it is right is the business of [`crate::config`], so that a
//! flag and its key in YAML are told the same.

#![expect(
    clippy::doc_markdown,
    rustdoc::bare_urls,
    reason = "the docs of the flags are help texts, read in a terminal"
)]

use clap::Args;

/// One target and the agent around it. Every flag can be an environment variable, too; an empty value, from either,
/// counts as absent.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Host name or address of the cache
    #[arg(long, env = "CACHEPULSE_HOST", hide_env_values = true)]
    pub host: Option<String>,
    /// TCP port [default: 10000 for Azure Managed Redis; otherwise 6380, without TLS 6379]
    #[arg(long, env = "CACHEPULSE_PORT", hide_env_values = true)]
    pub port: Option<String>,
    /// Name of the target in metrics and logs [default: the host's first label]
    #[arg(long, env = "CACHEPULSE_NAME", hide_env_values = true)]
    pub name: Option<String>,
    /// Whether the connection is encrypted: true or false [default: true]
    #[arg(long, env = "CACHEPULSE_TLS", hide_env_values = true, value_name = "BOOL")]
    pub tls: Option<String>,
    /// PEM file with root certificates beside the platform's
    #[arg(long, env = "CACHEPULSE_CA_FILE", hide_env_values = true, value_name = "FILE")]
    pub ca_file: Option<String>,
    /// Name for SNI and the certificate check, where it is not the host
    #[arg(long, env = "CACHEPULSE_SERVER_NAME", hide_env_values = true, value_name = "NAME")]
    pub server_name: Option<String>,
    /// How to sign in: auto, managed_identity, workload_identity, client_secret, azure_cli, azure_developer_cli,
    /// access_key, password or none [default: auto]
    #[arg(long, env = "CACHEPULSE_IDENTITY", hide_env_values = true, value_name = "TYPE")]
    pub identity: Option<String>,
    /// Client id of a managed identity or an application
    #[arg(long, env = "CACHEPULSE_CLIENT_ID", hide_env_values = true, value_name = "ID")]
    pub client_id: Option<String>,
    /// Object id of a managed identity
    #[arg(long, env = "CACHEPULSE_OBJECT_ID", hide_env_values = true, value_name = "ID")]
    pub object_id: Option<String>,
    /// Azure resource id of a managed identity
    #[arg(long, env = "CACHEPULSE_RESOURCE_ID", hide_env_values = true, value_name = "ID")]
    pub resource_id: Option<String>,
    /// Tenant of an application [default: $AZURE_TENANT_ID]
    #[arg(long, env = "CACHEPULSE_TENANT_ID", hide_env_values = true, value_name = "ID")]
    pub tenant_id: Option<String>,
    /// Projected service account token for workload_identity [default: $AZURE_FEDERATED_TOKEN_FILE]
    #[arg(long, env = "CACHEPULSE_TOKEN_FILE", hide_env_values = true, value_name = "FILE")]
    pub token_file: Option<String>,
    /// File with an application's secret [default: $AZURE_CLIENT_SECRET]
    #[arg(long, env = "CACHEPULSE_CLIENT_SECRET_FILE", hide_env_values = true, value_name = "FILE")]
    pub client_secret_file: Option<String>,
    /// Environment variable with an application's secret
    #[arg(long, env = "CACHEPULSE_CLIENT_SECRET_ENV", hide_env_values = true, value_name = "NAME")]
    pub client_secret_env: Option<String>,
    /// File with the cache's access key
    #[arg(long, env = "CACHEPULSE_ACCESS_KEY_FILE", hide_env_values = true, value_name = "FILE")]
    pub access_key_file: Option<String>,
    /// Environment variable with the cache's access key
    #[arg(long, env = "CACHEPULSE_ACCESS_KEY_ENV", hide_env_values = true, value_name = "NAME")]
    pub access_key_env: Option<String>,
    /// File with the password of an ACL user
    #[arg(long, env = "CACHEPULSE_PASSWORD_FILE", hide_env_values = true, value_name = "FILE")]
    pub password_file: Option<String>,
    /// Environment variable with the password of an ACL user
    #[arg(long, env = "CACHEPULSE_PASSWORD_ENV", hide_env_values = true, value_name = "NAME")]
    pub password_env: Option<String>,
    /// What Entra tokens are asked for [default: https://redis.azure.com/.default]
    #[arg(long, env = "CACHEPULSE_SCOPE", hide_env_values = true)]
    pub scope: Option<String>,
    /// Entra's host with https://, for clouds other than the public one [default: $AZURE_AUTHORITY_HOST]
    #[arg(long, env = "CACHEPULSE_AUTHORITY", hide_env_values = true, value_name = "URL")]
    pub authority: Option<String>,
    /// Redis user [default: the token's object id, or the default user]
    #[arg(long, env = "CACHEPULSE_USERNAME", hide_env_values = true, value_name = "NAME")]
    pub username: Option<String>,
    /// Time from probe to probe, 100ms to 1h [default: 10s]
    #[arg(long, env = "CACHEPULSE_INTERVAL", hide_env_values = true, value_name = "DURATION")]
    pub interval: Option<String>,
    /// Limit for resolving, connecting, TLS and signing in together [default: 5s]
    #[arg(long, env = "CACHEPULSE_CONNECT_TIMEOUT", hide_env_values = true, value_name = "DURATION")]
    pub connect_timeout: Option<String>,
    /// Limit for each command [default: 2s]
    #[arg(long, env = "CACHEPULSE_COMMAND_TIMEOUT", hide_env_values = true, value_name = "DURATION")]
    pub command_timeout: Option<String>,
    /// How often a probe is attempted, 1 to 10 [default: 3]
    #[arg(long, env = "CACHEPULSE_ATTEMPTS", hide_env_values = true, value_name = "NUMBER")]
    pub attempts: Option<String>,
    /// Key to write and read; {instance} stands for this agent [default: cachepulse:{instance}]
    #[arg(long, env = "CACHEPULSE_KEY", hide_env_values = true)]
    pub key: Option<String>,
    /// Whether CLIENT LIST belongs to the probe: required, optional or off [default: optional]
    #[arg(long, env = "CACHEPULSE_CLIENT_LIST", hide_env_values = true, value_name = "MODE")]
    pub client_list: Option<String>,
    /// Run CLIENT LIST in every n-th probe [default: 1]
    #[arg(long, env = "CACHEPULSE_CLIENT_LIST_EVERY", hide_env_values = true, value_name = "NUMBER")]
    pub client_list_every: Option<String>,
    /// Longest reply that is read, 64KiB to 64MiB [default: 8MiB]
    #[arg(long, env = "CACHEPULSE_REPLY_LIMIT", hide_env_values = true, value_name = "SIZE")]
    pub reply_limit: Option<String>,
    /// Address and port of the HTTP endpoint [default: 0.0.0.0:9860]
    #[arg(long, env = "CACHEPULSE_LISTEN", hide_env_values = true, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// What is logged: error, warn, info, debug or trace [default: info]
    #[arg(long, env = "CACHEPULSE_LOG_LEVEL", hide_env_values = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// How it is logged: text or json [default: text]
    #[arg(long, env = "CACHEPULSE_LOG_FORMAT", hide_env_values = true, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// How long a shutdown may take, up to 10m [default: 10s]
    #[arg(long, env = "CACHEPULSE_SHUTDOWN_GRACE_PERIOD", hide_env_values = true, value_name = "DURATION")]
    pub shutdown_grace_period: Option<String>,
}

/// A flag, the path of the key that it stands for in a configuration with one target, and how to get its value.
pub(crate) type Row = (&'static str, &'static str, fn(&Flags) -> Option<&str>);

impl Flags {
    /// Every flag.
    pub(crate) const TABLE: [Row; 33] = [
        ("--host", "targets[0].host", |flags| flags.host.as_deref()),
        ("--port", "targets[0].port", |flags| flags.port.as_deref()),
        ("--name", "targets[0].name", |flags| flags.name.as_deref()),
        ("--tls", "targets[0].tls", |flags| flags.tls.as_deref()),
        ("--ca-file", "targets[0].tls.ca_file", |flags| flags.ca_file.as_deref()),
        ("--server-name", "targets[0].tls.server_name", |flags| flags.server_name.as_deref()),
        ("--identity", "targets[0].identity.type", |flags| flags.identity.as_deref()),
        ("--client-id", "targets[0].identity.client_id", |flags| flags.client_id.as_deref()),
        ("--object-id", "targets[0].identity.object_id", |flags| flags.object_id.as_deref()),
        ("--resource-id", "targets[0].identity.resource_id", |flags| flags.resource_id.as_deref()),
        ("--tenant-id", "targets[0].identity.tenant_id", |flags| flags.tenant_id.as_deref()),
        ("--token-file", "targets[0].identity.token_file", |flags| flags.token_file.as_deref()),
        ("--client-secret-file", "targets[0].identity.client_secret.file", |flags| {
            flags.client_secret_file.as_deref()
        }),
        ("--client-secret-env", "targets[0].identity.client_secret.env", |flags| {
            flags.client_secret_env.as_deref()
        }),
        ("--access-key-file", "targets[0].identity.key.file", |flags| flags.access_key_file.as_deref()),
        ("--access-key-env", "targets[0].identity.key.env", |flags| flags.access_key_env.as_deref()),
        ("--password-file", "targets[0].identity.password.file", |flags| flags.password_file.as_deref()),
        ("--password-env", "targets[0].identity.password.env", |flags| flags.password_env.as_deref()),
        ("--scope", "targets[0].identity.scope", |flags| flags.scope.as_deref()),
        ("--authority", "targets[0].identity.authority", |flags| flags.authority.as_deref()),
        ("--username", "targets[0].username", |flags| flags.username.as_deref()),
        ("--interval", "targets[0].interval", |flags| flags.interval.as_deref()),
        ("--connect-timeout", "targets[0].connect_timeout", |flags| flags.connect_timeout.as_deref()),
        ("--command-timeout", "targets[0].command_timeout", |flags| flags.command_timeout.as_deref()),
        ("--attempts", "targets[0].attempts", |flags| flags.attempts.as_deref()),
        ("--key", "targets[0].key", |flags| flags.key.as_deref()),
        ("--client-list", "targets[0].client_list.mode", |flags| flags.client_list.as_deref()),
        ("--client-list-every", "targets[0].client_list.every", |flags| flags.client_list_every.as_deref()),
        ("--reply-limit", "targets[0].reply_limit", |flags| flags.reply_limit.as_deref()),
        ("--listen", "http.listen", |flags| flags.listen.as_deref()),
        ("--log-level", "log.level", |flags| flags.log_level.as_deref()),
        ("--log-format", "log.format", |flags| flags.log_format.as_deref()),
        ("--shutdown-grace-period", "shutdown_grace_period", |flags| flags.shutdown_grace_period.as_deref()),
    ];

    /// The flags that have a value, from the command line or from the environment.
    #[must_use]
    pub fn given(&self) -> Vec<&'static str> {
        self.entries().map(|(flag, _, _)| flag).collect()
    }

    /// The flags that have a value: flag, path and value.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'static str, &'static str, &str)> {
        Self::TABLE.iter().filter_map(|(flag, path, value)| match value(self) {
            None | Some("") => None,
            // Kubernetes sets this variable in every pod of a namespace with a Service called `cachepulse`.
            Some(value) if *flag == "--port" && value.starts_with("tcp://") => None,
            Some(value) => Some((*flag, *path, value)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_a_variable_too_and_stands_in_the_table() {
        let command = Flags::augment_args(clap::Command::new("cachepulse"));
        let arguments: Vec<_> = command.get_arguments().collect();
        assert_eq!(arguments.len(), Flags::TABLE.len());
        for (argument, (flag, _, _)) in arguments.iter().zip(Flags::TABLE) {
            let long = argument.get_long().unwrap();
            assert_eq!(format!("--{long}"), flag);
            let variable = argument.get_env().unwrap().to_str().unwrap();
            assert_eq!(variable, format!("CACHEPULSE_{}", long.to_uppercase().replace('-', "_")));
            assert!(argument.get_help().is_some(), "{flag}");
        }
    }

    #[test]
    fn each_row_of_the_table_reads_its_own_flag() {
        for (flag, _, value) in Flags::TABLE {
            let command = Flags::augment_args(clap::Command::new("cachepulse"));
            let matches = command.get_matches_from(["cachepulse", flag, "x"]);
            let flags = <Flags as clap::FromArgMatches>::from_arg_matches(&matches).unwrap();
            assert_eq!((value(&flags), flags.given()), (Some("x"), vec![flag]));
        }
    }

    #[test]
    fn an_empty_value_counts_as_absent() {
        let flags = Flags { host: Some(String::new()), ..Flags::default() };
        assert!(flags.given().is_empty());
    }

    #[test]
    fn what_kubernetes_puts_into_the_variable_of_the_port_counts_as_absent() {
        let flags = Flags { port: Some("tcp://10.0.0.1:9860".into()), ..Flags::default() };
        assert!(flags.given().is_empty());
    }
}
