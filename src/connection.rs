//! Connections to a cache, phase by phase: resolve and connect ([`dial`]), TLS ([`tls`]).
//!
//! The transport of the identity requests opens its connections the same way.

pub mod dial;
pub mod resolver;
#[cfg(test)]
pub(crate) mod testing;
pub mod tls;
