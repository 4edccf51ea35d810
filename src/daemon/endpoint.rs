//! Where the HTTP endpoint is, and its move to the address of the first valid configuration.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::watch::Rejection;
use crate::daemon::DaemonError;
use crate::http::{self, Listener, Pages, Server};

/// The HTTP endpoint.
pub(super) struct Endpoint {
    /// The address that was asked for: its port may be 0.
    address: SocketAddr,
    pages: Pages,
    state: State,
}

enum State {
    /// Bound but not served: clients wait.
    Bound(Listener),
    Served(Server),
    /// Only during a move.
    Closed,
}

impl Endpoint {
    /// Creates an endpoint for `pages` of a `listener` that was bound to `address`.
    pub(super) fn new(address: SocketAddr, listener: Listener, pages: Pages) -> Self {
        Self { address, pages, state: State::Bound(listener) }
    }

    /// Serves the pages. Returns the address; its port is the one that the system chose if 0 was asked for.
    pub(super) fn serve(&mut self) -> Result<SocketAddr, DaemonError> {
        let server = match std::mem::replace(&mut self.state, State::Closed) {
            State::Bound(listener) => {
                http::spawn(listener, self.pages.clone()).map_err(DaemonError::Thread)?
            }
            State::Served(server) => server,
            State::Closed => return Err(DaemonError::Server),
        };
        let address = server.local_addr();
        self.state = State::Served(server);
        Ok(address)
    }

    /// Puts a configuration with this `address` into use by `accept`. Moves there if it is accepted, otherwise stays.
    ///
    /// # Errors
    /// [`DaemonError`] if there is no endpoint afterwards. An address that cannot be bound is a rejection.
    pub(super) async fn move_to(
        &mut self,
        address: SocketAddr,
        accept: impl AsyncFnOnce() -> Result<(), Rejection>,
    ) -> Result<Result<(), Rejection>, DaemonError> {
        if address == self.address {
            return Ok(accept().await);
        }
        let bound = match http::bind(address) {
            // Its own socket may be in the way: [::]:9860 includes 127.0.0.1:9860.
            Err(error) if error.is_in_use() && address.port() == self.address.port() => {
                self.close(Duration::ZERO).await;
                http::bind(address)
            }
            bound => bound,
        };
        let accepted = match bound {
            Ok(listener) => accept().await.map(|()| listener),
            Err(error) => Err(error.into()),
        };
        match accepted {
            Ok(listener) => {
                let left = std::mem::replace(&mut self.state, State::Bound(listener));
                self.address = address;
                self.serve()?;
                left.close(Duration::ZERO).await;
                Ok(Ok(()))
            }
            Err(rejection) => {
                if matches!(self.state, State::Closed) {
                    self.state = State::Bound(http::bind(self.address).map_err(DaemonError::Bind)?);
                    self.serve()?;
                }
                Ok(Err(rejection))
            }
        }
    }

    /// Accepts no more connections, and lets pending requests finish within `grace`.
    pub(super) async fn close(&mut self, grace: Duration) {
        std::mem::replace(&mut self.state, State::Closed).close(grace).await;
    }

    /// Resolves when the endpoint has ended without being closed.
    pub(super) async fn failed(&mut self) {
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
    use crate::http::Liveness;
    use crate::metrics::Metrics;
    use crate::status::Status;

    /// An endpoint on a port of every address, and the same port of one address only.
    fn endpoint() -> (Endpoint, SocketAddr) {
        let listener = http::bind((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
        let address = listener.local_addr();
        let clock = Clock::system();
        let (liveness, _) = Liveness::new();
        let pages = Pages { metrics: Metrics::new(clock.clone()), status: Status::new(clock), liveness };
        let mut endpoint = Endpoint::new(address, listener, pages);
        assert_eq!(endpoint.serve().unwrap(), address);
        (endpoint, (Ipv4Addr::LOCALHOST, address.port()).into())
    }

    /// Whether it accepts connections at 127.0.0.2, which is no other address than its own.
    fn is_everywhere(address: SocketAddr) -> bool {
        TcpStream::connect((Ipv4Addr::new(127, 0, 0, 2), address.port())).is_ok()
    }

    #[tokio::test]
    async fn an_accepted_address_replaces_the_own_one_on_the_same_port() {
        let (mut endpoint, address) = endpoint();
        endpoint.move_to(address, async || Ok(())).await.unwrap().unwrap();
        assert_eq!(endpoint.serve().unwrap(), address);
        assert!(TcpStream::connect(address).is_ok() && !is_everywhere(address));
    }

    #[tokio::test]
    async fn a_rejected_configuration_leaves_it_where_it_was() {
        let (mut endpoint, address) = endpoint();
        let elsewhere = http::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        for (address, rejection) in [
            (address, "rejected"),
            ((Ipv4Addr::LOCALHOST, 0).into(), "rejected"),
            (elsewhere.local_addr(), "another process listens there"),
            // An address reserved for documentation.
            ((Ipv4Addr::new(192, 0, 2, 1), address.port()).into(), "this machine has no such address"),
        ] {
            let moved = endpoint.move_to(address, async || Err("rejected".into())).await.unwrap();
            let error = moved.unwrap_err().to_string();
            assert!(error.contains(rejection), "{address}: {error}");
            assert!(is_everywhere(endpoint.serve().unwrap()), "{address}");
        }
    }
}
