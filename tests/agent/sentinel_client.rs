//! An application that finds the primary by asking the sentinels before each write.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::application::{Application, Writer};
use crate::line_connection::{LOGIN, LineConnection, LineConnections};
use crate::sentinel_bed::{self, SERVICE, SentinelBed};

/// Starts an application, which runs until it is dropped.
pub(crate) fn start(bed: &SentinelBed) -> Application {
    let sentinels = bed.sentinels.iter().map(|sentinel| (sentinel.socket(), None)).collect();
    let servers = bed.servers.iter().map(|server| (server.port(), server.socket())).collect();
    let connections = LineConnections::default();
    Application::start(vec![ServiceWriter { sentinels, servers, primary: None, connections }])
}

/// Writes to the primary.
struct ServiceWriter {
    /// The socket of each sentinel, and which port it named last.
    sentinels: Vec<(PathBuf, Option<u16>)>,
    /// The socket of the server at each port.
    servers: BTreeMap<u16, PathBuf>,
    primary: Option<u16>,
    connections: LineConnections,
}

impl ServiceWriter {
    /// Asks all sentinels. One that names another server than before has learnt of a failover; others may not have yet.
    async fn find(&mut self) -> Option<u16> {
        for (socket, last) in &mut self.sentinels {
            let asked = self.connections.with(socket, sentinel_bed::LOGIN, primary_port).await;
            if let Some(port) = asked
                && last.replace(port) != asked
            {
                self.primary = asked;
            }
        }
        self.primary
    }
}

impl Writer for ServiceWriter {
    async fn write(&mut self) -> bool {
        let Some(primary) = self.find().await else { return false };
        let set = async |connection: &mut LineConnection| {
            connection.call(&["SET", "application", "value", "PX", "5000"]).await
        };
        let reply = self.connections.with(&self.servers[&primary], LOGIN, set).await;
        reply.is_some_and(|reply| reply == "+OK")
    }
}

/// Asks one sentinel for the port of the primary.
async fn primary_port(sentinel: &mut LineConnection) -> Option<u16> {
    let header = sentinel.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]).await?;
    (header == "*2").then_some(())?;
    // The length of the host, the host, the length of the port.
    for _ in 0..3 {
        sentinel.line().await?;
    }
    sentinel.line().await?.parse().ok()
}
