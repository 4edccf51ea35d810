//! File descriptors: the limit of the process, what the targets need, and the reserve that connections to caches leave
//! to everything else, so that the endpoint, reloads and sign-in work when there are too few.
//!
//! The system gives out the lowest free number. So a connection whose number is close to the limit takes a descriptor of
//! the reserve, and nobody needs to count.

use std::io;

use tracing::warn;

pub use crate::os::descriptors::raise_limit;
use crate::os::descriptors::{self, AsDescriptor};

/// What the process holds without targets: standard streams, runtimes with their timer, signals, both endpoints.
const BASE: u64 = 28;
/// What of it is opened after [`check_start`], at most.
const AT_START: u64 = 24;
/// What a target needs: its connection, and at times a second one, to probe new connections.
const PER_TARGET: u64 = 2;
/// The reserve is a sixth of the limit, within these bounds.
const RESERVE: (u64, u64) = (6, 512);

/// Who opens a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A target, which leaves the reserve alone.
    Target,
    /// The agent itself, to sign in: without a token many targets fail.
    Agent,
}

/// Warns if the limit is too low for `targets`.
pub fn warn_if_too_few(targets: usize) {
    let (limit, needed) = (descriptors::limit(), needed(targets));
    if limit < needed {
        warn!(
            limit,
            needed,
            targets,
            "the limit of file descriptors is too low for the targets; raise it, with ulimit -n for example"
        );
    }
}

/// Checks that the runtime can start, which panics otherwise.
///
/// # Errors
/// If there are too few free descriptors.
pub fn check_start() -> io::Result<()> {
    descriptors::try_pairs(AT_START / 2)
}

/// Checks that `socket` may be used for `purpose`.
///
/// # Errors
/// EMFILE, as if the limit were lower by the reserve.
pub fn check(socket: &impl AsDescriptor, purpose: Purpose) -> io::Result<()> {
    let limit = descriptors::limit();
    if purpose == Purpose::Target && descriptors::number(socket) >= limit.saturating_sub(reserve(limit)) {
        return Err(descriptors::too_many());
    }
    Ok(())
}

/// Returns how many clients the endpoint may have: half of the reserve. The rest is for files, lookups and sign-in.
pub(crate) fn for_clients() -> usize {
    usize::try_from(reserve(descriptors::limit()) / 2).unwrap_or(usize::MAX)
}

/// Returns how many clients the health endpoint may have: an eighth of the reserve.
pub(crate) fn for_health_checks() -> usize {
    (for_clients() / 4).max(1)
}

const fn reserve(limit: u64) -> u64 {
    let (least, most) = RESERVE;
    let part = limit / 6;
    if part < least {
        least
    } else if part > most {
        most
    } else {
        part
    }
}

/// Returns the lowest limit that is enough for `targets`.
fn needed(targets: usize) -> u64 {
    let used = BASE + PER_TARGET * targets as u64;
    let is_enough = |limit: &u64| limit - reserve(*limit) >= used;
    (used + RESERVE.0..=used + RESERVE.1).find(is_enough).unwrap_or(used + RESERVE.1)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn what_is_needed_is_the_lowest_limit_that_leaves_the_reserve() {
        for targets in [1, 10, 15, 100, 483, 1_000, 10_000] {
            let needed = needed(targets);
            let left = |limit| limit - reserve(limit);
            let used = BASE + PER_TARGET * targets as u64;
            assert!(left(needed) >= used, "{targets}: {needed}");
            assert!(left(needed - 1) < used, "{targets}: {needed}");
        }
    }

    #[test]
    fn a_target_leaves_the_reserve_to_the_agent() {
        struct Number(i32);
        impl AsRawFd for Number {
            fn as_raw_fd(&self) -> i32 {
                self.0
            }
        }
        let limit = descriptors::limit();
        let last = i32::try_from(limit - 1).unwrap();
        let error = check(&Number(last), Purpose::Target).unwrap_err();
        assert!(crate::error::is_local(&error), "{error}");
        check(&Number(last), Purpose::Agent).unwrap();
        let first = i32::try_from(limit - reserve(limit)).unwrap();
        check(&Number(first), Purpose::Target).unwrap_err();
        check(&Number(first - 1), Purpose::Target).unwrap();
    }
}
