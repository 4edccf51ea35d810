//! Where the endpoints are, and their move to the addresses of the first valid configuration.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::field::display;
use tracing::info;

use super::DaemonError;
use super::configured::RETRY;
use crate::config::Http;
use crate::config::watch::Rejection;
use crate::http::{self, BindError, Listener, Pages, Server};

/// The bound sockets of the endpoints, with the addresses that were asked for. Clients wait until they are served.
#[derive(Debug)]
pub struct Listeners {
    http: Http,
    main: Listener,
    health: Option<Listener>,
    /// The address of a health endpoint that could not be bound.
    missing: Option<SocketAddr>,
}

impl Listeners {
    /// Binds the addresses of `http`.
    ///
    /// # Errors
    /// [`BindError`] of the first one that cannot be bound.
    pub fn bind(http: Http) -> Result<Self, BindError> {
        let main = http::bind(http.listen)?;
        let health = http.health_listen.map(http::bind).transpose()?;
        Ok(Self { http, main, health, missing: None })
    }

    /// Binds the address of the HTTP endpoint alone. That of the health endpoint is tried again while the agent runs.
    ///
    /// # Errors
    /// [`BindError`] if it cannot be bound.
    pub fn bind_main(http: Http) -> Result<Self, BindError> {
        let missing = http.health_listen;
        Ok(Self { missing, ..Self::bind(Http { health_listen: None, ..http })? })
    }

    /// Returns the address of the HTTP endpoint; its port is the one that the system chose if 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.main.local_addr()
    }
}

/// The HTTP endpoint, and the health endpoint.
pub(super) struct Endpoints {
    pages: Pages,
    main: Endpoint,
    health: Endpoint,
    /// The address of a health endpoint that could not be bound, and when it is tried again.
    missing: Option<(SocketAddr, Instant)>,
}

/// The addresses on which the endpoints are served.
pub(super) struct Addresses {
    pub(super) main: SocketAddr,
    pub(super) health: Option<SocketAddr>,
}

impl Endpoints {
    /// Creates the endpoints for `pages` of what was bound.
    pub(super) fn new(listeners: Listeners, pages: Pages) -> Self {
        let Listeners { http, main, health, missing } = listeners;
        let main = Endpoint { address: Some(http.listen), state: State::Bound(main), spawn: http::spawn };
        let health = Endpoint {
            address: http.health_listen,
            state: health.map_or(State::Closed, State::Bound),
            spawn: http::spawn_health,
        };
        let missing = missing.map(|address| (address, Instant::now() + RETRY));
        Self { pages, main, health, missing }
    }

    /// Serves the pages. Returns the addresses; a port is the one that the system chose if 0 was asked for.
    pub(super) fn serve(&mut self) -> Result<Addresses, DaemonError> {
        let main = self.main.serve(&self.pages)?.ok_or(DaemonError::Server)?;
        Ok(Addresses { main, health: self.health.serve(&self.pages)? })
    }

    /// Puts a configuration with the addresses of `http` into use by `accept`. Moves there if it is accepted, otherwise stays.
    ///
    /// # Errors
    /// [`DaemonError`] if an endpoint is lost. An address that cannot be bound is a rejection.
    pub(super) async fn move_to(
        &mut self,
        http: &Http,
        accept: impl AsyncFnOnce() -> Result<(), Rejection>,
    ) -> Result<Result<(), Rejection>, DaemonError> {
        if self.both(http).iter().all(|(endpoint, address)| endpoint.address == *address) {
            return Ok(accept().await);
        }
        let bound = match self.bind(http) {
            // Its own sockets may be in the way: [::]:9860 includes 127.0.0.1:9860.
            Err(error) if error.is_in_use() && self.leave_ports(http).await => self.bind(http),
            bound => bound,
        };
        let accepted = match bound {
            Ok(states) => accept().await.map(|()| states),
            Err(error) => Err(error.into()),
        };
        let mut left = Vec::new();
        let outcome = match accepted {
            Ok(states) => {
                self.missing = None;
                for ((endpoint, address), state) in self.both(http).into_iter().zip(states) {
                    if let Some(state) = state {
                        endpoint.address = address;
                        left.push(std::mem::replace(&mut endpoint.state, state));
                    }
                }
                Ok(())
            }
            Err(rejection) => {
                for (endpoint, _) in self.both(http) {
                    endpoint.reopen().map_err(DaemonError::Bind)?;
                }
                Err(rejection)
            }
        };
        self.serve()?;
        for state in left {
            state.close(Duration::ZERO).await;
        }
        Ok(outcome)
    }

    /// Binds the addresses of `http`. Returns the new states of the endpoints that move.
    fn bind(&mut self, http: &Http) -> Result<[Option<State>; 2], BindError> {
        let [main, health] = self.both(http).map(|(endpoint, address)| endpoint.bind(address));
        Ok([main?, health?])
    }

    /// Closes the endpoints that move to another address of their port, or leave it to the other one. Returns whether there
    /// are any.
    async fn leave_ports(&mut self, http: &Http) -> bool {
        let wanted = [Some(http.listen.port()), http.health_listen.map(|address| address.port())];
        let mut leaves = false;
        for (endpoint, address) in self.both(http) {
            let port = endpoint.address.map(|address| address.port());
            if port.is_some() && wanted.contains(&port) && endpoint.address != address {
                endpoint.close(Duration::ZERO).await;
                leaves = true;
            }
        }
        leaves
    }

    /// Returns the endpoints, each with its address in `http`.
    fn both(&mut self, http: &Http) -> [(&mut Endpoint, Option<SocketAddr>); 2] {
        [(&mut self.main, Some(http.listen)), (&mut self.health, http.health_listen)]
    }

    /// Accepts no more connections, and lets pending requests finish within `grace`.
    pub(super) async fn close(&mut self, grace: Duration) {
        tokio::join!(self.main.close(grace), self.health.close(grace));
    }

    /// Resolves when an endpoint has ended without being closed. Meanwhile, tries to bind the health endpoint that could not be
    /// bound. Cancel safe.
    pub(super) async fn failed(&mut self) {
        loop {
            let due = self.missing.map(|(_, at)| at);
            let is_due = async {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = self.main.failed() => return,
                () = self.health.failed() => return,
                () = is_due => {
                    if self.retry_health().is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Tries to bind and serve the health endpoint that could not be bound.
    fn retry_health(&mut self) -> Result<(), DaemonError> {
        let Some((address, _)) = self.missing.take() else { return Ok(()) };
        let Ok(Some(state)) = self.health.bind(Some(address)) else {
            self.missing = Some((address, Instant::now() + RETRY));
            return Ok(());
        };
        (self.health.address, self.health.state) = (Some(address), state);
        let health_listen = self.health.serve(&self.pages)?.map(display);
        info!(health_listen, "health endpoint served");
        Ok(())
    }
}

struct Endpoint {
    /// The address that was asked for, if any: its port may be 0.
    address: Option<SocketAddr>,
    state: State,
    spawn: fn(Listener, Pages) -> io::Result<Server>,
}

enum State {
    /// Bound but not served: clients wait.
    Bound(Listener),
    Served(Server),
    /// Without an address, or during a move.
    Closed,
}

impl Endpoint {
    fn serve(&mut self, pages: &Pages) -> Result<Option<SocketAddr>, DaemonError> {
        let server = match std::mem::replace(&mut self.state, State::Closed) {
            State::Bound(listener) => (self.spawn)(listener, pages.clone()).map_err(DaemonError::Thread)?,
            State::Served(server) => server,
            State::Closed => return Ok(None),
        };
        let address = server.local_addr();
        self.state = State::Served(server);
        Ok(Some(address))
    }

    /// Binds `address` for a move. Returns the state there, or nothing if the endpoint stays.
    fn bind(&self, address: Option<SocketAddr>) -> Result<Option<State>, BindError> {
        match address {
            _ if address == self.address => Ok(None),
            Some(address) => Ok(Some(State::Bound(http::bind(address)?))),
            None => Ok(Some(State::Closed)),
        }
    }

    /// Binds its address again if it was closed.
    fn reopen(&mut self) -> Result<(), BindError> {
        if let (State::Closed, Some(address)) = (&self.state, self.address) {
            self.state = State::Bound(http::bind(address)?);
        }
        Ok(())
    }

    async fn close(&mut self, grace: Duration) {
        std::mem::replace(&mut self.state, State::Closed).close(grace).await;
    }

    async fn failed(&mut self) {
        match &mut self.state {
            State::Served(server) => server.failed().await,
            State::Bound(_) | State::Closed => std::future::pending().await,
        }
    }
}

impl State {
    async fn close(self, grace: Duration) {
        if let Self::Served(server) = self {
            server.shutdown(grace).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;
    use crate::clock::Clock;
    use crate::guard::Guard;
    use crate::http::{Lifecycle, Liveness, Route};
    use crate::metrics::Metrics;
    use crate::status::Status;

    /// Endpoints on a port of every address, and the same port of one address only.
    fn endpoints() -> (Endpoints, SocketAddr) {
        let free = http::bind((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap().local_addr();
        let listeners = Listeners::bind(main_at(free)).unwrap();
        let clock = Clock::system();
        let (liveness, _) = Liveness::new();
        let (metrics, status) = (Metrics::new(clock.clone()), Status::new(clock));
        let (lifecycle, _) = Lifecycle::new();
        let (routes, guard) = (&Route::ALL, Guard::none());
        let pages = Pages { metrics, status, liveness, lifecycle, routes, guard };
        let mut endpoints = Endpoints::new(listeners, pages);
        let served = endpoints.serve().unwrap();
        assert_eq!((served.main, served.health), (free, None));
        (endpoints, (Ipv4Addr::LOCALHOST, free.port()).into())
    }

    fn main_at(listen: SocketAddr) -> Http {
        Http { listen, ..Http::default() }
    }

    /// Whether it accepts connections at 127.0.0.2, which is no other address than its own.
    fn is_everywhere(address: SocketAddr) -> bool {
        TcpStream::connect((Ipv4Addr::new(127, 0, 0, 2), address.port())).is_ok()
    }

    #[tokio::test]
    async fn an_accepted_address_replaces_the_own_one_on_the_same_port() {
        let (mut endpoints, address) = endpoints();
        endpoints.move_to(&main_at(address), async || Ok(())).await.unwrap().unwrap();
        assert_eq!(endpoints.serve().unwrap().main, address);
        assert!(TcpStream::connect(address).is_ok() && !is_everywhere(address));
    }

    #[tokio::test]
    async fn a_rejected_configuration_leaves_them_where_they_were() {
        let (mut endpoints, address) = endpoints();
        let elsewhere = http::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let with_health = |health| Http { health_listen: Some(health), ..main_at(address) };
        for (http, rejection) in [
            (main_at(address), "rejected"),
            (main_at((Ipv4Addr::LOCALHOST, 0).into()), "rejected"),
            (with_health((Ipv4Addr::LOCALHOST, 0).into()), "rejected"),
            (main_at(elsewhere.local_addr()), "another process listens there"),
            (with_health(elsewhere.local_addr()), "another process listens there"),
            // An address reserved for documentation.
            (
                main_at((Ipv4Addr::new(192, 0, 2, 1), address.port()).into()),
                "this machine has no such address",
            ),
        ] {
            let moved = endpoints.move_to(&http, async || Err("rejected".into())).await.unwrap();
            let error = moved.unwrap_err().to_string();
            assert!(error.contains(rejection), "{http:?}: {error}");
            let served = endpoints.serve().unwrap();
            assert!(is_everywhere(served.main), "{http:?}");
            assert_eq!(served.health, None, "{http:?}");
        }
    }

    #[tokio::test]
    async fn the_health_endpoint_opens_moves_and_closes_without_disturbing_the_other() {
        let (mut endpoints, _) = endpoints();
        let main = endpoints.main.address.unwrap();
        let open = TcpStream::connect((Ipv4Addr::LOCALHOST, main.port())).unwrap();
        open.set_nonblocking(true).unwrap();
        let mut previous = None;
        for health_listen in
            [Some((Ipv4Addr::LOCALHOST, 0).into()), Some((Ipv4Addr::new(127, 0, 0, 3), 0).into()), None]
        {
            let http = Http { health_listen, ..main_at(main) };
            endpoints.move_to(&http, async || Ok(())).await.unwrap().unwrap();
            let health = endpoints.serve().unwrap().health;
            assert_eq!(
                health.map(|address| address.ip()),
                health_listen.map(|address: SocketAddr| address.ip())
            );
            assert!(health.is_none_or(|address| TcpStream::connect(address).is_ok()));
            if let Some(previous) = std::mem::replace(&mut previous, health) {
                assert!(TcpStream::connect(previous).is_err());
            }
            let still_open = open.peek(&mut [0]).unwrap_err();
            assert_eq!(still_open.kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[tokio::test]
    async fn the_health_endpoint_can_take_over_the_port_of_the_other() {
        let (mut endpoints, _) = endpoints();
        let main = endpoints.main.address.unwrap();
        let listen = (Ipv4Addr::LOCALHOST, 0).into();
        let http = Http { listen, health_listen: Some(main), ..Http::default() };
        endpoints.move_to(&http, async || Ok(())).await.unwrap().unwrap();
        let served = endpoints.serve().unwrap();
        assert_eq!(served.health, Some(main));
        assert!(TcpStream::connect(served.main).is_ok());
    }
}
