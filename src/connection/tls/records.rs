//! The records of one connection: makes data of what comes from the peer, and records of what goes to it. No I/O; that is in
//! `stream.rs`.
//!
//! Uses the unbuffered interface of rustls. The other one keeps a buffer of 4 KiB as long as a connection is open, which
//! is a fifth of what a target takes. Here the buffers are those of `buffers.rs`, and an idle connection has none.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus,
    WriteTraffic,
};
use rustls::{ClientConfig, Error};
use tokio::io::ReadBuf;

use crate::connection::buffers;

/// The longest handshake message that a peer may send, as in the buffered interface.
const LONGEST_MESSAGE: usize = 0xffff;
/// How much data is written at once: what fits into one record.
pub(super) const MOST_WRITTEN: usize = 1 << 14;
/// What a record takes beside its data, as a rule.
const OVERHEAD: usize = 32;

/// The records of one connection.
pub(super) struct Records {
    connection: UnbufferedClientConnection,
    /// What has come and is not a whole record yet.
    incoming: Queue,
    /// What is to be sent.
    outgoing: Queue,
    /// What has come for the reader.
    data: Queue,
    /// Whether the peer has said that it sends nothing more.
    is_closed: bool,
    /// The error that ended the connection. rustls would go on with what comes after it.
    failed: Option<Error>,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The handshake waits for the peer.
    Handshaking,
    /// Data may be sent. All that has come was read, or there is no room for it.
    Open,
    /// The peer sends nothing more.
    Closed,
}

/// What is wanted of a connection.
enum Goal<'a> {
    Shake,
    Read,
    Write(&'a [u8]),
    Close,
}

impl Records {
    /// Begins a handshake with the server `name`.
    pub(super) fn new(config: Arc<ClientConfig>, name: ServerName<'static>) -> io::Result<Self> {
        let connection = UnbufferedClientConnection::new(config, name).map_err(invalid)?;
        let (incoming, outgoing, data) = (Queue::default(), Queue::default(), Queue::default());
        Ok(Self { connection, incoming, outgoing, data, is_closed: false, failed: None })
    }

    pub(super) const fn connection(&self) -> &UnbufferedClientConnection {
        &self.connection
    }

    /// What is to be sent. It must be, also after an error.
    pub(super) const fn outgoing(&mut self) -> &mut Queue {
        &mut self.outgoing
    }

    /// Returns where what comes from the peer is added.
    ///
    /// # Errors
    /// There is more of it than any message may have.
    pub(super) fn incoming(&mut self) -> io::Result<&mut Queue> {
        if self.incoming.as_slice().len() >= LONGEST_MESSAGE {
            return Err(invalid(Error::General("the peer sent a message that is too long".into())));
        }
        Ok(&mut self.incoming)
    }

    /// Goes on with the handshake as far as what has come allows.
    ///
    /// # Errors
    /// The peer violated the protocol, or told an error of its own.
    pub(super) fn shake(&mut self) -> io::Result<Progress> {
        self.process(&mut ReadBuf::new(&mut []), &Goal::Shake)
    }

    /// Reads into `output` what has come, as far as there is room.
    ///
    /// # Errors
    /// As [`Self::shake`], once everything before the error was read; then at each call.
    pub(super) fn read(&mut self, output: &mut ReadBuf<'_>) -> io::Result<Progress> {
        let length = self.data.as_slice().len().min(output.remaining());
        if length > 0 {
            output.put_slice(&self.data.as_slice()[..length]);
            self.data.discard(length);
            return Ok(Progress::Open);
        }
        let start = output.filled().len();
        match self.process(output, &Goal::Read) {
            Err(_) if output.filled().len() > start => Ok(Progress::Open),
            progress => progress,
        }
    }

    /// Makes records of `data`, of at most [`MOST_WRITTEN`] bytes, which are to be sent then.
    ///
    /// # Errors
    /// As [`Self::shake`].
    pub(super) fn write(&mut self, data: &[u8]) -> io::Result<Progress> {
        self.process(&mut ReadBuf::new(&mut []), &Goal::Write(data))
    }

    /// Announces to the peer that nothing more will be sent.
    ///
    /// # Errors
    /// As [`Self::shake`].
    pub(super) fn close(&mut self) -> io::Result<Progress> {
        self.process(&mut ReadBuf::new(&mut []), &Goal::Close)
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        [&self.incoming, &self.outgoing, &self.data].map(|queue| queue.bytes.capacity()).iter().sum()
    }

    fn process(&mut self, output: &mut ReadBuf<'_>, goal: &Goal<'_>) -> io::Result<Progress> {
        loop {
            if let Some(error) = &self.failed {
                return Err(invalid(error.clone()));
            }
            if matches!(goal, Goal::Read) && output.remaining() == 0 {
                return Ok(Progress::Open);
            }
            let UnbufferedStatus { discard, state } =
                self.connection.process_tls_records(self.incoming.as_mut_slice());
            let progress = match state {
                Ok(ConnectionState::EncodeTlsData(message)) => {
                    encode(message, &mut self.outgoing).map(|()| None)
                }
                Ok(ConnectionState::TransmitTlsData(messages)) => {
                    // They are in `outgoing`, before whatever follows.
                    messages.done();
                    Ok(None)
                }
                Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                    match traffic.next_record() {
                        Some(Ok(record)) => {
                            let (now, later) =
                                record.payload.split_at(record.payload.len().min(output.remaining()));
                            output.put_slice(now);
                            self.data.push(later);
                        }
                        Some(Err(error)) => break Err(error),
                        None => break Ok(None),
                    }
                },
                Ok(ConnectionState::PeerClosed) => {
                    self.is_closed = true;
                    Ok(None)
                }
                Ok(ConnectionState::Closed | ConnectionState::BlockedHandshake)
                    if matches!(goal, Goal::Write(_)) =>
                {
                    Err(Error::General("nothing can be sent".into()))
                }
                Ok(ConnectionState::Closed) => Ok(Some(Progress::Closed)),
                Ok(ConnectionState::BlockedHandshake) => Ok(Some(Progress::Handshaking)),
                Ok(ConnectionState::WriteTraffic(traffic)) => traffic_of(traffic, goal, &mut self.outgoing)
                    .map(|()| Some(if self.is_closed { Progress::Closed } else { Progress::Open })),
                // Early data is the server's business.
                Ok(_) => Err(Error::General("rustls is in an unknown state".into())),
                Err(error) => Err(error),
            };
            self.incoming.discard(discard);
            match progress {
                Ok(None) => {}
                Ok(Some(progress)) => return Ok(progress),
                Err(error) => self.fail(error),
            }
        }
    }

    /// The connection ends with `error`. The peer is to learn it.
    fn fail(&mut self, error: Error) {
        self.failed = Some(error);
        // It has alerts only: asked for anything more, rustls would read on.
        while self.connection.wants_write() {
            let UnbufferedStatus { discard, state } =
                self.connection.process_tls_records(self.incoming.as_mut_slice());
            if let Ok(ConnectionState::EncodeTlsData(alert)) = state
                && encode(alert, &mut self.outgoing).is_err()
            {
                return;
            }
            self.incoming.discard(discard);
        }
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Records")
    }
}

/// Wraps an error as the other drivers of rustls do.
fn invalid(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Adds a message of the handshake, or an alert, to `outgoing`.
fn encode(mut message: EncodeTlsData<'_, ClientConnectionData>, outgoing: &mut Queue) -> Result<(), Error> {
    outgoing.push_with(0, |room| match message.encode(room) {
        Err(EncodeError::InsufficientSize(needed)) => Err(Some(needed)),
        Err(EncodeError::AlreadyEncoded) => Err(None),
        Ok(length) => Ok(length),
    })
}

/// Pursues `goal` on a connection on which data may be sent.
fn traffic_of(
    mut traffic: WriteTraffic<'_, ClientConnectionData>,
    goal: &Goal<'_>,
    outgoing: &mut Queue,
) -> Result<(), Error> {
    let (size, data) = match goal {
        Goal::Shake | Goal::Read => return Ok(()),
        Goal::Write(data) => (data.len() + OVERHEAD, Some(data)),
        Goal::Close => (OVERHEAD, None),
    };
    outgoing.push_with(size, |room| {
        let result = match data {
            Some(data) => traffic.encrypt(data, room),
            None => traffic.queue_close_notify(room),
        };
        result.map_err(|error| match error {
            EncryptError::InsufficientSize(needed) => Some(needed),
            EncryptError::EncryptExhausted => None,
        })
    })
}

/// Bytes that wait for something, in a buffer that is lent while there are any.
#[derive(Debug, Default)]
pub(super) struct Queue {
    bytes: Vec<u8>,
    /// How many of them are gone.
    gone: usize,
}

impl Queue {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.gone..]
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.gone..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// Returns the buffer for more bytes after those that wait. [`Self::discard`] must be called afterwards.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..std::mem::take(&mut self.gone));
        buffers::borrow(&mut self.bytes);
        &mut self.bytes
    }

    /// Removes the first `length` bytes.
    pub(super) fn discard(&mut self, length: usize) {
        self.gone += length;
        if self.is_empty() {
            self.gone = 0;
            self.bytes.clear();
            buffers::give_back(&mut self.bytes);
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.buffer().extend_from_slice(bytes);
        }
    }

    /// Adds what `write` writes into room for `size` bytes, or for as many as it says that it needs.
    fn push_with(
        &mut self,
        mut size: usize,
        mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<InsufficientSizeError>>,
    ) -> Result<(), Error> {
        let buffer = self.buffer();
        let start = buffer.len();
        let result = loop {
            buffer.resize(start + size, 0);
            match write(&mut buffer[start..]) {
                Ok(length) => break Ok(length),
                Err(Some(needed)) if needed.required_size > size => size = needed.required_size,
                Err(_) => break Err(Error::EncryptError),
            }
        };
        buffer.truncate(start + *result.as_ref().unwrap_or(&0));
        self.discard(0);
        result.map(drop)
    }
}
