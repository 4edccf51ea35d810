//! cachepulse: a health agent for Azure Cache for Redis, Azure Managed Redis and any Redis or Valkey.

pub mod agent;
pub mod backoff;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connection;
pub mod daemon;
pub mod error;
pub mod excerpt;
pub mod healthcheck;
pub mod http;
pub mod identity;
pub mod metrics;
pub mod probe;
pub mod prober;
pub mod secret;
pub mod signal;
pub mod standin;
pub mod status;
pub mod target;
pub mod telemetry;
