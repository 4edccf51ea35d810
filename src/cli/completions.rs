//! `cachepulse completions`: the completions of commands, flags and values for a shell.

use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use clap_complete::Shell;
use clap_complete::aot::generate;

use super::output::finish;
use crate::config::keys::{self, Descriptor, Kind};

/// The supported shells.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Name {
    /// source <(cachepulse completions bash)
    Bash,
    /// cachepulse completions zsh > "${fpath[1]}/_cachepulse"
    Zsh,
    /// cachepulse completions fish > ~/.config/fish/completions/cachepulse.fish
    Fish,
}

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Shell
    #[arg(value_name = "SHELL")]
    shell: Name,
}

impl Completions {
    pub(super) fn run(&self) -> ExitCode {
        let shell = match self.shell {
            Name::Bash => Shell::Bash,
            Name::Zsh => Shell::Zsh,
            Name::Fish => Shell::Fish,
        };
        let mut script = Vec::new();
        generate(shell, &mut command(), "cachepulse", &mut script);
        finish(&String::from_utf8_lossy(&script).trim_end(), ExitCode::SUCCESS)
    }
}

/// Returns the command line with the possible values of its flags. The real one has none, because `config` parses the
/// values.
fn command() -> clap::Command {
    ["run", "check"].into_iter().fold(super::command(), |command, name| {
        command.mut_subcommand(name, |subcommand| keys::all().fold(subcommand, with_choices))
    })
}

fn with_choices(command: clap::Command, key: &'static dyn Descriptor) -> clap::Command {
    let names: Vec<&str> = match key.kind() {
        Kind::Boolean => vec!["true", "false"],
        _ => key.choices().iter().map(|(name, _)| *name).collect(),
    };
    match key.about().flag {
        Some(flag) if !names.is_empty() => {
            command.mut_arg(flag.name, |argument| argument.value_parser(PossibleValuesParser::new(names)))
        }
        _ => command,
    }
}
