//! Which peers are known to speak TLS: one that does not answer any more is then not taken for one that speaks plain text.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::lock::lock;

/// How many peers are remembered: more than a target watches.
const MAX: usize = 512;

/// The addresses of peers that have finished a handshake. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Peers(Arc<Mutex<VecDeque<SocketAddr>>>);

impl Peers {
    /// The peer at `address` has finished a handshake.
    pub(super) fn spoke(&self, address: Option<SocketAddr>) {
        let mut known = self.lock();
        let Some(address) = address.filter(|address| !known.contains(address)) else { return };
        if known.len() >= MAX {
            known.pop_front();
        }
        known.push_back(address);
    }

    /// Whether the peer at `address` has finished a handshake.
    pub(super) fn knows(&self, address: Option<SocketAddr>) -> bool {
        address.is_some_and(|address| self.lock().contains(&address))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<SocketAddr>> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_peers_are_remembered() {
        let (peers, other) = (Peers::default(), Peers::default());
        let address = |port| Some(SocketAddr::from(([10, 0, 0, 1], port)));
        let shared = peers.clone();
        (0..600).for_each(|port| peers.spoke(address(port)));
        peers.spoke(None);
        assert_eq!([0, 87, 88, 599].map(|port| shared.knows(address(port))), [false, false, true, true]);
        assert!(!shared.knows(None) && !other.knows(address(599)));
        assert_eq!(peers.lock().len(), MAX);
    }
}
