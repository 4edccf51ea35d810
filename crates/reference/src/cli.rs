//! `docs/cli.md`.

use std::fmt::Write as _;

use cachepulse::cli::EXIT_CODES;
use cachepulse::config::keys;

use crate::markdown::{page as fill, table};

pub(crate) fn page() -> String {
    let key_flags: Vec<&str> = keys::all().filter_map(|key| Some(key.about().flag?.name)).collect();
    let mut command = cachepulse::cli::command().mut_subcommands(|subcommand| {
        // Only these configure a target. Their flags for keys are on the page of the configuration.
        let configures = ["run", "check"].contains(&subcommand.get_name());
        subcommand.mut_args(|arg| {
            let is_key = arg.get_long().is_some_and(|long| key_flags.contains(&long));
            // The page must not depend on this machine's variables.
            arg.hide(configures && is_key).hide_env_values(true)
        })
    });
    // Completes the usage lines of the subcommands.
    command.build();
    let mut commands = String::new();
    for subcommand in command.get_subcommands_mut().filter(|it| it.get_name() != "help") {
        let (name, help) = (subcommand.get_name().to_owned(), subcommand.render_long_help().to_string());
        // Writing to a string cannot fail.
        let _ = write!(commands, "### cachepulse {name}\n\n```text\n{}\n```\n\n", trimmed(&help));
    }
    let overview = command.render_help().to_string();
    let rows = EXIT_CODES.map(|(code, meaning)| [code.to_string(), meaning.to_owned()]);
    let codes = table(["Code", "Meaning"], rows);
    fill(
        include_str!("cli.md"),
        &[("overview", trimmed(&overview)), ("codes", codes), ("commands", commands)],
    )
}

/// Returns `text` without spaces at the ends of its lines.
fn trimmed(text: &str) -> String {
    text.trim_end().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}
