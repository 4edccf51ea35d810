//! Warnings about settings of targets that are valid, but probably mistakes.

use std::time::Duration;

use super::duration::written;
use super::field::Fields;
use super::keys::Key;
use super::keys::probe::{COMMAND_TIMEOUT, CONNECT_TIMEOUT, INTERVAL};
use crate::target::Target;

/// A timeout of more intervals than this is probably a mistake.
const INTERVALS: u32 = 5;
/// A shorter timeout is too short for most TLS handshakes and sign-ins over a network.
const SHORTEST_CONNECT: Duration = Duration::from_millis(50);

/// Notes warnings about `target`, which was read from its `own` keys and from `defaults`.
pub(super) fn warn(target: &Target, own: &Fields<'_>, defaults: Option<&Fields<'_>>) {
    let warn = |keys: &[&Key<Duration>], message: String| {
        let sources = || std::iter::once(own).chain(defaults);
        if let Some(field) = sources().find_map(|source| keys.iter().find_map(|key| source.get(key))) {
            field.warning(message);
        }
    };
    let interval = target.interval;
    for (key, timeout) in
        [(&CONNECT_TIMEOUT, target.connect_timeout), (&COMMAND_TIMEOUT, target.command_timeout)]
    {
        if timeout > interval * INTERVALS {
            let (name, timeout, interval) = (own.name_of(key), written(timeout), written(interval));
            warn(
                &[key, &INTERVAL],
                format!(
                    "{name} of {timeout} is longer than {INTERVALS} intervals of {interval}; lower it or raise the \
                     interval"
                ),
            );
        }
    }
    if target.connect_timeout < SHORTEST_CONNECT {
        let (name, timeout, least) =
            (own.name_of(&CONNECT_TIMEOUT), written(target.connect_timeout), written(SHORTEST_CONNECT));
        warn(
            &[&CONNECT_TIMEOUT],
            format!("{name} of {timeout} is too short for most networks; use {least} or more"),
        );
    }
}
