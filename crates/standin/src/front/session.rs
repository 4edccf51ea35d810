//! What is said on one connection: sign-in, which is checked here, and commands, which the backend answers.
//!
//! One command at a time, each with exactly one reply: no publish and subscribe.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::watch;

use super::backend::Link;
use super::fault::{Answer, Ending, Pieces};
use super::{Shared, State};
use crate::authority::{CACHE_AUDIENCES, Rejection};
use crate::event::Event;
use crate::frame::{Command, Limits, ReadError, read_command};
use crate::store;

/// The user that an access key signs in.
const KEY_USER: &str = "default";

/// Who a connection is signed in as.
#[derive(Clone)]
pub(super) struct SignedIn {
    pub(super) name: Arc<str>,
    /// The token's end; `None` with an access key.
    pub(super) expires_at: Option<SystemTime>,
}

impl SignedIn {
    pub(super) fn by_token(&self) -> bool {
        self.expires_at.is_some()
    }
}

/// One connection's conversation.
pub(super) struct Session<'a> {
    pub(super) shared: &'a Shared,
    /// Tells the connection's guard who is signed in.
    pub(super) announce: watch::Sender<Option<SignedIn>>,
    pub(super) id: u64,
    pub(super) peer: SocketAddr,
    pub(super) tls: bool,
}

/// What a command leads to.
enum Next {
    Reply(Vec<u8>),
    /// A reply, and then the end.
    Last(Vec<u8>, Ending),
    Endless,
    Silence,
}

impl From<Answer> for Next {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Raw(reply) => Self::Reply(reply),
            Answer::Cut(reply, ending) => Self::Last(reply, ending),
            Answer::Endless => Self::Endless,
            Answer::Silence => Self::Silence,
        }
    }
}

impl Session<'_> {
    /// Serves commands on `wire` until somebody closes. A cache that is `full` says so and closes.
    pub(super) async fn run(self, wire: impl AsyncRead + AsyncWrite, full: bool) -> io::Result<Ending> {
        let (reader, mut writer) = tokio::io::split(wire);
        let mut reader = BufReader::new(reader);
        if full {
            self.write(&mut writer, b"-ERR max number of clients reached\r\n").await?;
            return Ok(Ending::Close);
        }
        let mut link = self.shared.backend.connect(self.id, self.peer).await?;
        loop {
            let limits = if self.is_signed_in() { Limits::AUTHENTICATED } else { Limits::UNAUTHENTICATED };
            let command = match read_command(&mut reader, limits).await {
                Ok(Some(command)) => command,
                Ok(None) => return Ok(Ending::Close),
                Err(ReadError::Protocol(words)) => {
                    self.write(&mut writer, &store::error(&format!("ERR Protocol error: {words}"))).await?;
                    return Ok(Ending::Close);
                }
                Err(ReadError::Io(error)) => return Err(error),
            };
            let met = self.shared.meet(&command);
            if !met.delay.is_zero() {
                // Even an empty sleep would take until the timer's next millisecond.
                tokio::time::sleep(met.delay).await;
            }
            let next = match met.answer {
                Some(answer) => answer.into(),
                None => self.execute(&mut link, &command).await?,
            };
            match next {
                Next::Reply(reply) => self.write(&mut writer, &reply).await?,
                Next::Last(reply, ending) => {
                    self.write(&mut writer, &reply).await?;
                    return Ok(ending);
                }
                Next::Endless => {
                    writer.write_all(b"+").await?;
                    loop {
                        writer.write_all(&[b'x'; 16 * 1024]).await?;
                    }
                }
                Next::Silence => std::future::pending().await,
            }
        }
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

    async fn execute(&self, link: &mut Link, command: &Command) -> io::Result<Next> {
        let reply = match (command.name().as_str(), command.args()) {
            ("AUTH", [_] | [_, _]) => {
                let (user, secret) = match command.args() {
                    [_] => (None, command.text(1)),
                    _ => (Some(command.text(1)), command.text(2)),
                };
                self.sign_in(link, user.as_deref(), &secret).await?
            }
            ("HELLO", [_, option, _, _, ..]) if option.eq_ignore_ascii_case(b"AUTH") => {
                let signed_in = self.sign_in(link, Some(&command.text(3)), &command.text(4)).await?;
                if !signed_in.starts_with(b"+") {
                    return Ok(Next::Reply(signed_in));
                }
                link.ask(&Command::new(&["HELLO", &command.text(1)])).await?
            }
            ("QUIT", _) => return Ok(Next::Last(b"+OK\r\n".to_vec(), Ending::Close)),
            ("HELLO", _) if !self.is_signed_in() => store::error(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
                 <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
                 the same time",
            ),
            _ if !self.is_signed_in() => store::error("NOAUTH Authentication required."),
            _ => link.ask(command).await?,
        };
        Ok(Next::Reply(reply))
    }

    /// Checks a sign-in and carries it out at the backend. One that fails leaves the session as it was.
    async fn sign_in(&self, link: &mut Link, user: Option<&str>, secret: &str) -> io::Result<Vec<u8>> {
        let (verdict, rejected) = {
            let state = self.shared.state.borrow();
            (self.judge(&state, user, secret), state.profile.dialect.rejected())
        };
        let who = match verdict {
            Ok(who) => who,
            Err(rejection) => {
                self.shared.count(|counters| counters.rejected += 1);
                self.shared.tell(Event::Rejected { client: self.id, rejection });
                return Ok(store::error(rejected));
            }
        };
        let reply = link.sign_in(&who.name).await?;
        if reply.starts_with(b"+") {
            let expires_in = who.expires_at.map(|end| self.shared.authority.until(end));
            let before = self.announce.send_replace(Some(who));
            self.shared.count(|counters| counters.accepted += 1);
            self.shared.tell(match before {
                None => Event::SignedIn { client: self.id, expires_in },
                Some(_) => Event::Reauthenticated { client: self.id, expires_in },
            });
        }
        Ok(reply)
    }

    fn judge(&self, state: &State, user: Option<&str>, secret: &str) -> Result<SignedIn, Rejection> {
        let Some(user) = user.filter(|&user| user != KEY_USER) else {
            let known = state.access_keys.iter().any(|key| key.expose() == secret);
            let who = SignedIn { name: KEY_USER.into(), expires_at: None };
            return known.then_some(who).ok_or(Rejection::AccessKey);
        };
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
