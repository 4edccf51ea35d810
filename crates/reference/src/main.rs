//! Writes what derives from the agent's own descriptors: the reference pages under `docs/`, the schema of the chart's value
//! `config`, and the schema of `/status`. Run it by `make docs`.
//!
//! One module per file returns its text. What the descriptors cannot say is in the template beside the module.

mod chart;
mod cli;
mod configuration;
mod http;
mod markdown;
mod metrics;
mod reasons;
mod verdict;

use std::io;
use std::path::{Path, PathBuf};

/// A generated file: its path in the repository, and the function that returns its text, given the present text.
struct Generated {
    path: &'static str,
    text: fn(&str) -> String,
}

const GENERATED: &[Generated] = &[
    Generated { path: "charts/cachepulse/values.schema.json", text: chart::values_schema },
    Generated { path: "docs/cli.md", text: |_| cli::page() },
    Generated { path: "docs/configuration.md", text: |_| configuration::page() },
    Generated { path: "docs/http.md", text: |_| http::page() },
    Generated { path: "docs/metrics.md", text: |_| metrics::page() },
    Generated { path: "docs/reasons.md", text: |_| reasons::page() },
    Generated { path: "docs/verdict.md", text: |_| verdict::page() },
    Generated { path: "src/status/schema.json", text: |_| format!("{:#}\n", cachepulse::status::schema()) },
];

impl Generated {
    fn file(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(self.path)
    }

    /// Returns the present text, empty if there is no such file.
    fn present(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap_or_default()
    }
}

fn main() -> io::Result<()> {
    for generated in GENERATED {
        std::fs::write(generated.file(), (generated.text)(&generated.present()))?;
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
            let present = generated.present();
            assert!(present == (generated.text)(&present), "{} is stale: run `make docs`", generated.path);
        }
    }
}
