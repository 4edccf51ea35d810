//! cachepulse: a health agent for Azure Cache for Redis, Azure Managed Redis and any Redis or Valkey.
//!
//! How it hangs together, from the outside in:
//!
//! [`cli`] reads the command and its flags. [`config`] turns YAML or flags into [`target`]s and [`identity`]s, or into
//! a list of every problem. `run` hands them to the [`daemon`], which binds the endpoint, starts the [`agent`] and is
//! then steered by [`signal`]s and by changes of the file.
//!
//! The [`agent`] reconciles what runs with what is wanted: a [`prober`] for each target and a refresh loop
//! ([`identity::refresh`]) for each identity. They never talk to each other's other side: a refresh loop publishes
//! tokens and never talks to a cache; a prober presents the newest one and never talks to an identity endpoint.
//!
//! A [`prober`] keeps one [`connection`], runs the steps of a [`probe`] on it at every tick, and tells each outcome to
//! [`metrics`] and [`status`]. The [`http`] endpoint shows both, on a thread of its own.
//!
//! Time is tokio's everywhere, so that tests can pause it; the time of day comes from a [`clock`] that is passed in.
//! [`backoff`] is the one formula by which things are tried again. What is secret is a [`secret::Secret`], and what
//! others say goes through [`excerpt`] before it is logged or shown.

pub mod agent;
pub mod backoff;
pub mod cli;
pub mod clock;
mod closed_set;
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
pub mod status;
pub mod target;
pub mod telemetry;
