//! One client's connection: what ends or suspends its session from outside. `session.rs` serves the commands.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Shared;
use super::fault::{Admission, Ending};
use super::session::{Session, SignedIn};
use crate::ca::ServerCertificate;
use crate::event::Event;

/// A connection that was accepted.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    /// Its number in events.
    pub(super) id: u64,
}

impl Connection {
    /// Serves the connection until it ends.
    pub(super) async fn serve(self, shared: &Shared) {
        let Ok(socket) = SockRef::from(&self.stream).try_clone() else { return };
        let ending = self.guard(shared).await;
        // The session has dropped the stream, so `socket` is the last handle. The client may be gone already.
        let _ = match ending {
            Ending::Close => socket.shutdown(Shutdown::Write),
            Ending::Reset => socket.set_linger(Some(Duration::ZERO)),
        };
    }

    /// Runs the session until it ends, its token expires, its policy is revoked, or it is closed on request.
    async fn guard(self, shared: &Shared) -> Ending {
        let (id, opened) = (self.id, Instant::now());
        let mut state = shared.state.subscribe();
        let (admission, certificate, closings) = {
            let state = state.borrow_and_update();
            (state.faults.admission, state.certificate.clone(), state.closings)
        };
        let (announce, mut signed_in) = watch::channel(None::<SignedIn>);
        let mut session = pin!(self.admit(shared, admission, certificate, announce));
        loop {
            let (black_hole, deadline) = {
                let state = state.borrow_and_update();
                let signed_in = signed_in.borrow_and_update();
                let user = signed_in.as_ref();
                if state.closings != closings && opened <= state.closed_before {
                    return state.ending;
                }
                if user.is_some_and(|user| user.by_token() && !state.policies.contains(&user.name)) {
                    return Ending::Close;
                }
                let deadline = user.and_then(|user| user.expires_at).map(|end| {
                    (shared.authority.until(end) + state.profile.kill_delay)
                        .saturating_sub(state.profile.kill_ahead)
                });
                (state.faults.black_hole, deadline)
            };
            tokio::select! {
                biased;
                Ok(()) = state.changed() => {}
                Ok(()) = signed_in.changed() => {}
                () = tokio::time::sleep(deadline.unwrap_or_default()), if deadline.is_some() && !black_hole => {
                    shared.count(|counters| counters.expired += 1);
                    shared.emit(Event::Expired { client: id });
                    return state.borrow().profile.kill_by;
                }
                // In a black hole the session is not polled, and continues afterwards. A session that failed has lost
                // its client already.
                ending = &mut session, if !black_hole => return ending.unwrap_or_default(),
            }
        }
    }

    /// Treats the new connection as `admission` says, and runs the session.
    async fn admit(
        mut self,
        shared: &Shared,
        admission: Admission,
        certificate: Option<ServerCertificate>,
        announce: watch::Sender<Option<SignedIn>>,
    ) -> io::Result<Ending> {
        match admission {
            Admission::HangUp(ending) => return Ok(ending),
            Admission::Hang => {
                tokio::io::copy(&mut self.stream, &mut tokio::io::sink()).await?;
                return Ok(Ending::Close);
            }
            // Refused clients do not get here. One that was accepted just before is served.
            Admission::Serve | Admission::Refuse | Admission::TooManyClients => {}
        }
        let full = admission == Admission::TooManyClients;
        let session = Session { shared, announce, id: self.id, peer: self.peer, tls: certificate.is_some() };
        match certificate {
            Some(certificate) => session.run(certificate.acceptor().accept(self.stream).await?, full).await,
            None => session.run(self.stream, full).await,
        }
    }
}
