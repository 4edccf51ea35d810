//! The commands that ask a server for notices. These come as pushes, so both need RESP3.

use std::pin::pin;

use redis::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::{Session, error_reply, no_reply};
use crate::connection::deadline::within;
use crate::connection::push::{Argument, Push};
use crate::connection::reply;
use crate::probe::{Failure, Stage};

/// No step of a probe and no phase of a connection.
const STAGE: Stage = Stage::Idle;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// `SUBSCRIBE` to `channel`, whose messages are pushes that are kept from now on. Failures have the `stage`.
    ///
    /// # Errors
    /// A refusal, which leaves the session usable, or the loss of the connection.
    pub async fn subscribe(
        &mut self,
        stage: Stage,
        channel: &str,
        mut deadline: Instant,
    ) -> Result<(), Failure> {
        self.keep_pushes();
        self.begin();
        self.pack(&["SUBSCRIBE", channel]);
        let answer = within(&mut deadline, pin!(self.confirmation(stage, channel))).await;
        let refusal = answer.unwrap_or_else(|_| Err(no_reply(stage)))?;
        self.end(stage)?;
        match refusal {
            None => Ok(()),
            Some(Value::ServerError(error)) => Err(error_reply(stage, &error)),
            Some(other) => Err(self.unasked(stage, &other)),
        }
    }

    /// `CLIENT MAINT_NOTIFICATIONS ON`: pushes are kept from now on.
    ///
    /// # Errors
    /// A refusal, which leaves the session usable, or the loss of the connection.
    pub async fn request_notifications(&mut self, deadline: Instant) -> Result<(), Failure> {
        self.keep_pushes();
        match self.command(STAGE, &["CLIENT", "MAINT_NOTIFICATIONS", "ON"], deadline).await? {
            Value::Okay => Ok(()),
            other => Err(self.unasked(STAGE, &other)),
        }
    }

    /// Sends what was packed, and reads until a push confirms the subscription to `channel`, or a reply refuses it.
    async fn confirmation(&mut self, stage: Stage, channel: &str) -> Result<Option<Value>, Failure> {
        self.send().await.map_err(|error| super::io_failure(stage, &error))?;
        loop {
            while self.is_at_push() {
                match self.next_push().map_err(|malformed| self.malformed(stage, malformed))? {
                    Some(push) if confirms(&push, channel) => return Ok(None),
                    Some(push) => self.keep(push),
                    None => break,
                }
                // A peer that never stops must not keep the clock from being looked at.
                tokio::task::yield_now().await;
            }
            if !self.is_at_push()
                && let Some(length) = self.frame().map_err(|malformed| self.malformed(stage, malformed))?
            {
                let value = reply::parse(&self.incoming[..length]);
                self.incoming.discard(length);
                return value.map(Some).map_err(|malformed| self.malformed(stage, malformed));
            }
            self.read_more(stage).await?;
        }
    }
}

/// Whether `push` is the reply to `SUBSCRIBE channel`.
fn confirms(push: &Push, channel: &str) -> bool {
    let Push::Read { name, arguments } = push else { return false };
    name == "subscribe" && matches!(arguments.first(), Some(Argument::Text(to)) if to == channel)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::super::Incident;
    use super::super::tests::{sent, session, soon};
    use super::*;
    use crate::probe::FailureReason;

    const SUBSCRIBED: &[u8] = b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";

    fn read(name: &str, arguments: &[Argument]) -> Push {
        Push::Read { name: name.to_owned(), arguments: arguments.to_vec() }
    }

    fn text(text: &str) -> Argument {
        Argument::Text(text.to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscription_is_confirmed_by_a_push_and_its_messages_are_kept() {
        let message = b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n";
        let moving = b">4\r\n+MOVING\r\n:4\r\n:15\r\n_\r\n";
        let (mut session, mut far) = session(&[&moving[..], SUBSCRIBED, message, message].concat()).await;
        session.subscribe(STAGE, "c", soon()).await.unwrap();
        assert_eq!(sent(&mut far).await, "*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n");
        far.write_all(b"+PONG\r\n").await.unwrap();
        session.ping(soon()).await.unwrap();
        assert_eq!(session.incident().await, Incident::Pushed);
        let moving = read("MOVING", &[Argument::Integer(4), Argument::Integer(15), Argument::Null]);
        assert_eq!(session.take_push(), Some(moving));
        assert_eq!(session.take_push(), Some(read("message", &[text("c"), text("hi")])));
        assert_eq!(session.take_push(), Some(read("message", &[text("c"), text("hi")])));
        assert_eq!(session.take_push(), None);
        drop(far);
        assert!(matches!(session.incident().await, Incident::Lost(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_leaves_the_session_usable_and_another_reply_does_not() {
        for (reply, reason, usable) in [
            ("-NOPERM No permissions to access a channel\r\n", FailureReason::PermissionDenied, true),
            ("-ERR unknown subcommand 'MAINT_NOTIFICATIONS'\r\n", FailureReason::ServerError, true),
            (":1\r\n", FailureReason::ProtocolError, false),
            ("", FailureReason::CommandTimeout, false),
        ] {
            let (mut session, _far) = self::session(reply.as_bytes()).await;
            let failure = session.subscribe(STAGE, "c", soon()).await.unwrap_err();
            assert_eq!((failure.reason, session.is_usable()), (reason, usable), "{reply:?}");
            let (mut session, _far) = self::session(reply.as_bytes()).await;
            let failure = session.request_notifications(soon()).await.unwrap_err();
            assert_eq!((failure.reason, session.is_usable()), (reason, usable), "{reply:?}");
        }
        let (mut session, _far) = session(b"+OK\r\n").await;
        session.request_notifications(soon()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_push_of_any_size_is_skipped_in_constant_memory() {
        let (near, mut far) = tokio::io::duplex(8 * 1024);
        let mut session = Session::new(near, 1000, None);
        session.keep_pushes();
        let filling = async {
            let size = 3_000_000;
            far.write_all(format!(">3\r\n+message\r\n+c\r\n${size}\r\n").as_bytes()).await.unwrap();
            far.write_all(&vec![b'>'; size]).await.unwrap();
            far.write_all(b"\r\n>20000\r\n+NEW\r\n").await.unwrap();
            far.write_all(&b":1\r\n".repeat(19_999)).await.unwrap();
            far.write_all(b"+PONG\r\n").await.unwrap();
            far
        };
        let (_far, pong) = tokio::join!(filling, session.ping(soon()));
        pong.unwrap();
        assert!(session.incoming.capacity() <= 70 * 1024, "{} bytes", session.incoming.capacity());
        assert_eq!(
            [session.take_push(), session.take_push()],
            [Some(Push::Unreadable), Some(Push::Unreadable)]
        );
        assert_eq!(session.take_push(), None);
        assert!(session.is_usable());
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_pushes_wait() {
        let (mut session, mut far) = session(b"").await;
        session.keep_pushes();
        far.write_all(&b">1\r\n+NEW\r\n".repeat(1000)).await.unwrap();
        far.write_all(b"+PONG\r\n").await.unwrap();
        session.ping(soon()).await.unwrap();
        assert_eq!(std::iter::from_fn(|| session.take_push()).count(), 32);
    }

    #[tokio::test]
    async fn pushes_without_end_delay_no_timeout() {
        let stream = tokio::io::join(Endless, tokio::io::sink());
        let mut session = Session::new(stream, 1000, None);
        session.keep_pushes();
        let deadline = Instant::now() + std::time::Duration::from_millis(50);
        assert_eq!(session.ping(deadline).await.unwrap_err().reason, FailureReason::CommandTimeout);
    }

    /// A peer that always has a push ready.
    struct Endless;

    impl AsyncRead for Endless {
        fn poll_read(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buffer: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            buffer.put_slice(b">1\r\n+NEW\r\n");
            std::task::Poll::Ready(Ok(()))
        }
    }
}
