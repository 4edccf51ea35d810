//! The table of faults: printed after a run, and kept in `docs/faults.md`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use crate::row::{Proof, Row, Verdict};

const PAGE: &str = "docs/faults.md";
const INTRODUCTION: &str = "\
# Faults, and what the agent shows

What each fault must look like in the metrics: the `reason` of a failed probe (`cachepulse_probe_failures_total`) or of
a lost connection (`cachepulse_disconnects_total`). `make test` brings each of them about; the reason must show within
interval and timeout, the agent must stay up, and the target must be healthy again within one interval or 5 s of the
fault's end, whichever is longer, without a restart. Everything that the agent shows and logs meanwhile, at the level
`debug`, is searched for secrets.

It is the built binary that is tested, with a probe every 500 ms and one attempt in each, unless it is said that it has
the defaults. What answers is a real redis-server that was brought into the state in question, straight or behind a
front that takes tokens and ends sessions as Azure does. That front breaks replies and connections as no server would,
and a local endpoint hands out tokens, good ones and bad ones. No test may choose what the machine's resolver answers:
name resolution is tested with a prober in the tests' own process, with a resolver of theirs.

This page is checked by `tests/faults`; `UPDATE_FAULTS=1 cargo test --test faults` writes it. Where another test proves
the row, it is named.
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
            Proof::Case(_) | Proof::Scenario(_) => "played".to_owned(),
            Proof::Test(file, test) => format!("`{file}`: {}", test.replace('_', " ")),
        };
        writeln!(page, "| {} | {} | {proof} |", row.fault, row.expected).unwrap();
    }
    page
}

/// Asserts that `docs/faults.md` holds these rows, and that the tests it names exist.
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

/// Prints what became of each row that was played, captured output or not.
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
            Err(words) => ("FAIL", words),
        };
        writeln!(text, "  {mark} {fault:width$}  {expected}  [{seen}{recovery}]").unwrap();
    }
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}
