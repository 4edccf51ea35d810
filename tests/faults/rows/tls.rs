//! Faults of the handshake and the certificate.

use cachepulse_standin::{Admission, CertificateAuthority, Clock, Ending, HOST, ServerCertificate, Standin};

use super::Group;
use crate::bench::Bench;
use crate::row::{Case, Row, at_once};

/// Presents a certificate from `issue`, and a valid one at the end.
fn certificate(issue: impl Fn(&Standin) -> ServerCertificate + Send + 'static) -> Case {
    let present = |azure: &Standin, certificate| {
        azure.cache().set_certificate(certificate);
        azure.cache().close_all(Ending::Close);
    };
    Case::new(
        ["tls_certificate"],
        at_once(move |bench| present(&bench.lab.azure, issue(&bench.lab.azure))),
        at_once(move |bench| {
            let good = bench.lab.azure.certificate_authority().issue(&[HOST]).unwrap();
            present(&bench.lab.azure, good);
        }),
    )
    .wake(["closed"])
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Group::new("TLS");
    rows.case(
        "expired certificate, then replaced",
        certificate(|azure| azure.certificate_authority().issue_expired(&[HOST]).unwrap()),
    );
    rows.case(
        "certificate for another name, then replaced",
        certificate(|azure| azure.certificate_authority().issue(&["elsewhere.example"]).unwrap()),
    );
    rows.case(
        "certificate of an unknown authority, then replaced",
        certificate(|_| CertificateAuthority::new(Clock::system()).unwrap().issue(&[HOST]).unwrap()),
    );
    rows.case(
        "stalled handshake",
        Case::new(
            ["command_timeout"],
            at_once(|bench| {
                bench.lab.azure.cache().faults(|faults| faults.admission = Admission::Hang);
                bench.lab.azure.cache().close_all(Ending::Close);
            }),
            // Existing connections stay open.
            at_once(|bench| {
                bench.lab.azure.cache().heal();
                bench.lab.azure.cache().close_all(Ending::Close);
            }),
        )
        .wake(["closed"]),
    );
    rows.case(
        "plaintext where TLS is expected",
        Case::new(
            // Redis answers if the greeting happens to contain a line end.
            ["command_timeout", "tls_handshake"],
            at_once(|bench| bench.lead_to_other()),
            at_once(|bench| bench.lead_to_lab()),
        )
        .wake(["closed", "reset"])
        .on(Bench::gated),
    );
    rows.case(
        "TLS where plaintext is expected",
        Case::new(
            ["protocol_error"],
            at_once(|bench| bench.lead_to_lab()),
            at_once(|bench| bench.lead_to_other()),
        )
        .wake(["closed", "reset"])
        .on(|| Bench::plaintext(true)),
    );
    rows.rows
}
