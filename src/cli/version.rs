//! `cachepulse version`: the version and build of this binary.

use std::fmt;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::output::{OutputFormat, finish};

/// The identification of a build.
#[derive(Clone, Copy, Debug, Serialize)]
struct Build {
    version: &'static str,
    /// The commit that was compiled, or `unknown` outside of a repository.
    revision: &'static str,
    /// The target triple.
    target: &'static str,
    /// The enabled features of Cargo.toml.
    features: &'static [&'static str],
}

const THIS: Build = Build {
    version: env!("CARGO_PKG_VERSION"),
    revision: env!("CACHEPULSE_REVISION"),
    target: env!("CACHEPULSE_TARGET"),
    features: if cfg!(feature = "demo") { &["demo"] } else { &[] },
};

#[derive(Debug, Args)]
pub(super) struct Version {
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
}

impl Version {
    pub(super) fn run(&self) -> ExitCode {
        match self.output {
            OutputFormat::Text => finish(&THIS, ExitCode::SUCCESS),
            OutputFormat::Json => {
                let json = serde_json::to_string(&THIS).expect("strings and lists of them always serialise");
                finish(&json, ExitCode::SUCCESS)
            }
        }
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, revision, target, features } = self;
        let features = if features.is_empty() { "none".to_owned() } else { features.join(", ") };
        write!(f, "cachepulse {version}\nrevision: {revision}\ntarget: {target}\nfeatures: {features}")
    }
}
