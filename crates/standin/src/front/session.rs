//! The session on one connection: it checks sign-ins and passes other commands on to the backend.
//!
//! One command at a time, each with exactly one reply, and maintenance notices between them.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::watch;

use super::fault::{Ending, FaultReply, Pieces};
use super::notices::Subscription;
use super::upstream::Upstream;
use super::{Shared, State};
use crate::authority::{CACHE_AUDIENCES, Rejection};
use crate::event::Event;
use crate::frame::{Command, Limits, ReadError, read_command};
use crate::hello::Hello;
use crate::reply::{Protocol, Reply};

/// The user that an access key signs in.
const KEY_USER: &str = "default";

const HELLO_WITHOUT_AUTH: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
    HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol \
    version at the same time";

/// The user that a connection is signed in as.
#[derive(Clone)]
pub(super) struct SignedIn {
    pub(super) name: Arc<str>,
    /// The token's expiry; `None` with an access key.
    pub(super) expires_at: Option<SystemTime>,
}

impl SignedIn {
    pub(super) fn by_token(&self) -> bool {
        self.expires_at.is_some()
    }
}

/// The session on one connection.
pub(super) struct Session<'a> {
    pub(super) shared: &'a Shared,
    /// Publishes who is signed in, for the deadline of the connection.
    pub(super) announce: watch::Sender<Option<SignedIn>>,
    pub(super) id: u64,
    pub(super) peer: SocketAddr,
    pub(super) tls: bool,
}

/// The action after a command.
enum Next {
    Reply(Vec<u8>),
    /// A reply, then the end of the connection.
    Last(Vec<u8>, Ending),
    Endless,
    Silence,
}

impl From<FaultReply> for Next {
    fn from(reply: FaultReply) -> Self {
        match reply {
            FaultReply::Raw(reply) => Self::Reply(reply),
            FaultReply::Cut(reply, ending) => Self::Last(reply, ending),
            FaultReply::Endless => Self::Endless,
            FaultReply::Silence => Self::Silence,
        }
    }
}

impl Session<'_> {
    /// Serves commands on `wire` until one side closes. A cache that is `full` replies with an error and closes.
    pub(super) async fn run(self, wire: impl AsyncRead + AsyncWrite, full: bool) -> io::Result<Ending> {
        let (reader, mut writer) = tokio::io::split(wire);
        let mut reader = BufReader::new(reader);
        if full {
            let error = Reply::error("ERR max number of clients reached");
            self.write(&mut writer, &encoded(&error)).await?;
            return Ok(Ending::Close);
        }
        let mut upstream = self.shared.backend.connect(self.id, self.peer).await?;
        let mut subscription = Subscription::new(self.shared.notices.subscribe());
        loop {
            let limits = if self.is_signed_in() { Limits::AUTHENTICATED } else { Limits::UNAUTHENTICATED };
            let read = {
                let mut reading = pin!(read_command(&mut reader, limits));
                loop {
                    tokio::select! {
                        biased;
                        read = &mut reading => break read,
                        frame = subscription.next() => self.write(&mut writer, &frame).await?,
                    }
                }
            };
            let command = match read {
                Ok(Some(command)) => command,
                Ok(None) => return Ok(Ending::Close),
                Err(ReadError::TooLong) => {
                    let error = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
                    self.write(&mut writer, &encoded(&Reply::error(error))).await?;
                    continue;
                }
                Err(ReadError::Protocol(words)) => {
                    let error = Reply::error(format!("ERR Protocol error: {words}"));
                    self.write(&mut writer, &encoded(&error)).await?;
                    return Ok(Ending::Close);
                }
                Err(ReadError::Io(error)) => return Err(error),
            };
            let effect = self.shared.effect_on(&command);
            if !effect.delay.is_zero() {
                // Even an empty sleep would take until the timer's next millisecond.
                tokio::time::sleep(effect.delay).await;
            }
            let next = match effect.reply {
                Some(reply) => reply.into(),
                None => match self.subscribe(&mut subscription, &command) {
                    Some(reply) => Next::Reply(reply),
                    None => self.execute(&mut upstream, &command).await?,
                },
            };
            match next {
                Next::Reply(reply) => {
                    subscription.replied(&command, &reply);
                    self.write(&mut writer, &reply).await?;
                }
                Next::Last(reply, ending) => {
                    self.write(&mut writer, &reply).await?;
                    return Ok(ending);
                }
                Next::Endless => {
                    writer.write_all(b"+").await?;
                    // Some 20 MiB/s, so that processors are left for the others.
                    let piece = vec![b'x'; 32 * 1024];
                    loop {
                        writer.write_all(&piece).await?;
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
                Next::Silence => std::future::pending().await,
            }
        }
    }

    /// Executes a request for notices, if `command` is one that is known here.
    fn subscribe(&self, subscription: &mut Subscription, command: &Command) -> Option<Vec<u8>> {
        let announcing = self.shared.state.borrow().profile.announcing;
        self.is_signed_in().then(|| subscription.execute(command, announcing)).flatten()
    }

    fn is_signed_in(&self) -> bool {
        self.announce.borrow().is_some()
    }

    async fn write(&self, writer: &mut (impl AsyncWrite + Unpin), reply: &[u8]) -> io::Result<()> {
        let pieces = self.shared.state.borrow().faults.pieces;
        let Some(Pieces { size, pause }) = pieces else {
            writer.write_all(reply).await?;
            return writer.flush().await;
        };
        for piece in reply.chunks(size.max(1)) {
            writer.write_all(piece).await?;
            writer.flush().await?;
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    async fn execute(&self, upstream: &mut Upstream, command: &Command) -> io::Result<Next> {
        let signed_in = self.is_signed_in();
        let reply = match (command.name().as_str(), command.args()) {
            ("QUIT", _) => return Ok(Next::Last(encoded(&Reply::OK), Ending::Close)),
            ("AUTH", [_]) => self.sign_in(upstream, KEY_USER, &command.text(1), None).await?,
            ("AUTH", [_, _]) => self.sign_in(upstream, &command.text(1), &command.text(2), None).await?,
            ("HELLO", _) => match Hello::parse(command) {
                Err(error) => encoded(&error),
                Ok(hello) => match &hello.auth {
                    Some((user, secret)) => self.sign_in(upstream, user, secret, Some(&hello)).await?,
                    None if signed_in => upstream.ask(command).await?,
                    None => encoded(&Reply::error(HELLO_WITHOUT_AUTH)),
                },
            },
            _ if signed_in => upstream.ask(command).await?,
            _ => encoded(&Reply::error("NOAUTH Authentication required.")),
        };
        Ok(Next::Reply(reply))
    }

    /// Checks a sign-in and carries it out at the backend. One that fails leaves the session as it was.
    async fn sign_in(
        &self,
        upstream: &mut Upstream,
        user: &str,
        secret: &str,
        hello: Option<&Hello>,
    ) -> io::Result<Vec<u8>> {
        let (verdict, rejected) = {
            let state = self.shared.state.borrow();
            (self.judge(&state, user, secret), state.profile.dialect.rejected())
        };
        let who = match verdict {
            Ok(who) => who,
            Err(rejection) => {
                self.shared.count(|counters| counters.rejected += 1);
                self.shared.emit(Event::Rejected { client: self.id, rejection });
                return Ok(encoded(&Reply::error(rejected)));
            }
        };
        let reply = upstream.sign_in(&who.name, hello).await?;
        if !reply.starts_with(b"-") {
            let expires_in = who.expires_at.map(|end| self.shared.authority.until(end));
            let before = self.announce.send_replace(Some(who));
            self.shared.count(|counters| counters.accepted += 1);
            self.shared.emit(match before {
                None => Event::SignedIn { client: self.id, expires_in },
                Some(_) => Event::Reauthenticated { client: self.id, expires_in },
            });
        }
        Ok(reply)
    }

    fn judge(&self, state: &State, user: &str, secret: &str) -> Result<SignedIn, Rejection> {
        if user == KEY_USER {
            let known = state.access_keys.iter().any(|key| key.expose() == secret);
            let who = SignedIn { name: KEY_USER.into(), expires_at: None };
            return known.then_some(who).ok_or(Rejection::AccessKey);
        }
        let claims = self.shared.authority.verify(secret, &CACHE_AUDIENCES)?;
        if claims.oid.as_deref() != Some(user) {
            Err(Rejection::User)
        } else if !state.policies.contains(user) {
            Err(Rejection::NoPolicy)
        } else if !self.tls {
            Err(Rejection::Plaintext)
        } else {
            Ok(SignedIn { name: user.into(), expires_at: Some(claims.expires_at()) })
        }
    }
}

/// Returns the front's own replies as bytes: errors and OK are the same in RESP2 and RESP3.
fn encoded(reply: &Reply) -> Vec<u8> {
    reply.encode(Protocol::Resp2)
}
