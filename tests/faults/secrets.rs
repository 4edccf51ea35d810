//! Searches the output of an agent for secrets, in plain text and in common encodings.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::bench::Agent;
use crate::lab::Lab;
use crate::redis_server::PASSWORD;

/// The access key after a rotation.
pub(crate) const NEW_KEY: &str = "a-new-access-key";
/// The content of the file of a client secret before the right one.
pub(crate) const OLD_SECRET: &str = "an-old-client-secret";
/// The wrong content of a federated token's file.
pub(crate) const NOT_A_TOKEN: &str = "what-belongs-into-another-file";

/// The start of every token and of its claims: `{"` in base64. The rest differs between tokens, except for the head.
const TOKEN: &str = "eyJ";
const TOKEN_HEAD: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9";

/// Returns all secrets of a lab with their names.
fn secrets(lab: &Lab) -> [(&'static str, &str); 9] {
    [
        ("access key", lab.azure.access_key().expose()),
        ("access key after a rotation", NEW_KEY),
        ("client secret", lab.azure.client_secret().expose()),
        ("previous client secret", OLD_SECRET),
        ("identity header", lab.azure.identity_header().expose()),
        ("password of Redis users", PASSWORD),
        ("content of a wrong file", NOT_A_TOKEN),
        ("token", TOKEN),
        ("token", TOKEN_HEAD),
    ]
}

/// Returns a secret in plain text and in common encodings.
fn spellings(secret: &str) -> Vec<String> {
    let mut spellings = vec![secret.to_owned(), form_urlencoded::byte_serialize(secret.as_bytes()).collect()];
    // A short text would be found everywhere in these encodings.
    if secret.len() > TOKEN.len() {
        let bytes = secret.as_bytes();
        spellings.push(format!("{bytes:?}").trim_matches(['[', ']']).to_owned());
        spellings.push(hex(bytes));
        // Inside a longer text, it may begin at any of the three positions of a group of base64.
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

/// Returns an error if the output of an agent contains a secret.
pub(crate) fn no_secret(lab: &Lab, shown: &str) -> Result<(), String> {
    // In the agent's format, or in that of tracing for a prober in the test process.
    if ![" level=info ", " INFO "].iter().any(|level| shown.contains(level)) {
        return Err("there is no log to search".to_owned());
    }
    let found = |spelling: &String| shown.lines().find(|line| line.contains(spelling.as_str()));
    for (what, secret) in secrets(lab) {
        if let Some(line) = spellings(secret).iter().find_map(found) {
            return Err(format!("the {what} is shown: {line}"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_search_finds_every_secret_in_every_spelling() {
    let lab = Lab::start().await;
    let log = |text: &str| format!("time=12:00 level=info msg=requested text={text} for=orders\n");
    assert_eq!(no_secret(&lab, &log("nothing")), Ok(()));
    assert!(no_secret(&lab, "").is_err(), "there is nothing to search");

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
            let error = no_secret(&lab, &log(&spelling)).unwrap_err();
            assert!(error.starts_with(&format!("the {what} ")), "{what} as {spelling}: {error}");
        }
    }
}

/// The name of the target is a secret.
#[tokio::test]
async fn the_search_covers_the_log_and_every_page_with_targets() {
    let lab = Lab::start().await;
    let name = lab.azure.identity_header().expose();
    let target = lab.target(name, "identity: managed_identity, interval: 500ms");
    let file = lab.file("config.yaml", &Lab::config([target]));
    let agent = lab.run_file(&file).serve().await;
    agent.until("it is up", |scrape| scrape.is_up(name)).await;
    let shown = Agent::Program(Box::new(agent)).end().await.unwrap();
    assert!(no_secret(&lab, &shown).unwrap_err().starts_with("the identity header is shown: "));
    for (place, line) in [
        ("/metrics", format!("cachepulse_probe_success{{target=\"{name}\"}} 1")),
        ("/status", format!("\"target\": \"{name}\",")),
        ("/", format!("<bdi>{name}</bdi></a>")),
        ("/targets/NAME", format!("<h1><bdi>{name}</bdi>")),
        ("/probe", format!("target {name}, ")),
        ("/sd", format!("\"__param_target\":\"{name}\"")),
        ("the log", format!("msg=\"cache available\" target={name}")),
    ] {
        assert!(shown.contains(&line), "{place} is not searched:\n{shown}");
    }
}
