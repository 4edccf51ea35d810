//! Where every command writes its result: standard output, with an exit code that tells whether that worked.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::ValueEnum;

use super::failure;

/// Writes `result` and a line break to standard output.
///
/// # Errors
/// [`WriteError`], after which the command has nothing more to write.
pub(super) fn print(result: &dyn fmt::Display) -> Result<(), WriteError> {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{result}").and_then(|()| stdout.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => WriteError::Closed,
        _ => WriteError::Failed(error),
    })
}

/// Writes `result` and ends with `code`, or with the code for output that cannot be written.
pub(super) fn finish(result: &dyn fmt::Display, code: ExitCode) -> ExitCode {
    match print(result) {
        Ok(()) => code,
        Err(error) => error.exit(code),
    }
}

/// A result could not be written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The reader closed the pipe: it has seen enough.
    Closed,
    /// The disk is full, or worse.
    Failed(io::Error),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("standard output is closed"),
            Self::Failed(error) => write!(f, "cannot write to standard output: {error}"),
        }
    }
}

impl std::error::Error for WriteError {}

impl WriteError {
    /// Ends a command whose result was `code`: quietly where the reader has seen enough, and with a message otherwise.
    pub(super) fn exit(&self, code: ExitCode) -> ExitCode {
        match self {
            Self::Closed => code,
            Self::Failed(_) => failure(self),
        }
    }
}

/// Format of a result.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum OutputFormat {
    /// For people
    #[default]
    Text,
    /// For programs: each result is one JSON object on a line of its own
    Json,
}

/// How results look on standard output: in colour on a terminal, unless `NO_COLOR` is set.
#[derive(Clone, Copy, Debug)]
pub(super) enum Style {
    Plain,
    Colour,
}

impl Style {
    /// The style for standard output (see <https://no-color.org>).
    pub(super) fn of_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        if io::stdout().is_terminal() && !refused && !is_dumb { Self::Colour } else { Self::Plain }
    }

    /// `text`, in green.
    pub(super) const fn good(self, text: &'static str) -> Styled {
        Styled { text, code: "32", style: self }
    }

    /// `text`, in bold red.
    pub(super) const fn bad(self, text: &'static str) -> Styled {
        Styled { text, code: "1;31", style: self }
    }
}

/// A word in a [`Style`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Styled {
    text: &'static str,
    code: &'static str,
    style: Style,
}

impl fmt::Display for Styled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.style {
            Style::Plain => f.write_str(self.text),
            Style::Colour => write!(f, "\u{1b}[{}m{}\u{1b}[0m", self.code, self.text),
        }
    }
}
