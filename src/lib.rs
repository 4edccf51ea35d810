//! cachepulse: a health agent for Azure Cache for Redis, Azure Managed Redis and any Redis or Valkey.

pub mod clock;
pub mod healthcheck;
pub mod http;
pub mod identity;
pub mod metrics;
pub mod probe;
pub mod secret;
pub mod signal;
pub mod status;
pub mod target;
pub mod telemetry;
