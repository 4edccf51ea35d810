//! SIGTERM, SIGINT and SIGHUP.
//!
//! The handlers only write to a socket that the runtime reads, so no thread is needed.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::{emulate_default_handler, pipe};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;

use crate::signal::Signal;

/// The exit code after a second SIGTERM or SIGINT.
const SECOND_SIGNAL_EXIT: i32 = 1;

/// The received signals. The handlers remain installed until the process ends.
#[derive(Debug)]
pub struct Signals {
    terminate: UnixStream,
    interrupt: UnixStream,
    reload: UnixStream,
}

impl Signals {
    /// Installs the handlers. A second SIGTERM or SIGINT ends the process at once with exit code 1, even if the runtime
    /// is stuck.
    ///
    /// Must be called within a runtime.
    ///
    /// # Errors
    /// If file descriptors ran out or the system refuses the handlers.
    pub fn new() -> io::Result<Self> {
        let once = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // The order matters: the first signal sets the flag after it was tested, so only the second one exits.
            flag::register_conditional_shutdown(signal, SECOND_SIGNAL_EXIT, once.clone())?;
            flag::register(signal, once.clone())?;
        }
        Ok(Self {
            terminate: socket_for(SIGTERM)?,
            interrupt: socket_for(SIGINT)?,
            reload: socket_for(SIGHUP)?,
        })
    }

    /// Waits for the next signal. A shutdown takes precedence over a reload, and repeated signals count once. Cancel
    /// safe.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            () = drain(&mut self.terminate) => Signal::Terminate,
            () = drain(&mut self.interrupt) => Signal::Interrupt,
            () = drain(&mut self.reload) => Signal::Reload,
        }
    }
}

/// Ends the process as `signal` does without a handler, so that a shell knows what ended it.
pub(crate) fn end_process(signal: Signal) {
    let number = match signal {
        Signal::Terminate => SIGTERM,
        Signal::Interrupt => SIGINT,
        Signal::Reload => SIGHUP,
    };
    // If the system refuses, the caller's exit code ends the process.
    let _ = emulate_default_handler(number);
}

/// Returns a socket that becomes readable when `signal` is received.
fn socket_for(signal: i32) -> io::Result<UnixStream> {
    let (reader, writer) = StdUnixStream::pair()?;
    // Never blocks: if the buffer is full the byte is dropped, and the socket is readable anyway.
    pipe::register(signal, writer)?;
    reader.set_nonblocking(true)?;
    UnixStream::from_std(reader)
}

/// Waits until the socket is readable and reads all bytes.
async fn drain(socket: &mut UnixStream) {
    let mut bytes = [0; 1024];
    let read = socket.read(&mut bytes).await;
    // Without signals, the process could not be shut down.
    assert!(matches!(read, Ok(1..)), "the handlers never close the other end of the signal socket");
}

#[cfg(test)]
mod tests {
    use super::*;
    use signal_hook::low_level::raise;
    use std::process::{Command, Output};
    use std::time::Duration;

    #[tokio::test]
    async fn many_sighups_are_one_reload() {
        let mut signals = Signals::new().unwrap();
        for _ in 0..500 {
            raise(SIGHUP).unwrap();
        }
        assert_eq!(signals.next().await, Signal::Reload);
        assert!(tokio::time::timeout(Duration::from_millis(50), signals.next()).await.is_err());
        raise(SIGHUP).unwrap();
        assert_eq!(signals.next().await, Signal::Reload);
    }

    /// Runs one of the tests below in its own process.
    fn run_alone(test: &str) -> Output {
        let test = format!("os::unix::signals::tests::{test}");
        Command::new(std::env::current_exe().unwrap()).args(["--ignored", "--exact", &test]).output().unwrap()
    }

    #[test]
    fn the_first_signal_requests_a_shutdown_and_the_second_ends_the_process() {
        let requested = run_alone("one_sigterm_and_a_sighup");
        assert!(String::from_utf8_lossy(&requested.stdout).contains("1 passed"), "{requested:?}");
        let ended = run_alone("sigterm_and_sigint_while_the_runtime_is_stuck");
        assert_eq!(ended.status.code(), Some(SECOND_SIGNAL_EXIT), "{ended:?}");
    }

    #[tokio::test]
    #[ignore = "signals the whole process; run by the test above"]
    async fn one_sigterm_and_a_sighup() {
        let mut signals = Signals::new().unwrap();
        raise(SIGHUP).unwrap();
        raise(SIGTERM).unwrap();
        assert_eq!(signals.next().await, Signal::Terminate);
        assert_eq!(signals.next().await, Signal::Reload);
    }

    #[tokio::test]
    #[ignore = "ends the whole process; run by the test above"]
    async fn sigterm_and_sigint_while_the_runtime_is_stuck() {
        let _signals = Signals::new().unwrap();
        raise(SIGTERM).unwrap();
        raise(SIGINT).unwrap();
    }
}
