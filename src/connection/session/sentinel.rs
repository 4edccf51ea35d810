//! The commands of Redis Sentinel.

use redis::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::{Incident, Session};
use crate::connection::push::{Argument, Push};
use crate::probe::{Failure, FailureReason, Phase, Stage};
use crate::target::Endpoint;

/// Where asking a sentinel fails: its answer is the address of the primary.
const STAGE: Stage = Stage::Phase(Phase::Resolve);
/// The channel on which sentinels announce a failover.
const CHANNEL: &str = "+switch-master";
/// The longest host name (RFC 1035, section 2.3.4).
const LONGEST_HOST: usize = 255;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Asks a sentinel for the address of the primary of `service`. `None` if it does not know that service.
    ///
    /// # Errors
    /// The sentinel's refusal, an answer that is no address, or the loss of the connection.
    pub async fn primary_of(
        &mut self,
        service: &str,
        deadline: Instant,
    ) -> Result<Option<Endpoint>, Failure> {
        let command = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", service];
        match self.command(STAGE, &command, deadline).await? {
            Value::Nil => Ok(None),
            Value::Array(address) => match &address[..] {
                [Value::BulkString(host), Value::BulkString(port)] => endpoint(host, port).map(Some),
                _ => None,
            }
            .ok_or_else(|| {
                Failure::new(FailureReason::ProtocolError, STAGE, "the answer is not the address of a server")
            }),
            other => Err(self.unasked(STAGE, &other)),
        }
    }

    /// Asks a sentinel whether there are enough sentinels to elect another primary of `service`.
    ///
    /// # Errors
    /// The sentinel's refusal, or the loss of the connection.
    pub async fn has_quorum(&mut self, service: &str, deadline: Instant) -> Result<bool, Failure> {
        match self.command(STAGE, &["SENTINEL", "CKQUORUM", service], deadline).await {
            Ok(Value::SimpleString(text)) if text.starts_with("OK") => Ok(true),
            Ok(Value::Okay) => Ok(true),
            Ok(other) => Err(self.unasked(STAGE, &other)),
            Err(failure) if failure.detail.contains("NOQUORUM") => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Subscribes to the failovers of a sentinel. Needs RESP3.
    ///
    /// # Errors
    /// The sentinel's refusal, which leaves the session usable, or the loss of the connection.
    pub async fn subscribe_to_failovers(&mut self, deadline: Instant) -> Result<(), Failure> {
        self.subscribe(STAGE, CHANNEL, deadline).await
    }

    /// Waits, between commands, until a sentinel announces a failover of `service`. Other messages are skipped. May be
    /// dropped at any time without harm.
    ///
    /// # Errors
    /// The loss of the connection, after which it must not be used.
    pub async fn failover_of(&mut self, service: &str) -> Result<(), Failure> {
        loop {
            while let Some(push) = self.take_push() {
                if is_failover_of(service, &push) {
                    return Ok(());
                }
            }
            if let Incident::Lost(failure) = self.incident().await {
                return Err(failure);
            }
        }
    }
}

/// Reads the address of a server.
fn endpoint(host: &[u8], port: &[u8]) -> Option<Endpoint> {
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let (host, port) = (text(host)?, text(port)?.parse().ok()?);
    let is_of_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte);
    let is_host = (1..=LONGEST_HOST).contains(&host.len()) && host.bytes().all(is_of_host);
    (is_host && port > 0).then(|| Endpoint { host: host.into(), port })
}

/// Whether `push` says that `service` has another primary: `NAME OLD-HOST OLD-PORT HOST PORT`.
fn is_failover_of(service: &str, push: &Push) -> bool {
    let Push::Read { name, arguments } = push else { return false };
    match &arguments[..] {
        [Argument::Text(channel), Argument::Text(payload)] => {
            name == "message" && channel == CHANNEL && payload.split(' ').next() == Some(service)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt as _;

    use super::super::tests::{session, soon};
    use super::*;

    const SERVICE: &str = "mymaster";

    fn message(channel: &str, payload: &str) -> String {
        let (channel_length, length) = (channel.len(), payload.len());
        format!(">3\r\n$7\r\nmessage\r\n${channel_length}\r\n{channel}\r\n${length}\r\n{payload}\r\n")
    }

    async fn answered(reply: &str) -> Result<Option<Endpoint>, Failure> {
        let (mut session, _far) = session(reply.as_bytes()).await;
        session.primary_of(SERVICE, soon()).await
    }

    #[tokio::test(start_paused = true)]
    async fn the_primary_has_an_address_or_a_name_and_an_unknown_service_has_none() {
        for host in ["10.0.0.1", "redis-0.redis.svc", "2001:db8::1"] {
            let reply = format!("*2\r\n${}\r\n{host}\r\n$4\r\n6379\r\n", host.len());
            assert_eq!(answered(&reply).await, Ok(Some(Endpoint { host: host.into(), port: 6379 })));
        }
        for null in ["_\r\n", "*-1\r\n", "$-1\r\n"] {
            assert_eq!(answered(null).await, Ok(None), "{null:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_address_is_refused() {
        let long = format!("*2\r\n$300\r\n{}\r\n$4\r\n6379\r\n", "a".repeat(300));
        for reply in [
            "*0\r\n",
            "*1\r\n$1\r\na\r\n",
            "*2\r\n$1\r\na\r\n$1\r\n0\r\n",
            "*2\r\n$1\r\na\r\n$5\r\n65536\r\n",
            "*2\r\n$3\r\na b\r\n$4\r\n6379\r\n",
            "*2\r\n$0\r\n\r\n$4\r\n6379\r\n",
            "*2\r\n*1\r\n$1\r\na\r\n$4\r\n6379\r\n",
            "+OK\r\n",
            &long,
        ] {
            let failure = answered(reply).await.unwrap_err();
            assert_eq!(failure.reason, FailureReason::ProtocolError, "{reply:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_quorum_is_there_lost_or_not_told() {
        for (reply, expected) in [
            ("+OK 3 usable Sentinels. Quorum and failover authorization can be reached\r\n", Ok(true)),
            ("-NOQUORUM 1 usable Sentinels. Not enough available Sentinels\r\n", Ok(false)),
            ("-NOPERM no\r\n", Err(FailureReason::PermissionDenied)),
            ("-ERR No such master with that name\r\n", Err(FailureReason::ServerError)),
        ] {
            let (mut session, _far) = session(reply.as_bytes()).await;
            let quorum = session.has_quorum(SERVICE, soon()).await;
            assert_eq!(quorum.map_err(|failure| failure.reason), expected, "{reply:?}");
            assert!(session.is_usable());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_failover_of_the_service_is_announced() {
        let (mut session, mut far) =
            session(b">3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n").await;
        session.subscribe_to_failovers(soon()).await.unwrap();
        let others = [
            message("+switch-master", "other 10.0.0.1 6379 10.0.0.2 6379"),
            message("+switch-master", "mymaster2 10.0.0.1 6379 10.0.0.2 6379"),
            message("+sdown", "mymaster"),
            ">2\r\n+invalidate\r\n_\r\n".to_owned(),
        ];
        far.write_all(others.concat().as_bytes()).await.unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(1), session.failover_of(SERVICE)).await;
        assert!(waited.is_err(), "{waited:?}");
        let ours = message("+switch-master", "mymaster 10.0.0.1 6379 10.0.0.2 6379");
        far.write_all(ours.as_bytes()).await.unwrap();
        session.failover_of(SERVICE).await.unwrap();
        assert!(session.is_usable());
        drop(far);
        assert!(session.failover_of(SERVICE).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_subscription_leaves_the_session_usable() {
        let (mut session, _far) = session(b"-NOPERM No permissions to access a channel\r\n").await;
        let failure = session.subscribe_to_failovers(soon()).await.unwrap_err();
        assert_eq!(failure.reason, FailureReason::PermissionDenied);
        assert!(session.is_usable());
    }
}
