//! Tokens of developers: those of `az` and `azd`, to which the user has signed in.
//!
//! The credentials of `azure_identity` are not used for them: they understand only the oldest of three formats of errors of
//! `azd`, put no error of `az` into words, and run a shell.

mod az;
mod azd;

use std::ffi::OsStr;
use std::io;
use std::pin::pin;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::task::coop::unconstrained;
use tokio::time::sleep;

use super::command::{Command, CommandError, Output};
use super::platform::Platform;
use super::redaction::without_secrets;
use super::refusal::fetch_error;
use super::{AzureAccount, FetchError, Token};
use crate::excerpt::excerpt;

/// How long a tool may take. `az` needs 10 to 13 s on some machines, and 60 s on a few.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// After this time it is said what is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// The longest text of a tool in an error, in characters. The command to run follows it.
const DETAIL: usize = 150;

/// The same where two commands follow it.
const SHORT_DETAIL: usize = 56;

const ADVICE: &str = "Run the command as the user that the agent runs as: az and azd keep a sign-in in that user's home \
                      directory.";

/// A tool, and whose tokens it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    /// The Azure CLI.
    Az(AzureAccount),
    /// The Azure Developer CLI, and a tenant.
    Azd(Option<String>),
}

/// What a tool says instead of a token.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// Nobody has signed in, or the sign-in has ended.
    NotSignedIn,
    /// Entra ID asks for something that only the user can do: the code and its first sentence, and the tenant if the
    /// tool names it.
    Entra(String, Option<String>),
    /// The same, with claims that only az knows, and prints in the command to run. They look like a token, so they are not
    /// repeated.
    Claims(String, Option<String>),
    /// Anything else, and the command that helps if it isn't the sign-in.
    Other(String, Option<String>),
}

impl Tool {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Az(_) => az::NAME,
            Self::Azd(_) => azd::NAME,
        }
    }

    /// The lock of the one process of this tool that may run: two of them lock each other's files.
    fn alone(&self) -> &'static Mutex<()> {
        static AZ: Mutex<()> = Mutex::const_new(());
        static AZD: Mutex<()> = Mutex::const_new(());
        match self {
            Self::Az(_) => &AZ,
            Self::Azd(_) => &AZD,
        }
    }

    fn arguments<'a>(&'a self, scope: &'a str) -> Vec<&'a str> {
        match self {
            Self::Az(account) => az::arguments(account, scope),
            Self::Azd(tenant) => azd::arguments(tenant.as_deref(), scope),
        }
    }

    /// Returns the command that signs in; with a `scope`, for what that asks of the user.
    fn sign_in(&self, scope: Option<&str>) -> String {
        match self {
            Self::Az(account) => az::sign_in(account, scope),
            Self::Azd(tenant) => azd::sign_in(tenant.as_deref(), scope),
        }
    }

    /// Returns this tool for `tenant`, unless the configuration names one.
    fn with_tenant(&self, tenant: Option<String>) -> Self {
        match (self, tenant) {
            (Self::Az(AzureAccount::Default | AzureAccount::Subscription(_)), Some(tenant)) => {
                Self::Az(AzureAccount::Tenant(tenant))
            }
            _ => self.clone(),
        }
    }

    fn refusal(&self, stderr: &str) -> Refusal {
        match self {
            Self::Az(account) => az::refusal(stderr, account),
            Self::Azd(_) => azd::refusal(stderr),
        }
    }
}

/// Requests a token for `scope` from `tool`, which runs once at a time in this process. Calls `waiting` if that takes
/// long. The time in which another process is waited for does not count towards [`LIMIT`].
pub(super) async fn fetch(
    tool: &Tool,
    scope: &str,
    platform: &Platform,
    waiting: impl FnOnce(),
) -> Result<Token, FetchError> {
    let mut request = pin!(request(tool, scope, platform));
    tokio::select! {
        biased;
        result = &mut request => return result,
        // Also while what the tool prints uses up the budget of the task.
        () = unconstrained(sleep(PATIENCE)) => waiting(),
    }
    request.await
}

async fn request(tool: &Tool, scope: &str, platform: &Platform) -> Result<Token, FetchError> {
    let _alone = tool.alone().lock().await;
    let arguments = tool.arguments(scope);
    let ran = Command {
        program: OsStr::new(tool.name()),
        arguments: &arguments.iter().map(OsStr::new).collect::<Vec<_>>(),
        variables: az::VARIABLES,
        limit: LIMIT,
    }
    .run()
    .await;
    match ran {
        Ok(output) if output.status.success() => token(tool, &output.stdout, platform).map_err(|problem| {
            FetchError::new(format!(
                "{}: {problem}; run `{}`",
                tool.name(),
                command_line(tool.name(), &arguments)
            ))
        }),
        Ok(output) => Err(refused(tool, &output, scope, &arguments)),
        Err(error) => Err(not_run(tool, &error, &arguments)),
    }
}

fn token(tool: &Tool, stdout: &[u8], platform: &Platform) -> Result<Token, &'static str> {
    let response: Map<String, Value> =
        serde_json::from_slice(stdout).map_err(|_| "its output is not a JSON object")?;
    let now = platform.clock.now();
    match tool {
        Tool::Az(_) => az::token(response, now),
        Tool::Azd(_) => azd::token(response, now),
    }
}

/// Returns a command line that can be pasted into a shell.
fn command_line(program: &str, arguments: &[&str]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/@".contains(c);
    arguments.iter().fold(program.to_owned(), |line, argument| {
        if argument.chars().all(plain) {
            format!("{line} {argument}")
        } else {
            format!("{line} '{}'", argument.replace('\'', "'\\''"))
        }
    })
}

/// Returns why a tool that ran returned no token.
fn refused(tool: &Tool, output: &Output, scope: &str, arguments: &[&str]) -> FetchError {
    let name = tool.name();
    let text = match tool.refusal(&output.stderr) {
        Refusal::NotSignedIn => format!("{name} is not signed in; run `{}`", tool.sign_in(None)),
        Refusal::Entra(words, tenant) => {
            let words = excerpt(&without_secrets(&words), DETAIL);
            format!("{name}: {words}; run `{}`", tool.with_tenant(tenant).sign_in(Some(scope)))
        }
        Refusal::Claims(words, tenant) => {
            let words = excerpt(&without_secrets(&words), SHORT_DETAIL);
            let sign_in = tool.with_tenant(tenant).sign_in(None);
            let by_hand = command_line(name, arguments);
            format!(
                "{name}: {words}; run `{sign_in} --claims-challenge CLAIMS`; `{by_hand}` prints the CLAIMS"
            )
        }
        Refusal::Other(words, command) => {
            let words = without_secrets(words.trim_end().trim_end_matches('.'));
            let words = excerpt(&words, DETAIL);
            let words =
                if words.is_empty() { format!("it ended without a word ({})", output.status) } else { words };
            let command = command.unwrap_or_else(|| command_line(name, arguments));
            format!("{name}: {words}; run `{command}`")
        }
    };
    fetch_error(&text, &[]).blaming(output.is_short_of_processes(), ADVICE)
}

/// Returns why there is no result of a tool.
fn not_run(tool: &Tool, error: &CommandError, arguments: &[&str]) -> FetchError {
    let name = tool.name();
    let by_hand = command_line(name, arguments);
    let text = match error {
        CommandError::Start(error) if error.kind() == io::ErrorKind::NotFound => {
            format!("{name} is not on PATH; install it, then run `{}`", tool.sign_in(None))
        }
        CommandError::Start(error) => format!("{name} cannot be run: {error}"),
        CommandError::TooSlow => {
            format!("{name} did not answer within {} s; run `{by_hand}`", LIMIT.as_secs())
        }
        CommandError::TooLong => format!("{name} printed too much for a token; run `{by_hand}`"),
    };
    fetch_error(&text, &[]).blaming(error.is_local(), ADVICE)
}

#[cfg(test)]
mod tests;
