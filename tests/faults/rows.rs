//! The table of all faults, in groups.

mod agent;
mod cache;
mod default;
mod names;
mod path;
mod sign_in;
mod state;
mod tls;
mod token;

use cachepulse_standin::Faults;

use crate::row::{Boxed, Case, Proof, Row, at_once};

pub(crate) fn all() -> Vec<Row> {
    // The slowest rows start first.
    [
        cache::rows(),
        default::rows(),
        path::rows(),
        tls::rows(),
        names::rows(),
        sign_in::rows(),
        token::rows(),
        agent::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The rows of one group.
struct Group {
    name: &'static str,
    rows: Vec<Row>,
}

impl Group {
    const fn new(name: &'static str) -> Self {
        Self { name, rows: Vec::new() }
    }

    fn add(&mut self, fault: impl Into<String>, expected: String, proof: Proof) {
        self.rows.push(Row { group: self.name, fault: fault.into(), expected, proof });
    }

    fn case(&mut self, fault: impl Into<String>, case: Case) {
        self.add(fault, case.expected(), Proof::Case(case));
    }

    /// Adds a row with its own procedure.
    fn scenario(
        &mut self,
        fault: &str,
        expected: &str,
        play: fn() -> Boxed<'static, Result<String, String>>,
    ) {
        self.add(fault, expected.to_owned(), Proof::Scenario(play));
    }

    /// Adds a row that another test proves.
    fn test(&mut self, fault: &str, expected: &str, file: &'static str, test: &'static str) {
        self.add(fault, expected.to_owned(), Proof::Test(file, test));
    }
}

/// Returns a case for a fault of the front.
fn front<const N: usize>(reasons: [&'static str; N], inject: impl Fn(&mut Faults) + Send + 'static) -> Case {
    Case::new(
        reasons,
        at_once(move |bench| bench.lab.azure.cache().faults(&inject)),
        at_once(|bench| bench.lab.azure.cache().heal()),
    )
}
