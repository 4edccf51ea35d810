//! Standard output, for the results of all commands, and the exit code if writing fails.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::ValueEnum;

use super::failure;

/// Writes `result` and a line break to standard output.
///
/// # Errors
/// [`WriteError`], after which the command must not write more.
pub(super) fn print(result: &dyn fmt::Display) -> Result<(), WriteError> {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{result}").and_then(|()| stdout.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => WriteError::Closed,
        _ => WriteError::Failed(error),
    })
}

/// Writes `message` and a line break to standard error. A failed write has no other place to be reported.
pub(super) fn complain(message: &dyn fmt::Display) {
    let _ = writeln!(io::stderr(), "{message}");
}

/// Writes an error of the command line. Its prefix is that of clap's messages.
pub(super) fn complain_of(error: &dyn fmt::Display) {
    complain(&format_args!("error: {error}"));
}

/// Returns the first names of a list, separated by commas, and the number of the others.
pub(super) fn enumerated<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const MOST: usize = 10;
    let more = names.len().saturating_sub(MOST);
    let listed = names.take(MOST).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{listed} and {more} more") } else { listed }
}

/// Writes `result` and returns `code`, or the exit code of a failed write.
pub(super) fn finish(result: &dyn fmt::Display, code: ExitCode) -> ExitCode {
    match print(result) {
        Ok(()) => code,
        Err(error) => error.exit(code),
    }
}

/// Why a result could not be written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The reader closed the pipe.
    Closed,
    /// Another error, such as a full disk.
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
    /// Returns the exit code of a command whose own is `code`. A closed pipe is not an error; other errors are printed.
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
    /// For programs: one JSON object per line
    Json,
}

/// The style of results: in colour on a terminal, unless `NO_COLOR` is set.
#[derive(Clone, Copy, Debug)]
pub(super) enum Style {
    Plain,
    Colour,
}

impl Style {
    /// Returns the style for standard output (see <https://no-color.org>).
    pub(super) fn of_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        if io::stdout().is_terminal() && !refused && !is_dumb { Self::Colour } else { Self::Plain }
    }

    /// Returns `text` in green.
    pub(super) const fn good(self, text: &'static str) -> Styled {
        Styled { text, code: "32", style: self }
    }

    /// Returns `text` in bold red.
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
