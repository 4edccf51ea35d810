//! What `azd auth token` takes and prints. Pure.

use std::time::SystemTime;

use serde_json::{Map, Value};

use super::{Refusal, command_line};
use crate::identity::Token;
use crate::identity::claims::Claims;
use crate::identity::expiry::moment;
use crate::identity::refusal::entra_sentence;
use crate::secret::Secret;

pub(super) const NAME: &str = "azd";

pub(super) fn arguments<'a>(tenant: Option<&'a str>, scope: &'a str) -> Vec<&'a str> {
    let mut arguments = vec!["auth", "token", "--output", "json", "--no-prompt", "--scope", scope];
    if let Some(tenant) = tenant {
        arguments.extend(["--tenant-id", tenant]);
    }
    arguments
}

pub(super) fn sign_in(tenant: Option<&str>, scope: Option<&str>) -> String {
    let mut arguments = vec!["auth", "login"];
    if let Some(tenant) = tenant {
        arguments.extend(["--tenant-id", tenant]);
    }
    if let Some(scope) = scope {
        arguments.extend(["--scope", scope]);
    }
    command_line(NAME, &arguments)
}

/// Reads the words of an error.
pub(super) fn refusal(stderr: &str) -> Refusal {
    let words = words(stderr);
    if let Some(sentence) = entra_sentence(&words) {
        Refusal::Entra(sentence, None)
    } else if words.contains("azd auth login") || words.contains("reauthentication required") {
        Refusal::NotSignedIn
    } else {
        Refusal::Other(words, None)
    }
}

/// Returns the words in `stderr`, whose lines are JSON objects of three formats, by version: up to 1.23.6
/// `{"type":"consoleMessage","data":{"message":…}}`, then such an object without a message and `{"error":…}`, and from 1.24
/// `{"error":…,"message":…,"suggestion":…}`.
fn words(stderr: &str) -> String {
    let objects = stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let said: Vec<String> = objects.filter_map(|object| words_of(&object)).collect();
    if said.is_empty() { stderr.to_owned() } else { said.join(" ") }
}

fn words_of(object: &Value) -> Option<String> {
    let text = |path: &str| Some(object.pointer(path)?.as_str()?.trim()).filter(|text| !text.is_empty());
    let message = ["/message", "/data/message", "/error", "/error/message"].into_iter().find_map(text);
    let message = message.map(|message| message.strip_prefix("ERROR: ").unwrap_or(message));
    match (message, text("/suggestion")) {
        (Some(message), Some(suggestion)) => Some(format!("{message} {suggestion}")),
        (message, suggestion) => message.or(suggestion).map(str::to_owned),
    }
}

/// Returns the token in the output.
pub(super) fn token(mut response: Map<String, Value>, now: SystemTime) -> Result<Token, &'static str> {
    let Some(Value::String(token)) = response.remove("token").filter(|token| *token != "") else {
        return Err("its output contains no token");
    };
    let said = response.get("expiresOn").and_then(|value| moment(value, now, now));
    let expires_at = said
        .or_else(|| Claims::of(&token).expires_at())
        .ok_or("neither its output nor the token says when the token expires")?;
    Ok(Token::new(Secret::new(token), expires_at))
}
