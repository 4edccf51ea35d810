//! The key `token`: the file or the command that supplies tokens.

use std::path::PathBuf;

use super::document::Value;
use super::field::{Field, Fields, Invalid};
use super::keys::identity::TOKEN;
use crate::identity::redaction::is_no_path;
use crate::identity::supplied::{SuppliedCommand, SuppliedSource, SuppliedToken};

/// Reads the source of a supplied token. Whether it supplies one is not known before the agent asks for it.
pub(super) fn read(field: &Field<'_>) -> Result<SuppliedToken, Invalid> {
    if !matches!(field.value(), Value::Map(_)) {
        // It may be the token itself, so it is not repeated.
        return Err(field
            .problem("a token is kept in a file or printed by a command: give {file: …} or {command: […]}"));
    }
    let fields = field.fields(&TOKEN.whole.about)?;
    let source = read_source(field, &fields);
    let lifetime = fields.read(&TOKEN.lifetime).unwrap_or(Ok(TOKEN.lifetime.default()));
    let name = fields.get(&TOKEN.name).map(|field| field.word(&TOKEN.name).map(str::to_owned)).transpose();
    Ok(SuppliedToken { source: source?, lifetime: lifetime?, name: name? })
}

fn read_source(field: &Field<'_>, fields: &Fields<'_>) -> Result<SuppliedSource, Invalid> {
    let timeout = fields.read(&TOKEN.timeout).unwrap_or(Ok(TOKEN.timeout.default()));
    match (fields.get(&TOKEN.file), fields.get(&TOKEN.command)) {
        (Some(file), None) => {
            let path = file.text(&TOKEN.file).map(PathBuf::from);
            if let Some(timeout) = fields.get(&TOKEN.timeout) {
                timeout.problem(format!("only for a {}; a file needs none", fields.name_of(&TOKEN.command)));
            }
            Ok(SuppliedSource::File(path?))
        }
        (None, Some(command)) => {
            let (program, arguments) = read_command(&command)?;
            Ok(SuppliedSource::Command(SuppliedCommand { program, arguments, timeout: timeout? }))
        }
        (file, _) => {
            let place = file.as_ref().unwrap_or(field);
            let (file, command) = (fields.name_of(&TOKEN.file), fields.name_of(&TOKEN.command));
            Err(place.problem(format!("give {file} or {command}, one of them")))
        }
    }
}

/// Reads a program and its arguments, or a program alone. A message repeats no argument, which may be a secret.
fn read_command(field: &Field<'_>) -> Result<(String, Vec<String>), Invalid> {
    const WORDS: &str = "a list of a program and its arguments, such as [/usr/local/bin/cache-token, orders]";
    let items = match field.value() {
        Value::Text(words) if words.trim().contains(char::is_whitespace) => {
            return Err(
                field.problem("there is no shell: give the program and each argument as an item of a list")
            );
        }
        Value::Text(program) => return Ok((read_program(field, program)?, Vec::new())),
        _ => field.items_of(&TOKEN.command, WORDS, "words")?,
    };
    let mut words = items.iter().map(|item| match item.value() {
        Value::Text(word) => Ok((item, word)),
        _ => Err(item.problem("expected text; put it in quotes")),
    });
    let program = words.next().unwrap_or_else(|| Err(field.expected(WORDS)));
    let arguments: Result<Vec<String>, Invalid> = words.map(|word| Ok(word?.1.clone())).collect();
    let program = program.and_then(|(item, word)| read_program(item, word));
    Ok((program?, arguments?))
}

/// Checks that a program is an absolute path or a name: the agent's working directory is no place for programs.
fn read_program(field: &Field<'_>, program: &str) -> Result<String, Invalid> {
    if program.trim().is_empty() || program.contains(char::is_control) {
        Err(field.problem("expected a program"))
    } else if is_no_path(program) {
        Err(field.problem("expected a program, found what looks like a secret"))
    } else if program.contains('/') && !program.starts_with('/') {
        Err(field.problem("give an absolute path, or a name on PATH"))
    } else {
        Ok(program.to_owned())
    }
}
