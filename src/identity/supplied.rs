//! Supplied tokens: those that a file contains or a command prints, for other clouds and for anything that this agent does not
//! know.
//!
//! The rules are those of kubectl's and AWS's credential plugins: no shell, no input, a limit, and one run at a time. What
//! files and commands may contain is in `output.rs`.

mod output;

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Mutex;
use zeroize::Zeroizing;

use self::output::Supplied;
use super::command::{Command, CommandError, Output};
use super::platform::Platform;
use super::redaction::without_secrets;
use super::{ChangeFuture, FetchError, FetchFuture, Token, TokenSource};
use crate::excerpt::excerpt;
use crate::files::WatchedFile;
use crate::secret::Secret;

/// How much of what a command prints as errors is shown, in characters.
const DETAIL: usize = 500;

const ADVICE: &str = "Run the command as the user that the agent runs as, with the agent's environment and without input: it \
                      must print a token within its timeout.";

/// The user that a server has without any other.
const DEFAULT_USER: &str = "default";

/// Where supplied tokens come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SuppliedToken {
    /// Its name in logs and metrics, if that is not the one of the file or the program.
    pub name: Option<String>,
    /// The file or command.
    pub source: SuppliedSource,
    /// How long a token is valid that does not say so.
    pub lifetime: Duration,
}

/// The file or command that supplies tokens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SuppliedSource {
    /// The content of a file.
    File(PathBuf),
    /// What a command prints.
    Command(SuppliedCommand),
}

/// A command that prints tokens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SuppliedCommand {
    /// An absolute path, or a name on `PATH`.
    pub program: String,
    /// Its arguments, which are never shown.
    pub arguments: Vec<String>,
    /// The time after which it is killed.
    pub timeout: Duration,
}

impl SuppliedSource {
    /// Returns the name of the file or the program.
    fn name(&self) -> String {
        match self {
            Self::File(path) => file_name(path),
            Self::Command(command) => command.name(),
        }
    }
}

impl SuppliedCommand {
    /// Returns the name of the program.
    fn name(&self) -> String {
        file_name(Path::new(&self.program))
    }

    /// Returns the arguments that may be secrets, and the values in them: all but short ones and names of options.
    fn secrets(&self) -> impl Iterator<Item = Secret> {
        let is_name =
            |text: &str| text.starts_with("--") && text.bytes().all(|b| b == b'-' || b.is_ascii_lowercase());
        let values = self.arguments.iter().filter_map(|text| Some(text.split_once('=')?.1));
        let texts = self.arguments.iter().map(String::as_str).chain(values);
        texts
            .filter(move |text| may_be_secret(text) && !is_name(text))
            .map(|text| Secret::new(text.to_owned()))
    }
}

/// Whether `text`, which need not be a secret, is long enough for one. Shorter ones are words of every other sentence.
fn may_be_secret(text: &str) -> bool {
    const SHORTEST: usize = 8;
    text.len() >= SHORTEST
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

impl fmt::Display for SuppliedToken {
    /// Writes the value of the label `identity`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "token:{name}"),
            None => write!(f, "token:{}", self.source.name()),
        }
    }
}

/// Fetches supplied tokens. Each fetch reads the file or runs the command.
#[derive(Debug)]
pub struct SuppliedTokens {
    supply: Supply,
    /// How long a token is valid that does not say so.
    lifetime: Duration,
    platform: Platform,
}

/// The source, and what is kept between fetches.
#[derive(Debug)]
enum Supply {
    File(Mutex<WatchedFile>),
    Command {
        command: SuppliedCommand,
        /// What it printed last. Locked while it runs.
        last: Mutex<Option<Printed>>,
    },
}

/// What a command has printed.
#[derive(Debug)]
struct Printed {
    output: Secret,
    token: Secret,
    /// When it printed this for the first time in a row. A lifetime counts from there: a command that prints a file says
    /// nothing new.
    since: SystemTime,
}

impl SuppliedTokens {
    /// Creates a source of the tokens that `identity` names on `platform`.
    #[must_use]
    pub fn new(identity: SuppliedToken, platform: Platform) -> Self {
        let supply = match identity.source {
            SuppliedSource::File(path) => Supply::File(Mutex::new(platform.files.watch(&path))),
            SuppliedSource::Command(command) => Supply::Command { command, last: Mutex::default() },
        };
        Self { supply, lifetime: identity.lifetime, platform }
    }

    async fn fetch_once(&self) -> Result<Token, FetchError> {
        let supplied = match &self.supply {
            Supply::File(file) => self.read(&mut *file.lock().await).await,
            Supply::Command { command, last } => self.run(command, &mut *last.lock().await).await,
        }?;
        let assumed = self.platform.clock.now() + self.lifetime;
        let token = Token::new(supplied.secret, supplied.expires_at.unwrap_or(assumed));
        let username = supplied.username.or_else(|| token.object_id.clone());
        Ok(Token {
            username: Some(username.unwrap_or_else(|| Arc::from(DEFAULT_USER))),
            is_expiry_assumed: supplied.expires_at.is_none(),
            ..token
        })
    }

    async fn read(&self, file: &mut WatchedFile) -> Result<Supplied, FetchError> {
        let content = file.read().await.map_err(|error| FetchError::unreadable(file.path(), &error))?;
        let now = self.platform.clock.now();
        let written = file.modified().map_or(now, |modified| modified.min(now));
        Supplied::read(&content, written, now).map_err(|problem| {
            FetchError::new(format!("{} contains no token: {problem}", file.path().display()))
        })
    }

    async fn run(
        &self,
        command: &SuppliedCommand,
        last: &mut Option<Printed>,
    ) -> Result<Supplied, FetchError> {
        let (name, limit) = (command.name(), command.timeout);
        let arguments: Vec<&OsStr> = command.arguments.iter().map(OsStr::new).collect();
        let program = OsStr::new(&command.program);
        match (Command { program, arguments: &arguments, variables: &[], limit }).run().await {
            Ok(Output { status, stdout, .. }) if status.success() => {
                let (supplied, printed) =
                    self.printed(stdout, last.as_ref()).map_err(|problem| FetchError {
                        advice: Some(ADVICE),
                        ..FetchError::new(format!("{name} printed no token: {problem}"))
                    })?;
                *last = Some(printed);
                Ok(supplied)
            }
            Ok(mut output) => {
                let printed = self.printed(std::mem::take(&mut output.stdout), None).ok();
                let printed = printed.map(|(it, _)| it.secret).filter(|it| may_be_secret(it.expose()));
                let last = last.as_ref().map(|printed| printed.token.clone());
                let secrets = last.into_iter().chain(printed).chain(command.secrets());
                Err(failed(&name, &output, secrets))
            }
            Err(error) => Err(not_run(&name, &error, limit)),
        }
    }

    /// Reads what a command printed, after `last`.
    fn printed(&self, stdout: Vec<u8>, last: Option<&Printed>) -> Result<(Supplied, Printed), &'static str> {
        let (stdout, now) = (Zeroizing::new(stdout), self.platform.clock.now());
        let same = last.filter(|last| last.output.expose().as_bytes() == &**stdout);
        let since = same.map_or(now, |last| last.since.min(now));
        let supplied = Supplied::read(&stdout, since, now)?;
        let output = Secret::new(String::from_utf8_lossy(&stdout).into_owned());
        let printed = Printed { output, token: supplied.secret.clone(), since };
        Ok((supplied, printed))
    }
}

impl TokenSource for SuppliedTokens {
    fn fetch(&self) -> FetchFuture<'_> {
        Box::pin(self.fetch_once())
    }

    fn runs_command(&self) -> bool {
        matches!(self.supply, Supply::Command { .. })
    }

    fn is_latest(&self) -> bool {
        matches!(self.supply, Supply::File(_))
    }

    fn changed(&self) -> ChangeFuture<'_> {
        match &self.supply {
            Supply::File(file) => Box::pin(async { file.lock().await.changed().await }),
            Supply::Command { .. } => Box::pin(std::future::pending()),
        }
    }
}

/// Returns the error of a command that said that it failed, without `secrets`. The last lines of what it printed usually
/// say why.
fn failed(name: &str, output: &Output, secrets: impl Iterator<Item = Secret>) -> FetchError {
    // The search for known secrets is slow for long texts. A word that the cut may have hit is dropped.
    let said = without_secrets(output.stderr.trim());
    let said = match end(&said, 2 * DETAIL) {
        cut if cut.len() < said.len() => cut.split_once(char::is_whitespace).map_or("", |(_, whole)| whole),
        whole => whole,
    };
    let said = secrets.fold(said.to_owned(), |said, secret| secret.redact(&said));
    let said = match excerpt(end(&said, DETAIL), DETAIL) {
        said if said.is_empty() => "it printed no error".to_owned(),
        said => said,
    };
    FetchError::new(format!("{name} failed ({}): {said}", output.status))
        .blaming(output.is_short_of_processes(), ADVICE)
}

/// Returns the last `length` characters of `text`.
fn end(text: &str, length: usize) -> &str {
    let start = text.char_indices().nth_back(length.saturating_sub(1)).map_or(0, |(start, _)| start);
    &text[start..]
}

fn not_run(name: &str, error: &CommandError, limit: Duration) -> FetchError {
    let text = match error {
        CommandError::Start(cause) => format!("{name} cannot be run: {cause}"),
        CommandError::TooSlow => {
            format!("{name} printed no token within {} s and was killed", limit.as_secs_f64())
        }
        CommandError::TooLong => format!("{name} printed no token: {}", output::TOO_LONG),
    };
    FetchError::new(text).blaming(error.is_local(), ADVICE)
}

#[cfg(test)]
mod tests;
