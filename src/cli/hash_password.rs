//! `cachepulse hash-password`: prints a user for `basic_auth_users` of a web configuration file.

use std::fmt;
use std::io::{self, IsTerminal as _, Read as _};
use std::process::ExitCode;

use bcrypt::Version;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue};
use clap::{Args, value_parser};
use zeroize::Zeroizing;

use super::source::unexpected_value;
use super::{failure, output, usage};
use crate::error::Chain;
use crate::os::{HiddenInput, disable_core_dumps};

/// The longest password, in bytes. bcrypt ignores what follows.
const MAX_LENGTH: usize = 72;

#[derive(Debug, Args)]
pub(super) struct HashPassword {
    /// Name of the user
    #[arg(long, value_name = "NAME", default_value = "prometheus", value_parser = username)]
    username: String,
    /// Cost of the hash: each step doubles the time of a check
    ///
    /// 10 takes about 0.1 s, and is enough for a random password. Choose more for one that people can remember.
    #[arg(long, value_name = "COST", default_value_t = 10, value_parser = value_parser!(u32).range(10..=16))]
    cost: u32,
}

impl HashPassword {
    pub(super) fn run(&self) -> ExitCode {
        disable_core_dumps();
        let password = match read(io::stdin()) {
            Ok(password) => password,
            Err(InputError::Unfit(fault)) => return usage(&fault),
            Err(error) => return failure(&Chain(&error)),
        };
        match bcrypt::hash_with_result(&*password, self.cost) {
            Ok(hash) => {
                // A name in quotes is text to every parser of YAML, whatever it looks like.
                let name = serde_json::Value::from(&*self.username);
                let hash = hash.format_for_version(Version::TwoY);
                output::finish(&format_args!("{name}: {hash}"), ExitCode::SUCCESS)
            }
            Err(error) => failure(&format_args!("the password cannot be hashed: {error}")),
        }
    }
}

/// Says where the password comes from in the error about an argument, which may be the password. It is not repeated.
pub(super) fn refuse_argument(error: &mut clap::Error) {
    if unexpected_value(error).is_some() {
        error.insert(ContextKind::InvalidArg, ContextValue::String("<redacted>".to_owned()));
        let tip = StyledStr::from("the password is read from the terminal or from standard input");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
}

/// Parses the name of a user, which a colon ends in a request.
fn username(text: &str) -> Result<String, &'static str> {
    match text {
        "" => Err("the name is empty"),
        name if name.contains(':') => Err("a name cannot contain a colon"),
        name if name.contains(char::is_control) => Err("a name cannot contain control characters"),
        name => Ok(name.to_owned()),
    }
}

/// Reads the password: twice from a terminal, otherwise once.
fn read(stdin: io::Stdin) -> Result<Zeroizing<Vec<u8>>, InputError> {
    if !stdin.is_terminal() {
        return line(stdin);
    }
    let terminal = HiddenInput::new(stdin).map_err(InputError::Terminal)?;
    let ask = |prompt| terminal.line(prompt, MAX_LENGTH).map_err(InputError::Terminal);
    let password = ask("Password: ")?;
    // A second prompt for a password that is refused anyway would waste the user's time.
    check(&password)?;
    if ask("Repeat the password: ")? == password { Ok(password) } else { Err(Unfit::Different.into()) }
}

/// Reads the only line of `input`.
fn line(input: impl io::Read) -> Result<Zeroizing<Vec<u8>>, InputError> {
    // One more than the longest line with its break.
    const LIMIT: usize = MAX_LENGTH + 3;
    let mut line = Zeroizing::new(Vec::with_capacity(LIMIT));
    input.take(LIMIT as u64).read_to_end(&mut line).map_err(InputError::Stdin)?;
    if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
        if end + 1 < line.len() {
            return Err(Unfit::SeveralLines.into());
        }
        let end = if line[..end].ends_with(b"\r") { end - 1 } else { end };
        line.truncate(end);
    }
    check(&line)?;
    Ok(line)
}

/// Checks that a client can send `password`, and that the hash is of all of it.
fn check(password: &[u8]) -> Result<(), Unfit> {
    match password.len() {
        0 => Err(Unfit::Empty),
        1..=MAX_LENGTH if password.iter().any(u8::is_ascii_control) => Err(Unfit::Control),
        1..=MAX_LENGTH => Ok(()),
        _ => Err(Unfit::TooLong),
    }
}

/// There is no password to hash.
#[derive(Debug)]
enum InputError {
    Terminal(io::Error),
    Stdin(io::Error),
    Unfit(Unfit),
}

/// What is wrong with a password. None of the texts repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unfit {
    Empty,
    TooLong,
    Control,
    SeveralLines,
    Different,
}

impl From<Unfit> for InputError {
    fn from(fault: Unfit) -> Self {
        Self::Unfit(fault)
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Terminal(_) => f.write_str("the password cannot be read from the terminal"),
            Self::Stdin(_) => f.write_str("the password cannot be read from standard input"),
            Self::Unfit(fault) => fault.fmt(f),
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the password is empty"),
            Self::TooLong => write!(
                f,
                "the password is longer than {MAX_LENGTH} bytes, and bcrypt ignores what follows; choose a shorter one"
            ),
            Self::Control => {
                f.write_str("the password contains a control character, which no client can send")
            }
            Self::SeveralLines => {
                f.write_str("standard input has more than one line; give the password alone")
            }
            Self::Different => f.write_str("the two passwords differ"),
        }
    }
}

impl std::error::Error for InputError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Terminal(error) | Self::Stdin(error) => Some(error),
            Self::Unfit(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_line(input: &str) -> Result<String, String> {
        let read = line(input.as_bytes()).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(read.to_vec()).unwrap())
    }

    #[test]
    fn a_password_is_the_only_line_without_its_break() {
        for (input, password) in [
            ("hunter2", "hunter2"),
            ("hunter2\n", "hunter2"),
            ("hunter2\r\n", "hunter2"),
            (" two words: ä \n", " two words: ä "),
        ] {
            assert_eq!(read_line(input).unwrap(), password, "{input:?}");
        }
        let longest = "x".repeat(MAX_LENGTH);
        assert_eq!(read_line(&format!("{longest}\r\n")).unwrap(), longest);
    }

    #[test]
    fn a_password_that_does_not_fit_is_refused_without_being_repeated() {
        let long = "hunter2-".repeat(10);
        for (input, words) in [
            ("", "empty"),
            ("\n", "empty"),
            ("\r\n", "empty"),
            ("hunter2\n\n", "more than one line"),
            ("hunter2\nhunter2", "more than one line"),
            ("hunter2\rx\n", "control character"),
            ("hunter2\0", "control character"),
            (&long[..73], "longer than 72 bytes"),
            (&long, "longer than 72 bytes"),
        ] {
            let error = read_line(input).unwrap_err();
            assert!(error.contains(words) && !error.contains("hunter2"), "{input:?}: {error}");
        }
    }
}
