//! cachepulse: a health agent for Azure Cache for Redis, Azure Managed Redis and any Redis or Valkey.
//!
//! The modules, from the outside in:
//!
//! [`cli`] parses the command and its flags. [`config`] turns YAML or flags into [`target`]s and [`identity`]s, or
//! reports every problem. `run` starts the [`daemon`], which serves the endpoint, runs the [`agent`], and handles
//! [`signal`]s and changes of the configuration file. A [`service_manager`] learns what the daemon does.
//!
//! The [`agent`] runs a [`prober`] for each target and a refresh loop ([`identity::refresh`]) for each identity. A
//! refresh loop publishes tokens and never connects to a cache. A prober presents the newest token and never connects to
//! an identity endpoint.
//!
//! A [`prober`] keeps one [`connection`], runs the steps of a [`probe`] on it at every tick, and records each outcome in
//! [`metrics`] and [`status`]. The [`http`] endpoint serves both on its own thread, behind a [`guard`].
//!
//! In a fleet of agents, each has a [`partition`] of the targets.
//! A [`topology`] says which node of a cluster has which keys.
//! [`maintenance`] reads the notices of planned maintenance that a cache sends.
//!
//! Durations are measured with tokio's clock, which tests can pause; the wall clock is a [`clock`] that is passed in.
//! Every retry uses [`backoff`]. The files that a user names are read through [`files`], which never blocks the loop. A
//! secret is a [`secret::Secret`], and a text from outside passes through [`excerpt`] before it is logged or shown. Connections to
//! caches leave a reserve of [`descriptors`]. What depends on the operating system is in `os`.

pub mod agent;
mod alarm;
pub mod backoff;
mod buffer;
pub mod build_info;
pub mod cli;
pub mod clock;
mod closed_set;
pub mod config;
pub mod connection;
mod counted;
pub mod daemon;
pub mod descriptors;
pub mod error;
mod escaped;
pub mod excerpt;
pub mod files;
pub mod guard;
pub mod healthcheck;
mod hex;
pub mod http;
pub mod identity;
mod lock;
mod log_budget;
pub mod maintenance;
pub mod metrics;
mod os;
pub mod partition;
mod piecewise;
pub mod probe;
pub mod prober;
pub mod secret;
pub mod service_manager;
pub mod signal;
pub mod status;
pub mod target;
pub mod telemetry;
pub mod topology;
