//! Faults of name resolution. A test cannot change the system's resolver, so a prober in the test process uses a scripted
//! resolver, against a real redis-server.

use std::net::IpAddr;

use super::Group;
use crate::bench::Bench;
use crate::gate::Gate;
use crate::names::{Lookup, Names};
use crate::row::{Case, Row, at_once};

const HOME: &str = "127.0.0.1";
/// Another loopback address of Linux.
const ELSEWHERE: &str = "127.0.0.2";

async fn at_home() -> Bench {
    Bench::named(Names::new(Lookup::addresses([HOME]))).await
}

/// Closes the connection and sets the result of lookups.
fn during(result: Lookup) -> Case {
    Case::new(
        ["resolve"],
        at_once(move |bench| {
            bench.names.as_ref().unwrap().set(result.clone());
            bench.lead_to_other();
        }),
        at_once(|bench| bench.names.as_ref().unwrap().set(Lookup::addresses([HOME]))),
    )
    .wake(["closed", "reset"])
    .on(at_home)
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Group::new("Name resolution");
    rows.case("host name that does not exist", during(Lookup::NoSuchName));
    rows.case("host name without an address", during(Lookup::Addresses(Vec::new())));
    rows.case("resolver that does not answer", during(Lookup::Silence));
    rows.case(
        "host name that changes to another address",
        Case::new(
            ["closed", "reset"],
            at_once(|bench| {
                let gate = bench.gate.take().unwrap();
                let (port, plain) = (gate.port, bench.other.as_ref().unwrap().port());
                bench.gate = Some(Gate::at(ELSEWHERE.parse().unwrap(), port, plain));
                bench.names.as_ref().unwrap().set(Lookup::addresses([ELSEWHERE]));
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
            .on(async || Bench::named(Names::new(Lookup::addresses([ELSEWHERE, HOME]))).await),
    );
    rows.case(
        "several addresses, the first does not answer",
        Case::new([], at_once(|_| {}), at_once(|_| {})).on(async || {
            let mut bench = Bench::named(Names::new(Lookup::addresses([ELSEWHERE, HOME]))).await;
            let port = bench.gate.as_ref().unwrap().port;
            bench.silence((ELSEWHERE.parse::<IpAddr>().unwrap(), port).into()).await;
            bench
        }),
    );
    rows.rows
}
