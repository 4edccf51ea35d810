//! The memory backend of the cache: strings with expiries, and the commands that a probe, a person with redis-cli and
//! the start of a client library send. Every other command gets an error in the words of Redis 7.
//!
//! The front checks the sign-in: every command that arrives here may run, and `AUTH` only names the user.

mod clients;
mod commands;
mod info;
mod keys;
mod place;
mod transaction;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::time::Instant;

use super::frame::{Command, Limits, read_command};
use super::hello::Hello;
use super::reply::{Reply, printable};
use clients::Clients;
use keys::{Expiry, SetOptions};
use transaction::Transaction;

pub(super) use clients::FIRST_CLIENT;
pub(crate) use keys::Keys;
pub(crate) use place::{Place, Seat};

/// The version of Redis whose commands and errors the store has.
const VERSION: &str = "7.4.0";

/// Keys and clients, shared by all connections.
#[derive(Clone)]
pub(crate) struct Store(Arc<Mutex<Contents>>);

struct Contents {
    /// The replica of a shard has the keys of its primary.
    keys: Arc<Mutex<Keys>>,
    place: Place,
    clients: Clients,
    started: Instant,
    /// Commands since the start.
    processed: u64,
}

/// Removes the client from the list when its connection ends, however it ends.
struct Registered<'a> {
    store: &'a Store,
    id: u64,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.store.contents().clients.remove(self.id);
    }
}

impl Store {
    /// Returns a store at `place` with these keys.
    pub(crate) fn new(place: Place, keys: Arc<Mutex<Keys>>) -> Self {
        Self(Arc::new(Mutex::new(Contents::new(place, keys))))
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        lock(&self.0)
    }

    /// Serves the connection with number `id` of a client at `address` until it ends.
    pub(super) async fn serve(
        self,
        stream: impl AsyncRead + AsyncWrite,
        id: u64,
        address: SocketAddr,
    ) -> io::Result<()> {
        let (reader, mut writer) = tokio::io::split(stream);
        let mut reader = std::pin::pin!(BufReader::new(reader));
        self.contents().clients.insert(id, address);
        let _registered = Registered { store: &self, id };
        while let Ok(Some(command)) = read_command(&mut reader, Limits::AUTHENTICATED).await {
            let reply = self.contents().execute(id, &command, Instant::now());
            writer.write_all(&reply).await?;
        }
        Ok(())
    }
}

impl Contents {
    fn new(place: Place, keys: Arc<Mutex<Keys>>) -> Self {
        Self { keys, place, clients: Clients::new(), started: Instant::now(), processed: 0 }
    }

    /// Executes a command and returns the bytes of its reply.
    fn execute(&mut self, id: u64, command: &Command, now: Instant) -> Vec<u8> {
        self.processed += 1;
        let valid = self.place.validate(command).and_then(|()| self.route(id, command, now));
        let reply = match valid {
            Ok(()) => self.dispatch(id, command, now),
            Err(error) => {
                if let Some(transaction) = &mut self.clients.of(id).transaction {
                    transaction.fail();
                }
                error
            }
        };
        reply.encode(self.clients.of(id).protocol)
    }

    /// Runs a command, or queues it if the client is in a transaction.
    fn dispatch(&mut self, id: u64, command: &Command, now: Instant) -> Reply {
        let name = command.name();
        let open = &mut self.clients.of(id).transaction;
        match (name.as_str(), open.as_mut()) {
            ("MULTI", Some(_)) => Reply::error("ERR MULTI calls can not be nested"),
            ("MULTI", None) => {
                *open = Some(Transaction::default());
                Reply::OK
            }
            ("EXEC" | "DISCARD", None) => Reply::error(format!("ERR {name} without MULTI")),
            ("DISCARD", Some(_)) => {
                *open = None;
                Reply::OK
            }
            ("EXEC", Some(_)) => match open.take().unwrap_or_default().into_commands() {
                Ok(commands) => {
                    Reply::Array(commands.iter().map(|command| self.run(id, command, now)).collect())
                }
                Err(error) => error,
            },
            // The front needs the outcome of a sign-in at once.
            ("AUTH" | "HELLO", _) | (_, None) => self.run(id, command, now),
            (_, Some(transaction)) => transaction.queue(command),
        }
    }

    fn run(&mut self, id: u64, command: &Command, now: Instant) -> Reply {
        let name = command.name();
        let keys = Arc::clone(&self.keys);
        let mut keys = lock(&keys);
        match (name.as_str(), command.args()) {
            ("PING", []) => Reply::Simple("PONG"),
            ("PING" | "ECHO", [text]) => Reply::Bulk(text.clone()),
            ("SELECT", [index]) => self.select(index),
            ("CLUSTER" | "READONLY" | "READWRITE" | "ASKING", _) => self.run_for_cluster(id, command),
            ("AUTH", [.., _]) => {
                let user = if command.args().len() > 1 { command.text(1) } else { "default".to_owned() };
                self.clients.of(id).user = user;
                Reply::OK
            }
            ("HELLO", _) => Hello::parse(command).map_or_else(std::convert::identity, |hello| {
                self.clients.hello(id, hello, self.place.mode_and_role())
            }),
            ("CLIENT", _) => self.clients.execute(id, command),
            ("COMMAND", _) => commands::describe(command),
            ("INFO", sections) => Reply::Verbatim(info::report(self, &keys, sections, now)),
            ("DBSIZE", []) => count(keys.len(now)),
            ("SET", [key, value, options @ ..]) => match SetOptions::parse(options, now) {
                Ok(options) => keys.set(key, value, &options, now),
                Err(error) => error,
            },
            ("GET", [key]) => keys.get(key, now),
            ("DEL" | "UNLINK", deleted) => count(deleted.iter().filter(|key| keys.remove(key, now)).count()),
            ("EXISTS", named) => count(named.iter().filter(|key| keys.contains(key, now)).count()),
            ("TYPE", [key]) => Reply::Simple(if keys.contains(key, now) { "string" } else { "none" }),
            ("INCR", [key]) => keys.add(key, 1, now),
            ("DECR", [key]) => keys.add(key, -1, now),
            ("INCRBY", [key, amount]) => match integer(amount) {
                Some(amount) => keys.add(key, amount, now),
                None => Reply::not_an_integer(),
            },
            ("TTL" | "PTTL", [key]) => Reply::Integer(match keys.expiry(key, now) {
                Expiry::NoKey => -2,
                Expiry::Never => -1,
                Expiry::In(left) => {
                    let milliseconds = i64::try_from(left.as_millis()).unwrap_or(i64::MAX);
                    if name == "TTL" { milliseconds.saturating_add(500) / 1000 } else { milliseconds }
                }
            }),
            ("EXPIRE", [key, seconds]) => match integer(seconds) {
                Some(seconds) => Reply::Integer(keys.expire(key, seconds, now).into()),
                None => Reply::not_an_integer(),
            },
            ("EXPIRE", [_, _, option, ..]) => {
                let option = printable(&String::from_utf8_lossy(option));
                Reply::error(format!("ERR Unsupported option {option}"))
            }
            _ => Reply::wrong_arity(&name),
        }
    }
}

/// Locks what several connections share.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds a lock; the keys would be valid anyway.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Parses an argument as Redis does: decimal, without a plus sign.
fn integer(argument: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(argument).ok()?;
    if text.starts_with('+') { None } else { text.parse().ok() }
}

fn count(number: usize) -> Reply {
    Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
