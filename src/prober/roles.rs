//! The role of the server that a link leads to, and whether it has changed.
//!
//! Pure: no I/O and no clock.

use std::net::SocketAddr;

use crate::probe::Role;

/// The last role that was seen, and at which address.
#[derive(Debug, Default)]
pub(super) struct Roles(Option<(Option<SocketAddr>, Role)>);

impl Roles {
    /// The server at `address` has shown its role. Returns the previous one of the same server if it was another.
    pub(super) fn seen(&mut self, address: Option<SocketAddr>, role: Option<Role>) -> Option<Role> {
        let role = role?;
        let previous = self.0.replace((address, role))?;
        (previous.0 == address && previous.1 != role).then_some(previous.1)
    }

    /// The server was left for the one that now has the role. A new connection may lead to that by the same address, which
    /// is no other change.
    pub(super) const fn left(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIMARY: Option<Role> = Some(Role::Primary);
    const REPLICA: Option<Role> = Some(Role::Replica);

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
            assert_eq!(roles.seen(address, role), previous, "{address:?} {role:?}");
        }
    }

    #[test]
    fn a_failover_behind_one_address_is_one_change() {
        let mut roles = Roles::default();
        let address = "10.0.0.1:6380".parse().ok();
        assert_eq!(roles.seen(address, PRIMARY), None);
        assert_eq!(roles.seen(address, REPLICA), PRIMARY);
        roles.left();
        assert_eq!(roles.seen(address, PRIMARY), None);
    }
}
