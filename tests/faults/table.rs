//! Prints the table of faults after a run, and writes it to `docs/faults.md`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use crate::row::{Proof, Row, Verdict};

const PAGE: &str = "docs/faults.md";
const INTRODUCTION: &str = "\
# Faults, and what the agent shows

After reading this page you know how each fault appears in the metrics: as the `reason` of a failed probe
(`cachepulse_probe_failures_total`) or of a lost connection (`cachepulse_disconnects_total`).

`make test` causes each fault, unless the table names another test, and requires:

- The reason appears within interval plus timeout.
- The agent keeps running.
- The target is healthy again within one interval or 5 s of the end of the fault, whichever is longer, without a restart.
- No secret appears in anything that the agent shows or logs, at the level `debug`.

The tests run the built binary against a real redis-server. A proxy in front of it accepts tokens and closes connections
as Azure does, and can break replies and connections. A local endpoint issues valid and invalid tokens. Probes run every
500 ms with one attempt each; the section \"With the defaults\" uses the default settings.

A test cannot change the resolver of the machine. Name resolution is therefore tested inside the test process, with a
resolver of its own.

`tests/faults` checks this page; `UPDATE_FAULTS=1 cargo test --test faults` writes it.
";

fn page(rows: &[Row]) -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut group = "";
    for row in rows {
        if row.group != group {
            group = row.group;
            write!(page, "\n## {group}\n\n| Fault | Shows as | Proof |\n|---|---|---|\n").unwrap();
        }
        let proof = match row.proof {
            Proof::Case(_) | Proof::Scenario(_) => "tested".to_owned(),
            Proof::Test(file, test) => format!("`{file}`: {}", test.replace('_', " ")),
        };
        writeln!(page, "| {} | {} | {proof} |", row.fault, row.expected).unwrap();
    }
    page
}

/// Asserts that `docs/faults.md` contains these rows, and that the tests it names exist.
pub(crate) fn assert_documented(rows: &[Row]) {
    for row in rows {
        if let Proof::Test(file, test) = row.proof {
            let source = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(source.contains(&format!("fn {test}(")), "{file} has no test {test}");
        }
    }
    let page = page(rows);
    if std::env::var_os("UPDATE_FAULTS").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let kept = std::fs::read_to_string(Path::new(PAGE)).unwrap_or_default();
    assert!(kept == page, "{PAGE} is not up to date: UPDATE_FAULTS=1 cargo test --test faults");
}

/// Prints the result of each row that ran, even if the test's output is captured.
pub(crate) fn print(names: &[(&str, String, String)], verdicts: &[Option<Verdict>]) {
    let mut text = String::from("\n");
    let mut width = 0;
    for (_, fault, _) in names {
        width = width.max(fault.chars().count());
    }
    let mut last = "";
    for ((group, fault, expected), verdict) in names.iter().zip(verdicts) {
        let Some(verdict) = verdict else { continue };
        if *group != last {
            last = group;
            writeln!(text, "{group}").unwrap();
        }
        let recovery =
            verdict.recovery.map_or(String::new(), |it| format!("; healthy after {:.1} s", it.as_secs_f64()));
        let (mark, seen) = match &verdict.result {
            Ok(seen) => ("ok  ", seen),
            Err(error) => ("FAIL", error),
        };
        writeln!(text, "  {mark} {fault:width$}  {expected}  [{seen}{recovery}]").unwrap();
    }
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}
