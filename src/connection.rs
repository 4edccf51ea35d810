//! A connection to a cache: opened in phases, resolve and connect ([`dial`]) and TLS ([`tls`]), then a [`session`]
//! of commands.
//!
//! The transport of the identity requests opens its connections the same way.

mod buffers;
pub mod client_list;
mod connect;
pub(crate) mod deadline;
pub mod dial;
pub mod dialer;
pub mod handshake;
pub mod push;
mod reply;
pub mod resolver;
pub mod sentinel;
pub mod session;
#[cfg(test)]
pub(crate) mod testing;
pub mod tls;
pub mod trace;
