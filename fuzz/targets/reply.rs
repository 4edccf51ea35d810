//! What a hostile cache replies, under libFuzzer.

#![no_main]

#[path = "../properties/peer.rs"]
mod peer;
#[path = "../properties/reply.rs"]
mod reply;
#[path = "../properties/runtime.rs"]
mod runtime;

libfuzzer_sys::fuzz_target!(|input: &[u8]| reply::holds(input));
