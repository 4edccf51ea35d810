//! The pages for people in a real browser: `make browser-test`. A headless Chromium looks at what the agent's endpoint serves
//! for made-up targets, among them hostile ones. Needs Chromium, python3 and axe-core, which `tests/browser/tools` provides.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod gallery;

use std::process::Command;

use gallery::Gallery;

/// Runs a script of this folder on pages of `gallery`.
fn python(script: &str, gallery: &Gallery, arguments: &[&str], paths: &[String]) {
    let urls = paths.iter().map(|path| format!("http://{}{path}", gallery.address()));
    let script = format!("{}/tests/browser/{script}", env!("CARGO_MANIFEST_DIR"));
    let status = Command::new("python3").arg("-B").arg(script).args(arguments).args(urls).status();
    assert!(status.unwrap().success());
}

/// Returns where `tests/browser/tools` has put axe-core.
fn axe() -> String {
    let folder = format!("{}/target/browser", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(folder).expect("run `make browser-tools` first");
    let paths = files.map(|file| file.unwrap().path());
    let script = paths.filter(|path| path.extension().is_some_and(|extension| extension == "js")).max();
    script.expect("run `make browser-tools` first").display().to_string()
}

#[tokio::test(start_paused = true)]
async fn the_pages_are_readable_and_execute_nothing_whatever_they_show() {
    let gallery = Gallery::hostile().await;
    let mut pages: Vec<_> = ["", "&state=failing", "&q=%3Cscript%3E", "&q=nothing", "&page=2"]
        .into_iter()
        .map(|query| format!("/?refresh=off{query}"))
        .collect();
    // By name: those that begin with markup come first.
    pages.extend((0..4).map(|place| gallery.path(place)));
    // Errors.
    pages.extend(["/?state=nothing", "/targets/nobody", "/targets/%3Cscript%3E", "/a/b"].map(str::to_owned));
    python("check.py", &gallery, &[&axe()], &pages);
}

/// Makes the pictures of the documentation, in the folder that the variable SCREENSHOTS names.
#[tokio::test(start_paused = true)]
#[ignore = "writes pictures: `make screenshots`"]
async fn pictures() {
    let folder = std::env::var("SCREENSHOTS").expect("`make screenshots` sets it");
    let gallery = Gallery::everyday().await;
    for (name, width, height, scheme, path) in [
        ("page", "1200", "640", "light", "/?refresh=off"),
        ("page-target", "1200", "640", "light", "/targets/search?refresh=off"),
    ] {
        let file = format!("{folder}/{name}.png");
        python("picture.py", &gallery, &[&file, width, height, scheme], &[path.to_owned()]);
    }
}
