//! Faults of the cache and of the network path to it.

use std::time::Duration;

use cachepulse_standin::{Admission, CommandFault, Ending, FaultReply, Pieces};
use rustix::process::Signal;

use super::{Group, front};
use crate::bench::{Bench, COMMAND_TIMEOUT};
use crate::row::{Case, Row, at_once};

/// Replies to `command` with `answer`.
fn replied<const N: usize>(reasons: [&'static str; N], command: &'static str, reply: FaultReply) -> Case {
    front(reasons, move |faults| faults.commands = vec![CommandFault::replied(command, reply.clone())])
}

/// Closes the connection, and treats new ones by `admission`.
pub(super) fn admission<const N: usize>(reasons: [&'static str; N], admission: Admission) -> Case {
    Case::new(
        reasons,
        at_once(move |bench| {
            bench.lab.azure.cache().faults(|faults| faults.admission = admission);
            bench.lab.azure.cache().close_all(Ending::Close);
        }),
        at_once(|bench| bench.lab.azure.cache().heal()),
    )
}

/// Closes the connection once.
pub(super) fn closed(reason: &'static str, ending: Ending) -> Case {
    Case::new([reason], at_once(move |bench| bench.lab.azure.cache().close_all(ending)), at_once(|_| {}))
        .blink()
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Group::new("Cache");
    away(&mut rows);
    replies(&mut rows);
    super::state::add(&mut rows);
    rows.rows
}

fn away(rows: &mut Group) {
    // The slowest rows start first.
    for seconds in [60, 15, 9, 1] {
        let absence = admission(["connect_refused"], Admission::Refuse);
        let absence = absence.wake(["closed"]).lasts(Duration::from_secs(seconds));
        rows.case(format!("failover: connections refused for {seconds} s"), absence);
    }
    rows.case(
        "process killed and restarted",
        Case::new(
            ["connect_refused"],
            Box::new(|bench| Box::pin(bench.other().kill())),
            Box::new(|bench| Box::pin(bench.other().restart())),
        )
        .wake(["closed", "reset", "tls_handshake"])
        .on(Bench::tls),
    );
    rows.case(
        "process stopped (SIGSTOP) and continued (SIGCONT)",
        Case::new(
            ["command_timeout"],
            at_once(|bench| bench.other().signal(Signal::STOP)),
            at_once(|bench| bench.other().signal(Signal::CONT)),
        )
        .on(Bench::tls),
    );
    rows.case(
        "process behind a proxy killed, and restarted without data",
        Case::new(
            ["closed"],
            Box::new(|bench| Box::pin(bench.lab.redis.kill())),
            Box::new(|bench| Box::pin(bench.lab.redis.restart())),
        ),
    );
    rows.case("idle connection closed", closed("closed", Ending::Close));
    rows.case("idle connection reset", closed("reset", Ending::Reset));
    let part = b"$32\r\n0123".to_vec();
    rows.case(
        "connection closed in the middle of a reply",
        replied(["closed"], "GET", FaultReply::Cut(part.clone(), Ending::Close)),
    );
    rows.case(
        "connection reset in the middle of a reply",
        replied(["reset"], "GET", FaultReply::Cut(part, Ending::Reset)),
    );
    rows.case(
        "connections accepted and closed immediately",
        admission(["closed", "tls_handshake"], Admission::HangUp(Ending::Close)).wake(["closed", "reset"]),
    );
    rows.case(
        "connections accepted and never answered, without TLS",
        Case::new(
            ["command_timeout"],
            at_once(|bench| bench.gate.as_ref().unwrap().lead(None)),
            at_once(|bench| bench.lead_to_other()),
        )
        .wake(["closed"])
        .on(|| Bench::plaintext(true)),
    );
    rows.case(
        "packets dropped while connecting",
        Case::new(
            ["connect_timeout"],
            Box::new(|bench| Box::pin(bench.silence_other())),
            Box::new(|bench| {
                bench.silent = None;
                Box::pin(bench.other().restart())
            }),
        )
        .wake(["connect_refused", "closed", "reset", "command_timeout"])
        // The listener accepts connections until its queue is full.
        .shows_late(Duration::from_secs(3))
        .on(|| Bench::plaintext(false)),
    );
    rows.case(
        "packets dropped on a live connection",
        front(["command_timeout"], |faults| faults.black_hole = true),
    );
}

fn replies(rows: &mut Group) {
    rows.case(
        "slow replies, within the timeout",
        front([], |faults| faults.latency = Duration::from_millis(20)),
    );
    rows.case(
        "slow replies, beyond the timeout",
        front(["command_timeout"], |faults| faults.latency = COMMAND_TIMEOUT + Duration::from_millis(200)),
    );
    rows.case(
        "replies in fragments, within the timeout",
        front([], |faults| {
            faults.pieces = Some(Pieces { size: 16, pause: Duration::from_millis(2) });
        }),
    );
    rows.case(
        "reply that stalls in the middle",
        replied(["command_timeout"], "GET", FaultReply::Raw(b"$32\r\n0123".to_vec())),
    );
    rows.case(
        "garbage instead of RESP",
        replied(["protocol_error"], "PING", FaultReply::Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())),
    );
    rows.case(
        "reply of another command",
        replied(["protocol_error"], "PING", FaultReply::Raw(b":42\r\n".to_vec())),
    );
    // No line of Redis is that long, so the server is not Redis.
    let endless = replied(["protocol_error"], "PING", FaultReply::Endless).in_little_memory();
    rows.case("reply that never ends", endless);
    let endless = replied([], "CLIENT LIST", FaultReply::Endless).in_little_memory();
    rows.case("CLIENT LIST that never ends", endless);
    let mut list = b"$104857600\r\n".to_vec();
    list.resize(list.len() + 100 * 1024 * 1024, b'x');
    list.extend(b"\r\n");
    let large = front([], move |faults| {
        faults.commands = vec![CommandFault::replied("CLIENT LIST", FaultReply::Raw(list.clone()))];
        // As fast as a reply that never ends: at full speed it would take a processor from the other rows.
        faults.pieces = Some(Pieces { size: 32 * 1024, pause: Duration::from_millis(1) });
    });
    rows.case("CLIENT LIST of 100 MiB", large.in_little_memory());
}
