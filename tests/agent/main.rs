//! End-to-end tests of the built binary, with its environment, signals and exit codes, against a real redis-server and a
//! local Azure.
//!
//! [`program`] runs the binary and requests its pages, [`redis_server`] runs a redis-server, and [`lab`] sets up a local
//! Azure in front of one. [`cluster_bed`] runs a cluster of [`nodes`], and [`cluster_client`] an application that uses it. The other modules are the tests. They run in real time, on free ports, and wait for conditions instead
//! of fixed times.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cluster_bed;
mod cluster_client;
#[allow(dead_code, reason = "shared with the tests of faults")]
mod gate;
mod lab;
mod load;
mod nodes;
mod port;
mod program;
mod redis_server;
mod scrape;
mod sentinels;

mod azure_clusters;
mod check;
mod cluster;
mod endpoint;
mod faults;
mod files;
mod hostile;
mod identities;
mod limits;
mod maintenance;
mod network;
mod new_connections;
mod quickstart;
mod reload;
mod replicas;
mod secrecy;
mod sentinel;
mod shutdown;
mod tls;
mod verdict;
