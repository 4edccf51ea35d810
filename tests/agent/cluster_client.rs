//! An application that uses a cluster. It writes a key in each of its slots, follows redirections, and asks another node
//! after an error, as the clients of a cluster do.

use std::ops::Deref;
use std::time::Duration;

use cachepulse::topology::{Slot, SlotSet, key_in};

use crate::application::{Application, Writer};
use crate::cluster_bed::{Cluster, Directory};
use crate::line_connection::{LOGIN, LineConnection, LineConnections};

/// How many redirections it follows for one write.
const HOPS: usize = 5;

/// A client that runs until it is dropped.
pub(crate) struct ClusterClient {
    slots: Vec<u16>,
    application: Application,
}

impl ClusterClient {
    /// Starts to write to each of `slots`.
    pub(crate) fn start(cluster: &Cluster, slots: &[u16]) -> Self {
        let writers = slots.iter().map(|slot| SlotWriter::new(*slot, cluster.directory())).collect();
        Self { slots: slots.to_owned(), application: Application::start(writers) }
    }

    /// Returns for how long writes to `slot` have failed so far.
    pub(crate) fn unavailable_at(&self, slot: u16) -> Duration {
        self.application.unavailable_to(self.slots.iter().position(|it| *it == slot).unwrap())
    }
}

impl Deref for ClusterClient {
    type Target = Application;

    fn deref(&self) -> &Application {
        &self.application
    }
}

/// Writes to one slot.
struct SlotWriter {
    key: String,
    directory: Directory,
    connections: LineConnections,
    /// The port of the node that it believes to have the slot.
    route: u16,
}

impl SlotWriter {
    fn new(slot: u16, directory: Directory) -> Self {
        let slots = SlotSet::of(Slot::new(slot).unwrap());
        let route = *directory.lock().unwrap().keys().next().unwrap();
        let key = key_in("application:", &slots).unwrap();
        Self { key, directory, connections: LineConnections::default(), route }
    }

    /// Returns the reply of the node to SET; `None` if there is none in time.
    async fn set(&mut self, port: u16, is_asking: bool) -> Option<String> {
        let socket = self.directory.lock().unwrap().get(&port)?.clone();
        let key = &self.key;
        let set = async |connection: &mut LineConnection| {
            if is_asking {
                connection.call(&["ASKING"]).await?;
            }
            connection.call(&["SET", key, "value", "PX", "5000"]).await
        };
        self.connections.with(&socket, LOGIN, set).await
    }
}

impl Writer for SlotWriter {
    async fn write(&mut self) -> bool {
        let (mut port, mut is_asking) = (self.route, false);
        for _ in 0..HOPS {
            let Some(reply) = self.set(port, is_asking).await else { break };
            let mut words = reply.split(' ');
            let kind = words.next();
            let named = words.nth(1).and_then(|address| address.rsplit_once(':')?.1.parse().ok());
            is_asking = kind == Some("-ASK");
            match (kind, named) {
                (Some("+OK"), _) => {
                    self.route = port;
                    return true;
                }
                (Some("-MOVED" | "-ASK"), Some(named)) => port = named,
                (Some("-TRYAGAIN"), _) => {}
                _ => break,
            }
        }
        // Another node may know more.
        let directory = self.directory.lock().unwrap();
        let mut after = directory.range(self.route + 1..).chain(directory.iter());
        self.route = *after.next().unwrap().0;
        false
    }
}
