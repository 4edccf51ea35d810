//! Lines from a terminal that does not show what is typed.
//!
//! The terminal is restored however reading ends: with a line, with an error, and before a signal ends or stops the process.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::flag;
use signal_hook::low_level::{emulate_default_handler, pipe};
use zeroize::Zeroizing;

/// A terminal that does not show what is typed, until this is dropped.
#[derive(Debug)]
pub(crate) struct HiddenInput<T: AsFd> {
    terminal: T,
    /// The modes of the terminal before.
    shown: Termios,
    signals: Signals,
}

impl<T: AsFd> HiddenInput<T> {
    /// Hides what is typed from now on. What was typed before is discarded.
    ///
    /// # Errors
    /// If `terminal` is none, or the system refuses signal handlers.
    pub(crate) fn new(terminal: T) -> io::Result<Self> {
        let shown = tcgetattr(&terminal)?;
        let input = Self { terminal, shown, signals: Signals::new()? };
        input.hide()?;
        Ok(input)
    }

    /// Prompts on standard error, and returns the next line without its line break. Of a longer line than `limit` bytes,
    /// returns `limit` + 1.
    ///
    /// # Errors
    /// If the terminal cannot be used.
    pub(crate) fn line(&self, prompt: &str, limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
        // Allocated at once: a vector that grows would leave copies of a secret in freed memory.
        let mut line = Zeroizing::new(Vec::with_capacity(limit + 1));
        let mut bytes = Zeroizing::new([0; 256]);
        show(prompt)?;
        loop {
            if let Some(signal) = self.wait()? {
                self.restore()?;
                // It returns if the signal stops the process, and another one has continued it.
                emulate_default_handler(signal)?;
                self.hide()?;
                line.clear();
                show(prompt)?;
                continue;
            }
            let read = match rustix::io::read(&self.terminal, &mut bytes[..]) {
                Ok(read) => &bytes[..read],
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let end = read.iter().position(|byte| *byte == b'\n');
            let room = limit + 1 - line.len();
            line.extend(read[..end.unwrap_or(read.len())].iter().take(room));
            if end.is_some() || read.is_empty() {
                return Ok(line);
            }
        }
    }

    /// Waits for input, or for a signal, which it returns.
    fn wait(&self) -> io::Result<Option<i32>> {
        loop {
            if let Some(signal) = self.signals.take() {
                return Ok(Some(signal));
            }
            let mut pending = [
                PollFd::new(&self.terminal, PollFlags::IN),
                PollFd::new(&self.signals.socket, PollFlags::IN),
            ];
            match poll(&mut pending, None) {
                Err(error) if error != Errno::INTR => return Err(error.into()),
                Ok(_) if pending[1].revents().is_empty() => return Ok(None),
                _ => {}
            }
        }
    }

    fn hide(&self) -> io::Result<()> {
        let mut hidden = self.shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        // Only the line break is shown.
        hidden.local_modes.insert(LocalModes::ECHONL);
        self.signals.catch(true);
        Ok(tcsetattr(&self.terminal, OptionalActions::Flush, &hidden)?)
    }

    /// Discards what was typed and not read, so that the rest of a long password does not reach the shell.
    fn restore(&self) -> io::Result<()> {
        Ok(tcsetattr(&self.terminal, OptionalActions::Flush, &self.shown)?)
    }
}

impl<T: AsFd> Drop for HiddenInput<T> {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = self.restore();
        self.signals.catch(false);
    }
}

fn show(prompt: &str) -> io::Result<()> {
    let mut stderr = io::stderr();
    stderr.write_all(prompt.as_bytes())?;
    stderr.flush()
}

/// The signals that end or stop the process.
#[derive(Debug)]
struct Signals {
    /// The last one, or 0.
    last: Arc<AtomicUsize>,
    /// Readable when there is one.
    socket: UnixStream,
    /// Whether they end or stop the process at once.
    is_default: Arc<AtomicBool>,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let (last, is_default) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
        let (socket, writer) = UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP] {
            flag::register_conditional_default(signal, Arc::clone(&is_default))?;
            flag::register_usize(signal, Arc::clone(&last), usize::try_from(signal).unwrap_or_default())?;
            pipe::register(signal, writer.try_clone()?)?;
        }
        Ok(Self { last, socket, is_default })
    }

    /// Sets whether signals are caught. Handlers stay installed until the process ends.
    fn catch(&self, catch: bool) {
        self.is_default.store(!catch, Ordering::SeqCst);
    }

    /// Returns the last signal since the last call.
    fn take(&self) -> Option<i32> {
        // Emptied first: a signal after that makes it readable again.
        while matches!((&self.socket).read(&mut [0; 64]), Ok(1..)) {}
        i32::try_from(self.last.swap(0, Ordering::SeqCst)).ok().filter(|signal| *signal > 0)
    }
}
