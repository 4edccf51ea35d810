//! A session: commands and their replies on one open connection, one round trip at a time. How it begins is in
//! `handshake.rs`; below, signing in is in `sign_in.rs`, `CLIENT LIST`, which is counted while it is read, is in `client_list.rs`, `CLUSTER SLOTS` in
//! `cluster_slots.rs`, what concerns roles and slots on their way in `role.rs`, the commands of sentinels in `sentinel.rs`,
//! the commands that ask for notices in `notices.rs`, what a server sends out of band in `pushes.rs`, and what has been
//! read in `incoming.rs`.
//!
//! Replies are the `redis` crate's values; its client is not used. A prober sends one command and waits for one
//! reply, so a driver task, channels and a pipeline would only stand between the socket and the clock. It also
//! leaves the text of a refused AUTH, the size of a reply and the moment of a disconnect in our hands.

mod client_list;
mod cluster_slots;
mod failure;
mod incoming;
mod notices;
mod pushes;
mod role;
mod sentinel;
mod sign_in;

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use redis::Value;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;
use zeroize::Zeroize as _;

pub(super) use self::failure::no_reply;
use self::failure::{closed, error_reply, io_failure, unexpected};
use self::incoming::Incoming;
pub use self::pushes::Incident;
use self::pushes::Pushes;
pub use self::sign_in::refused_advice;
pub(super) use self::sign_in::{SIGN_IN, refusal};
use crate::connection::client_list::OwnClient;
use crate::connection::deadline::Timer;
use crate::connection::reply::{self, Expected, Limits, Malformed};
use crate::probe::{Failure, FailureReason, Stage, Step};

/// The name of the agent's connections in `CLIENT LIST`.
pub const CLIENT_NAME: &str = "cachepulse";

/// An open connection, whether signed in or not.
#[derive(Debug)]
pub struct Session<S> {
    stream: S,
    limits: Limits,
    /// The command being sent; kept for its capacity.
    outgoing: Vec<u8>,
    incoming: Incoming,
    /// For the deadlines of commands.
    timer: Timer,
    /// `None` unless pushes are kept.
    pushes: Option<Box<Pushes>>,
    /// Whether a byte has come since the last command was sent.
    has_heard: bool,
    /// Whether requests and replies are still in step. Once they are not, nothing that comes can be trusted.
    in_step: bool,
    /// Whether `ASKING` precedes each command with a key.
    asks: bool,
    pub(super) own: OwnClient,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// A session over a stream that was just opened. No reply may be longer than `reply_limit` bytes.
    /// `local_address` is our own end, if it has an address.
    pub fn new(stream: S, reply_limit: usize, local_address: Option<SocketAddr>) -> Self {
        Self {
            stream,
            limits: Limits::of_probe(reply_limit),
            outgoing: Vec::new(),
            incoming: Incoming::default(),
            timer: Timer::default(),
            pushes: None,
            has_heard: false,
            in_step: true,
            asks: false,
            own: OwnClient::Address(local_address),
        }
    }

    /// Whether commands can still be sent: false after anything but a whole reply.
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        self.in_step
    }

    /// Whether the last command ended the session before a byte of its reply had come.
    #[must_use]
    pub const fn is_unanswered(&self) -> bool {
        !self.in_step && !self.has_heard
    }

    /// Whether `failure`, of the last command, is the race with a server that closes an idle connection: nothing came.
    #[must_use]
    pub const fn was_idle_close(&self, failure: &Failure) -> bool {
        !self.has_heard && matches!(failure.reason, FailureReason::Closed | FailureReason::Reset)
    }

    /// Prepares for no command until `next`. The commands that begin there take less than `latest` as a rule.
    pub fn rest_until(&mut self, next: Instant, latest: Duration) {
        self.timer.rest_until(next, latest);
    }

    /// `PING`.
    ///
    /// # Errors
    /// Anything but `PONG`.
    pub async fn ping(&mut self, deadline: Instant) -> Result<(), Failure> {
        let stage = Stage::Step(Step::Ping);
        let length = self.exchange(stage, &["PING"], deadline).await?;
        self.confirm(stage, length, Expected::Status("PONG"))
    }

    /// Ends a command whose reply has this length. Anything but what is `expected` is a failure.
    fn confirm(&mut self, stage: Stage, length: usize, expected: Expected<'_>) -> Result<(), Failure> {
        match self.other_than(expected, stage, length)? {
            None => Ok(()),
            Some(other) => Err(self.unasked(stage, &other)),
        }
    }

    /// Ends a command whose reply has this length. Returns the reply unless it is what is `expected`. That costs no memory.
    fn other_than(
        &mut self,
        expected: Expected<'_>,
        stage: Stage,
        length: usize,
    ) -> Result<Option<Value>, Failure> {
        if !expected.fills(&self.incoming[..length]) {
            return self.reply(stage, length).map(Some);
        }
        self.incoming.discard(length);
        self.end(stage)?;
        Ok(None)
    }

    /// `SET` of `key` to `value`, to expire after `expiry`.
    ///
    /// # Errors
    /// Anything but `OK`.
    pub async fn set(
        &mut self,
        key: &str,
        value: &str,
        expiry: Duration,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let stage = Stage::Step(Step::Set);
        let sent = {
            let mut digits = itoa::Buffer::new();
            let expiry = digits.format(expiry.as_millis());
            self.keyed(stage, &["SET", key, value, "PX", expiry], deadline)
        };
        let length = sent.await?;
        self.confirm(stage, length, Expected::Status("OK"))
    }

    /// `GET` of `key`, which must hold exactly `value`.
    ///
    /// # Errors
    /// [`FailureReason::ValueMismatch`] if it holds another value or none, and whatever else fails.
    pub async fn get(&mut self, key: &str, value: &str, deadline: Instant) -> Result<(), Failure> {
        let stage = Stage::Step(Step::Get);
        let mismatch = |detail: &str| Err(Failure::new(FailureReason::ValueMismatch, stage, detail));
        let length = self.keyed(stage, &["GET", key], deadline).await?;
        match self.other_than(Expected::Text(value), stage, length)? {
            None => Ok(()),
            // As a text of another kind.
            Some(Value::BulkString(found)) if found == value.as_bytes() => Ok(()),
            Some(Value::BulkString(_)) => mismatch("the key holds another value than was written"),
            Some(Value::Nil) => mismatch("the key is gone"),
            Some(other) => Err(self.unasked(stage, &other)),
        }
    }

    /// Returns the failure for unexpected data on an idle connection. An error reply says why the peer will close it.
    fn unprompted(&self, length: usize) -> Failure {
        match reply::parse(&self.incoming[..length]) {
            Ok(Value::ServerError(error)) => error_reply(Stage::Idle, &error),
            _ => unexpected(),
        }
    }

    /// Sends one command and reads its reply. An error reply becomes a failure that leaves the session usable.
    async fn command(&mut self, stage: Stage, args: &[&str], deadline: Instant) -> Result<Value, Failure> {
        let length = self.exchange(stage, args, deadline).await?;
        self.reply(stage, length)
    }

    /// Sends one command and waits for its reply, whose length is returned. The future has no place for the arguments.
    fn exchange<'a>(
        &'a mut self,
        stage: Stage,
        args: &[&str],
        deadline: Instant,
    ) -> impl Future<Output = Result<usize, Failure>> + use<'a, S> {
        self.begin();
        self.pack(args);
        self.send_and_wait_until(stage, deadline)
    }

    /// Sends what was packed and waits for the first reply, whose length is returned, until `deadline`.
    async fn send_and_wait_until(&mut self, stage: Stage, deadline: Instant) -> Result<usize, Failure> {
        self.in_time(stage, deadline, async |session| session.send_and_wait(stage).await).await
    }

    /// Awaits `work` on this session until `deadline`.
    async fn in_time<T>(
        &mut self,
        stage: Stage,
        mut deadline: Instant,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        // It is lost with a command that is cancelled.
        let mut timer = std::mem::take(&mut self.timer);
        let done = timer.within(&mut deadline, pin!(work(self))).await;
        self.timer = timer;
        done.unwrap_or_else(|_| Err(no_reply(stage)))
    }

    /// Ends a command whose reply has this length, and reads the reply.
    fn reply(&mut self, stage: Stage, length: usize) -> Result<Value, Failure> {
        let reply = self.take_reply(stage, length)?;
        self.end(stage)?;
        match reply {
            Value::ServerError(error) => Err(error_reply(stage, &error)),
            value => Ok(value),
        }
    }

    /// Begins a round trip. Unless it comes to its end (its future may also be dropped), the session is out of step.
    pub(super) fn begin(&mut self) {
        debug_assert!(self.in_step, "a session that is out of step is dropped, not used");
        self.in_step = false;
        self.has_heard = false;
        self.outgoing.clear();
    }

    /// Adds a command to what is sent, as RESP has it: an array of bulk strings.
    pub(super) fn pack(&mut self, args: &[&str]) {
        self.pack_length(b'*', args.len());
        for arg in args {
            self.pack_length(b'$', arg.len());
            self.outgoing.extend_from_slice(arg.as_bytes());
            self.outgoing.extend_from_slice(b"\r\n");
        }
    }

    fn pack_length(&mut self, kind: u8, length: usize) {
        self.outgoing.push(kind);
        self.outgoing.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        self.outgoing.extend_from_slice(b"\r\n");
    }

    /// Forgets what was sent: it may hold a secret.
    pub(super) fn wipe(&mut self) {
        self.outgoing.zeroize();
    }

    /// Sends what was packed and reads the first reply.
    pub(super) async fn round_trip(&mut self, stage: Stage) -> Result<Value, Failure> {
        let length = self.send_and_wait(stage).await?;
        self.take_reply(stage, length)
    }

    /// Sends what was packed and waits for the first reply. What a server says before it hangs up is taken even if nothing
    /// could be sent to it.
    async fn send_and_wait(&mut self, stage: Stage) -> Result<usize, Failure> {
        let sent = self.send().await;
        let length = self.next_length(stage).await;
        match (sent, length) {
            (_, Ok(length)) => Ok(length),
            (Err(error), Err(_)) => Err(io_failure(stage, &error)),
            (Ok(()), Err(failure)) => Err(failure),
        }
    }

    async fn send(&mut self) -> std::io::Result<()> {
        self.stream.write_all(&self.outgoing).await?;
        self.stream.flush().await
    }

    async fn read_more(&mut self, stage: Stage) -> Result<(), Failure> {
        match self.incoming.read_from(&mut self.stream).await {
            Ok(0) => Err(closed(stage)),
            Ok(_) => {
                self.has_heard = true;
                Ok(())
            }
            Err(error) => Err(io_failure(stage, &error)),
        }
    }

    /// Reads the next reply.
    pub(super) async fn next_reply(&mut self, stage: Stage) -> Result<Value, Failure> {
        let length = self.next_length(stage).await?;
        self.take_reply(stage, length)
    }

    /// Waits for the next reply, and returns its length. What was sent out of band is taken from before it.
    async fn next_length(&mut self, stage: Stage) -> Result<usize, Failure> {
        loop {
            let frame = self.frame_after_pushes().await;
            if let Some(length) = frame.map_err(|malformed| self.malformed(stage, malformed))? {
                return Ok(length);
            }
            self.read_more(stage).await?;
        }
    }

    /// Reads the reply at hand, which has this length.
    fn take_reply(&mut self, stage: Stage, length: usize) -> Result<Value, Failure> {
        let value = reply::parse(&self.incoming[..length]);
        self.incoming.discard(length);
        value.map_err(|malformed| self.malformed(stage, malformed))
    }

    /// Ends a round trip whose replies have all come.
    pub(super) fn end(&mut self, stage: Stage) -> Result<(), Failure> {
        if !self.incoming.is_empty() && !self.is_at_push() {
            return Err(Failure::new(FailureReason::ProtocolError, stage, "more than one reply"));
        }
        self.in_step = true;
        Ok(())
    }

    /// The length of the frame at hand, if it is whole.
    fn frame(&mut self) -> Result<Option<usize>, Malformed> {
        self.incoming.frame(self.limits)
    }

    /// A whole reply, but not to what was asked: requests and replies are out of step.
    pub(super) fn unasked(&mut self, stage: Stage, value: &Value) -> Failure {
        self.in_step = false;
        let kind = match value {
            Value::Okay | Value::SimpleString(_) => "a status",
            Value::Int(_) => "a number",
            Value::Nil => "nothing",
            _ => "a string",
        };
        Failure::new(FailureReason::ProtocolError, stage, format!("the reply is {kind}, not what was asked"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::client_list::ClientList;
    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};

    pub(super) fn soon() -> Instant {
        Instant::now() + Duration::from_secs(2)
    }

    /// A session whose peer has already sent `replies`.
    pub(super) async fn session(replies: &[u8]) -> (Session<DuplexStream>, DuplexStream) {
        let (near, mut far) = duplex(64 * 1024);
        far.write_all(replies).await.unwrap();
        (Session::new(near, 1000, None), far)
    }

    pub(super) async fn sent(far: &mut DuplexStream) -> String {
        let mut bytes = vec![0; 4096];
        let length = far.read(&mut bytes).await.unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_commands_go_out_as_resp_and_their_replies_are_checked() {
        let (mut session, mut far) = session(b"+PONG\r\n").await;
        session.ping(soon()).await.unwrap();
        assert_eq!(sent(&mut far).await, "*1\r\n$4\r\nPING\r\n");
        far.write_all(b"+OK\r\n").await.unwrap();
        session.set("k", "v", Duration::from_secs(30), soon()).await.unwrap();
        assert_eq!(
            sent(&mut far).await,
            "*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n$2\r\nPX\r\n$5\r\n30000\r\n"
        );
        far.write_all(b"$1\r\nv\r\n").await.unwrap();
        session.get("k", "v", soon()).await.unwrap();
        far.write_all(b"$15\r\nid=4 addr=a:1 \n\r\n").await.unwrap();
        let mut list = ClientList::default();
        session.client_list(&mut list, false, soon()).await.unwrap();
        assert_eq!((list.count, list.clients.len()), (1, 0));
        assert!(session.is_usable());
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_that_is_not_the_one_written_is_a_mismatch_and_the_session_goes_on() {
        for reply in ["$5\r\nother\r\n", "$-1\r\n"] {
            let (mut session, _far) = session(reply.as_bytes()).await;
            let failure = session.get("k", "v", soon()).await.unwrap_err();
            assert_eq!(failure.reason, FailureReason::ValueMismatch, "{reply:?}");
            assert!(session.is_usable());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_reply_fails_the_step_but_not_the_session() {
        let (mut session, _far) = session(b"-READONLY You can't write\r\n").await;
        let failure = session.set("k", "v", Duration::from_secs(1), soon()).await.unwrap_err();
        assert_eq!(failure.to_string(), "read_only at set: READONLY You can't write");
        assert!(session.is_usable());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_a_reply_that_never_ends_are_timeouts_and_end_the_session() {
        for reply in ["", "+PON"] {
            let (mut session, _far) = session(reply.as_bytes()).await;
            let failure = session.ping(soon()).await.unwrap_err();
            assert_eq!(failure.reason, FailureReason::CommandTimeout, "{reply:?}");
            assert!(!session.is_usable());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_asked_for_is_a_protocol_error_and_ends_the_session() {
        for reply in ["HTTP/1.1 400 Bad Request\r\n\r\n", ":1\r\n", "+PONG\r\n+PONG\r\n", "*1\r\n$1\r\na\r\n"]
        {
            let (mut session, _far) = session(reply.as_bytes()).await;
            let failure = session.ping(soon()).await.unwrap_err();
            assert_eq!(failure.reason, FailureReason::ProtocolError, "{reply:?}");
            assert!(!session.is_usable(), "{reply:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_answers_with_an_alert_of_tls_is_told_as_such() {
        let (mut session, _far) = session(b"\x15\x03\x01\x00\x02\x02\x46").await;
        let failure = session.ping(soon()).await.unwrap_err();
        assert_eq!(failure.to_string(), "protocol_error at ping: the peer speaks TLS");
        assert!(failure.advice().contains("remove `tls: false`"), "{failure:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_over_the_limit_ends_in_an_error_not_in_memory() {
        let (mut session, _far) = session(b"$1001\r\n").await;
        let failure = session.get("k", "v", soon()).await.unwrap_err();
        assert_eq!(failure.reason, FailureReason::ReplyTooLarge);
        assert!(!session.is_usable());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_lost_in_a_reply_is_closed() {
        let (mut session, far) = session(b"+PO").await;
        drop(far);
        let failure = session.ping(soon()).await.unwrap_err();
        assert!(matches!(failure.reason, FailureReason::Closed | FailureReason::Reset), "{failure}");
        assert!(!session.is_usable());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_lost_between_commands_is_noticed() {
        let (mut session, far) = session(b"").await;
        drop(far);
        assert_eq!(session.lost().await.reason, FailureReason::Closed);
        assert!(!session.is_usable());
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_words_of_a_server_that_hangs_up_are_its_reason() {
        let (mut session, _far) = session(b"-ERR max number of clients reached\r\n").await;
        assert_eq!(session.lost().await.reason, FailureReason::TooManyClients);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_pushed_between_commands_is_neither_a_loss_nor_a_reply() {
        let (mut session, mut far) = session(b">2\r\n+SMIGRATING\r\n:1\r\n>1\r\n+mov").await;
        assert!(tokio::time::timeout(Duration::from_millis(1), session.lost()).await.is_err());
        far.write_all(b"ing\r\n+PONG\r\n").await.unwrap();
        session.ping(soon()).await.unwrap();
        assert!(session.is_usable());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_loss_can_be_dropped_without_harm() {
        let (mut session, mut far) = session(b"").await;
        assert!(tokio::time::timeout(Duration::from_millis(1), session.lost()).await.is_err());
        far.write_all(b"+PONG\r\n").await.unwrap();
        session.ping(soon()).await.unwrap();
    }
}
