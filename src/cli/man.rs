//! `cachepulse man`: the manual page, in the macros of man(7), generated from the definitions of commands and flags.

use std::fmt;

use clap::{Arg, Command};

use super::EXIT_CODES;

/// The manual page of a command and its subcommands.
pub(super) struct Manual(pub(super) Command);

impl fmt::Display for Manual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(command) = self;
        let (name, version) = (command.get_name(), command.get_version().unwrap_or_default());
        writeln!(f, ".TH {} 1 \"\" \"{name} {version}\"", name.to_uppercase())?;
        writeln!(f, ".SH NAME\n{name} \\- {}", escaped(&about(command)))?;
        writeln!(f, ".SH SYNOPSIS\n.B {name}\n.I COMMAND\n[\\fIOPTIONS\\fR]")?;
        writeln!(f, ".SH DESCRIPTION\n{}", escaped(DESCRIPTION))?;
        writeln!(f, ".SH COMMANDS")?;
        for subcommand in command.get_subcommands().filter(|it| it.get_name() != "help") {
            write_command(f, name, subcommand)?;
        }
        writeln!(f, ".SH \"EXIT STATUS\"")?;
        for (code, meaning) in EXIT_CODES {
            writeln!(f, ".TP\n.B {code}\n{}", escaped(meaning))?;
        }
        write!(f, ".SH \"SEE ALSO\"\n.BR redis\\-cli (1)")
    }
}

const DESCRIPTION: &str = "cachepulse probes Redis and Valkey caches on a schedule with PING, SET, GET and CLIENT LIST, \
                           and reports their health as seen from where it runs. A result goes to standard output, the \
                           log to standard error.";

fn write_command(f: &mut fmt::Formatter<'_>, program: &str, command: &Command) -> fmt::Result {
    let arguments = command.get_positionals().map(|it| format!(" [\\fI{}\\fR]", escaped(&placeholder(it))));
    let arguments: String = arguments.collect();
    let name = escaped(command.get_name());
    writeln!(f, ".SS \"{program} {name}{arguments} [\\fIOPTIONS\\fR]\"\n{}.", escaped(&about(command)))?;
    let mut heading = None;
    for argument in command.get_arguments().filter(|it| !it.is_hide_set()) {
        if argument.get_help_heading() != heading {
            heading = argument.get_help_heading();
            writeln!(f, ".PP\n{}:", escaped(heading.unwrap_or("Options")))?;
        }
        write_argument(f, argument)?;
    }
    Ok(())
}

fn write_argument(f: &mut fmt::Formatter<'_>, argument: &Arg) -> fmt::Result {
    let name = argument.get_long().map(|long| format!("\\fB{}\\fR", escaped(&format!("--{long}"))));
    let value = argument.get_num_args().is_none_or(|number| number.takes_values());
    let value = value.then(|| format!("\\fI{}\\fR", escaped(&placeholder(argument))));
    let title: Vec<String> = name.into_iter().chain(value).collect();
    writeln!(f, ".TP\n{}", title.join(" "))?;
    let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    for (index, paragraph) in help.split("\n\n").enumerate() {
        if index > 0 {
            writeln!(f, ".IP")?;
        }
        // Lists and defaults keep their line breaks; other text is filled.
        let is_list = paragraph.starts_with("- ") || paragraph.starts_with('[');
        let separator = if is_list { "\n.br\n" } else { "\n" };
        writeln!(f, "{}", escaped(paragraph).replace('\n', separator))?;
    }
    let values: Vec<String> =
        argument.get_possible_values().iter().map(|it| escaped(it.get_name())).collect();
    if !values.is_empty() && argument.get_num_args().is_none_or(|number| number.takes_values()) {
        writeln!(f, ".IP\n[possible values: {}]", values.join(", "))?;
    }
    Ok(())
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn placeholder(argument: &Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default();
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Escapes `text` for roff, so that no line is a request and hyphens are searchable. Code between backticks is bold.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut is_code = false;
    for (index, line) in text.lines().enumerate() {
        if index > 0 {
            escaped.push('\n');
        }
        if line.starts_with(['.', '\'']) {
            escaped.push_str("\\&");
        }
        for character in line.chars() {
            match character {
                '\\' => escaped.push_str("\\e"),
                '-' => escaped.push_str("\\-"),
                '"' => escaped.push_str("\\(dq"),
                '`' => {
                    is_code = !is_code;
                    escaped.push_str(if is_code { "\\fB" } else { "\\fR" });
                }
                other => escaped.push(other),
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_a_request() {
        assert_eq!(escaped(".B a\n'c' --d \\e"), "\\&.B a\n\\&'c' \\-\\-d \\ee");
    }

    #[test]
    fn code_is_bold_even_across_lines() {
        assert_eq!(escaped("`tls: false`, `a\nb`"), "\\fBtls: false\\fR, \\fBa\nb\\fR");
        let page = Manual(crate::cli::command()).to_string();
        let count = |font: &str| page.matches(font).count();
        assert!(!page.contains('`'), "{page}");
        assert_eq!(count("\\fB") + count("\\fI"), count("\\fR"), "{page}");
    }

    #[test]
    fn every_command_and_flag_has_an_entry() {
        let page = Manual(crate::cli::command()).to_string();
        for command in crate::cli::command().get_subcommands().filter(|it| it.get_name() != "help") {
            let name = command.get_name().replace('-', "\\-");
            assert!(page.contains(&format!("\n.SS \"cachepulse {name}")), "{page}");
            for flag in command.get_arguments().filter(|it| !it.is_hide_set()).filter_map(Arg::get_long) {
                assert!(
                    page.contains(&format!("\n\\fB\\-\\-{}\\fR", flag.replace('-', "\\-"))),
                    "{flag}: {page}"
                );
            }
        }
    }
}
