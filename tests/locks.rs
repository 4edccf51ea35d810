//! The lock files of the packages outside the workspace: what is fuzzed and measured is what the agent links.

use std::collections::BTreeMap;
use std::fs;

/// The versions of each package that a lock file names.
fn locked(file: &str) -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(file).expect("the lock file is there");
    let mut versions = BTreeMap::<_, Vec<_>>::new();
    for package in text.split("[[package]]").skip(1) {
        let field =
            |name| package.lines().find_map(|line| line.strip_prefix(name)).expect("every package has it");
        versions.entry(field("name = ").to_owned()).or_default().push(field("version = ").to_owned());
    }
    versions
}

#[test]
fn what_is_fuzzed_and_measured_has_the_versions_of_the_agent() {
    let agent = locked("Cargo.lock");
    for file in ["fuzz/Cargo.lock", "bench/driver/Cargo.lock"] {
        for (name, versions) in locked(file) {
            let Some(linked) = agent.get(&name) else { continue };
            assert!(
                versions.iter().all(|version| linked.contains(version)),
                "{file}: {name}: run `make locks`"
            );
        }
    }
}
