//! The connections of a target's links, and what they show together.
//!
//! Pure: no I/O and no clock.

use std::time::SystemTime;

use super::whole::LinkId;
use crate::status::ConnectionState;
use crate::target::Protocol;

/// The connections of a target's links.
#[derive(Debug, Default)]
pub(super) struct Connections(Vec<Known>);

/// What is known of a link's connections.
#[derive(Debug)]
struct Known {
    link: LinkId,
    state: ConnectionState,
    /// That of the open connection.
    protocol: Option<Protocol>,
    /// That of the last certificate that the server has shown.
    certificate_expiry: Option<SystemTime>,
}

impl Connections {
    /// A link joins. What comes from others is ignored: a link may be heard of once more after its end.
    pub(super) fn joined(&mut self, link: LinkId) {
        self.left(link);
        // Most targets have one link.
        self.0.reserve_exact(1);
        let state = ConnectionState::Disconnected;
        self.0.push(Known { link, state, protocol: None, certificate_expiry: None });
    }

    /// The link opens a connection.
    pub(super) fn opening(&mut self, link: LinkId) {
        if let Some(known) = self.of(link) {
            known.state = ConnectionState::Connecting;
        }
    }

    /// The link has opened a connection.
    pub(super) fn opened(&mut self, link: LinkId, protocol: Protocol, expiry: Option<SystemTime>) {
        if let Some(known) = self.of(link) {
            (known.state, known.protocol) = (ConnectionState::Connected, Some(protocol));
        }
        self.certificate_seen(link, expiry);
    }

    /// The link has no connection.
    pub(super) fn closed(&mut self, link: LinkId) {
        if let Some(known) = self.of(link) {
            (known.state, known.protocol) = (ConnectionState::Disconnected, None);
        }
    }

    /// The server of the link has shown a certificate; `None` without TLS.
    pub(super) fn certificate_seen(&mut self, link: LinkId, expiry: Option<SystemTime>) {
        if let Some(known) = self.of(link).filter(|_| expiry.is_some()) {
            known.certificate_expiry = expiry;
        }
    }

    /// The link has ended.
    pub(super) fn left(&mut self, link: LinkId) {
        self.0.retain(|known| known.link != link);
    }

    /// Returns the state of the link that has got the furthest: one of many that is lost is no lost target.
    pub(super) fn state(&self) -> ConnectionState {
        let has = |state| self.0.iter().any(|known| known.state == state);
        let states = [ConnectionState::Connected, ConnectionState::Connecting];
        states.into_iter().find(|&state| has(state)).unwrap_or(ConnectionState::Disconnected)
    }

    /// Returns the oldest protocol of an open connection.
    pub(super) fn protocol(&self) -> Option<Protocol> {
        self.0.iter().filter_map(|known| known.protocol).min_by_key(|protocol| *protocol as usize)
    }

    /// Returns when the first certificate expires.
    pub(super) fn certificate_expiry(&self) -> Option<SystemTime> {
        self.0.iter().filter_map(|known| known.certificate_expiry).min()
    }

    fn of(&mut self, link: LinkId) -> Option<&mut Known> {
        self.0.iter_mut().find(|known| known.link == link)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const FIRST: LinkId = LinkId(0);
    const SECOND: LinkId = LinkId(1);

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn two() -> Connections {
        let mut connections = Connections::default();
        connections.joined(FIRST);
        connections.joined(SECOND);
        connections
    }

    #[test]
    fn what_comes_from_a_link_after_its_end_is_ignored() {
        let mut connections = two();
        connections.left(FIRST);
        connections.opened(FIRST, Protocol::Resp3, Some(at(10)));
        assert_eq!(connections.state(), ConnectionState::Disconnected);
        assert_eq!((connections.protocol(), connections.certificate_expiry()), (None, None));
    }

    #[test]
    fn a_target_is_connected_while_any_of_its_links_is() {
        let mut connections = two();
        assert_eq!(connections.state(), ConnectionState::Disconnected);
        connections.opening(FIRST);
        assert_eq!(connections.state(), ConnectionState::Connecting);
        connections.opened(FIRST, Protocol::Resp3, None);
        connections.opening(SECOND);
        assert_eq!(connections.state(), ConnectionState::Connected);
        connections.closed(FIRST);
        assert_eq!(connections.state(), ConnectionState::Connecting);
        connections.left(SECOND);
        assert_eq!(connections.state(), ConnectionState::Disconnected);
    }

    #[test]
    fn the_protocol_is_the_oldest_of_open_connections() {
        let mut connections = two();
        connections.opened(FIRST, Protocol::Resp2, None);
        connections.opened(SECOND, Protocol::Resp3, None);
        assert_eq!(connections.protocol(), Some(Protocol::Resp2));
        connections.closed(FIRST);
        assert_eq!(connections.protocol(), Some(Protocol::Resp3));
        connections.closed(SECOND);
        assert_eq!(connections.protocol(), None);
    }

    #[test]
    fn the_first_certificate_to_expire_counts_also_after_a_disconnect_until_it_is_replaced() {
        let mut connections = two();
        connections.opened(FIRST, Protocol::Resp3, Some(at(10)));
        connections.opened(SECOND, Protocol::Resp3, Some(at(20)));
        connections.closed(FIRST);
        assert_eq!(connections.certificate_expiry(), Some(at(10)));
        connections.certificate_seen(FIRST, Some(at(30)));
        connections.certificate_seen(FIRST, None);
        assert_eq!(connections.certificate_expiry(), Some(at(20)));
        connections.left(SECOND);
        assert_eq!(connections.certificate_expiry(), Some(at(30)));
    }
}
