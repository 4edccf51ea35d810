//! Why a probe fails: the closed set of reasons, where it happened, and in whose words.

use std::fmt;

use super::{Phase, Step};

/// Why a probe failed, or a connection was lost. The set is closed: it is the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// The host name has no address, or the resolver did not answer in time.
    Resolve,
    /// Every address refused the connection.
    ConnectRefused,
    /// No route to any address.
    ConnectUnreachable,
    /// No address answered in time.
    ConnectTimeout,
    /// The TLS handshake failed or stalled.
    TlsHandshake,
    /// The server's certificate is not one to trust for this host.
    TlsCertificate,
    /// There is no token, key or password to sign in with.
    NoToken,
    /// The cache refused, or ended a session on, a token that by our knowledge has expired.
    TokenExpired,
    /// The cache refused the user or the secret.
    AuthRejected,
    /// A required command is forbidden to this user (`NOPERM`).
    PermissionDenied,
    /// A command was not answered in time.
    CommandTimeout,
    /// The server closed the connection.
    Closed,
    /// The connection was reset.
    Reset,
    /// Writes go to a replica (`READONLY`).
    ReadOnly,
    /// The server is loading its data set (`LOADING`).
    Loading,
    /// The server is at its memory limit (`OOM`).
    OutOfMemory,
    /// The server is at its connection limit.
    TooManyClients,
    /// The cluster or its primary is away (`CLUSTERDOWN`, `MASTERDOWN`).
    ClusterDown,
    /// GET brought something else than SET had written.
    ValueMismatch,
    /// A reply exceeded the size limit.
    ReplyTooLarge,
    /// The peer does not speak RESP, or answered what was not asked.
    ProtocolError,
    /// Any other error reply.
    ServerError,
}

impl FailureReason {
    /// Every reason.
    pub const ALL: [Self; 22] = [
        Self::Resolve,
        Self::ConnectRefused,
        Self::ConnectUnreachable,
        Self::ConnectTimeout,
        Self::TlsHandshake,
        Self::TlsCertificate,
        Self::NoToken,
        Self::TokenExpired,
        Self::AuthRejected,
        Self::PermissionDenied,
        Self::CommandTimeout,
        Self::Closed,
        Self::Reset,
        Self::ReadOnly,
        Self::Loading,
        Self::OutOfMemory,
        Self::TooManyClients,
        Self::ClusterDown,
        Self::ValueMismatch,
        Self::ReplyTooLarge,
        Self::ProtocolError,
        Self::ServerError,
    ];

    /// The value of the label `reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::ConnectRefused => "connect_refused",
            Self::ConnectUnreachable => "connect_unreachable",
            Self::ConnectTimeout => "connect_timeout",
            Self::TlsHandshake => "tls_handshake",
            Self::TlsCertificate => "tls_certificate",
            Self::NoToken => "no_token",
            Self::TokenExpired => "token_expired",
            Self::AuthRejected => "auth_rejected",
            Self::PermissionDenied => "permission_denied",
            Self::CommandTimeout => "command_timeout",
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::ReadOnly => "read_only",
            Self::Loading => "loading",
            Self::OutOfMemory => "out_of_memory",
            Self::TooManyClients => "too_many_clients",
            Self::ClusterDown => "cluster_down",
            Self::ValueMismatch => "value_mismatch",
            Self::ReplyTooLarge => "reply_too_large",
            Self::ProtocolError => "protocol_error",
            Self::ServerError => "server_error",
        }
    }

    /// What the operator can do about it: one or two sentences, without the values of this one failure.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Resolve => {
                "Check `host`, the resolver of this machine, and with a private endpoint that its DNS zone is \
                 linked to this network. Configure the cache's public name, never the privatelink one."
            }
            Self::ConnectRefused => {
                "Nothing listens there: check `port` (6380 on Azure Cache for Redis, 10000 on Azure Managed \
                 Redis) and whether the cache is running."
            }
            Self::ConnectUnreachable => {
                "There is no route from here: check the virtual network, its peerings and this machine's routes."
            }
            Self::ConnectTimeout => {
                "Packets vanish: check firewalls, network security groups, network policies and the cache's \
                 own network rules for this address and port."
            }
            Self::TlsHandshake => {
                "Check that this port speaks TLS 1.2 or 1.3, and set `tls: false` only if the cache really \
                 serves plaintext there."
            }
            Self::TlsCertificate => {
                "Check that `host` (or `tls.server_name`) is a name of the certificate, that it has not \
                 expired, and give a private authority's root in `tls.ca_file`."
            }
            Self::NoToken => {
                "Check the identity: its type and ids, that it is assigned to this workload, and that the \
                 identity endpoint or secret file can be reached from here."
            }
            Self::TokenExpired => {
                "Renewal has not brought a newer token: see cachepulse_token_refreshes_total and the log for \
                 what the identity endpoint answers, and compare this machine's clock."
            }
            Self::AuthRejected => {
                "Assign the identity's object id a data access policy on the cache, check that Entra \
                 authentication is enabled there, and that `username` is that object id. With a key or \
                 password: check that it has not been rotated."
            }
            Self::PermissionDenied => {
                "Give the user a policy with at least: +ping +set +get +client|list ~cachepulse:*"
            }
            Self::CommandTimeout => {
                "The connection stands but the server does not answer: look at its load and slow commands, and \
                 at the network between."
            }
            Self::Closed => {
                "The server hung up: a failover, a restart or maintenance, unless it lasts. If it lasts, check \
                 its connection limits and firewalls on the way."
            }
            Self::Reset => {
                "The connection was reset: a failover, a restart, or a firewall or load balancer on the way."
            }
            Self::ReadOnly => "A replica answered: a failover is under way or the name points at a replica.",
            Self::Loading => {
                "The server is loading its data set after a restart: wait, and find out why it restarted."
            }
            Self::OutOfMemory => "The cache is full: scale it up, or set an eviction policy or expiries.",
            Self::TooManyClients => {
                "The cache is at its connection limit: look for clients that leak connections, or scale up."
            }
            Self::ClusterDown => "A shard or its primary is away: a failover is under way or has failed.",
            Self::ValueMismatch => {
                "What was written was not read back: another writer uses this key, the value was evicted at \
                 once, or reads go to a stale replica."
            }
            Self::ReplyTooLarge => {
                "The list of clients is very long: set `client_list.mode: off`, or raise `reply_limit`."
            }
            Self::ProtocolError => {
                "What answers is not a Redis server, or it expects TLS and `tls: false` is set: check `host`, \
                 `port` and `tls`."
            }
            Self::ServerError => "The server's own words tell; look them up in its documentation.",
        }
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where in a probe something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// While the connection was opened.
    Phase(Phase),
    /// In a command.
    Step(Step),
    /// Between probes, on the idle connection.
    Idle,
}

impl Stage {
    /// The phase's or step's label value; `idle` between probes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Phase(phase) => phase.as_str(),
            Self::Step(step) => step.as_str(),
            Self::Idle => "idle",
        }
    }
}

/// A failure: why, where, and in whose words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason, as counted.
    pub reason: FailureReason,
    /// The phase or step that failed.
    pub stage: Stage,
    /// The words of the server or the system: one line, bounded, without secrets. May be empty.
    pub detail: Box<str>,
}

impl Failure {
    /// A failure at `stage`. `detail` must already be free of secrets (see [`crate::secret::Secret::redact`]).
    #[must_use]
    pub fn new(reason: FailureReason, stage: Stage, detail: impl Into<Box<str>>) -> Self {
        Self { reason, stage, detail: detail.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.reason, self.stage.as_str())?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_label_value_is_distinct_and_in_snake_case() {
        let values: Vec<&str> = FailureReason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(values.iter().collect::<HashSet<_>>().len(), FailureReason::ALL.len());
        assert!(values.iter().all(|value| value.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
    }

    #[test]
    fn a_failure_tells_reason_stage_and_detail_in_one_line() {
        let failure = Failure::new(FailureReason::ReadOnly, Stage::Step(Step::Set), "READONLY You can't");
        assert_eq!(failure.to_string(), "read_only at set: READONLY You can't");
        let bare = Failure::new(FailureReason::Closed, Stage::Idle, "");
        assert_eq!(bare.to_string(), "closed at idle");
    }
}
