//! `run --on-invalid-config wait` with a command line that cannot be parsed, such as one with an unknown flag. It counts as an
//! invalid configuration: the agent waits, in vain, and shows what is wrong.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::ArgMatches;

use super::run::{self, ON_INVALID_CONFIG};
use super::source::CONFIG;
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
    let matches = parsed(args)?;
    if matches.get_one(ON_INVALID_CONFIG) != Some(&OnInvalidConfig::Wait) {
        return None;
    }
    let files = Files::system();
    let sources = Sources::new(&files);
    let overrides = match Overrides::while_waiting(&Flags::of(&matches, KEYS), &sources) {
        Ok(overrides) => overrides,
        Err(problems) => return Some(usage(&problems)),
    };
    let file: Option<PathBuf> = matches.get_one(CONFIG).cloned();
    let error = problem.to_owned();
    let load: Load =
        Arc::new(move |sources| Err(Unguarded::mark(error.clone().into(), file.as_deref(), sources)));
    let rejected = load(&sources);
    let watch = Watch::new(None, load, &sources);
    Some(run::start(rejected, OnInvalidConfig::Wait, overrides, watch, files))
}

/// Parses the flags of `run` that apply while the agent waits, and leaves out all others. `None` if these are wrong as well.
fn parsed(args: &[OsString]) -> Option<ArgMatches> {
    let mut command = super::command();
    let run = command.find_subcommand_mut("run").filter(|_| args.get(1).is_some_and(|arg| arg == "run"))?;
    let names = KEYS.into_iter().filter_map(|key| Some(key.about().flag?.name));
    let names: Vec<&str> = names.chain([ON_INVALID_CONFIG, CONFIG]).collect();
    let flags = run.get_arguments().filter(|flag| names.contains(&flag.get_id().as_str()));
    let small = clap::Command::new("run").no_binary_name(true).args(flags.cloned());
    let mut kept = Vec::new();
    let mut args = args[2..].iter();
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy();
        let (name, value) = text.split_once('=').map_or((&*text, None), |(name, value)| (name, Some(value)));
        let is_kept = small.get_arguments().any(|flag| {
            let names = flag.get_long_and_visible_aliases().unwrap_or_default();
            name.strip_prefix("--").is_some_and(|name| names.contains(&name))
        });
        if is_kept {
            kept.push(arg);
            kept.extend(if value.is_none() { args.next() } else { None });
        }
    }
    small.try_get_matches_from(kept).ok()
}
