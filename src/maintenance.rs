//! Notices of planned maintenance: what a cache announces, and what one target knows from them. Values without I/O and
//! without a clock: every instant is an argument.
//!
//! Azure Cache for Redis publishes to the channel [`AZURE_CHANNEL`] (`azure.rs`). Redis Enterprise, on which Azure
//! Managed Redis is built, sends pushes to connections that ask for them (`pushed.rs`). Sources: `AzureRedisEvents.md` of
//! the repository Azure/AzureCacheForRedis, and the maintenance notifications of the official clients of Redis.

mod azure;
mod event;
mod notice;
mod notices;
mod pushed;
mod requests;

pub use azure::AZURE_CHANNEL;
pub use event::Event;
pub use notice::{Moving, Notice};
pub use notices::{Announced, Moment, Noted, Notices, Receiver};
pub use requests::{Made, Request, Requests};
