//! `cachepulse version`: the version and build of this binary.

use std::fmt;
use std::process::ExitCode;

use clap::Args;

use super::output::{OutputFormat, finish};
use crate::build_info::{BUILD_INFO, BuildInfo};

#[derive(Debug, Args)]
pub(super) struct Version {
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
}

impl Version {
    pub(super) fn run(&self) -> ExitCode {
        match self.output {
            OutputFormat::Text => finish(&BUILD_INFO, ExitCode::SUCCESS),
            OutputFormat::Json => {
                let json =
                    serde_json::to_string(&BUILD_INFO).expect("strings and lists of them always serialise");
                finish(&json, ExitCode::SUCCESS)
            }
        }
    }
}

impl fmt::Display for BuildInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, revision, rustc, target, features } = self;
        let features = if features.is_empty() { "none".to_owned() } else { features.join(", ") };
        write!(
            f,
            "cachepulse {version}\nrevision: {revision}\nrustc: {rustc}\ntarget: {target}\nfeatures: {features}"
        )
    }
}
