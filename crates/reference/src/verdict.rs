//! `docs/verdict.md`.

use cachepulse::probe::{Phase, Step};

use crate::markdown::{code, page as fill, table};

pub(crate) fn page() -> String {
    let phases = Phase::ALL.map(|phase| [code(phase.as_str()), phase.meaning().to_owned()]);
    let steps = Step::ALL.map(|step| [code(step.as_str()), code(step.command()), step.meaning().to_owned()]);
    fill(
        include_str!("verdict.md"),
        &[
            ("phases", table(["Phase", "What happens"], phases)),
            ("steps", table(["Step", "Command", "What must hold"], steps)),
        ],
    )
}
