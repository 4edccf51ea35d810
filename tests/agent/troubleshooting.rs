//! The page docs/troubleshooting.md: `check` says what its table says that it does.

use std::fs;

use cachepulse_standin::{
    Admission, CertificateAuthority, Clock, CommandFault, FaultReply, HOST, TokenFault,
};

use crate::lab::Lab;
use crate::program::cachepulse;

/// A row of the table: what `check` says, and the text below it, in quotes of code where that is one.
struct Row {
    says: String,
    text: Option<String>,
}

fn rows() -> Vec<Row> {
    let page = fs::read_to_string("docs/troubleshooting.md").unwrap();
    let (_, table) = page.split_once("| `check` says |").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let code = |cell: &str| Some(cell.trim().strip_prefix('`')?.strip_suffix('`')?.to_owned());
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').collect();
        Row { says: code(cells[1]).unwrap(), text: code(cells[2]) }
    };
    table.lines().skip(2).map(row).collect()
}

/// A wrong clock and dropped packets cannot be made here.
#[tokio::test]
async fn check_says_what_the_page_says() {
    let rows = rows();
    assert!(rows.len() >= 10, "only {}", rows.len());
    let mut shown = 0;
    for Row { says, text } in rows {
        let lab = Lab::start().await;
        let cache = lab.azure.cache();
        let admit = |admission| cache.faults(|faults| faults.admission = admission);
        let mut host = HOST;
        match &*says {
            "resolve at resolve" => host = "nowhere.invalid",
            "connect_refused at connect" => admit(Admission::Refuse),
            "tls_handshake at tls" => admit(Admission::Hang),
            "tls_certificate at tls" => {
                let unknown = CertificateAuthority::named("Company proxy", Clock::system()).unwrap();
                cache.set_certificate(unknown.issue(&[HOST]).unwrap());
            }
            "no_token at token" => {
                lab.azure.endpoint().set(|settings| settings.fault = Some(TokenFault::status(403)));
            }
            "auth_rejected at auth" => cache.revoke(lab.azure.object_id()),
            "permission_denied at set" => {
                lab.redis.set_user(lab.azure.object_id(), "+@all -set allkeys");
            }
            "wrong_node at set" => {
                let moved = CommandFault::replied("SET", FaultReply::error("MOVED 866 10.0.0.9:6379"));
                cache.faults(|faults| faults.commands = vec![moved]);
            }
            "too_many_clients at auth" => admit(Admission::TooManyClients),
            "connect_timeout at connect" | "token_expired at auth" => continue,
            says => panic!("{says}: this test must make it"),
        }
        let (port, ca_file) = (lab.azure.cache_port().to_string(), lab.ca_file().display().to_string());
        let flags = ["--host", host, "--port", &port, "--ca-file", &ca_file];
        let limits = ["--attempts", "1", "--connect-timeout", "2s"];
        let ended = lab.app_service(cachepulse(["check"]).args(flags).args(limits)).run().await;
        assert!(ended.stdout.contains(&format!(": {says}\n")), "{says}: {ended:?}");
        assert!(text.is_none_or(|text| ended.stdout.contains(&text)), "{says}: {ended:?}");
        shown += 1;
    }
    assert_eq!(shown, 9);
}
