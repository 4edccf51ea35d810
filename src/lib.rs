//! cachepulse: a health agent for Azure Cache for Redis, Azure Managed Redis and any Redis or Valkey.

pub mod cli;
pub mod clock;
pub mod config;
pub mod identity;
pub mod probe;
pub mod secret;
pub mod target;
