//! What the operating system asks of us: SIGTERM and SIGINT to shut down, SIGHUP to read the configuration again.
//!
//! The handlers write to a socket that the runtime reads: no thread, and nothing is done inside a handler.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Shut down within the grace period.
    Shutdown,
    /// Read the configuration again.
    Reload,
}

/// The exit code after a second SIGTERM or SIGINT.
const IMPATIENT_EXIT: i32 = 1;

/// The signals that have come. Its handlers stay for the life of the process.
#[derive(Debug)]
pub struct Signals {
    shutdown: UnixStream,
    reload: UnixStream,
}

impl Signals {
    /// Listens from now on. From the second SIGTERM or SIGINT on, the process ends at once with exit code 1, also
    /// where the runtime is stuck.
    ///
    /// Must be called within a runtime.
    ///
    /// # Errors
    /// Where the system has no more file descriptors or refuses the handlers.
    pub fn new() -> io::Result<Self> {
        let once = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first signal finds the flag down and raises it, the second finds it up.
            flag::register_conditional_shutdown(signal, IMPATIENT_EXIT, once.clone())?;
            flag::register(signal, once.clone())?;
        }
        Ok(Self { shutdown: socket_for(&[SIGTERM, SIGINT])?, reload: socket_for(&[SIGHUP])? })
    }

    /// The next signal; a shutdown goes before a reload. Those of one kind that came since the last call are one.
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            () = drain(&mut self.shutdown) => Signal::Shutdown,
            () = drain(&mut self.reload) => Signal::Reload,
        }
    }
}

/// A socket that becomes readable when one of `signals` comes.
fn socket_for(signals: &[i32]) -> io::Result<UnixStream> {
    let (reader, writer) = StdUnixStream::pair()?;
    for signal in signals {
        // Never blocks: what does not fit is dropped, and the socket is readable all the same.
        pipe::register(*signal, writer.try_clone()?)?;
    }
    reader.set_nonblocking(true)?;
    UnixStream::from_std(reader)
}

/// Waits for a byte and takes all that have come with it.
async fn drain(socket: &mut UnixStream) {
    let mut bytes = [0; 1024];
    let read = socket.read(&mut bytes).await;
    // Deaf to signals is no way to go on.
    assert!(matches!(read, Ok(1..)), "the handlers hold the other end of the signal socket for ever");
}

#[cfg(test)]
mod tests {
    use super::*;
    use signal_hook::low_level::raise;
    use std::process::{Command, Output};
    use std::time::Duration;

    #[tokio::test]
    async fn a_storm_of_sighup_is_one_reload() {
        let mut signals = Signals::new().unwrap();
        for _ in 0..500 {
            raise(SIGHUP).unwrap();
        }
        assert_eq!(signals.next().await, Signal::Reload);
        assert!(tokio::time::timeout(Duration::from_millis(50), signals.next()).await.is_err());
        raise(SIGHUP).unwrap();
        assert_eq!(signals.next().await, Signal::Reload);
    }

    /// Runs one of the tests below in a process of its own.
    fn run_alone(test: &str) -> Output {
        let test = format!("signal::tests::{test}");
        Command::new(std::env::current_exe().unwrap()).args(["--ignored", "--exact", &test]).output().unwrap()
    }

    #[test]
    fn the_first_signal_asks_and_the_second_ends() {
        let asked = run_alone("one_sigterm_and_a_sighup");
        assert!(String::from_utf8_lossy(&asked.stdout).contains("1 passed"), "{asked:?}");
        let ended = run_alone("sigterm_and_sigint_while_the_runtime_is_stuck");
        assert_eq!(ended.status.code(), Some(IMPATIENT_EXIT), "{ended:?}");
    }

    #[tokio::test]
    #[ignore = "signals the whole process; run by the test above"]
    async fn one_sigterm_and_a_sighup() {
        let mut signals = Signals::new().unwrap();
        raise(SIGHUP).unwrap();
        raise(SIGTERM).unwrap();
        assert_eq!(signals.next().await, Signal::Shutdown);
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
