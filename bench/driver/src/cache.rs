//! A cache in memory, without sockets and TLS: a prober of it costs what the prober itself does.

use std::fmt;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use cachepulse::connection::dial::DialFailure;
use cachepulse::connection::dialer::{Dial, Dialed, Peer};
use cachepulse::probe::PhaseTimes;
use cachepulse::target::Endpoint;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

const CLIENTS: usize = 20;
/// The slots of a cluster.
const SLOTS: u32 = 16384;

/// A cache that notifies `done` after a number of `command`s.
#[derive(Clone)]
pub(crate) struct Cache(Arc<Inner>);

struct Inner {
    command: &'static str,
    left: AtomicU64,
    done: Notify,
    clients: String,
    behaviour: Behaviour,
}

/// What a cache does beside answering a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Nothing.
    Steady,
    /// Closes the connection after each probe.
    Closing,
    /// Belongs to a cluster with so many shards, each of which answers as it does.
    Cluster(u16),
}

impl Cache {
    /// Creates a cache that is done after `count` times `command`.
    pub(crate) fn until(command: &'static str, count: u64) -> Self {
        Self::that(Behaviour::Steady, command, count)
    }

    /// Creates a cache with this behaviour.
    pub(crate) fn that(behaviour: Behaviour, command: &'static str, count: u64) -> Self {
        let list: String = (0..CLIENTS).map(client).collect();
        let clients = format!("={}\r\ntxt:{list}\r\n", list.len() + 4);
        Self(Arc::new(Inner {
            command,
            left: AtomicU64::new(count),
            done: Notify::new(),
            clients,
            behaviour,
        }))
    }

    /// Waits until it is done.
    pub(crate) async fn done(&self) {
        self.0.done.notified().await;
    }

    /// Writes the reply to `request`. Allocates nothing once `value` and `reply` have their size.
    pub(crate) fn reply(&self, request: &str, value: &mut String, reply: &mut Vec<u8>) {
        if request.contains(self.0.command) && self.0.left.fetch_sub(1, Relaxed) == 1 {
            self.0.done.notify_one();
        }
        let mut words = request.split("\r\n").skip(2).step_by(2);
        match words.next() {
            // PING comes with it.
            Some("HELLO") => {
                let mode =
                    if matches!(self.0.behaviour, Behaviour::Cluster(_)) { "cluster" } else { "standalone" };
                write!(reply, "%3\r\n+proto\r\n:3\r\n+id\r\n:7\r\n+mode\r\n+{mode}\r\n+PONG\r\n")
                    .expect("a Vec takes all that is written to it");
            }
            Some("CLUSTER") => self.slots(reply),
            Some("PING") => reply.extend_from_slice(b"+PONG\r\n"),
            Some("SET") => {
                words.nth(1).unwrap_or_default().clone_into(value);
                reply.extend_from_slice(b"+OK\r\n");
            }
            Some("GET") => {
                write!(reply, "${}\r\n{value}\r\n", value.len())
                    .expect("a Vec takes all that is written to it");
            }
            Some("CLIENT") => reply.extend_from_slice(self.0.clients.as_bytes()),
            _ => reply.extend_from_slice(b"+OK\r\n"),
        }
    }

    /// Writes the reply to `CLUSTER SLOTS`.
    fn slots(&self, reply: &mut Vec<u8>) {
        let Behaviour::Cluster(shards) = self.0.behaviour else { return };
        let slot = |shard: u16| SLOTS * u32::from(shard) / u32::from(shards);
        let mut write = |text: fmt::Arguments<'_>| {
            reply.write_fmt(text).expect("a Vec takes all that is written to it");
        };
        write(format_args!("*{shards}\r\n"));
        for shard in 0..shards {
            let (first, last) = (slot(shard), slot(shard + 1) - 1);
            let port = 7000 + shard;
            write(format_args!(
                "*3\r\n:{first}\r\n:{last}\r\n*4\r\n$9\r\n127.0.0.1\r\n:{port}\r\n$5\r\nid-{shard:02}\r\n*0\r\n"
            ));
        }
    }
}

/// Returns a line of `CLIENT LIST` in the format of Redis 7.
fn client(id: usize) -> String {
    format!(
        "id={id} addr=10.0.0.9:{port} laddr=10.0.0.4:6380 fd={id} name=cachepulse age=3600 idle=1 flags=N db=0 \
         sub=0 psub=0 ssub=0 multi=-1 qbuf=26 qbuf-free=20448 argv-mem=10 multi-mem=0 rbs=1024 rbp=0 obl=0 oll=0 \
         omem=0 tot-mem=22298 events=r cmd=client|list user=default redir=-1 resp=2\n",
        port = 40_000 + id,
    )
}

impl Dial for Cache {
    type Stream = Stream;

    fn to(&self, _endpoint: Endpoint) -> Self {
        self.clone()
    }

    async fn dial(&mut self, deadline: Instant) -> Result<Dialed<Stream>, DialFailure> {
        let stream =
            Stream { cache: self.clone(), value: String::new(), reply: Vec::new(), has_closed: false };
        Ok(Dialed { stream, phases: PhaseTimes::default(), peer: Peer::default(), deadline })
    }

    async fn leads_to(&self, _address: SocketAddr, _deadline: Instant) -> Option<bool> {
        None
    }
}

/// A connection whose peer replies during the write.
pub(crate) struct Stream {
    cache: Cache,
    value: String,
    reply: Vec<u8>,
    /// Whether nothing follows the reply.
    has_closed: bool,
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { reply, has_closed, .. } = self.get_mut();
        if reply.is_empty() && *has_closed {
            return Poll::Ready(Ok(()));
        }
        if reply.is_empty() {
            // A reply only follows a write, so no waker is needed.
            return Poll::Pending;
        }
        let length = reply.len().min(buffer.remaining());
        buffer.put_slice(&reply[..length]);
        reply.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        let request = std::str::from_utf8(bytes).expect("a prober writes text");
        stream.cache.reply(request, &mut stream.value, &mut stream.reply);
        stream.has_closed =
            stream.cache.0.behaviour == Behaviour::Closing && request.contains(stream.cache.0.command);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
