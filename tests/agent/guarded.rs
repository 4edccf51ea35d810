//! The endpoint with users, beside probes of a real server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::time::{Instant, sleep};

use crate::health::health;
use crate::lab::Lab;
use crate::program::Running;
use crate::scrape::Scrape;

/// The password "secret", hashed by Python's bcrypt at a cost of 12: some hundred milliseconds.
const SECRET: &str = "$2b$12$jqkYBy8MzMOZqE.PXcu65uswuwn9ow.WISngdL7.ddEyD.ZxPRn2u";

/// How long the flood lasts.
const FLOOD: Duration = Duration::from_secs(5);

/// How many clients take part in it: more than passwords may wait.
const CLIENTS: usize = 40;

#[tokio::test]
async fn a_flood_of_wrong_passwords_delays_no_probe_no_kubelet_and_no_client_whose_password_is_known() {
    let lab = Lab::start().await;
    let web = lab.file("web.yml", &format!("basic_auth_users: {{alice: {SECRET}}}\n"));
    let flags = ["--identity", "managed_identity", "--interval", "1s", "--health-listen", "127.0.0.1:0"];
    let agent = Arc::new(lab.run(flags).args(["--web-config-file", web.to_str().unwrap()]).serve().await);
    let begun = Instant::now();
    assert_eq!(status_of(&agent, "alice", "secret").await, 200, "from now on it is known");
    let check = begun.elapsed();

    let until = Instant::now() + FLOOD;
    let (refused, busy) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let flood = (0..CLIENTS).map(|client| {
        let (agent, refused, busy) = (Arc::clone(&agent), Arc::clone(&refused), Arc::clone(&busy));
        tokio::spawn(async move {
            for attempt in 0.. {
                if Instant::now() > until {
                    return;
                }
                let user = if client % 2 == 0 { "alice" } else { "nobody" };
                match status_of(&agent, user, &format!("{client}-{attempt}")).await {
                    401 => refused.fetch_add(1, Relaxed),
                    429 => busy.fetch_add(1, Relaxed),
                    code => panic!("{code}"),
                };
                // Without it, most of the work would be that of this test.
                sleep(Duration::from_millis(20)).await;
            }
        })
    });
    let flood: Vec<_> = flood.collect();
    let mut longest = Duration::ZERO;
    while Instant::now() < until {
        let begun = Instant::now();
        assert_eq!(status_of(&agent, "alice", "secret").await, 200);
        assert_eq!(agent.get_at(health(&agent), "/livez").await.code, 200);
        longest = longest.max(begun.elapsed());
        sleep(Duration::from_millis(50)).await;
    }
    for client in flood {
        client.await.unwrap();
    }
    assert!(refused.load(Relaxed) > 0 && busy.load(Relaxed) > 0, "{refused:?} {busy:?}");
    // It never waited for the 16 passwords that wait themselves.
    assert!(longest < 8 * check, "{longest:?}, one check {check:?}");
    let scrape = Scrape::new(agent.get_with("/metrics", &authorization("alice", "secret")).await.body);
    assert!(scrape.value("probes_total{target=\"orders\"}") >= 4.0, "{}", scrape.text);
    // The other tests keep the machine busy, so that a few may be late.
    let [late, probes] = ["late_ticks_total", "probes_total"]
        .map(|name| scrape.value(&format!("{name}{{target=\"orders\"}}")));
    assert!(4.0 * late < probes, "{}", scrape.text);
    assert!(!scrape.text.contains("probe_failures_total{"), "{}", scrape.text);
}

async fn status_of(agent: &Running, user: &str, password: &str) -> u16 {
    agent.get_with("/livez", &authorization(user, password)).await.code
}

fn authorization(user: &str, password: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{password}")))
}
