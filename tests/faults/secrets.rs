//! The search for secrets in what an agent has shown, in every spelling that a careless line of code may give them.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::bench::Agent;
use crate::lab::Lab;
use crate::redis_server::PASSWORD;

/// The access key after a rotation.
pub(crate) const NEW_KEY: &str = "a-new-access-key";
/// What stands in the file of a client secret before the right one.
pub(crate) const OLD_SECRET: &str = "an-old-client-secret";
/// What stands in a federated token's file by mistake.
pub(crate) const NOT_A_TOKEN: &str = "what-belongs-into-another-file";

/// How every token begins, be it the identity's or a service account's, and its part with the claims as well: with
/// `{"` in base64. The authority dates, names and pads each of them differently, but all have the same head.
const TOKEN: &str = "eyJ";
const TOKEN_HEAD: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9";

/// Everything that is secret in a lab, and what it is.
fn secrets(lab: &Lab) -> [(&'static str, &str); 9] {
    [
        ("access key", lab.azure.access_key().expose()),
        ("access key after a rotation", NEW_KEY),
        ("client secret", lab.azure.client_secret().expose()),
        ("client secret of before", OLD_SECRET),
        ("identity header", lab.azure.identity_header().expose()),
        ("password of Redis users", PASSWORD),
        ("content of a wrong file", NOT_A_TOKEN),
        ("token", TOKEN),
        ("token", TOKEN_HEAD),
    ]
}

/// A secret as it is, and as it may be written elsewhere.
fn spellings(secret: &str) -> Vec<String> {
    let mut spellings = vec![secret.to_owned(), form_urlencoded::byte_serialize(secret.as_bytes()).collect()];
    // The others of something this short are found everywhere.
    if secret.len() > TOKEN.len() {
        let bytes = secret.as_bytes();
        spellings.push(format!("{bytes:?}").trim_matches(['[', ']']).to_owned());
        spellings.push(hex(bytes));
        // As a part of something longer it may begin at any of the three places of a group.
        for group in [bytes, &bytes[1..], &bytes[2..]] {
            let whole = group.len() / 3 * 3;
            spellings.push(STANDARD_NO_PAD.encode(&group[..whole]));
        }
    }
    spellings
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

/// Everything that an agent has shown holds nothing that is secret.
pub(crate) fn no_secret(lab: &Lab, shown: &str) -> Result<(), String> {
    // As the agent writes it, or tracing for a prober in the tests' own process.
    if ![" level=info ", " INFO "].iter().any(|level| shown.contains(level)) {
        return Err("there is no log to search".to_owned());
    }
    let found = |spelling: &String| shown.lines().find(|line| line.contains(spelling.as_str()));
    for (what, secret) in secrets(lab) {
        if let Some(line) = spellings(secret).iter().find_map(found) {
            return Err(format!("the {what} is out: {line}"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_search_finds_every_secret_in_every_spelling() {
    let lab = Lab::start().await;
    let log = |words: &str| format!("time=12:00 level=info msg=asked words={words} for=orders\n");
    assert_eq!(no_secret(&lab, &log("nothing")), Ok(()));
    assert!(no_secret(&lab, "").is_err(), "there was nothing to search");

    let (token, federated) =
        (lab.token().secret, std::fs::read_to_string(lab.federated_token_file()).unwrap());
    let tokens = [("token", token.expose()), ("token", federated.trim())];
    for (what, secret) in secrets(&lab).into_iter().filter(|secret| secret.1 != TOKEN).chain(tokens) {
        let bytes = secret.as_bytes();
        let basic = |user: &str| base64::engine::general_purpose::STANDARD.encode(format!("{user}:{secret}"));
        let percent: String = form_urlencoded::byte_serialize(bytes).collect();
        let debug = [format!("{secret:?}"), format!("{bytes:?}")];
        let spelled = [secret.to_owned(), basic("a"), basic("ab"), basic("abc"), hex(bytes), percent];
        for spelling in spelled.into_iter().chain(debug) {
            let told = no_secret(&lab, &log(&spelling)).unwrap_err();
            assert!(told.starts_with(&format!("the {what} ")), "{what} as {spelling}: {told}");
        }
    }
}

/// By an agent whose target has a secret for its name.
#[tokio::test]
async fn the_search_covers_the_log_and_every_page_that_tells_of_targets() {
    let lab = Lab::start().await;
    let name = lab.azure.identity_header().expose();
    let target = lab.target(name, "identity: managed_identity, interval: 500ms");
    let file = lab.file("config.yaml", &Lab::config([target]));
    let agent = lab.run_file(&file).serve().await;
    agent.until("it is up", |scrape| scrape.is_up(name)).await;
    let shown = Agent::Program(Box::new(agent)).end().await.unwrap();
    assert!(no_secret(&lab, &shown).unwrap_err().starts_with("the identity header is out: "));
    for (place, line) in [
        ("/metrics", format!("cachepulse_probe_success{{target=\"{name}\"}} 1")),
        ("/status", format!("\"target\": \"{name}\",")),
        ("/", format!("<tr><td>{name}</td>")),
        ("the log", format!("msg=\"cache available\" target={name}")),
    ] {
        assert!(shown.contains(&line), "{place} is not searched:\n{shown}");
    }
}
