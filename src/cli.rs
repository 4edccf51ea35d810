//! The command line: commands, their flags and exit codes.

mod check;
mod completions;
#[cfg(feature = "demo")]
mod demo;
#[cfg(not(feature = "demo"))]
#[path = "cli/no_demo.rs"]
mod demo;
mod hash_password;
mod healthcheck;
mod man;
mod metrics;
mod output;
mod resolution;
mod run;
mod source;
mod unparsed;
mod validate;
mod version;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::config::{listen, schema, variables};
use crate::secret::may_hold_password;
use crate::status;

/// The exit code for wrong usage or configuration, as in BSD's sysexits.h (`EX_USAGE`).
const USAGE: u8 = 64;

/// Every exit code, and what it means.
pub const EXIT_CODES: [(u8, &str); 3] = [
    (
        0,
        "Success. For `run` and `demo`: stopped by a signal. For `check`: every probe succeeded. For `healthcheck`: the \
         agent is alive.",
    ),
    (
        1,
        "Failure: a probe failed, the agent could not start, a part of it failed, it is not alive, or output could not be \
         written.",
    ),
    (
        USAGE,
        "Wrong usage or an invalid configuration. Nothing was started. With `--on-invalid-config wait`, `run` waits for a \
         valid configuration instead.",
    ),
];

/// A health agent for Azure Cache for Redis, Azure Managed Redis and any Redis or Valkey.
#[derive(Debug, Parser)]
#[command(name = "cachepulse", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent: probe on a schedule and serve /metrics
    Run(run::Run),
    /// Probe once on a fresh connection and show each phase and step
    Check(check::Check),
    /// Report every problem in configuration files
    Validate(validate::Validate),
    /// Request the running agent's /livez; for images without a shell
    Healthcheck(healthcheck::Healthcheck),
    /// Hash a password for a web configuration file
    ///
    /// Reads the password twice from a terminal, which does not show it, or one line of standard input. Prints the line to paste
    /// below `basic_auth_users`, the same as for any exporter of Prometheus.
    HashPassword(hash_password::HashPassword),
    /// Run the agent against a local stand-in for Azure in the same process
    Demo(demo::Demo),
    /// List every metric with its type, labels and help
    Metrics(metrics::ListMetrics),
    /// Print the JSON Schema of the configuration, for editors, or that of /status
    Schema {
        /// What the schema describes
        #[arg(value_enum, default_value_t)]
        of: SchemaOf,
    },
    /// Print the completions of a shell
    Completions(completions::Completions),
    /// Print the manual page, in roff
    Man,
    /// Print the version, revision, compiler, target and features of this build
    Version(version::Version),
}

/// What a schema describes.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum SchemaOf {
    /// A configuration file
    #[default]
    Config,
    /// The JSON of /status
    Status,
}

/// Returns a parser of addresses. An empty variable means `default`.
fn address_or(default: SocketAddr) -> impl Fn(&str) -> Result<SocketAddr, String> + Clone {
    move |text| match text {
        "" => Ok(default),
        address => {
            let parsed = listen::parse_with_default_port(address, default);
            parsed.ok_or_else(|| format!("expected {}", listen::EXPECTED))
        }
    }
}

/// Returns the commands and flags, also for documentation and completion.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command().mut_subcommand("check", check::without_unused_flags)
}

/// Runs the command in `args`, whose first element is the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let parsed = command().try_get_matches_from(&args).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(mut error) => {
            match args.get(1).and_then(|command| command.to_str()) {
                Some("run" | "check") => source::suggest_flag(&mut error),
                Some("hash-password") => hash_password::refuse_argument(&mut error),
                _ => {}
            }
            let mut text = error.render().to_string();
            if error.kind() == ErrorKind::InvalidUtf8
                && let Some(variable) = variables::not_text(std::env::vars_os())
            {
                text = format!("error: {variable}: the value is not UTF-8 text");
            }
            // Help and version are results, not errors.
            if !error.use_stderr() {
                return output::finish(&text.trim_end(), ExitCode::SUCCESS);
            }
            let text = without_passwords(text.trim_end(), &args);
            let problem = text.lines().next().unwrap_or_default();
            return unparsed::wait(&args, problem.trim_start_matches("error: ")).unwrap_or_else(|| {
                output::complain(&text);
                USAGE.into()
            });
        }
    };
    match cli.command {
        Command::Run(run) => run.run(),
        Command::Check(check) => check.run(),
        Command::Validate(validate) => validate.run(),
        Command::Healthcheck(healthcheck) => healthcheck.run(),
        Command::HashPassword(hash_password) => hash_password.run(),
        Command::Demo(demo) => demo.run(),
        Command::Metrics(metrics) => metrics.run(),
        Command::Schema { of: SchemaOf::Config } => {
            output::finish(&format_args!("{:#}", schema::schema()), ExitCode::SUCCESS)
        }
        Command::Schema { of: SchemaOf::Status } => {
            output::finish(&status::SCHEMA.trim_end(), ExitCode::SUCCESS)
        }
        Command::Completions(completions) => completions.run(),
        Command::Man => output::finish(&man::Manual(command()), ExitCode::SUCCESS),
        Command::Version(version) => version.run(),
    }
}

/// Returns `text` without those of `args` that may hold a password: URLs with a user, and connection strings. clap
/// repeats an argument that it does not expect.
fn without_passwords(text: &str, args: &[OsString]) -> String {
    let args = args.iter().filter_map(|arg| arg.to_str());
    let values = args.map(|arg| {
        arg.split_once('=').map_or(arg, |(flag, value)| if flag.starts_with('-') { value } else { arg })
    });
    let secret = values.filter(|value| may_hold_password(value));
    secret.fold(text.to_owned(), |text, value| text.replace(value, "<redacted>"))
}

fn usage(error: &dyn fmt::Display) -> ExitCode {
    output::complain_of(error);
    USAGE.into()
}

fn failure(error: &dyn fmt::Display) -> ExitCode {
    output::complain_of(error);
    ExitCode::FAILURE
}
