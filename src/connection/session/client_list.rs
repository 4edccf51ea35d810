//! `CLIENT LIST` on a session: the only reply that is not read as a whole, because it may have any length.

use redis::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::{Session, error_reply, io_failure};
use crate::connection::client_list::{ClientList, Counter};
use crate::connection::reply::{self, Malformed, Start};
use crate::probe::{Failure, FailureReason, Stage, Step};

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// `CLIENT LIST`, counted into `list` while it is read, however long it is; with `keeps` also kept. What was
    /// counted before an error stays.
    ///
    /// # Errors
    /// Anything but a list. A whole reply leaves the session usable, also one that is no list.
    pub async fn client_list(
        &mut self,
        list: &mut ClientList,
        keeps: bool,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let stage = Stage::Step(Step::ClientList);
        self.begin();
        self.pack(&["CLIENT", "LIST"]);
        self.in_time(stage, deadline, async |session| session.count_clients(stage, list, keeps).await).await
    }

    async fn count_clients(
        &mut self,
        stage: Stage,
        list: &mut ClientList,
        keeps: bool,
    ) -> Result<(), Failure> {
        let sent = self.send().await;
        let malformed = |session: &Self, malformed| session.malformed(stage, malformed);
        let (header, length, mut prefix) = loop {
            self.take_pushes().await.map_err(|error| malformed(self, error))?;
            if !self.is_at_push() {
                match reply::start(&self.incoming).map_err(|error| malformed(self, error))? {
                    Start::Text { header, length, prefix } => break (header, length, prefix.min(length)),
                    Start::Other => return self.no_clients(stage).await,
                    Start::Incomplete => {}
                }
            }
            self.read_more(stage).await.map_err(|failure| match &sent {
                Ok(()) => failure,
                Err(error) => io_failure(stage, error),
            })?;
        };
        self.incoming.discard(header);
        list.length = length;
        // The command was sent.
        let mut counter = Counter::new(list, keeps, self.own, std::mem::take(&mut self.outgoing));
        let mut left = length;
        while left > 0 {
            if self.incoming.is_empty() {
                self.read_more(stage).await?;
            }
            let piece = left.min(self.incoming.len());
            let skipped = prefix.min(piece);
            counter.take(&self.incoming[skipped..piece]);
            prefix -= skipped;
            left -= piece;
            self.incoming.discard(piece);
        }
        self.outgoing = counter.end();
        while self.incoming.len() < 2 {
            self.read_more(stage).await?;
        }
        if !self.incoming.starts_with(b"\r\n") {
            return Err(self.malformed(stage, Malformed::NotRedis));
        }
        self.incoming.discard(2);
        self.end(stage)
    }

    /// Reads a reply to `CLIENT LIST` that is no list.
    async fn no_clients(&mut self, stage: Stage) -> Result<(), Failure> {
        let reply = self.next_reply(stage).await?;
        self.end(stage)?;
        Err(match reply {
            Value::ServerError(error) => error_reply(stage, &error),
            _ => Failure::new(FailureReason::ProtocolError, stage, "the reply is not a list of clients"),
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::super::incoming::READ_SIZE;
    use super::super::tests::{session, soon};
    use super::*;
    use crate::connection::client_list::OwnClient;

    #[tokio::test(start_paused = true)]
    async fn a_list_of_clients_is_counted_in_constant_memory_however_long_it_is() {
        let (near, mut far) = duplex(64 * 1024);
        let mut session = Session::new(near, 1000, None);
        session.own = OwnClient::Id(7);
        let lines = "id=7 addr=10.0.0.1:5 name=app\n".repeat(20_000);
        let server = async {
            let push = ">1\r\n+moving\r\n";
            let head = format!("{push}={}\r\ntxt:", lines.len() + 4);
            for piece in [head.as_bytes(), lines.as_bytes(), b"\r\n"] {
                far.write_all(piece).await.unwrap();
            }
        };
        let mut list = ClientList::default();
        let (counted, ()) = tokio::join!(session.client_list(&mut list, false, soon()), server);
        counted.unwrap();
        assert_eq!((list.count, list.own_seen), (20_000, true));
        assert!(session.is_usable());
        assert!(session.incoming.capacity() <= 2 * READ_SIZE, "{}", session.incoming.capacity());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_counted_of_a_list_that_comes_too_late_stays() {
        let (mut session, _far) = session(b"$1000\r\nid=1 addr=a\nid=2 addr=b\nid=3").await;
        let mut list = ClientList::default();
        let failure = session.client_list(&mut list, false, soon()).await.unwrap_err();
        assert_eq!((failure.reason, list.count, list.length), (FailureReason::CommandTimeout, 2, 1000));
        assert!(!session.is_usable());
    }

    #[tokio::test(start_paused = true)]
    async fn a_whole_reply_that_is_no_list_leaves_the_session_usable() {
        for (reply, reason) in [
            ("+OK\r\n", FailureReason::ProtocolError),
            ("*1\r\n+OK\r\n", FailureReason::ProtocolError),
            ("$-1\r\n", FailureReason::ProtocolError),
            ("_\r\n", FailureReason::ProtocolError),
            ("-NOPERM no\r\n", FailureReason::PermissionDenied),
            ("-ERR unknown command 'CLIENT'\r\n", FailureReason::ServerError),
        ] {
            let (mut session, _far) = session(reply.as_bytes()).await;
            let failure = session.client_list(&mut ClientList::default(), false, soon()).await.unwrap_err();
            assert_eq!((failure.reason, session.is_usable()), (reason, true), "{reply}");
        }
    }
}
