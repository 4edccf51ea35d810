//! The commands that concern roles and slots on their way: `HELLO` again, `READONLY`, `ASKING`, and a `GET` that expects
//! no certain value.

use std::pin::pin;

use redis::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::{SIGN_IN, Session, error_reply, no_reply};
use crate::connection::deadline::within;
use crate::connection::handshake::Hello;
use crate::probe::{Failure, ServerInfo, Stage, Step};

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Asks by a bare `HELLO`, which changes nothing, what the server says of itself now.
    /// Only for servers that [answer it without a right](ServerInfo::answers_hello_again).
    ///
    /// # Errors
    /// Anything but a map.
    pub async fn server_info(&mut self, deadline: Instant) -> Result<ServerInfo, Failure> {
        match self.command(SIGN_IN, &["HELLO"], deadline).await? {
            Value::Map(fields) => Ok(Hello::read(&fields).server),
            other => Err(self.unasked(SIGN_IN, &other)),
        }
    }

    /// `READONLY`: a replica of a cluster answers `GET` from now on.
    ///
    /// # Errors
    /// Anything but `OK`.
    pub async fn read_only(&mut self, deadline: Instant) -> Result<(), Failure> {
        let stage = Stage::Step(Step::Get);
        match self.command(stage, &["READONLY"], deadline).await? {
            Value::Okay => Ok(()),
            other => Err(self.unasked(stage, &other)),
        }
    }

    /// `GET` of `key`, which may hold any value or none. Returns the value.
    ///
    /// # Errors
    /// Anything but a value.
    pub async fn read(&mut self, key: &str, deadline: Instant) -> Result<Option<Vec<u8>>, Failure> {
        let stage = Stage::Step(Step::Get);
        let length = self.keyed(stage, &["GET", key], deadline).await?;
        match self.reply(stage, length)? {
            Value::BulkString(value) => Ok(Some(value)),
            Value::Nil => Ok(None),
            other => Err(self.unasked(stage, &other)),
        }
    }

    /// Sends `ASKING` before each `SET` and `GET` from now on: the node is the one that another has named by `ASK`.
    pub const fn ask_always(&mut self) {
        self.asks = true;
    }

    /// Sends a command with a key and waits for its reply, whose length is returned. The future has no place for the
    /// arguments.
    pub(super) fn keyed<'a>(
        &'a mut self,
        stage: Stage,
        args: &[&str],
        deadline: Instant,
    ) -> impl Future<Output = Result<usize, Failure>> + use<'a, S> {
        self.begin();
        if self.asks {
            self.pack(&["ASKING"]);
        }
        self.pack(args);
        async move {
            if self.asks {
                // Boxed: it is rare.
                Box::pin(self.send_and_wait_after_asking(stage, deadline)).await
            } else {
                self.send_and_wait_until(stage, deadline).await
            }
        }
    }

    /// Sends `ASKING` and the command after it, as packed, and waits for both replies. Returns the length of the second.
    async fn send_and_wait_after_asking(
        &mut self,
        stage: Stage,
        mut deadline: Instant,
    ) -> Result<usize, Failure> {
        let replies = async {
            let asking = self.round_trip(stage).await?;
            Ok((asking, self.next_length(stage).await?))
        };
        let replies = within(&mut deadline, pin!(replies)).await;
        let (asking, length) = replies.unwrap_or_else(|_| Err(no_reply(stage)))?;
        match asking {
            Value::Okay => Ok(length),
            // The user may not: what the command was answered with follows from that.
            Value::ServerError(error) => {
                self.incoming.discard(length);
                self.end(stage)?;
                Err(error_reply(stage, &error))
            }
            other => Err(self.unasked(stage, &other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{sent, session, soon};
    use super::*;
    use crate::connection::handshake::tests::HELLO;
    use crate::probe::{FailureReason, Mode, Role};

    #[tokio::test(start_paused = true)]
    async fn a_bare_hello_tells_the_role_of_now() {
        let hello = HELLO.replace("$6\r\nmaster", "$7\r\nreplica");
        let (mut session, mut far) = session(hello.as_bytes()).await;
        let server = session.server_info(soon()).await.unwrap();
        assert_eq!(server, ServerInfo::new("redis", "7.0.15", Some(Mode::Standalone), Some(Role::Replica)));
        assert_eq!(sent(&mut far).await, "*1\r\n$5\r\nHELLO\r\n");
        assert!(session.is_usable());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_hello_leaves_the_session_standing() {
        let (mut session, _far) = session(b"-NOPERM no permissions to run the 'hello' command\r\n").await;
        let failure = session.server_info(soon()).await.unwrap_err();
        assert_eq!(failure.reason, FailureReason::PermissionDenied);
        assert!(session.is_usable());
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_may_hold_any_value_or_none_but_must_not_answer_with_an_error() {
        for reply in ["$1\r\nx\r\n", "$-1\r\n", "_\r\n"] {
            let (mut session, _far) = session(reply.as_bytes()).await;
            session.read("k", soon()).await.unwrap();
        }
        for reply in ["-MASTERDOWN Link with MASTER is down\r\n", ":1\r\n", "+OK\r\n"] {
            let (mut session, _far) = session(reply.as_bytes()).await;
            assert!(session.read("k", soon()).await.is_err(), "{reply}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn asking_and_its_command_are_one_round_trip() {
        let (mut session, mut far) = session(b"+OK\r\n+OK\r\n").await;
        session.ask_always();
        session.set("k", "v", Duration::from_secs(30), soon()).await.unwrap();
        assert_eq!(
            sent(&mut far).await,
            "*1\r\n$6\r\nASKING\r\n*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n$2\r\nPX\r\n$5\r\n30000\r\n"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_asking_is_the_failure_rather_than_what_follows_from_it() {
        let replies = b"-NOPERM no permissions to run the 'asking' command\r\n-MOVED 42 10.0.0.1:6379\r\n";
        let (mut session, _far) = session(replies).await;
        session.ask_always();
        let failure = session.get("k", "v", soon()).await.unwrap_err();
        assert_eq!((failure.reason, session.is_usable()), (FailureReason::PermissionDenied, true));
    }
}
