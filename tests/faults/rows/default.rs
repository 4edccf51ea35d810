//! A few faults with the default settings: three attempts per probe hide no outage.

use std::time::Duration;

use cachepulse::config::keys::probe::{COMMAND_TIMEOUT, CONNECT_TIMEOUT, INTERVAL};
use cachepulse_standin::{Admission, CommandFault, Dialect, Ending, FaultReply, TokenFault};

use super::cache::{admission, closed};
use super::sign_in::removed;
use super::token::without_a_token;
use super::{Group, front};
use crate::row::Row;

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Group::new("With the defaults");
    rows.case(
        "failover: connections refused for 15 s",
        admission(["connect_refused"], Admission::Refuse)
            .wake(["closed"])
            .lasts(Duration::from_secs(15))
            .by_default(),
    );
    rows.case(
        "connections accepted and closed immediately",
        admission(["closed", "tls_handshake"], Admission::HangUp(Ending::Close)).wake(["reset"]).by_default(),
    );
    rows.case("idle connection closed", closed("closed", Ending::Close).by_default());
    let silent = || CommandFault::replied("GET", FaultReply::Silence);
    rows.case(
        "commands that are never answered",
        front(["command_timeout"], move |faults| faults.commands = vec![silent()])
            // The two other attempts.
            .shows_late(2 * COMMAND_TIMEOUT.default())
            .by_default(),
    );
    let black_hole = |reason| front([reason], |faults| faults.black_hole = true);
    rows.case(
        "packets dropped on a live connection: first sign",
        black_hole("command_timeout").blink().by_default(),
    );
    rows.case(
        "packets dropped on a live connection: outcome of the probe",
        // The other attempts fail too, because handshakes are not answered. They last until the end of the tick.
        black_hole("command_timeout")
            .shows_late(INTERVAL.default().saturating_sub(CONNECT_TIMEOUT.default()))
            .by_default(),
    );
    rows.case("user removed and restored", removed(Dialect::default()).by_default());
    rows.case("endpoint that answers 503 at start-up", without_a_token(TokenFault::status(503)).by_default());
    rows.rows
}
