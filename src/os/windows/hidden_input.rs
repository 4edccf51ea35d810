//! Lines from a terminal that does not show what is typed: not on Windows, where only unsafe code can hide it.

use std::convert::Infallible;
use std::io;

use zeroize::Zeroizing;

/// A terminal that does not show what is typed.
#[derive(Debug)]
pub(crate) struct HiddenInput(Infallible);

impl HiddenInput {
    /// Fails, and says what to do instead.
    pub(crate) fn new<T>(_terminal: T) -> io::Result<Self> {
        let advice = "it cannot hide what is typed; send the password through a pipe";
        Err(io::Error::new(io::ErrorKind::Unsupported, advice))
    }

    /// Never called.
    pub(crate) fn line(&self, _prompt: &str, _limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
        match self.0 {}
    }
}
