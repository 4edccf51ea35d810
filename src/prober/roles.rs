//! The role of the server that a link leads to, and whether it has changed.
//!
//! Pure: no I/O and no clock.

use std::net::SocketAddr;

use tokio::time::Instant;

use super::fallback::MEMORY;
use crate::probe::Role;

/// The roles of the server at the end of one link.
#[derive(Debug, Default)]
pub(super) struct Roles {
    /// What it says of itself.
    claimed: Option<Seen>,
    /// What it has shown.
    shown: Option<Seen>,
    /// Until when it is not asked, because the connection was lost over the question.
    spared_until: Option<Instant>,
}

/// What a round has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The server had this role before.
    Role(Role),
    /// Another server is the primary.
    Primary,
}

/// A role, and at which address.
type Seen = (Option<SocketAddr>, Role);

impl Roles {
    /// The server at `address` has this role, as it says. Returns the previous one of the same server if it was another: a
    /// replica is believed at once, and a primary when it has served. Proxies call themselves primary and take no writes,
    /// on one connection after the other.
    pub(super) fn seen(&mut self, address: Option<SocketAddr>, role: Option<Role>) -> Option<Role> {
        self.claimed = Some((address, role?));
        let is_replica = role == Some(Role::Replica);
        if is_replica && let Some(Change::Role(previous)) = self.served(false) {
            Some(previous)
        } else {
            None
        }
    }

    /// A round has succeeded. Returns whether that shows a change. Where sentinels name the primary (`is_named`), a primary
    /// elsewhere has taken the place of the previous one, whatever role it had.
    pub(super) fn served(&mut self, is_named: bool) -> Option<Change> {
        let (address, role) = self.claimed?;
        let (there, before) = self.shown.replace((address, role))?;
        if there == address {
            (before != role).then_some(Change::Role(before))
        } else {
            let are_primaries = before == Role::Primary && role == Role::Primary;
            (is_named && are_primaries).then_some(Change::Primary)
        }
    }

    /// The server was left for the one that now has the role. A new connection may lead to that by the same address, which
    /// is no other change.
    pub(super) const fn left(&mut self) {
        (self.claimed, self.shown) = (None, None);
    }

    /// The connection was lost over the question for the role.
    pub(super) fn spare(&mut self, now: Instant) {
        self.spared_until = Some(now + MEMORY);
    }

    /// Whether the server may be asked for its role at `now`.
    pub(super) fn may_be_asked(&self, now: Instant) -> bool {
        self.spared_until.is_none_or(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIMARY: Option<Role> = Some(Role::Primary);
    const REPLICA: Option<Role> = Some(Role::Replica);

    #[test]
    fn a_server_that_calls_itself_primary_and_takes_no_writes_has_changed_once() {
        let here = "10.0.0.1:6379".parse().ok();
        let mut roles = Roles::default();
        assert_eq!((roles.seen(here, PRIMARY), roles.served(false)), (None, None));
        assert_eq!(roles.seen(here, REPLICA), PRIMARY);
        roles.left();
        for _ in 0..3 {
            assert_eq!((roles.seen(here, PRIMARY), roles.seen(here, REPLICA)), (None, None));
        }
        assert_eq!(
            (roles.seen(here, PRIMARY), roles.served(false), roles.served(false)),
            (None, REPLICA.map(Change::Role), None)
        );
    }

    #[test]
    fn a_role_changes_if_the_same_server_had_another() {
        let (here, there) = ("10.0.0.1:6379".parse().ok(), "10.0.0.2:6379".parse().ok());
        let mut roles = Roles::default();
        for (address, role, previous) in [
            (here, None, None),
            (here, PRIMARY, None),
            (here, PRIMARY, None),
            (here, None, None),
            (here, REPLICA, PRIMARY),
            (here, REPLICA, None),
            (there, PRIMARY, None),
            (here, REPLICA, None),
            (here, PRIMARY, REPLICA),
        ] {
            let seen = roles.seen(address, role);
            let change = seen.map(Change::Role).or_else(|| roles.served(false));
            assert_eq!(change, previous.map(Change::Role), "{address:?} {role:?}");
        }
    }

    #[test]
    fn a_failover_behind_one_address_is_one_change() {
        let mut roles = Roles::default();
        let address = "10.0.0.1:6380".parse().ok();
        assert_eq!((roles.seen(address, PRIMARY), roles.served(false)), (None, None));
        assert_eq!(roles.seen(address, REPLICA), PRIMARY);
        roles.left();
        assert_eq!((roles.seen(address, PRIMARY), roles.served(false)), (None, None));
    }

    #[test]
    fn a_primary_that_sentinels_name_elsewhere_is_one_change() {
        let (here, there) = ("10.0.0.1:6379".parse().ok(), "10.0.0.2:6379".parse().ok());
        let mut roles = Roles::default();
        assert_eq!((roles.seen(here, PRIMARY), roles.served(true)), (None, None));
        assert_eq!((roles.seen(there, PRIMARY), roles.served(true)), (None, Some(Change::Primary)));
        assert_eq!(roles.seen(there, REPLICA), PRIMARY);
        roles.left();
        assert_eq!((roles.seen(here, PRIMARY), roles.served(true)), (None, None), "the demotion was counted");
    }
}
