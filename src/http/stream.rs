//! One client's stream: it records when it was last used, and gives up on a client that does not read.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep, sleep};

use crate::lock::lock;

/// When a stream was last used, its pending requests, and the task that uses it.
#[derive(Debug)]
pub(super) struct Activity {
    last: Mutex<Instant>,
    /// How many requests have arrived whose responses have not been sent.
    pending: AtomicUsize,
    /// Whether a write waits for the client to read.
    stalled: AtomicBool,
    task: OnceLock<AbortHandle>,
}

impl Activity {
    /// Creates the activity of a stream that is accepted now.
    pub(super) fn new() -> Self {
        Self {
            last: Mutex::new(Instant::now()),
            pending: AtomicUsize::new(0),
            stalled: AtomicBool::new(false),
            task: OnceLock::new(),
        }
    }

    /// Returns when bytes were last received or sent.
    pub(super) fn last(&self) -> Instant {
        *self.locked()
    }

    /// Whether there are requests whose responses have not been sent.
    pub(super) fn has_pending_request(&self) -> bool {
        self.pending.load(Ordering::Relaxed) > 0
    }

    /// Whether a response is being made or written. The last bytes of one may wait after its request has ended.
    pub(super) fn is_responding(&self) -> bool {
        self.has_pending_request() || self.stalled.load(Ordering::Relaxed)
    }

    /// Sets the task that uses the stream, which [`Self::close`] aborts.
    pub(super) fn set_task(&self, task: AbortHandle) {
        // Called once.
        let _ = self.task.set(task);
    }

    /// Closes the stream, even in the middle of a response.
    pub(super) fn close(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    fn touch(&self) {
        *self.locked() = Instant::now();
    }

    fn locked(&self) -> MutexGuard<'_, Instant> {
        lock(&self.last)
    }
}

/// A request whose response has not been sent, until it is dropped.
#[derive(Debug)]
pub(super) struct PendingRequest(Arc<Activity>);

impl PendingRequest {
    /// Counts a request on the stream of `activity`.
    pub(super) fn new(activity: &Arc<Activity>) -> Self {
        activity.pending.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }

    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.0
    }
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that ends with [`io::ErrorKind::TimedOut`] when a write makes no progress for a while.
#[derive(Debug)]
pub(super) struct Stream {
    inner: TcpStream,
    activity: Arc<Activity>,
    write_timeout: Duration,
    /// The timeout of a write that waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    pub(super) fn new(inner: TcpStream, activity: Arc<Activity>, write_timeout: Duration) -> Self {
        Self { inner, activity, write_timeout, stalled: None }
    }

    /// Waits for the first byte and leaves it to be read. `None` if the client has closed.
    pub(super) async fn first_byte(&self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        let length = self.inner.peek(&mut byte).await?;
        Ok((length > 0).then_some(byte[0]))
    }

    fn written<T>(&mut self, cx: &mut Context<'_>, progress: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.activity.stalled.store(progress.is_pending(), Ordering::Relaxed);
        if progress.is_ready() {
            self.stalled = None;
            self.activity.touch();
            return progress;
        }
        let write_timeout = self.write_timeout;
        ready!(self.stalled.get_or_insert_with(|| Box::pin(sleep(write_timeout))).as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.inner).poll_read(cx, bytes);
        if progress.is_ready() {
            self.activity.touch();
        }
        progress
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.written(cx, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.written(cx, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
