//! What `az account get-access-token` takes and prints. Pure.

use std::time::SystemTime;

use serde_json::{Map, Value};

use super::{Refusal, command_line};
use crate::identity::authority::is_tenant;
use crate::identity::claims::Claims;
use crate::identity::expiry::{expires_at, moment};
use crate::identity::refusal::entra_sentence;
use crate::identity::{AzureAccount, Token};
use crate::secret::Secret;

pub(super) const NAME: &str = "az";

/// Without the first one, errors have escape sequences for colours. The second one makes `expiresOn`, which az prints in local
/// time, a time in UTC.
pub(super) const VARIABLES: &[(&str, &str)] = &[("AZURE_CORE_NO_COLOR", "true"), ("TZ", "UTC0")];

pub(super) fn arguments<'a>(account: &'a AzureAccount, scope: &'a str) -> Vec<&'a str> {
    let mut arguments = vec!["account", "get-access-token", "--output", "json", "--scope", scope];
    match account {
        AzureAccount::Default => {}
        AzureAccount::Tenant(tenant) => arguments.extend(["--tenant", tenant]),
        AzureAccount::Subscription(subscription) => arguments.extend(["--subscription", subscription]),
    }
    arguments
}

pub(super) fn sign_in(account: &AzureAccount, scope: Option<&str>) -> String {
    let mut arguments = vec!["login"];
    if let AzureAccount::Tenant(tenant) = account {
        arguments.extend(["--tenant", tenant]);
    }
    if let Some(scope) = scope {
        arguments.extend(["--scope", scope]);
    }
    command_line(NAME, &arguments)
}

/// Reads the words of an error.
pub(super) fn refusal(stderr: &str, account: &AzureAccount) -> Refusal {
    if let Some(sentence) = entra_sentence(stderr) {
        let needs_claims = stderr.contains("--claims-challenge");
        let refusal = if needs_claims { Refusal::Claims } else { Refusal::Entra };
        return refusal(sentence, tenant(stderr));
    }
    if let Some((_, trace)) = stderr.rsplit_once("Traceback (most recent call last):") {
        let words = exception(trace).to_owned();
        // Of the file system: the folder of az does not exist or cannot be written.
        let is_of_folder = words.contains("[Errno ") && !words.contains("Broken pipe");
        let command = is_of_folder.then(|| format!("AZURE_CONFIG_DIR=FOLDER {}", sign_in(account, None)));
        return Refusal::Other(words, command);
    }
    let words = stderr.split_once("ERROR: ").map_or(stderr, |(_, words)| words);
    match account {
        _ if words.contains("AADSTS") => Refusal::Other(words.to_owned(), None),
        AzureAccount::Subscription(_) if words.contains("doesn't exist") => {
            Refusal::Other(words.to_owned(), Some("az account list --all".to_owned()))
        }
        _ if words.contains("az login") || words.contains("az account set") => Refusal::NotSignedIn,
        _ => Refusal::Other(words.to_owned(), None),
    }
}

/// Returns the tenant in the command that az says to run: that of the account which it was asked for.
fn tenant(stderr: &str) -> Option<String> {
    let (_, command) = stderr.split_once("az login ")?;
    let (_, rest) = command.lines().next()?.split_once("--tenant ")?;
    let tenant = rest.split_whitespace().next()?.trim_matches(['"', '\'', '`']);
    is_tenant(tenant).then(|| tenant.to_owned())
}

/// Returns the line of a traceback that names the exception. Its other lines are indented or say where to report it.
fn exception(trace: &str) -> &str {
    let is_exception = |line: &&str| line.starts_with(char::is_alphabetic) && !line.starts_with("To ");
    trace.lines().rev().find(is_exception).unwrap_or("")
}

/// Returns the token in the output. Before version 2.54, az says only in `expiresOn` when it expires.
pub(super) fn token(mut response: Map<String, Value>, now: SystemTime) -> Result<Token, &'static str> {
    let Some(Value::String(token)) = response.remove("accessToken").filter(|token| *token != "") else {
        return Err("its output contains no token");
    };
    let expires_at = expires_at(&response, Claims::of(&token).expires_at(), now)
        .or_else(|| moment(response.get("expiresOn")?, now, now))
        .ok_or("neither its output nor the token says when the token expires")?;
    Ok(Token::new(Secret::new(token), expires_at))
}
