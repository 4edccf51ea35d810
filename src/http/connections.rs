//! Clients' connections: accepting them, limiting how many are open, and closing them gracefully.

use std::collections::HashMap;
use std::io;
use std::net::TcpListener as StdTcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet, yield_now};
use tokio::time::{sleep, timeout};

use super::body::{Body, body};
use super::client::{ClientStream, encrypted};
use super::denial::denial;
use super::encoding::accepts_gzip;
use super::slots::{PATIENCE, Slots};
use super::stream::{Activity, PendingRequest, Stream};
use super::{Limits, Pages, Route};
use crate::error::is_local;
use crate::guard::{Denied, Guard, Rules};

/// The longest header of a request, in bytes.
pub const MAX_REQUEST_HEADER: usize = 8 * 1024;

/// The size of a connection's buffer in the system, which doubles it.
const SEND_BUFFER: usize = 128 * 1024;

/// The pause after a connection could not be accepted, usually because file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` receives a grace period, or its sender is dropped.
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
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.open(stream);
                    if connections.is_full() {
                        // Lets it read its request before further connections can take its place.
                        yield_now().await;
                    }
                }
                // The connection was already closed, or file descriptors ran out.
                Err(error) => {
                    tracing::debug!(%error, "HTTP connection not accepted");
                    if is_local(&error) {
                        connections.close_idlest();
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    drop(listener);
    // Connections that are still open then are aborted with the set.
    let _ = timeout(grace, connections.drain()).await;
}

struct Connections {
    pages: Pages,
    limits: Limits,
    tasks: JoinSet<()>,
    open: HashMap<Id, Arc<Activity>>,
    slots: Slots,
    draining: watch::Sender<()>,
}

impl Connections {
    fn new(pages: Pages, limits: Limits) -> Self {
        Self {
            pages,
            limits,
            tasks: JoinSet::new(),
            open: HashMap::new(),
            slots: Slots::new(limits.responses),
            draining: watch::Sender::new(()),
        }
    }

    fn is_full(&self) -> bool {
        self.open.len() >= self.limits.connections
    }

    fn open(&mut self, stream: TcpStream) {
        if self.is_full() {
            self.close_idlest();
        }
        // A response is written as a whole: waiting to fill a packet only delays its end. An error costs only that
        // delay.
        let _ = stream.set_nodelay(true);
        // The same for this one: a client that does not read costs less, and one that reads shows it sooner.
        let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
        let activity = Arc::new(Activity::new());
        let stream = Stream::new(stream, activity.clone(), self.limits.write);
        let (pages, slots) = (self.pages.clone(), self.slots.clone());
        let mut guard = pages.guard.clone();
        let handler = Handler { pages, slots, activity: activity.clone(), accepted_by: guard.rules() };
        let task = self.tasks.spawn(serve_connection(
            stream,
            handler,
            guard,
            self.limits.header,
            self.draining.subscribe(),
        ));
        activity.set_task(task.clone());
        self.open.insert(task.id(), activity);
    }

    /// Closes the connection that has been idle longest, so that open connections cannot keep a scrape out.
    /// Connections with a pending request come after those without, and those used just now, such as new ones, last.
    fn close_idlest(&mut self) {
        let order = |activity: &Activity| {
            let last = activity.last();
            (last.elapsed() < PATIENCE, activity.has_pending_request(), last)
        };
        let idlest = self.open.iter().min_by_key(|(_, activity)| order(activity));
        let idlest = idlest.map(|(id, _)| *id);
        if let Some(activity) = idlest.and_then(|id| self.open.remove(&id)) {
            activity.close();
        }
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        match ended {
            Ok((id, ())) => drop(self.open.remove(&id)),
            Err(error) => {
                self.open.remove(&error.id());
                if error.is_panic() {
                    // A bug must end the process, not hide in a task.
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        }
    }

    /// Closes each connection after its current request, and those without one at once.
    async fn drain(&mut self) {
        self.draining.send_replace(());
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.forget(ended);
        }
    }
}

/// Handles the requests of one connection.
#[derive(Clone)]
struct Handler {
    pages: Pages,
    slots: Slots,
    activity: Arc<Activity>,
    /// The rules when the connection was accepted.
    accepted_by: Arc<Rules>,
}

impl Handler {
    /// Responds to a request if the guard admits it. Its headers are added to every response but that to a request too many.
    async fn handle<B>(self, request: Request<B>) -> io::Result<Response<Body>> {
        let rules = self.pages.guard.newest();
        if !rules.has_tls_of(&self.accepted_by) {
            // The start of this request kept the connection open. What its client has shown may not suffice any more.
            return Err(io::Error::other("the rules of TLS changed during the request"));
        }
        let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let admitted = {
            let _pending = PendingRequest::new(&self.activity);
            self.pages.guard.admit(&rules, authorization).await
        };
        let mut response = match admitted {
            Ok(()) => self.respond(request).await?,
            Err(denied) => {
                let (head, content) = denial(denied).into_parts();
                Response::from_parts(head, body(content, self.slots.without_waiting(&self.activity).await)?)
            }
        };
        if admitted != Err(Denied::RateLimited) {
            for (name, value) in &rules.headers {
                response.headers_mut().insert(name, value.clone());
            }
        }
        Ok(response)
    }

    async fn respond<B>(&self, request: Request<B>) -> io::Result<Response<Body>> {
        let route = Route::of(request.uri().path()).map(|found| found.route);
        let mut slot = match route {
            Some(Route::Live | Route::Ready | Route::Reload) => {
                self.slots.without_waiting(&self.activity).await
            }
            _ => self.slots.slot(&self.activity).await,
        };
        let _turn = slot.turn().await;
        let compress = accepts_gzip(request.headers()) && slot.may_compress();
        let (head, content) = self.pages.respond(&request, compress).await?.into_parts();
        Ok(Response::from_parts(head, body(content, slot)?))
    }
}

/// Serves one connection until the client, a limit, the shutdown or a change of the `guard`'s rules ends it.
async fn serve_connection(
    stream: Stream,
    handler: Handler,
    mut guard: Guard,
    header: Duration,
    mut draining: watch::Receiver<()>,
) {
    let mut ending = pin!(async {
        tokio::select! {
            _ = draining.changed() => {}
            () = guard.changed() => {}
        }
    });
    let stream: ClientStream = match &handler.accepted_by.tls {
        None => Box::new(stream),
        Some(tls) => {
            let shaking = tokio::select! {
                shaken = timeout(header, encrypted(stream, tls)) => shaken,
                () = ending.as_mut() => return,
            };
            match shaking.map_err(io::Error::from).and_then(|shaken| shaken) {
                Ok(stream) => stream,
                Err(error) => return tracing::debug!(%error, "TLS handshake failed"),
            }
        }
    };
    let activity = Arc::clone(&handler.activity);
    let service = service_fn(|request| handler.clone().handle(request));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header)
            .max_buf_size(MAX_REQUEST_HEADER)
            .max_header_size(MAX_REQUEST_HEADER)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        // A request that has arrived is read first.
        biased;
        ended = connection.as_mut() => ended,
        () = ending => {
            connection.as_mut().graceful_shutdown();
            match connection.as_mut().now_or_never() {
                Some(ended) => ended,
                None if activity.is_responding() => connection.await,
                // hyper would wait for the rest of a header.
                None => return,
            }
        }
    };
    if let Err(error) = ended {
        // Clients that disconnect, send invalid requests or stall are no fault of the agent.
        tracing::debug!(%error, "HTTP connection aborted");
    }
}
