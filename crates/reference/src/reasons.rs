//! `docs/reasons.md`.

use cachepulse::probe::{FailureReason, Stage};

use crate::markdown::{code, page as fill, table, yes_no};

pub(crate) fn page() -> String {
    let rows = FailureReason::ALL.map(|reason| {
        [
            code(reason.as_str()),
            reason.meaning().to_owned(),
            reason.advice().to_owned(),
            yes_no(reason.may_pass()),
            yes_no(reason.can_end_connection()),
        ]
    });
    let titles = ["Reason", "Meaning", "What to do", "Passes by itself", "Ends a connection"];
    fill(
        include_str!("reasons.md"),
        &[("reasons", table(titles, rows)), ("idle", code(Stage::Idle.as_str()))],
    )
}
