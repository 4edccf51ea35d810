//! `cachepulse validate`: every problem at once, or that there is none.

use crate::program::cachepulse;

#[tokio::test]
async fn the_examples_are_valid() {
    let smallest = cachepulse(["validate", "examples/smallest.yaml"]).run().await;
    assert_eq!(smallest.code, Some(0), "{smallest:?}");
    assert_eq!(smallest.stdout, "examples/smallest.yaml: valid, 1 target(s)\n");
    let fullest = cachepulse(["validate", "examples/fullest.yaml"]).env("CACHE_PASSWORD", "x").run().await;
    assert_eq!(fullest.code, Some(0), "{fullest:?}");
}

#[tokio::test]
async fn every_problem_is_told_at_once_with_its_path() {
    let file = "tests/config/invalid/everything-at-once.yaml";
    let ended = cachepulse(["validate", file]).run().await;
    assert_eq!(ended.code, Some(64));
    assert_eq!(ended.stdout, "");
    let problems = std::fs::read_to_string("tests/config/invalid/everything-at-once.txt").unwrap();
    assert_eq!(ended.stderr, format!("{file}:\n{problems}"));
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_a_problem() {
    let ended = cachepulse(["validate", "examples/fullest.yaml"]).run().await;
    assert_eq!(ended.code, Some(64));
    let told = "examples/fullest.yaml:\ntargets[9].identity.password.env: the secret's environment variable \
                CACHE_PASSWORD is not set\n";
    assert_eq!(ended.stderr, told);
}
