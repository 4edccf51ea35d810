//! A panic is a defect. It ends the process, with a line in the log that asks for a report.

use std::any::Any;
use std::panic::{self, PanicHookInfo};
use std::process;

/// Lets every panic from now on end the process, with the exit code of a failure. Nothing unwinds, because release builds cannot
/// (`panic` in Cargo.toml).
pub(super) fn exit_on_panic() {
    panic::set_hook(Box::new(|panic| {
        log(panic);
        process::exit(1);
    }));
}

fn log(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(tracing::field::display);
    let thread = std::thread::current();
    let thread = thread.name();
    let detail = message(panic.payload());
    tracing::error!(detail, location, thread, "the agent panicked and ends; please report this");
}

/// Returns the message of a panic, which is text of either kind unless it is a value of an unusual type.
fn message(payload: &(dyn Any + Send)) -> Option<&str> {
    payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn a_panic_is_logged_with_its_message_place_and_thread() {
        let (lines, _guard) = testing::logged();
        let other = panic::take_hook();
        panic::set_hook(Box::new(log));
        let number = 7;
        let panicked = panic::catch_unwind(|| panic!("no entry {number}"));
        panic::set_hook(other);
        panicked.unwrap_err();
        let text = lines.text();
        for part in ["the agent panicked", "no entry 7", "src/telemetry/panics.rs:", "panics::tests"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert_eq!(message(&7), None);
    }
}
