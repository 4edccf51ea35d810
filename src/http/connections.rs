//! Clients' connections: accepting them, a limit on how many are open, and ending them in peace.

use std::collections::HashMap;
use std::io;
use std::net::TcpListener as StdTcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet, yield_now};
use tokio::time::{sleep, timeout};

use super::answers::Answers;
use super::body::{Body, body};
use super::stream::{Activity, Stream};
use super::{Limits, Pages};

/// The longest header of a request, in bytes.
const HEADER_SIZE: usize = 8 * 1024;

/// The pause after a connection could not be accepted, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` brings a grace period, or its sender is gone.
pub(super) async fn serve(
    listener: StdTcpListener,
    pages: Pages,
    limits: Limits,
    mut stop: mpsc::Receiver<Duration>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "HTTP socket failed"),
    };
    let mut connections = Connections::new(pages, limits);
    let grace = loop {
        tokio::select! {
            biased;
            grace = stop.recv() => break grace.unwrap_or_default(),
            Some(ended) = connections.tasks.join_next_with_id() => connections.forget(ended),
            stream = accept(&listener) => {
                connections.open(stream);
                // Its request is read before so many others come that it would be closed for them.
                yield_now().await;
            }
        }
    };
    drop(listener);
    // What is still open then is aborted with the set.
    let _ = timeout(grace, connections.drain()).await;
}

/// The next connection. Errors pass: of a connection that is gone already, or of a system without descriptors.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::debug!(%error, "HTTP connection not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct Connections {
    pages: Pages,
    limits: Limits,
    tasks: JoinSet<()>,
    open: HashMap<Id, Arc<Activity>>,
    answers: Answers,
    draining: watch::Sender<()>,
}

impl Connections {
    fn new(pages: Pages, limits: Limits) -> Self {
        Self {
            pages,
            limits,
            tasks: JoinSet::new(),
            open: HashMap::new(),
            answers: Answers::new(limits.answers),
            draining: watch::Sender::new(()),
        }
    }

    fn open(&mut self, stream: TcpStream) {
        if self.open.len() >= self.limits.connections {
            self.close_quietest();
        }
        // A response is written at once and whole: waiting to fill a packet only delays its end. Where the socket
        // refuses, that is all there is to lose.
        let _ = stream.set_nodelay(true);
        let activity = Arc::new(Activity::new());
        let stream = Stream::new(stream, activity.clone(), self.limits.write);
        let desk =
            Desk { pages: self.pages.clone(), answers: self.answers.clone(), activity: activity.clone() };
        let task = self.tasks.spawn(converse(stream, desk, self.limits.header, self.draining.subscribe()));
        activity.belongs_to(task.clone());
        self.open.insert(task.id(), activity);
    }

    /// Makes room: clients that hold connections open must not keep a scrape out. One that is under way goes last:
    /// while it is read, many may come.
    fn close_quietest(&mut self) {
        let quietest = self.open.iter().min_by_key(|(_, activity)| (activity.is_asked(), activity.last()));
        let quietest = quietest.map(|(id, _)| *id);
        if let Some(activity) = quietest.and_then(|id| self.open.remove(&id)) {
            activity.close();
        }
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        match ended {
            Ok((id, ())) => drop(self.open.remove(&id)),
            Err(error) => {
                self.open.remove(&error.id());
                if error.is_panic() {
                    // A bug of ours: it must end the process, not hide in a task.
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        }
    }

    /// Ends each connection after the request that it is at.
    async fn drain(&mut self) {
        self.draining.send_replace(());
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.forget(ended);
        }
    }
}

/// Where the requests of one connection are answered.
#[derive(Clone)]
struct Desk {
    pages: Pages,
    answers: Answers,
    activity: Arc<Activity>,
}

impl Desk {
    async fn answer<B>(self, request: Request<B>) -> io::Result<Response<Body>> {
        let room = self.answers.room(&self.activity).await;
        let (head, text) = self.pages.respond(&request).await?.into_parts();
        Ok(Response::from_parts(head, body(text, room)?))
    }
}

/// Answers the requests of one connection until the client, a limit or the shutdown ends it.
async fn converse(stream: Stream, desk: Desk, header: Duration, mut draining: watch::Receiver<()>) {
    let service = service_fn(|request| desk.clone().answer(request));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header)
            .max_buf_size(HEADER_SIZE)
            .max_header_size(HEADER_SIZE)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = draining.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Clients that hang up, send nonsense or fall asleep are their own business.
        tracing::debug!(%error, "HTTP connection aborted");
    }
}
