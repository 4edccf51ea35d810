//! The agent from outside: the built binary with its environment, its signals and exit codes, against a real
//! redis-server and the local Azure.
//!
//! [`program`] runs the binary and asks its endpoint, [`redis_server`] runs a redis-server, [`lab`] sets up an Azure
//! around one. The other modules are the tests. They run in real time, on ports of the system's choice, and wait for
//! what is to happen, never for a time to pass.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod lab;
mod port;
mod program;
mod redis_server;
mod scrape;

mod check;
mod endpoint;
mod faults;
mod hostile;
mod identities;
mod quickstart;
mod reload;
mod secrecy;
mod shutdown;
