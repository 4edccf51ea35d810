//! End-to-end tests of the built binary, with its environment, signals and exit codes, against a real redis-server and a
//! local Azure.
//!
//! [`program`] runs the binary and requests its pages, [`redis_server`] runs a redis-server, and [`lab`] sets up a local
//! Azure in front of one. [`cluster_bed`] runs a cluster of [`nodes`], and [`sentinel_bed`] a primary and a
//! replica with sentinels; an [`application`] uses either. The other modules are the tests. They run in real time, on free
//! ports, and wait for conditions instead of fixed times.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod application;
mod cluster_bed;
mod cluster_client;
#[allow(dead_code, reason = "shared with the tests of faults")]
mod gate;
mod lab;
mod line_connection;
mod load;
mod nodes;
mod port;
mod program;
mod redis_server;
mod scrape;
mod sentinel_bed;
mod sentinel_client;

mod azure_clusters;
mod check;
mod cluster;
mod cluster_one_node;
mod cluster_reload;
mod cluster_start;
mod demo;
mod developer;
mod endpoint;
mod faults;
mod files;
mod fleet;
mod guarded;
mod health;
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
mod sentinel_lies;
mod service_manager;
mod shutdown;
mod target_files;
mod tls;
mod tokens;
mod troubleshooting;
mod verdict;
mod waiting;
