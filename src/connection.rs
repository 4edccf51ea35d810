//! A connection to a cache: opened in phases, then a session of commands.

pub mod client_list;
mod reply;
pub mod session;
