//! Topologies and redirections of a hostile cluster, with libFuzzer.

#![no_main]

#[path = "../properties/runtime.rs"]
mod runtime;
#[path = "../properties/scripted_cache.rs"]
mod scripted_cache;
#[path = "../properties/topology.rs"]
mod topology;

libfuzzer_sys::fuzz_target!(|input: &[u8]| topology::holds(input));
