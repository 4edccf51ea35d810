//! The pages for people in a real browser: `make browser-test`. A headless Chromium looks at what the agent's endpoint serves
//! for made-up targets, among them hostile ones. Needs Chromium, python3 and axe-core, which `tests/browser/tools` provides.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod gallery;

use std::process::Command;

use gallery::Gallery;

/// Runs a script of this folder on pages of `gallery`.
fn python(script: &str, gallery: &Gallery, arguments: &[&str], paths: &[&str]) {
    let urls = paths.iter().map(|path| format!("http://{}{path}", gallery.address()));
    let script = format!("{}/tests/browser/{script}", env!("CARGO_MANIFEST_DIR"));
    let status = Command::new("python3").arg("-B").arg(script).args(arguments).args(urls).status();
    assert!(status.unwrap().success());
}

/// Returns where `tests/browser/tools` has put axe-core.
fn axe() -> String {
    let folder = format!("{}/target/browser", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(folder).expect("run `make browser-tools` first");
    let names = files.map(|file| file.unwrap().path().display().to_string());
    names.filter(|name| name.ends_with(".js")).max().expect("run `make browser-tools` first")
}

#[tokio::test(start_paused = true)]
async fn the_pages_are_readable_and_execute_nothing_whatever_they_show() {
    let gallery = Gallery::hostile().await;
    let pages =
        ["/?refresh=off", "/?refresh=off&state=failing", "/?refresh=off&q=nothing", "/?refresh=off&page=2"];
    python("check.py", &gallery, &[&axe()], &pages);
}

/// Makes the pictures of the documentation, in the folder that the variable SCREENSHOTS names.
#[tokio::test(start_paused = true)]
#[ignore = "writes pictures: `make screenshots`"]
async fn pictures() {
    let folder = std::env::var("SCREENSHOTS").expect("`make screenshots` sets it");
    let gallery = Gallery::everyday().await;
    for (name, width, scheme, path) in [
        ("page", "1200", "light", "/?refresh=off"),
        ("page-narrow", "360", "dark", "/?refresh=off"),
        ("page-target", "1200", "light", "/targets/sessions?refresh=off"),
    ] {
        python("picture.py", &gallery, &[&format!("{folder}/{name}.png"), width, scheme], &[path]);
    }
}
