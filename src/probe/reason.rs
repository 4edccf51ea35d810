//! Why a probe fails: the closed set of reasons, each with what to do about it.
//!
//! `docs/reasons.md` is generated from here. Which server text or system error has which reason is decided in
//! [`crate::connection`].

use crate::closed_set::closed_set;

/// What is known of a reason beside its label and meaning.
struct Facts {
    advice: &'static str,
    may_pass: bool,
    is_gentle: bool,
    can_end_connection: bool,
}

closed_set! {
    /// Why a probe failed or a connection was lost: the label `reason`.
    pub enum FailureReason: Facts {
        /// The host name has no address, or the resolver did not answer in time.
        Resolve = "resolve" {
            advice: "Check `host` and this machine's DNS resolver. With a private endpoint, check that its DNS zone \
                     is linked to this network. Configure the cache's public name, not the privatelink name.",
            may_pass: true,
            is_gentle: false,
            can_end_connection: false,
        },
        /// Every address refused the connection.
        ConnectRefused = "connect_refused" {
            advice: "Nothing listens there: check `port` (6380 on Azure Cache for Redis, 10000 on Azure Managed \
                     Redis) and that the cache is running.",
            may_pass: true,
            is_gentle: false,
            can_end_connection: false,
        },
        /// There is no route to the cache.
        ConnectUnreachable = "connect_unreachable" {
            advice: "Check the virtual network, its peerings and this machine's routes.",
            may_pass: true,
            is_gentle: false,
            can_end_connection: true,
        },
        /// No address answered in time.
        ConnectTimeout = "connect_timeout" {
            advice: "Packets are dropped: check firewalls, network security groups, network policies and the \
                     cache's own network rules for this address and port.",
            may_pass: true,
            is_gentle: false,
            can_end_connection: false,
        },
        /// The TLS handshake failed or timed out.
        TlsHandshake = "tls_handshake" {
            advice: "Check that this port speaks TLS 1.2 or 1.3, and a cipher suite and type of key that this agent \
                     supports. Set `tls: false` only if the cache serves plaintext there.",
            may_pass: true,
            is_gentle: false,
            can_end_connection: false,
        },
        /// The server's certificate is not trusted, has expired or is for another host.
        TlsCertificate = "tls_certificate" {
            advice: "Check that `host` (or `tls.server_name`) is a name of the certificate and that the certificate \
                     has not expired. For a private certificate authority, set `tls.ca_file` to its root certificate.",
            may_pass: false,
            is_gentle: true,
            can_end_connection: false,
        },
        /// There is no token, key or password to sign in with.
        NoToken = "no_token" {
            advice: "Check the identity: its type and ids, that it is assigned to this workload, and that the \
                     identity endpoint or the secret's file can be reached from here.",
            may_pass: false,
            is_gentle: false,
            can_end_connection: false,
        },
        /// The cache refused an expired token, or closed the connection when its token expired.
        TokenExpired = "token_expired" {
            advice: "The token was not refreshed in time. See `cachepulse_token_refreshes_total` and the log for the \
                     identity endpoint's responses, and check this machine's clock.",
            may_pass: true,
            is_gentle: false,
            can_end_connection: true,
        },
        /// The cache refused the user or the secret (`WRONGPASS`, `NOAUTH`).
        AuthRejected = "auth_rejected" {
            advice: "Assign a data access policy on the cache to the identity's object id, check that Entra \
                     authentication is enabled on the cache, and that `username` is that object id. With an access \
                     key or password, check that it has not been rotated.",
            may_pass: false,
            is_gentle: true,
            can_end_connection: true,
        },
        /// The user may not run a command that the probe needs (`NOPERM`).
        PermissionDenied = "permission_denied" {
            advice: "Give the user at least these rights: `+ping +set +get +client|list +cluster|slots ~cachepulse:*`. The \
                     pattern must fit `key`. In a cluster, replicas also need `+readonly`, and slots that are being migrated `+asking`.",
            may_pass: false,
            is_gentle: true,
            can_end_connection: true,
        },
        /// A command was not answered in time.
        CommandTimeout = "command_timeout" {
            advice: "The connection is open but the server does not answer: check the server's load, its slow log, \
                     and the network in between.",
            may_pass: true,
            is_gentle: false,
            can_end_connection: true,
        },
        /// The server closed the connection.
        Closed = "closed" {
            advice: "Expected for a few seconds during a failover, a restart or maintenance. If it persists, check \
                     the cache's connection limit and the firewalls in between.",
            may_pass: true,
            is_gentle: false,
            can_end_connection: true,
        },
        /// The connection was reset.
        Reset = "reset" {
            advice: "Expected for a few seconds during a failover or restart. If it persists, check the firewalls \
                     and load balancers in between.",
            may_pass: true,
            is_gentle: false,
            can_end_connection: true,
        },
        /// The server is a read-only replica (`READONLY`).
        ReadOnly = "read_only" {
            advice: "A failover is in progress, or `host` names a replica.",
            may_pass: true,
            is_gentle: false,
            can_end_connection: true,
        },
        /// The server is loading its data set (`LOADING`).
        Loading = "loading" {
            advice: "The server has restarted: wait until it has loaded its data, and find out why it restarted.",
            may_pass: false,
            is_gentle: false,
            can_end_connection: true,
        },
        /// The server has reached its memory limit (`OOM`).
        OutOfMemory = "out_of_memory" {
            advice: "The cache is full: scale it up, set an eviction policy, or let keys expire.",
            may_pass: false,
            is_gentle: false,
            can_end_connection: true,
        },
        /// The server has reached its connection limit.
        TooManyClients = "too_many_clients" {
            advice: "Look for clients that leak connections, or scale the cache up.",
            may_pass: true,
            is_gentle: true,
            can_end_connection: true,
        },
        /// The cluster is down, or a replica has lost its primary (`CLUSTERDOWN`, `MASTERDOWN`, `TRYAGAIN`).
        ClusterDown = "cluster_down" {
            advice: "A shard has no primary: a failover is in progress or has failed.",
            may_pass: false,
            is_gentle: false,
            can_end_connection: true,
        },
        /// `GET` did not return the value that `SET` had written.
        ValueMismatch = "value_mismatch" {
            advice: "Another client writes this key, the value was evicted at once, or reads go to a stale replica.",
            may_pass: false,
            is_gentle: false,
            can_end_connection: false,
        },
        /// A reply exceeded `reply_limit`.
        ReplyTooLarge = "reply_too_large" {
            advice: "The peer announces more than any command of a probe returns: check `host` and `port`, or raise \
                     `reply_limit`.",
            may_pass: false,
            is_gentle: false,
            can_end_connection: true,
        },
        /// The reply is not valid RESP, does not answer the command, or is not of the configured `protocol`.
        ProtocolError = "protocol_error" {
            advice: "The peer is not a Redis server, or it expects TLS while `tls: false` is set: check `host`, \
                     `port` and `tls`.",
            may_pass: false,
            is_gentle: false,
            can_end_connection: true,
        },
        /// Any other error reply.
        ServerError = "server_error" {
            advice: "Look up the server's error text in its documentation.",
            may_pass: false,
            is_gentle: false,
            can_end_connection: true,
        },
        /// The name leads to a node that does not serve the key (`MOVED`, or `ASK` for one key after another).
        WrongNode = "wrong_node" {
            advice: "Set `host` to the name of the whole cache, not of one node. Expected for a few seconds during a \
                     failover or while the cache is scaled.",
            may_pass: true,
            is_gentle: false,
            can_end_connection: true,
        },
        /// Some slots of the cluster have no owner: two of its nodes agree.
        SlotsUncovered = "slots_uncovered" {
            advice: "A shard was lost with its replicas, or slots were removed: bring a node of the shard back, or give \
                     its slots to another one (`redis-cli --cluster fix`).",
            may_pass: false,
            is_gentle: false,
            can_end_connection: false,
        },
        /// The server refuses writes by its own rules (`MISCONF`, `NOREPLICAS`).
        WriteRefused = "write_refused" {
            advice: "The error text names the rule: the server cannot save to disk, or has too few replicas. See its \
                     log and `INFO persistence` or `INFO replication`.",
            may_pass: false,
            is_gentle: false,
            can_end_connection: true,
        },
        /// A script or function holds the server (`BUSY`).
        Busy = "busy" {
            advice: "Find the script that runs for long: the slow log shows it once it has ended. `SCRIPT KILL` or \
                     `FUNCTION KILL` ends one that has not written yet.",
            may_pass: true,
            is_gentle: false,
            can_end_connection: true,
        },
        /// The server turns the connection away with an error text: protected mode, or a list of addresses.
        ConnectionDenied = "connection_denied" {
            advice: "The error text names the rule. In protected mode, give the server a password or bind it to an \
                     address; otherwise allow this machine's address.",
            may_pass: false,
            is_gentle: true,
            can_end_connection: true,
        },
        /// The server asks for a client certificate and there is none, or it refuses the one it got.
        TlsClientCertificate = "tls_client_certificate" {
            advice: "Set `tls.cert_file` and `tls.key_file` to a certificate of an authority that the server trusts, or \
                     allow clients without one (`tls-auth-clients no` in Redis).",
            may_pass: false,
            is_gentle: true,
            can_end_connection: false,
        },
        /// The agent's own file descriptors, local ports or memory are used up. This is not counted as unavailability.
        LocalResource = "local_resource" {
            advice: "Raise the limits of the agent's process: open files, memory, local ports.",
            may_pass: true,
            is_gentle: false,
            can_end_connection: false,
        },
    }
}

impl FailureReason {
    /// The reasons for which an open connection can be lost, in the order of [`Self::ALL`].
    pub fn of_disconnects() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|reason| reason.can_end_connection())
    }

    /// The reasons for which a connection can fail to open, in the order of [`Self::ALL`].
    pub fn of_openings() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|reason| reason.can_fail_opening())
    }

    /// Returns what the operator can do: one to three sentences of Markdown, without the values of one failure.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        self.facts().advice
    }

    /// Whether another attempt within the same tick may succeed: true where the connection failed, false for what
    /// the server decided, which it will not change within a second.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        self.facts().may_pass
    }

    /// Whether frequent attempts do harm: they lock users out, flood audit logs, or keep a full server full. Pauses
    /// between attempts then grow to a minute.
    #[must_use]
    pub const fn is_gentle(self) -> bool {
        self.facts().is_gentle
    }

    /// Whether the server says that another one is the primary or has the key: a failover passes within a few attempts, and
    /// a `host` that leads to the wrong server stays so.
    #[must_use]
    pub const fn is_of_role(self) -> bool {
        matches!(self, Self::ReadOnly | Self::WrongNode)
    }

    /// Whether the agent's machine is at fault, and not the cache.
    #[must_use]
    pub const fn is_local(self) -> bool {
        matches!(self, Self::LocalResource)
    }

    /// Whether nothing was reached that could have answered, as behind a firewall.
    #[must_use]
    pub const fn is_blocked(self) -> bool {
        matches!(self, Self::ConnectRefused | Self::ConnectUnreachable | Self::ConnectTimeout)
    }

    /// Whether a connection can fail to open for this reason. Error replies can, because a server may answer a sign-in or
    /// PING with any of them.
    #[must_use]
    pub const fn can_fail_opening(self) -> bool {
        !matches!(self, Self::ValueMismatch)
    }

    /// Whether an open connection can be lost for this reason. Error replies can, because a server may send one
    /// before it closes an idle connection.
    #[must_use]
    pub const fn can_end_connection(self) -> bool {
        self.facts().can_end_connection
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_label_is_distinct_and_in_snake_case() {
        let labels = FailureReason::ALL.map(FailureReason::as_str);
        assert_eq!(HashSet::from(labels).len(), labels.len());
        let is_snake = |label: &str| label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(labels.into_iter().all(is_snake), "{labels:?}");
    }

    #[test]
    fn every_meaning_and_advice_is_complete() {
        for reason in FailureReason::ALL {
            for text in [reason.meaning(), reason.advice()] {
                assert!(text.ends_with(['.', '`']), "{reason}: {text}");
            }
        }
    }

    #[test]
    fn only_reasons_that_occur_before_the_steps_fail_an_opening() {
        let missing: Vec<_> =
            FailureReason::ALL.into_iter().filter(|reason| !reason.can_fail_opening()).collect();
        assert_eq!(missing, [FailureReason::ValueMismatch]);
    }

    #[test]
    fn failures_to_open_a_connection_cannot_end_one() {
        use FailureReason::{ConnectRefused, ConnectTimeout, NoToken, Resolve, TlsCertificate, TlsHandshake};
        for reason in [Resolve, ConnectRefused, ConnectTimeout, TlsHandshake, TlsCertificate, NoToken] {
            assert!(!reason.can_end_connection(), "{reason}");
        }
        for reason in [FailureReason::Closed, FailureReason::TooManyClients, FailureReason::CommandTimeout] {
            assert!(FailureReason::of_disconnects().any(|it| it == reason), "{reason}");
        }
    }
}
