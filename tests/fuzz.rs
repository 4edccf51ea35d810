//! The short form of `make fuzz`: the same properties, on the inputs that are kept in `fuzz/` and on variations of
//! them that are the same at every run.

use std::fs;
use std::path::PathBuf;

#[path = "../fuzz/properties/answer.rs"]
mod answer;
#[path = "../fuzz/properties/config.rs"]
mod config;
#[path = "../fuzz/properties/echo.rs"]
mod echo;
#[path = "../fuzz/properties/reply.rs"]
mod reply;
#[path = "../fuzz/properties/runtime.rs"]
mod runtime;
#[path = "../fuzz/properties/scripted_cache.rs"]
mod scripted_cache;
#[path = "../fuzz/properties/token.rs"]
mod token;

/// The inputs that are kept for `target`: where to start from, and what was once found.
fn kept(target: &str) -> Vec<Vec<u8>> {
    let folders = ["corpus", "regressions"].map(|kind| PathBuf::from("fuzz").join(kind).join(target));
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    // Folders have no order; what is drawn below must have one.
    paths.sort();
    assert!(!paths.is_empty(), "nothing is kept for {target}");
    paths.iter().map(|path| fs::read(path).expect("an input can be read")).collect()
}

/// One of `inputs`, with pieces cut out, put in from the others, or replaced by chance.
fn variation(inputs: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut input = inputs[random.usize(..inputs.len())].clone();
    for _ in 0..random.usize(1..6) {
        let start = random.usize(..=input.len());
        let end = (start + random.usize(..12)).min(input.len());
        let donor = &inputs[random.usize(..inputs.len())];
        let from = random.usize(..=donor.len());
        let to = (from + random.usize(..24)).min(donor.len());
        let piece = match random.u8(..3) {
            0 => Vec::new(),
            1 => donor[from..to].to_vec(),
            _ => vec![random.u8(..)],
        };
        input.splice(start..end, piece);
    }
    input
}

/// Tells the input when a property does not hold for it.
struct Told<'a>(&'a str, &'a [u8]);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} does not hold for: b\"{}\"", self.0, self.1.escape_ascii());
        }
    }
}

fn holds_for_many(target: &str, property: fn(&[u8]), variations: usize) {
    let inputs = kept(target);
    let mut random = fastrand::Rng::with_seed(9860);
    let varied = (0..variations).map(|_| variation(&inputs, &mut random));
    for input in inputs.iter().cloned().chain(varied) {
        let _told = Told(target, &input);
        property(&input);
    }
}

#[test]
fn no_reply_makes_a_session_panic_grow_or_lose_its_step() {
    holds_for_many("reply", reply::holds, 4000);
}

#[test]
fn no_token_or_secret_is_shown_whatever_is_said_of_it() {
    holds_for_many("token", token::holds, 4000);
}

#[test]
fn no_answer_of_an_identity_endpoint_is_more_than_a_token_or_a_short_error() {
    holds_for_many("answer", answer::holds, 1500);
}

#[test]
fn no_document_is_more_than_a_configuration_or_problems_with_their_places() {
    holds_for_many("config", config::holds, 3000);
}

#[test]
fn every_target_is_fuzzed_in_short_form_too() {
    let targets = fs::read_dir("fuzz/targets").expect("the folder is there");
    let mut names: Vec<_> = targets.map(|entry| entry.expect("it can be read").path()).collect();
    names.sort();
    let names: Vec<_> = names.iter().filter_map(|path| path.file_stem()?.to_str()).collect();
    assert_eq!(names, ["answer", "config", "reply", "token"]);
}
