//! How a session begins: `HELLO 3` with sign-in and name, and PING, in one round trip; or `AUTH` and RESP2 where the
//! peer does not know HELLO.

use std::pin::pin;

use redis::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::client_list::OwnClient;
use super::deadline::within;
use super::reply;
use super::session::{CLIENT_NAME, SIGN_IN, Session, no_reply, refusal};
use crate::identity::Credentials;
use crate::probe::{Failure, FailureReason, Mode, Role, ServerInfo, Stage, Step};
use crate::target::Protocol;

/// What to do if RESP3 is configured and the peer does not know it.
const NOT_RESP3: &str = "The peer does not know `HELLO 3`: set `protocol` to `auto` or `resp2`.";

/// What is known of a server once a session has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Which RESP is spoken from now on.
    pub protocol: Protocol,
    /// What the server says of itself: nothing under RESP2.
    pub server: ServerInfo,
    /// What it answered PING with, if that was an error: it is signed in, but cannot serve.
    pub refused: Option<Failure>,
}

/// A session has not begun.
#[derive(Debug, PartialEq, Eq)]
pub enum NotGreeted {
    /// The server refused, or the connection was lost.
    Failed(Failure),
    /// The peer hung up on HELLO without a word, as some proxies do: it may know AUTH.
    HungUp(Failure),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Begins the session: signs in with `credentials` and sees that PING is answered. Without a `protocol`, tries RESP3
    /// and falls back to RESP2 where the server does not know HELLO. Moves `deadline` by the time for which the agent did
    /// not run.
    ///
    /// # Errors
    /// The server's refusal, or the loss of the connection.
    pub async fn greet(
        &mut self,
        credentials: &Credentials,
        protocol: Option<Protocol>,
        deadline: &mut Instant,
    ) -> Result<Greeting, NotGreeted> {
        let greeting = async {
            match protocol {
                Some(Protocol::Resp2) => self.auth(credentials).await.map_err(NotGreeted::Failed),
                None | Some(Protocol::Resp3) => self.hello(credentials, protocol.is_none()).await,
            }
        };
        let greeted = within(deadline, pin!(greeting)).await;
        self.wipe();
        match greeted {
            // Another protocol is not wanted.
            Ok(Err(NotGreeted::HungUp(failure))) if protocol.is_some() => {
                Err(NotGreeted::Failed(Failure { advice: Some(NOT_RESP3), ..failure }))
            }
            Ok(greeted) => greeted,
            Err(_) => Err(NotGreeted::Failed(no_reply(SIGN_IN))),
        }
    }

    async fn hello(&mut self, credentials: &Credentials, falls_back: bool) -> Result<Greeting, NotGreeted> {
        self.begin();
        match credentials {
            Credentials::None => self.pack(&["HELLO", "3", "SETNAME", CLIENT_NAME]),
            Credentials::Password { username, secret } => {
                let username = username.as_deref().unwrap_or("default");
                self.pack(&["HELLO", "3", "AUTH", username, secret.expose(), "SETNAME", CLIENT_NAME]);
            }
            Credentials::Token { username, token } => {
                let secret = token.secret.expose();
                self.pack(&["HELLO", "3", "AUTH", username, secret, "SETNAME", CLIENT_NAME]);
            }
        }
        self.pack(&["PING"]);
        let reply = match self.round_trip(SIGN_IN).await {
            Ok(reply) => reply,
            Err(failure) if self.was_idle_close(&failure) => return Err(NotGreeted::HungUp(failure)),
            Err(failure) => return Err(NotGreeted::Failed(failure)),
        };
        let hello = match reply {
            Value::Map(fields) if Hello::read(&fields).protocol == 3 => Ok(Hello::read(&fields)),
            Value::ServerError(error) if !is_unknown(&error, credentials) => {
                return Err(NotGreeted::Failed(refusal(&error, credentials)));
            }
            Value::ServerError(error) => Err(refusal(&error, credentials).detail),
            _ => Err("HELLO 3 was not answered with RESP3".into()),
        };
        let hello = match hello {
            Err(detail) if !falls_back => {
                let failure = Failure::new(FailureReason::ProtocolError, SIGN_IN, detail);
                return Err(NotGreeted::Failed(Failure { advice: Some(NOT_RESP3), ..failure }));
            }
            hello => hello.ok(),
        };
        let pong = match self.next_reply(SIGN_IN).await {
            Ok(pong) => pong,
            // It answered HELLO, but in words that we do not know, and then hung up.
            Err(failure) if hello.is_none() => return Err(NotGreeted::HungUp(failure)),
            Err(failure) => return Err(NotGreeted::Failed(failure)),
        };
        self.end(SIGN_IN).map_err(NotGreeted::Failed)?;
        match hello {
            Some(Hello { id, server, .. }) => {
                self.own = id.map_or(self.own, OwnClient::Id);
                let refused = self.pong(pong, credentials).map_err(NotGreeted::Failed)?;
                Ok(Greeting { protocol: Protocol::Resp3, server, refused })
            }
            None => self.auth(credentials).await.map_err(NotGreeted::Failed),
        }
    }

    async fn auth(&mut self, credentials: &Credentials) -> Result<Greeting, Failure> {
        self.begin();
        self.pack_auth(credentials);
        self.pack(&["PING"]);
        let mut reply = self.round_trip(SIGN_IN).await?;
        if *credentials != Credentials::None {
            match reply {
                Value::Okay => {}
                Value::ServerError(error) => return Err(refusal(&error, credentials)),
                other => return Err(self.unasked(SIGN_IN, &other)),
            }
            reply = self.next_reply(SIGN_IN).await?;
        }
        self.end(SIGN_IN)?;
        let refused = self.pong(reply, credentials)?;
        Ok(Greeting { protocol: Protocol::Resp2, server: ServerInfo::default(), refused })
    }

    /// What PING was answered with: nothing to say of PONG, the failure of a server that cannot serve now.
    fn pong(&mut self, reply: Value, credentials: &Credentials) -> Result<Option<Failure>, Failure> {
        match reply {
            Value::SimpleString(pong) if pong == "PONG" => Ok(None),
            Value::ServerError(error) => {
                let (reason, detail) = reply::classify(&error);
                match reason {
                    FailureReason::AuthRejected => Err(refusal(&error, credentials)),
                    _ => Ok(Some(Failure::new(reason, Stage::Step(Step::Ping), detail))),
                }
            }
            other => Err(self.unasked(Stage::Step(Step::Ping), &other)),
        }
    }
}

/// Whether an error reply to HELLO says that HELLO or RESP3 is not known here, rather than that sign-in was refused.
/// The texts are those of Redis before version 6, of Redis with RESP3 off, and of Envoy, predixy and other proxies.
fn is_unknown(error: &redis::ServerError, credentials: &Credentials) -> bool {
    let text = reply::words(error);
    let says = |words: &str| text.to_ascii_lowercase().contains(words);
    if text.contains("WRONGPASS") {
        return false;
    }
    says("noproto")
        || says("unknown command")
        || says("unsupported command")
        || says("hello option")
        || says("syntax error")
        || says("wrong number of arguments")
        // AUTH was inside: only a proxy that reads no further than HELLO says so.
        || (*credentials != Credentials::None && says("noauth authentication required"))
}

/// The reply to HELLO; fields that we do not know are ignored.
#[derive(Default)]
pub(super) struct Hello {
    protocol: i64,
    id: Option<u64>,
    pub(super) server: ServerInfo,
}

impl Hello {
    pub(super) fn read(fields: &[(Value, Value)]) -> Self {
        let mut hello = Self::default();
        let (mut product, mut version, mut mode, mut role) = ("".into(), "".into(), None, None);
        for (name, value) in fields {
            match (text(name), value, text(value)) {
                (Some(b"proto"), Value::Int(protocol), _) => hello.protocol = *protocol,
                (Some(b"id"), Value::Int(id), _) => hello.id = u64::try_from(*id).ok(),
                (Some(b"server"), _, Some(text)) => product = String::from_utf8_lossy(text),
                (Some(b"version"), _, Some(text)) => version = String::from_utf8_lossy(text),
                (Some(b"mode"), _, Some(text)) => mode = read_mode(text),
                (Some(b"role"), _, Some(text)) => role = Role::parse(text),
                _ => {}
            }
        }
        hello.server = ServerInfo::new(&product, &version, mode, role);
        hello
    }
}

fn read_mode(word: &[u8]) -> Option<Mode> {
    Mode::ALL.into_iter().find(|mode| mode.as_str().as_bytes() == word)
}

fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(text) => Some(text),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.as_bytes()),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests;
#[cfg(test)]
mod trips;
