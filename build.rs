//! Passes on to the compiler what only build scripts know: the target triple, the compiler's version, and the commit that is
//! compiled.

use std::path::Path;
use std::process::Command;

fn main() {
    let target = std::env::var("TARGET").expect("cargo sets TARGET for build scripts");
    println!("cargo::rustc-env=CACHEPULSE_TARGET={target}");
    println!("cargo::rustc-env=CACHEPULSE_RUSTC={}", compiler().unwrap_or_else(|| "unknown".to_owned()));
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CACHEPULSE_REVISION");
    // Builds outside of a repository, such as that of the image, pass the revision in this variable.
    let given = std::env::var("CACHEPULSE_REVISION").ok().filter(|revision| !revision.is_empty());
    let revision = given.or_else(revision).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=CACHEPULSE_REVISION={revision}");
}

/// Asks git for the commit. Returns `None` without git, and outside of the project's repository.
fn revision() -> Option<String> {
    // In a source package inside another repository, git would name that repository's commit.
    if !Path::new(".git").exists() {
        return None;
    }
    // The log of HEAD changes with each commit; HEAD itself only with each checkout.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "HEAD"])
}

/// Returns the version of the compiler, such as `1.95.0`.
fn compiler() -> Option<String> {
    let rustc = std::env::var("RUSTC").expect("cargo sets RUSTC for build scripts");
    output(&rustc, &["--version"])?.split(' ').nth(1).map(str::to_owned)
}

fn git(arguments: &[&str]) -> Option<String> {
    output("git", arguments)
}

/// Runs a program and returns its output. `None` if it fails or is not installed.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim_end();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
