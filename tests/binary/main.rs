//! Tests of the built binary without a cache: its command line, configuration and log. They use the harness of
//! `tests/agent`, which has the tests with a real redis-server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "shared with the tests of the agent")]
#[path = "../agent/port.rs"]
mod port;
#[allow(dead_code, reason = "shared with the tests of the agent")]
#[path = "../agent/program.rs"]
mod program;
#[allow(dead_code, reason = "shared with the tests of the agent")]
#[path = "../agent/scrape.rs"]
mod scrape;

mod command_line;
mod guarded;
mod hash_password;
mod log;
mod validate;
mod waiting;
