//! Passes on what cargo tells build scripts only: the target that the program is compiled for.

fn main() {
    let target = std::env::var("TARGET").expect("cargo sets TARGET for build scripts");
    println!("cargo::rustc-env=CACHEPULSE_TARGET={target}");
    println!("cargo::rerun-if-changed=build.rs");
}
