//! The notes of a release: what `.github/workflows/release.yml` makes of a tag and CHANGELOG.md.

use std::fs;
use std::process::Command;

const TAGGED: &str = "[package]\nname = \"cachepulse\"\nversion = \"0.2.0\"\n";

/// Runs `deploy/packages/notes` in a folder with these files.
fn notes(version: &str, manifest: &str, changelog: &str) -> Result<String, String> {
    let folder = tempfile::tempdir().expect("a folder for the test");
    fs::write(folder.path().join("Cargo.toml"), manifest).expect("it can be written");
    fs::write(folder.path().join("CHANGELOG.md"), changelog).expect("it can be written");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/packages/notes");
    let output = Command::new(script).arg(version).current_dir(&folder).output().expect("it can be started");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[test]
fn the_notes_are_the_section_of_the_version() {
    let changelog = "# Changelog\n\n## [Unreleased]\n\nLater.\n\n## [0.2.0] - 2026-12-01\n\n### Added\n\n- This.\n\n\
                     ## [0.1.0] - 2026-11-30\n\nBefore.\n";
    assert_eq!(notes("0.2.0", TAGGED, changelog).expect("it has notes").trim(), "### Added\n\n- This.");
}

#[test]
fn a_tag_of_another_version_is_refused() {
    let refused = notes("0.3.0", TAGGED, "## [0.3.0]\n\nText.\n").expect_err("Cargo.toml has 0.2.0");
    assert_eq!(refused, "the version in Cargo.toml is not 0.3.0\n");
    let refused = notes("0.2", TAGGED, "## [0.2]\n\nText.\n").expect_err("Cargo.toml has 0.2.0");
    assert_eq!(refused, "the version in Cargo.toml is not 0.2\n");
}

#[test]
fn a_version_without_notes_is_refused() {
    for changelog in
        ["## [Unreleased]\n\nText.\n", "## [0.2.0]\n\n## [0.1.0]\n\nText.\n", "## [0.2.0-rc.1]\n\nText.\n"]
    {
        let refused = notes("0.2.0", TAGGED, changelog).expect_err("it has no text");
        assert_eq!(refused, "CHANGELOG.md has no section ## [0.2.0], or nothing is in it\n", "{changelog}");
    }
}

/// So that the script finds the sections of this CHANGELOG.md.
#[test]
fn each_heading_of_the_changelog_is_a_version() {
    let changelog = fs::read_to_string("CHANGELOG.md").expect("it is there");
    let headings: Vec<_> = changelog.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(headings.first(), Some(&"[Unreleased]"));
    for heading in &headings[1..] {
        let (version, date) = heading.split_once(" - ").expect("the heading is [VERSION] - DATE");
        assert!(
            version.starts_with('[') && version.ends_with(']') && date.len() == "2026-11-30".len(),
            "{heading}"
        );
    }
}
