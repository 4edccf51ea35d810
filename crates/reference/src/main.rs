//! Writes the reference pages under `docs/` from the agent's own descriptors: `make docs`.
//!
//! One module per page returns its text. What the descriptors cannot say is in the template beside the module.

mod cli;
mod configuration;
mod http;
mod markdown;
mod metrics;
mod reasons;
mod verdict;

use std::io;
use std::path::{Path, PathBuf};

/// A generated file: its path in the repository, and the function that returns its text.
struct Generated {
    path: &'static str,
    text: fn() -> String,
}

const GENERATED: &[Generated] = &[
    Generated { path: "docs/cli.md", text: cli::page },
    Generated { path: "docs/configuration.md", text: configuration::page },
    Generated { path: "docs/http.md", text: http::page },
    Generated { path: "docs/metrics.md", text: metrics::page },
    Generated { path: "docs/reasons.md", text: reasons::page },
    Generated { path: "docs/verdict.md", text: verdict::page },
];

impl Generated {
    fn file(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(self.path)
    }
}

fn main() -> io::Result<()> {
    for generated in GENERATED {
        std::fs::write(generated.file(), (generated.text)())?;
        println!("{}", generated.path);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_generated_file_is_up_to_date() {
        for generated in GENERATED {
            let text = std::fs::read_to_string(generated.file()).unwrap_or_default();
            assert!(text == (generated.text)(), "{} is stale: run `make docs`", generated.path);
        }
    }
}
