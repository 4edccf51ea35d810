//! Name resolution. What a machine's own resolver answers is not a test's to choose: these rows are played by a
//! prober in the tests' process, with a resolver of theirs, against a real redis-server.

use std::net::IpAddr;

use super::Group;
use crate::bench::Bench;
use crate::gate::Gate;
use crate::names::{Answer, Names};
use crate::row::{Case, Row, at_once};

const HOME: &str = "127.0.0.1";
/// Another address of this machine, as every Linux has it.
const ELSEWHERE: &str = "127.0.0.2";

async fn at_home() -> Bench {
    Bench::named(Names::new(Answer::addresses([HOME]))).await
}

/// Lookups get this answer while the connection is lost.
fn answer(answer: Answer) -> Case {
    Case::new(
        ["resolve"],
        at_once(move |bench| {
            bench.names.as_ref().unwrap().answer(answer.clone());
            bench.lead_to_other();
        }),
        at_once(|bench| bench.names.as_ref().unwrap().answer(Answer::addresses([HOME]))),
    )
    .wake(["closed", "reset"])
    .on(at_home)
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Group::new("Name resolution");
    rows.case("host name that does not exist", answer(Answer::NoSuchName));
    rows.case("host name without an address", answer(Answer::Addresses(Vec::new())));
    rows.case("resolver that does not answer", answer(Answer::Silence));
    rows.case(
        "host name that changes to another address",
        Case::new(
            ["closed", "reset"],
            at_once(|bench| {
                let gate = bench.gate.take().unwrap();
                let (port, plain) = (gate.port, bench.other.as_ref().unwrap().port());
                bench.gate = Some(Gate::at(ELSEWHERE.parse().unwrap(), port, plain));
                bench.names.as_ref().unwrap().answer(Answer::addresses([ELSEWHERE]));
            }),
            at_once(|_| {}),
        )
        .wake(["closed", "reset"])
        .blink()
        .on(at_home),
    );
    rows.case(
        "several addresses, the first refuses connections",
        Case::new([], at_once(|_| {}), at_once(|_| {}))
            .on(async || Bench::named(Names::new(Answer::addresses([ELSEWHERE, HOME]))).await),
    );
    rows.case(
        "several addresses, the first does not answer",
        Case::new([], at_once(|_| {}), at_once(|_| {})).on(async || {
            let mut bench = Bench::named(Names::new(Answer::addresses([ELSEWHERE, HOME]))).await;
            let port = bench.gate.as_ref().unwrap().port;
            bench.silence((ELSEWHERE.parse::<IpAddr>().unwrap(), port).into()).await;
            bench
        }),
    );
    rows.rows
}
