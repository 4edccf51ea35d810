//! Tokens: their claims, and that nothing shows them. The first line of an input is a secret; the rest is the text of a
//! server.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cachepulse::connection::session::Session;
use cachepulse::identity::{Credentials, Token};
use cachepulse::secret::Secret;
use tokio::time::Instant;

use crate::echo::{is_without, with_secret};
use crate::runtime::run;
use crate::scripted_cache::ScriptedCache;

const EXPIRES_AT: SystemTime = SystemTime::UNIX_EPOCH;

pub(crate) fn holds(input: &[u8]) {
    let input = String::from_utf8_lossy(input);
    let (secret, said) = input.split_once('\n').unwrap_or((&input, ""));
    let said = with_secret(said, secret);
    is_never_shown(secret);
    names_its_user(&said);
    is_not_in_echoes(secret, &said);
}

fn is_never_shown(secret: &str) {
    let token = Token::new(Secret::new(secret.to_owned()), EXPIRES_AT);
    let other = Token { secret: Secret::new("another".to_owned()), ..token.clone() };
    assert_eq!(format!("{token:?}"), format!("{other:?}"), "the output depends on the secret");
    token.object_id.as_deref().inspect(|id| assert!(is_user_name(id), "{id:?}"));
}

/// Whether `text` is one printable word of bounded length.
fn is_user_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn names_its_user(object_id: &str) {
    let claims = serde_json::json!({ "aud": "x", "oid": object_id, "oids": ["y"] });
    let token = format!("{{}}.{}.x", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let token = Token::new(Secret::new(token), EXPIRES_AT);
    assert_eq!(token.object_id.as_deref(), is_user_name(object_id).then_some(object_id));
}

fn is_not_in_echoes(secret: &str, said: &str) {
    let whole = Secret::new(secret.to_owned());
    is_without(&whole.redact(said), secret);
    let refusal = format!("-{said}\r\n");
    let failure = run(async {
        let mut cache = ScriptedCache::new(refusal.as_bytes(), &[]);
        let mut session = Session::new(&mut cache, 64 * 1024, None);
        let credentials = Credentials::Password { username: None, secret: whole };
        session.authenticate(&credentials, Instant::now() + Duration::from_secs(1)).await
    });
    let failure = failure.expect_err("the reply is an error");
    is_without(&failure.detail, secret);
    assert!(failure.detail.chars().count() <= 200, "{failure}");
    assert!(!failure.detail.contains(char::is_control), "{failure:?}");
}
