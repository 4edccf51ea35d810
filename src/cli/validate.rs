//! `cachepulse validate`: reports every problem in configuration files.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::output::{OutputFormat, WriteError, complain, complain_of, enumerated, print};
use super::resolution::ResolutionDocument;
use super::run::on_runtime;
use super::{USAGE, failure, usage};
use crate::config::variables::{self, CONFIG_VARIABLE};
use crate::config::{Config, Finding, Good, LoadError, LoadFault, Sources};
use crate::counted::counted;
use crate::error::Chain;
use crate::escaped::Escaped;
use crate::files::Files;
use crate::identity::Identity;
use crate::identity::variables::Variables;
use crate::target::Target;

/// The argument for standard input, and its name in messages.
const STDIN: [&str; 2] = ["-", "<stdin>"];

#[derive(Debug, Args)]
pub(super) struct Validate {
    #[arg(
        value_name = "FILE",
        help = "Configuration files; - reads standard input",
        long_help = format!("Configuration files; - reads standard input\n\n[env: {CONFIG_VARIABLE}]")
    )]
    files: Vec<PathBuf>,
    /// A configuration file, as for `run`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Show which source identities of the type `auto` use here, and why
    #[arg(long)]
    resolve: bool,
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
}

/// The result for one file, as JSON.
#[derive(Debug, Serialize)]
struct FileDocument {
    file: String,
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    targets: Option<usize>,
    problems: Vec<FindingDocument>,
    warnings: Vec<FindingDocument>,
    /// With `--resolve`, what each identity of the type `auto` uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    identities: Option<Vec<ResolvedIdentity>>,
}

/// What an identity of the type `auto` uses.
#[derive(Debug, Serialize)]
struct ResolvedIdentity {
    identity: String,
    targets: Vec<String>,
    #[serde(flatten)]
    resolution: ResolutionDocument,
}

impl fmt::Display for ResolvedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = enumerated(self.targets.iter().map(String::as_str));
        write!(f, "{names}:")?;
        self.resolution.lines().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

#[derive(Debug, Default, Serialize)]
struct FindingDocument {
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    /// The path of the key. Empty if the problem concerns the whole file.
    path: String,
    message: String,
}

impl Validate {
    pub(super) fn run(&self) -> ExitCode {
        let files = self.files();
        if files.is_empty() {
            return usage(&format_args!(
                "nothing to validate; give configuration files, or one with --config or {CONFIG_VARIABLE}"
            ));
        }
        let mut code = ExitCode::SUCCESS;
        for file in &files {
            let loaded = load(file);
            if loaded.is_err() {
                code = USAGE.into();
            }
            let resolved = match &loaded {
                Ok(config) if self.resolve => match resolve(&config.targets) {
                    Ok(resolved) => Some(resolved),
                    Err(exit) => return exit,
                },
                _ => None,
            };
            match self.show(file, loaded, resolved) {
                Err(error @ WriteError::Failed(_)) => return error.exit(code),
                Ok(()) | Err(WriteError::Closed) => {}
            }
        }
        code
    }

    /// Returns the files of the command line; without any, the one of the environment variable.
    fn files(&self) -> Vec<PathBuf> {
        let named: Vec<PathBuf> = self.config.iter().chain(&self.files).cloned().collect();
        if named.is_empty() {
            let variable = std::env::var_os(CONFIG_VARIABLE).filter(|file| !file.is_empty());
            variable.into_iter().map(Into::into).collect()
        } else {
            named
        }
    }

    fn show(
        &self,
        file: &Path,
        loaded: Result<Config, LoadError>,
        resolved: Option<Vec<ResolvedIdentity>>,
    ) -> Result<(), WriteError> {
        match (self.output, loaded) {
            (OutputFormat::Text, Ok(config)) => {
                for warning in &config.warnings {
                    complain(&format_args!("warning: {}", Escaped(warning)));
                }
                let targets = counted(config.targets.len() as u64, "target");
                print(&format_args!("{}: valid, {targets}", Escaped(name(file).display())))?;
                resolved.iter().flatten().try_for_each(|identity| print(identity))
            }
            (OutputFormat::Text, Err(error)) => {
                complain_of_file(&error);
                Ok(())
            }
            (OutputFormat::Json, loaded) => {
                let document = FileDocument { identities: resolved, ..FileDocument::new(name(file), loaded) };
                let json = serde_json::to_string(&document)
                    .expect("strings, numbers and lists of them always serialise");
                print(&json)
            }
        }
    }
}

/// Finds out what each identity of the type `auto` uses on this machine.
///
/// # Errors
/// The exit code, if that cannot be found out. The error is reported.
fn resolve(targets: &[Arc<Target>]) -> Result<Vec<ResolvedIdentity>, ExitCode> {
    let files = Files::system();
    on_runtime(async {
        let mut resolved: Vec<ResolvedIdentity> = Vec::new();
        for target in targets {
            let Identity::Entra(identity) = &*target.identity else { continue };
            let label = identity.to_string();
            if let Some(known) = resolved.iter_mut().find(|known| known.identity == label) {
                known.targets.push(target.name.to_string());
                continue;
            }
            let found =
                ResolutionDocument::of(identity, &files).await.map_err(|error| failure(&Chain(&error)))?;
            let targets = vec![target.name.to_string()];
            resolved.extend(found.map(|resolution| ResolvedIdentity {
                identity: label,
                targets,
                resolution,
            }));
        }
        Ok(resolved)
    })?
}

fn load(file: &Path) -> Result<Config, LoadError> {
    let sources = Sources::new(&Files::system());
    let mut config = if file == Path::new(STDIN[0]) {
        Config::load_from(io::stdin().lock(), name(file), &sources)
    } else {
        Config::load(file, &sources)
    }?;
    let merged = config.found().merge(&config.targets, &Good::new(), None);
    for problems in merged.files.into_values().filter_map(Result::err) {
        config.warnings.extend(problems.lines().map(|problem| Finding {
            file: None,
            position: None,
            path: String::new(),
            message: problem.to_owned(),
        }));
    }
    config.targets = merged.own;
    match variables::check_azure(&Variables::of_process(), &config.targets) {
        Ok(warnings) => config.warnings.extend(warnings),
        Err(problems) => {
            return Err(LoadError { path: name(file).to_owned(), fault: LoadFault::Invalid(problems) });
        }
    }
    Ok(config)
}

/// Returns the name of `file` in messages.
fn name(file: &Path) -> &Path {
    if file == Path::new(STDIN[0]) { Path::new(STDIN[1]) } else { file }
}

impl FileDocument {
    fn new(file: &Path, loaded: Result<Config, LoadError>) -> Self {
        let document = |finding: &Finding| FindingDocument {
            line: finding.position.map(|position| position.line),
            column: finding.position.map(|position| position.column),
            path: finding.path.clone(),
            message: finding.message.clone(),
        };
        let (targets, problems, warnings) = match loaded {
            Ok(config) => {
                let warnings = config.warnings.iter().map(document).collect();
                (Some(config.targets.len()), Vec::new(), warnings)
            }
            Err(LoadError { fault: LoadFault::Invalid(problems), .. }) => {
                (None, problems.iter().map(document).collect(), Vec::new())
            }
            Err(error) => {
                let message = Chain(&error).to_string();
                (None, vec![FindingDocument { message, ..FindingDocument::default() }], Vec::new())
            }
        };
        let file = file.display().to_string();
        Self { file, valid: problems.is_empty(), targets, problems, warnings, identities: None }
    }
}

/// Reports why `error`'s file is not valid. Its problems, one per line, begin with their place for editors.
pub(super) fn complain_of_file(error: &LoadError) {
    match &error.fault {
        LoadFault::Invalid(problems) => problems.iter().for_each(|problem| complain(&Escaped(problem))),
        _ => complain_of(&Escaped(Chain(error))),
    }
}
