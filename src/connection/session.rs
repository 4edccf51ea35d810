//! A session: commands and their replies on one open connection, one at a time.
//!
//! Replies are the `redis` crate's values; its client is not used. A prober sends one command and waits for one
//! reply, so a driver task, channels and a pipeline would only stand between the socket and the clock. It also
//! leaves the text of a refused AUTH, the size of a reply and the moment of a disconnect in our hands.

use std::net::SocketAddr;
use std::time::Duration;

use redis::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroize as _;

use crate::connection::client_list::ClientList;
use crate::connection::reply::{self, Malformed};
use crate::excerpt::excerpt;
use crate::identity::Credentials;
use crate::probe::{ClientCount, Failure, FailureReason, Phase, Stage, Step};

/// The name under which the agent's connections stand in `CLIENT LIST`.
pub const CLIENT_NAME: &str = "cachepulse";

/// How much room is made for a read. All replies but a long `CLIENT LIST` fit.
const READ_SIZE: usize = 2048;

/// An open connection, whether signed in or not.
#[derive(Debug)]
pub struct Session<S> {
    stream: S,
    reply_limit: usize,
    /// The command being sent and the reply being read; kept for their capacity.
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    /// Whether a byte has come since the last command was sent.
    has_heard: bool,
    /// Whether requests and replies are still in step. Once they are not, nothing that comes can be trusted.
    in_step: bool,
    own: OwnClient,
}

/// By what our own connection is found in `CLIENT LIST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OwnClient {
    Id(u64),
    /// Where `CLIENT ID` is forbidden. A network address translation on the way hides it.
    Address(Option<SocketAddr>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// A session over a stream that was just opened. No reply may be longer than `reply_limit` bytes.
    /// `local_address` is our own end, if it has an address.
    pub fn new(stream: S, reply_limit: usize, local_address: Option<SocketAddr>) -> Self {
        Self {
            stream,
            reply_limit,
            outgoing: Vec::new(),
            incoming: Vec::new(),
            has_heard: false,
            in_step: true,
            own: OwnClient::Address(local_address),
        }
    }

    /// Whether commands can still be sent: false after anything but a whole reply.
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        self.in_step
    }

    /// Whether `failure`, of the last command, is the race with a server that closes an idle connection: nothing came.
    #[must_use]
    pub const fn was_idle_close(&self, failure: &Failure) -> bool {
        !self.has_heard && matches!(failure.reason, FailureReason::Closed | FailureReason::Reset)
    }

    /// Presents `credentials`, the first time or again. A refusal leaves an earlier sign-in standing.
    ///
    /// # Errors
    /// The server's refusal, or the loss of the connection.
    pub async fn authenticate(
        &mut self,
        credentials: &Credentials,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let stage = Stage::Phase(Phase::Auth);
        let (username, secret) = match credentials {
            Credentials::None => return Ok(()),
            Credentials::Password { username, secret } => (username.as_deref(), secret),
            Credentials::Token { username, token } => (Some(&**username), &token.secret),
        };
        let result = match username {
            Some(username) => self.command(stage, &["AUTH", username, secret.expose()], deadline).await,
            None => self.command(stage, &["AUTH", secret.expose()], deadline).await,
        };
        match result {
            Ok(Value::Okay) => Ok(()),
            Ok(other) => Err(self.unasked(stage, &other)),
            Err(failure) => {
                let detail = excerpt(&secret.redact(&failure.detail), reply::MAX_DETAIL).into();
                Err(Failure { detail, ..failure })
            }
        }
    }

    /// Names the connection and asks for its number. Both are courtesies that a policy may forbid: only the loss of
    /// the connection is an error, and what a server that is full says to the first command before it hangs up.
    ///
    /// # Errors
    /// The loss of the connection, or [`FailureReason::TooManyClients`].
    pub async fn introduce(&mut self, deadline: Instant) -> Result<(), Failure> {
        let stage = Stage::Phase(Phase::Auth);
        let named = self.command(stage, &["CLIENT", "SETNAME", CLIENT_NAME], deadline).await;
        self.unless_lost(named)?;
        let id = self.command(stage, &["CLIENT", "ID"], deadline).await;
        if let Some(Value::Int(id)) = self.unless_lost(id)? {
            self.own = u64::try_from(id).map_or(self.own, OwnClient::Id);
        }
        Ok(())
    }

    /// `PING`.
    ///
    /// # Errors
    /// Anything but `PONG`.
    pub async fn ping(&mut self, deadline: Instant) -> Result<(), Failure> {
        let stage = Stage::Step(Step::Ping);
        match self.command(stage, &["PING"], deadline).await? {
            Value::SimpleString(pong) if pong == "PONG" => Ok(()),
            other => Err(self.unasked(stage, &other)),
        }
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
        let expiry = expiry.as_millis().to_string();
        match self.command(stage, &["SET", key, value, "PX", &expiry], deadline).await? {
            Value::Okay => Ok(()),
            other => Err(self.unasked(stage, &other)),
        }
    }

    /// `GET` of `key`, which must hold exactly `value`.
    ///
    /// # Errors
    /// [`FailureReason::ValueMismatch`] if it holds another value or none, and whatever else fails.
    pub async fn get(&mut self, key: &str, value: &str, deadline: Instant) -> Result<(), Failure> {
        let stage = Stage::Step(Step::Get);
        let mismatch = |detail: &str| Err(Failure::new(FailureReason::ValueMismatch, stage, detail));
        match self.command(stage, &["GET", key], deadline).await? {
            Value::BulkString(found) if found == value.as_bytes() => Ok(()),
            Value::BulkString(_) => mismatch("the key holds another value than was written"),
            Value::Nil => mismatch("the key is gone"),
            other => Err(self.unasked(stage, &other)),
        }
    }

    /// `CLIENT LIST`.
    ///
    /// # Errors
    /// [`FailureReason::ReplyTooLarge`] over the limit, and whatever else fails.
    pub async fn client_list(&mut self, deadline: Instant) -> Result<ClientList, Failure> {
        let stage = Stage::Step(Step::ClientList);
        match self.command(stage, &["CLIENT", "LIST"], deadline).await? {
            Value::BulkString(list) => ClientList::parse(list).ok_or_else(|| {
                Failure::new(FailureReason::ProtocolError, stage, "the reply is not a list of clients")
            }),
            other => Err(self.unasked(stage, &other)),
        }
    }

    /// Counts the clients of `list` and looks for this connection among them.
    #[must_use]
    pub fn count(&self, list: &ClientList) -> ClientCount {
        let own_address = match self.own {
            OwnClient::Address(Some(address)) => address.to_string(),
            OwnClient::Address(None) | OwnClient::Id(_) => String::new(),
        };
        let mut count = ClientCount { clients: 0, own_seen: false };
        for client in list.clients() {
            count.clients += 1;
            count.own_seen |= match self.own {
                OwnClient::Id(id) => client.id == id,
                OwnClient::Address(_) => !own_address.is_empty() && client.addr == own_address,
            };
        }
        count
    }

    /// Waits, between commands, until the connection is lost or the peer says something that it was not asked.
    /// May be dropped at any time without harm.
    pub async fn lost(&mut self) -> Failure {
        // Between commands `incoming` is empty, and `read_buf` takes bytes only when it completes.
        self.incoming.reserve(READ_SIZE);
        let read = self.stream.read_buf(&mut self.incoming).await;
        self.in_step = false;
        match read {
            Ok(0) => closed(Stage::Idle),
            Ok(_) => self.unprompted(),
            Err(error) => io_failure(Stage::Idle, &error),
        }
    }

    /// What a peer that spoke unasked wanted to say: an error reply tells why it is about to hang up.
    fn unprompted(&self) -> Failure {
        let whole = reply::length(&self.incoming, self.reply_limit).ok().flatten();
        match whole.and_then(|end| reply::parse(&self.incoming[..end]).ok()) {
            Some(Value::ServerError(error)) => {
                let (reason, detail) = reply::classify(&error);
                Failure::new(reason, Stage::Idle, detail)
            }
            _ => Failure::new(FailureReason::ProtocolError, Stage::Idle, "the server spoke unasked"),
        }
    }

    /// Sends one command and reads its reply. An error reply becomes a failure that leaves the session usable.
    async fn command(&mut self, stage: Stage, args: &[&str], deadline: Instant) -> Result<Value, Failure> {
        debug_assert!(self.in_step, "a session that is out of step is dropped, not used");
        // Unless this future runs to a whole reply (it may also be dropped), the session is out of step.
        self.in_step = false;
        self.has_heard = false;
        pack(&mut self.outgoing, args);
        let reply = match timeout_at(deadline, self.exchange(stage)).await {
            Ok(reply) => reply,
            Err(_) => Err(Failure::new(FailureReason::CommandTimeout, stage, "no whole reply in time")),
        };
        if stage == Stage::Phase(Phase::Auth) {
            self.outgoing.zeroize();
        }
        let reply = reply?;
        self.in_step = true;
        match reply {
            Value::ServerError(error) => {
                let (reason, detail) = reply::classify(&error);
                Err(Failure::new(reason, stage, detail))
            }
            value => Ok(value),
        }
    }

    async fn exchange(&mut self, stage: Stage) -> Result<Value, Failure> {
        let io = |error: std::io::Error| io_failure(stage, &error);
        self.stream.write_all(&self.outgoing).await.map_err(io)?;
        self.stream.flush().await.map_err(io)?;
        loop {
            let length = reply::length(&self.incoming, self.reply_limit);
            if let Some(length) = length.map_err(|malformed| self.malformed(stage, malformed))? {
                let value = reply::parse(&self.incoming[..length]);
                let more = self.incoming.len() > length;
                self.incoming.clear();
                self.incoming.shrink_to(READ_SIZE);
                return match value {
                    Ok(value) if !more => Ok(value),
                    Ok(_) => Err(Failure::new(FailureReason::ProtocolError, stage, "more than one reply")),
                    Err(malformed) => Err(self.malformed(stage, malformed)),
                };
            }
            self.incoming.reserve(READ_SIZE);
            if self.stream.read_buf(&mut self.incoming).await.map_err(io)? == 0 {
                return Err(closed(stage));
            }
            self.has_heard = true;
        }
    }

    fn malformed(&self, stage: Stage, malformed: Malformed) -> Failure {
        match malformed {
            Malformed::NotRedis => {
                Failure::new(FailureReason::ProtocolError, stage, "what came is not a Redis reply")
            }
            Malformed::TooLarge => {
                let detail = format!("the reply is longer than reply_limit, {} bytes", self.reply_limit);
                Failure::new(FailureReason::ReplyTooLarge, stage, detail)
            }
        }
    }

    /// A whole reply, but not to what was asked: requests and replies are out of step.
    fn unasked(&mut self, stage: Stage, value: &Value) -> Failure {
        self.in_step = false;
        let kind = match value {
            Value::Okay | Value::SimpleString(_) => "a status",
            Value::Int(_) => "a number",
            Value::Nil => "nothing",
            _ => "a string",
        };
        Failure::new(FailureReason::ProtocolError, stage, format!("the reply is {kind}, not what was asked"))
    }

    /// The value, nothing if the server refused, or the loss of the connection.
    fn unless_lost(&self, result: Result<Value, Failure>) -> Result<Option<Value>, Failure> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(failure) if self.in_step && failure.reason != FailureReason::TooManyClients => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

/// Writes a command as RESP has it: an array of bulk strings.
fn pack(outgoing: &mut Vec<u8>, args: &[&str]) {
    use std::io::Write as _;
    outgoing.clear();
    write!(outgoing, "*{}\r\n", args.len()).expect("a Vec takes all that is written to it");
    for arg in args {
        write!(outgoing, "${}\r\n{arg}\r\n", arg.len()).expect("a Vec takes all that is written to it");
    }
}

fn closed(stage: Stage) -> Failure {
    Failure::new(FailureReason::Closed, stage, "the server closed the connection")
}

fn io_failure(stage: Stage, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind;
    let reason = match error.kind() {
        // A TLS peer that hangs up without its closing message, as Redis does.
        ErrorKind::UnexpectedEof => return closed(stage),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            FailureReason::Reset
        }
        // Keepalive or TCP_USER_TIMEOUT gave up on the peer.
        ErrorKind::TimedOut => FailureReason::CommandTimeout,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            FailureReason::ConnectUnreachable
        }
        ErrorKind::InvalidData => FailureReason::ProtocolError,
        _ => FailureReason::Reset,
    };
    Failure::new(reason, stage, excerpt(&error.to_string(), reply::MAX_DETAIL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use tokio::io::{DuplexStream, duplex};

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(2)
    }

    /// A session whose peer has already sent `replies`.
    async fn session(replies: &[u8]) -> (Session<DuplexStream>, DuplexStream) {
        let (near, mut far) = duplex(64 * 1024);
        far.write_all(replies).await.unwrap();
        (Session::new(near, 1000, None), far)
    }

    async fn sent(far: &mut DuplexStream) -> String {
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
        assert_eq!(session.client_list(soon()).await.unwrap().clients().count(), 1);
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
    async fn a_reply_over_the_limit_ends_in_an_error_not_in_memory() {
        let (mut session, _far) = session(b"$1001\r\n").await;
        let failure = session.client_list(soon()).await.unwrap_err();
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
    async fn a_refused_secret_is_not_in_the_failure() {
        let secret = "a-very-secret-access-key-of-some-length";
        let reply = format!("-ERR unknown command 'AUTH', with args beginning with: '{secret}'\r\n");
        let (mut session, mut far) = session(reply.as_bytes()).await;
        let credentials = Credentials::Password { username: None, secret: Secret::new(secret.into()) };
        let failure = session.authenticate(&credentials, soon()).await.unwrap_err();
        assert!(!failure.to_string().contains("secret-access"), "{failure}");
        assert!(sent(&mut far).await.contains(secret));
        assert!(session.outgoing.iter().all(|&byte| byte == 0), "the command is zeroed after use");
    }

    #[tokio::test(start_paused = true)]
    async fn introducing_itself_is_a_courtesy_that_may_be_forbidden() {
        let (mut session, mut far) = session(b"-NOPERM no\r\n").await;
        let introduce = async { session.introduce(soon()).await };
        let answer_second = async {
            sent(&mut far).await;
            far.write_all(b":7\r\n").await.unwrap();
        };
        let (introduced, ()) = tokio::join!(introduce, answer_second);
        introduced.unwrap();
        assert_eq!(session.own, OwnClient::Id(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_full_is_told_as_such_where_nobody_signs_in() {
        let (mut session, _far) = session(b"-ERR max number of clients reached\r\n").await;
        assert_eq!(session.introduce(soon()).await.unwrap_err().reason, FailureReason::TooManyClients);
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
    async fn waiting_for_a_loss_can_be_dropped_without_harm() {
        let (mut session, mut far) = session(b"").await;
        assert!(tokio::time::timeout(Duration::from_millis(1), session.lost()).await.is_err());
        far.write_all(b"+PONG\r\n").await.unwrap();
        session.ping(soon()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_connection_is_found_by_number_or_else_by_address() {
        let list = ClientList::parse(b"id=1 addr=10.0.0.1:5\nid=2 addr=10.0.0.2:6\n".to_vec()).unwrap();
        let (near, _far) = duplex(16);
        let mut session = Session::new(near, 1000, Some("10.0.0.2:6".parse().unwrap()));
        assert_eq!(session.count(&list), ClientCount { clients: 2, own_seen: true });
        session.own = OwnClient::Id(3);
        assert_eq!(session.count(&list), ClientCount { clients: 2, own_seen: false });
    }
}
