//! `run --on-invalid-config wait` with a command line that cannot be parsed, such as one with an unknown flag. It counts as an
//! invalid configuration: the agent waits, in vain, and shows what is wrong.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{ArgMatches, Command};

use super::run::{self, ON_INVALID_CONFIG};
use super::source::{CONFIG, given};
use super::usage;
use crate::config::flags::Flags;
use crate::config::keys::Descriptor;
use crate::config::keys::agent::{HEALTH_LISTEN, LIFECYCLE, LISTEN, LOG_FORMAT, LOG_LEVEL, WEB_CONFIG_FILE};
use crate::config::watch::{Load, Watch};
use crate::config::web::Unguarded;
use crate::config::{Overrides, Sources};
use crate::daemon::OnInvalidConfig;
use crate::files::Files;

/// The keys whose flags apply while the agent waits.
const KEYS: [&dyn Descriptor; 6] =
    [&LISTEN, &HEALTH_LISTEN, &WEB_CONFIG_FILE, &LIFECYCLE, &LOG_LEVEL, &LOG_FORMAT];

/// Runs an agent that waits with this `problem` if `args` want that.
pub(super) fn wait(args: &[OsString], problem: &str) -> Option<ExitCode> {
    let run = command_of_run(args)?;
    let mode = parsed(&run, args, ON_INVALID_CONFIG)?;
    if mode.get_one(ON_INVALID_CONFIG) != Some(&OnInvalidConfig::Wait) {
        return None;
    }
    let mut flags = Flags::default();
    for key in KEYS {
        match key.about().flag.and_then(|flag| parsed(&run, args, flag.name)) {
            Some(matches) => flags.extend(Flags::of(&matches, [key])),
            // Nobody would find an agent that listens elsewhere.
            None if key.about().path == LISTEN.about.path => return None,
            None => {}
        }
    }
    let files = Files::system();
    let sources = Sources::new(&files);
    let overrides = match Overrides::valid(&flags, &sources) {
        Ok(overrides) => overrides,
        Err(problems) => return Some(usage(&problems)),
    };
    let file: Option<PathBuf> =
        parsed(&run, args, CONFIG).and_then(|matches| matches.get_one(CONFIG).cloned());
    let error = problem.to_owned();
    let load: Load = Arc::new(move |sources| {
        Err(Unguarded::mark(error.clone().into(), given(), file.as_deref(), sources))
    });
    let rejected = load(&sources);
    let watch = Watch::new(None, load, &sources);
    Some(run::start(rejected, OnInvalidConfig::Wait, overrides, watch, files))
}

/// Returns the command `run`, if `args` are about it.
fn command_of_run(args: &[OsString]) -> Option<Command> {
    let run = args.get(1).filter(|arg| *arg == "run")?;
    super::command().find_subcommand(run).cloned()
}

/// Parses those of `args` that give the flag called `name`, or else its variable. `None` if they are wrong.
fn parsed(run: &Command, args: &[OsString], name: &str) -> Option<ArgMatches> {
    let flag = run.get_arguments().find(|flag| flag.get_id() == name)?;
    let names = flag.get_long_and_visible_aliases().unwrap_or_default();
    let mut given = Vec::new();
    let mut args = args[2..].iter();
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy();
        let (long, value) = text.split_once('=').map_or((&*text, None), |(long, value)| (long, Some(value)));
        if long.strip_prefix("--").is_some_and(|long| names.contains(&long)) {
            given.push(arg);
            given.extend(if value.is_none() { args.next() } else { None });
        }
    }
    // Of several configuration files, the last one is as good as any.
    let flag = if name == CONFIG { flag.clone().overrides_with(CONFIG) } else { flag.clone() };
    Command::new("run").no_binary_name(true).arg(flag).try_get_matches_from(given).ok()
}
