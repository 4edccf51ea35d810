//! The connections of a target's links, and what they show together.
//!
//! Pure: no I/O and no clock.

use std::time::SystemTime;

use super::links::FRONT;
use super::whole::LinkId;
use crate::probe::ServerInfo;
use crate::status::{ConnectionInfo, ConnectionState};
use crate::target::Protocol;

/// The connections of a target's links, and new ones beside them.
#[derive(Debug, Default)]
pub(super) struct Connections {
    links: Vec<Known>,
    /// The expiry of the last certificate that the configured host has shown: new connections lead there also where no link
    /// does.
    host_expiry: Option<SystemTime>,
}

/// What is known of a link's connections.
#[derive(Debug)]
struct Known {
    link: LinkId,
    /// Whether it leads to a replica of a cluster, which says nothing of the target but when its certificate expires.
    is_to_replica: bool,
    state: ConnectionState,
    /// That of the open connection.
    protocol: Option<Protocol>,
    /// The open connection.
    info: Option<Box<ConnectionInfo>>,
    /// What the server says of itself, as far as it is known.
    server: Option<Box<ServerInfo>>,
    /// That of the last certificate that the server has shown. Not for the configured host.
    certificate_expiry: Option<SystemTime>,
}

impl Connections {
    /// A link joins. What comes from others is ignored: a link may be heard of once more after its end.
    pub(super) fn joined(&mut self, link: LinkId) {
        self.join(link, false);
    }

    /// A link to a replica joins.
    pub(super) fn replica_joined(&mut self, link: LinkId) {
        self.join(link, true);
    }

    fn join(&mut self, link: LinkId, is_to_replica: bool) {
        self.left(link);
        // Most targets have one link.
        self.links.reserve_exact(1);
        let state = ConnectionState::Disconnected;
        let (protocol, info, server, certificate_expiry) = (None, None, None, None);
        self.links.push(Known { link, is_to_replica, state, protocol, info, server, certificate_expiry });
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

    /// This is known of the connection that the link has opened.
    pub(super) fn known(&mut self, link: LinkId, info: ConnectionInfo) {
        if let Some(known) = self.of(link) {
            known.info = Some(Box::new(info));
        }
    }

    /// The server of the link says this of itself.
    pub(super) fn serves(&mut self, link: LinkId, server: &ServerInfo) {
        if let Some(known) = self.of(link) {
            known.server = Some(Box::new(server.clone()));
        }
    }

    /// Returns what the server of the link says of itself.
    pub(super) fn server_of(&self, link: LinkId) -> Option<&ServerInfo> {
        self.links.iter().find(|known| known.link == link)?.server.as_deref()
    }

    /// The link has no connection.
    pub(super) fn closed(&mut self, link: LinkId) {
        if let Some(known) = self.of(link) {
            (known.state, known.protocol, known.info) = (ConnectionState::Disconnected, None, None);
        }
    }

    /// The server of the link has shown a certificate; `None` without TLS.
    pub(super) fn certificate_seen(&mut self, link: LinkId, expiry: Option<SystemTime>) {
        if link == FRONT {
            self.host_expiry = expiry.or(self.host_expiry);
        } else if let Some(known) = self.of(link).filter(|_| expiry.is_some()) {
            known.certificate_expiry = expiry;
        }
    }

    /// The link has ended.
    pub(super) fn left(&mut self, link: LinkId) {
        self.links.retain(|known| known.link != link);
        if link == FRONT {
            self.host_expiry = None;
        }
    }

    /// Returns the state of the link that has got the furthest: one of many that is lost is no lost target.
    pub(super) fn state(&self) -> ConnectionState {
        let has = |state| self.of_target().any(|known| known.state == state);
        let states = [ConnectionState::Connected, ConnectionState::Connecting];
        states.into_iter().find(|&state| has(state)).unwrap_or(ConnectionState::Disconnected)
    }

    /// Returns the oldest protocol of an open connection.
    pub(super) fn protocol(&self) -> Option<Protocol> {
        self.of_target().filter_map(|known| known.protocol).min_by_key(|protocol| *protocol as usize)
    }

    /// Returns what is known of the first open connection.
    pub(super) fn info(&self) -> Option<&ConnectionInfo> {
        self.of_target().find_map(|known| known.info.as_deref())
    }

    /// Returns when the first certificate expires.
    pub(super) fn certificate_expiry(&self) -> Option<SystemTime> {
        self.links.iter().filter_map(|known| known.certificate_expiry).chain(self.host_expiry).min()
    }

    fn of(&mut self, link: LinkId) -> Option<&mut Known> {
        self.links.iter_mut().find(|known| known.link == link)
    }

    fn of_target(&self) -> impl Iterator<Item = &Known> {
        self.links.iter().filter(|known| !known.is_to_replica)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const FIRST: LinkId = LinkId(1);
    const SECOND: LinkId = LinkId(2);

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
    fn the_first_open_connection_is_shown() {
        let info =
            |user: &str| ConnectionInfo { address: None, tls_version: None, username: Some(user.into()) };
        let mut connections = two();
        let replica = LinkId(3);
        connections.replica_joined(replica);
        for (link, user) in [(replica, "a"), (SECOND, "b"), (FIRST, "c")] {
            connections.known(link, info(user));
        }
        assert_eq!(connections.info(), Some(&info("c")));
        connections.closed(FIRST);
        assert_eq!(connections.info(), Some(&info("b")));
        connections.closed(SECOND);
        assert_eq!(connections.info(), None);
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
    #[test]
    fn the_host_shows_a_certificate_to_new_connections_also_where_no_link_leads_there() {
        let mut connections = two();
        connections.joined(FRONT);
        connections.opened(FRONT, Protocol::Resp3, Some(at(5)));
        connections.opened(FIRST, Protocol::Resp3, Some(at(10)));
        assert_eq!(connections.certificate_expiry(), Some(at(5)));
        connections.left(FRONT);
        assert_eq!(connections.certificate_expiry(), Some(at(10)), "nobody would notice a renewed one");
        connections.certificate_seen(FRONT, Some(at(7)));
        assert_eq!(connections.certificate_expiry(), Some(at(7)));
    }

    #[test]
    fn a_replica_says_nothing_of_the_target_but_when_its_certificate_expires() {
        let mut connections = two();
        let replica = LinkId(3);
        connections.replica_joined(replica);
        connections.opened(FIRST, Protocol::Resp3, Some(at(20)));
        connections.opened(replica, Protocol::Resp2, Some(at(10)));
        assert_eq!(connections.protocol(), Some(Protocol::Resp3));
        assert_eq!(connections.certificate_expiry(), Some(at(10)));
        connections.closed(FIRST);
        assert_eq!(connections.state(), ConnectionState::Disconnected);
        connections.left(replica);
        assert_eq!(connections.certificate_expiry(), Some(at(20)));
    }
}
