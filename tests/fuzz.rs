//! The short form of `make fuzz`: the same properties, for the inputs in `fuzz/` and for seeded variations of them.

use std::fs;
use std::path::PathBuf;

#[path = "../fuzz/properties/answer.rs"]
mod answer;
#[path = "../fuzz/properties/config.rs"]
mod config;
#[path = "../fuzz/properties/echo.rs"]
mod echo;
#[path = "../fuzz/properties/notice.rs"]
mod notice;
#[path = "../fuzz/properties/reply.rs"]
mod reply;
#[path = "../fuzz/properties/runtime.rs"]
mod runtime;
#[path = "../fuzz/properties/scripted_cache.rs"]
mod scripted_cache;
#[path = "../fuzz/properties/token.rs"]
mod token;
#[path = "../fuzz/properties/topology.rs"]
mod topology;

/// Returns the inputs in the corpus and the regressions of `target`.
fn inputs(target: &str) -> Vec<Vec<u8>> {
    let folders = ["corpus", "regressions"].map(|kind| PathBuf::from("fuzz").join(kind).join(target));
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    // Sorted, because the random choices depend on the order.
    paths.sort();
    assert!(!paths.is_empty(), "no inputs for {target}");
    paths.iter().map(|path| fs::read(path).expect("an input can be read")).collect()
}

/// Returns one of `inputs` with random pieces removed, inserted from other inputs, or replaced.
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

/// Prints the input if the property panics.
struct PrintOnPanic<'a>(&'a str, &'a [u8]);

impl Drop for PrintOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} does not hold for: b\"{}\"", self.0, self.1.escape_ascii());
        }
    }
}

fn holds_for_many(target: &str, property: fn(&[u8]), variations: usize) {
    let inputs = inputs(target);
    let mut random = fastrand::Rng::with_seed(9860);
    let varied = (0..variations).map(|_| variation(&inputs, &mut random));
    for input in inputs.iter().cloned().chain(varied) {
        let _print = PrintOnPanic(target, &input);
        property(&input);
    }
}

#[test]
fn no_reply_makes_a_session_panic_use_too_much_memory_or_get_out_of_step() {
    holds_for_many("reply", reply::holds, 4000);
}

#[test]
fn every_reply_to_cluster_slots_is_a_consistent_topology_or_a_short_error() {
    holds_for_many("topology", topology::holds, 1500);
}

#[test]
fn every_maintenance_notice_is_bounded_and_known_for_a_while() {
    holds_for_many("notice", notice::holds, 4000);
}

#[test]
fn no_token_or_secret_is_shown_even_if_a_server_echoes_it() {
    holds_for_many("token", token::holds, 4000);
}

#[test]
fn every_response_of_an_identity_endpoint_is_a_token_or_a_short_error() {
    holds_for_many("answer", answer::holds, 1500);
}

#[test]
fn every_document_is_a_valid_configuration_or_problems_with_positions() {
    holds_for_many("config", config::holds, 3000);
}

#[test]
fn every_fuzz_target_has_a_short_form() {
    let targets = fs::read_dir("fuzz/targets").expect("the folder exists");
    let mut names: Vec<_> = targets.map(|entry| entry.expect("it can be read").path()).collect();
    names.sort();
    let names: Vec<_> = names.iter().filter_map(|path| path.file_stem()?.to_str()).collect();
    assert_eq!(names, ["answer", "config", "notice", "reply", "token", "topology"]);
}
