//! Maintenance notices of a hostile cache, with libFuzzer.

#![no_main]

#[path = "../properties/notice.rs"]
mod notice;
#[path = "../properties/runtime.rs"]
mod runtime;
#[path = "../properties/scripted_cache.rs"]
mod scripted_cache;

libfuzzer_sys::fuzz_target!(|input: &[u8]| notice::holds(input));
