//! How far the attempts of a link have got: a server that nobody can connect to decides nothing.
//!
//! Pure: no I/O and no clock.

/// What is known of a link's way to its server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Contact {
    /// No attempt has ended.
    #[default]
    Untried,
    /// No attempt has ended, and an earlier prober of the target has reached the server.
    Known,
    /// An earlier prober of the target has reached the server, and no attempt of this one has succeeded.
    Missed,
    /// No attempt has reached the server.
    Unreached,
    /// No attempt has reached the server, the last one for want of the agent's own resources.
    Local,
    /// The server has taken a connection after failures. It decides from what that leads to, and not by what failed before.
    Connected,
    /// The server has taken a connection, and decides.
    Reached,
}

/// How far an attempt to connect has got that reached no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::prober) enum Reach {
    /// Out of this machine.
    Nowhere,
    /// Not out of this machine.
    Local,
}

impl Contact {
    pub(super) const fn is_tried(self) -> bool {
        !matches!(self, Self::Untried | Self::Known)
    }

    /// Whether the server was reached, now or by an earlier prober of the target.
    pub(super) const fn is_known(self) -> bool {
        matches!(self, Self::Known | Self::Missed | Self::Reached)
    }

    pub(super) const fn is_reached(self) -> bool {
        matches!(self, Self::Missed | Self::Reached)
    }

    /// Whether an earlier prober of the target has reached the server, and this one has failed to.
    pub(super) const fn is_missed(self) -> bool {
        matches!(self, Self::Missed)
    }

    /// Whether the agent's own resources are all that is known to stand in the way.
    pub(super) const fn is_local(self) -> bool {
        matches!(self, Self::Local)
    }

    /// Whether what the link finds decides. A server that was reached before does so before its first attempt has ended:
    /// nothing succeeds without it.
    pub(super) const fn decides(self) -> bool {
        matches!(self, Self::Known | Self::Missed | Self::Reached | Self::Local)
    }

    /// The server that the link leads to from now on was reached before. Returns whether it decides by that.
    pub(super) fn known(&mut self) -> bool {
        let known = match self {
            Self::Untried => Self::Known,
            Self::Unreached | Self::Local => Self::Missed,
            Self::Known | Self::Missed | Self::Connected | Self::Reached => return false,
        };
        *self = known;
        true
    }

    /// The server has taken a connection. Returns whether that is the first one, after failures.
    pub(super) fn connected(&mut self) -> bool {
        let is_late = matches!(self, Self::Unreached | Self::Local);
        *self = match self {
            Self::Untried | Self::Known | Self::Missed | Self::Reached => Self::Reached,
            Self::Unreached | Self::Local | Self::Connected => Self::Connected,
        };
        is_late
    }

    /// The server has taken a connection, and does not serve. Returns whether that is the first one, after failures.
    pub(super) fn refused(&mut self) -> bool {
        if matches!(self, Self::Known | Self::Missed) {
            *self = Self::Missed;
            return false;
        }
        self.connected()
    }

    /// An attempt to connect has failed. Returns whether the server is unreached after this, the first attempt.
    pub(super) fn failed(&mut self, reach: Reach) -> bool {
        let is_first = *self == Self::Untried;
        match (reach, *self) {
            (_, Self::Known | Self::Missed) => *self = Self::Missed,
            (_, Self::Connected | Self::Reached) => {}
            (Reach::Nowhere, _) => *self = Self::Unreached,
            (Reach::Local, _) => *self = Self::Local,
        }
        is_first && reach == Reach::Nowhere
    }

    /// It is known what the connection has led to.
    pub(super) const fn shown(&mut self) {
        if matches!(self, Self::Connected) {
            *self = Self::Reached;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_decides_once_it_has_taken_a_connection_and_what_that_leads_to_is_known() {
        let mut contact = Contact::default();
        assert!(contact.failed(Reach::Nowhere) && !contact.failed(Reach::Nowhere));
        assert!(contact.is_tried() && !contact.decides());
        assert!(contact.connected() && !contact.connected());
        assert!(!contact.decides(), "what failed before is no fault of its own");
        contact.shown();
        assert!(contact.is_reached() && contact.decides());
        assert!(!contact.failed(Reach::Nowhere) && contact.decides(), "for ever");
    }

    #[test]
    fn a_first_attempt_that_reaches_the_server_lets_it_decide_at_once() {
        let (mut served, mut refused) = (Contact::default(), Contact::default());
        assert!(!served.connected() && !refused.refused());
        assert!(served.decides() && refused.decides());
    }

    #[test]
    fn a_server_that_was_reached_before_decides_from_the_start_whatever_the_first_attempt_leads_to() {
        let fails: [fn(&mut Contact) -> bool; 3] =
            [|it| it.failed(Reach::Nowhere), |it| it.failed(Reach::Local), Contact::refused];
        for fail in fails {
            let mut contact = Contact::default();
            assert!(contact.known() && !contact.is_tried() && contact.decides());
            assert!(!fail(&mut contact), "it is not unreached");
            assert!(contact.is_tried() && contact.is_reached() && contact.decides() && contact.is_missed());
            assert!(!contact.refused() && contact.is_missed());
            assert!(!contact.connected() && contact.is_reached() && !contact.is_missed());
        }
    }

    #[test]
    fn an_unreached_link_that_is_led_to_a_server_which_was_reached_decides() {
        for reach in [Reach::Nowhere, Reach::Local] {
            let mut contact = Contact::default();
            contact.failed(reach);
            assert!(contact.known() && contact.is_missed() && contact.decides());
            assert!(!contact.known(), "that is no news");
        }
    }

    #[test]
    fn the_agents_own_resources_decide_while_they_are_what_an_attempt_fails_for() {
        let mut contact = Contact::default();
        assert!(!contact.failed(Reach::Local));
        assert!(contact.decides() && !contact.is_reached());
        contact.failed(Reach::Nowhere);
        assert!(!contact.decides());
    }
}
