//! Replies of a hostile cache, with libFuzzer.

#![no_main]

#[path = "../properties/reply.rs"]
mod reply;
#[path = "../properties/runtime.rs"]
mod runtime;
#[path = "../properties/scripted_cache.rs"]
mod scripted_cache;

libfuzzer_sys::fuzz_target!(|input: &[u8]| reply::holds(input));
