//! What this binary was built from, for `cachepulse version` and the metrics.

use serde::Serialize;

/// The identification of a build.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct BuildInfo {
    /// The version of the package.
    pub version: &'static str,
    /// The commit that was compiled, or `unknown` outside of a repository.
    pub revision: &'static str,
    /// The version of the compiler.
    pub rustc: &'static str,
    /// The target triple.
    pub target: &'static str,
    /// The enabled features of Cargo.toml.
    pub features: &'static [&'static str],
}

/// This build.
pub const BUILD_INFO: BuildInfo = BuildInfo {
    version: env!("CARGO_PKG_VERSION"),
    revision: env!("CACHEPULSE_REVISION"),
    rustc: env!("CACHEPULSE_RUSTC"),
    target: env!("CACHEPULSE_TARGET"),
    features: if cfg!(feature = "demo") { &["demo"] } else { &[] },
};
