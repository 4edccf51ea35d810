//! Responses of a hostile identity endpoint, with libFuzzer.

#![no_main]

#[path = "../properties/answer.rs"]
mod answer;
#[path = "../properties/echo.rs"]
mod echo;
#[path = "../properties/runtime.rs"]
mod runtime;

libfuzzer_sys::fuzz_target!(|input: &[u8]| answer::holds(input));
