//! Tokens and other secrets, and their echoes from a hostile cache, with libFuzzer.

#![no_main]

#[path = "../properties/echo.rs"]
mod echo;
#[path = "../properties/runtime.rs"]
mod runtime;
#[path = "../properties/scripted_cache.rs"]
mod scripted_cache;
#[path = "../properties/token.rs"]
mod token;

libfuzzer_sys::fuzz_target!(|input: &[u8]| token::holds(input));
