//! What a file contains or a command prints as a token: the token alone, or a JSON object. Pure.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::Value;

use crate::files::without_mark;
use crate::identity::Token;
use crate::identity::claims::Claims;
use crate::identity::expiry;
use crate::secret::{MAX_LENGTH, Secret};

/// Where tokens are in JSON: those of OAuth, the Azure CLI and kubectl's plugins, and a plain password.
const TOKENS: [&str; 5] = ["/token", "/access_token", "/accessToken", "/password", "/status/token"];

/// Where their expiry is. The Azure CLI's `expiresOn` has no zone, so it comes last.
const EXPIRIES: [&str; 7] = [
    "/expires_on",
    "/expiration",
    "/Expiration",
    "/expirationTimestamp",
    "/status/expirationTimestamp",
    "/expires_in",
    "/expiresOn",
];

pub(super) const TOO_LONG: &str = "the output is longer than 16384 bytes, more than Redis accepts";

const SEVERAL_WORDS: &str =
    "the output has more than one word; expected a token, or JSON with a password that has spaces";

const CONTROL: &str = "the token contains a control character";

const OTHER_USER: &str =
    "the field username is no name of a user; expected up to 128 visible characters of ASCII";

const LIST: &str = "the output is a JSON list; expected a token or a JSON object";

/// What was supplied.
#[derive(Debug, PartialEq)]
pub(super) struct Supplied {
    pub(super) secret: Secret,
    /// When it expires, if it or the JSON around it says so.
    pub(super) expires_at: Option<SystemTime>,
    pub(super) username: Option<Arc<str>>,
}

impl Supplied {
    /// Reads `output` at the time `now`. A lifetime in it counts from `written`. The error says what is wrong with it,
    /// without repeating it.
    pub(super) fn read(output: &[u8], written: SystemTime, now: SystemTime) -> Result<Self, &'static str> {
        if output.len() > MAX_LENGTH {
            return Err(TOO_LONG);
        }
        let text =
            std::str::from_utf8(without_mark(output)).map_err(|_| "the output is not UTF-8 text")?.trim();
        match serde_json::from_str(text) {
            Ok(Value::String(token)) if token.trim().is_empty() => {
                return Err("the output is an empty JSON string");
            }
            Ok(Value::String(token)) => return Self::of_token(token.trim(), now),
            Ok(json @ Value::Object(_)) => return Self::of_json(&json, written, now),
            Ok(Value::Array(_)) => return Err(LIST),
            Err(_) if text.starts_with(['{', '"']) => return Err("the output starts like JSON, but is not"),
            Err(_) if text.is_empty() => return Err("the output is empty"),
            // A token of digits, for example, happens to be JSON.
            Ok(_) | Err(_) => {}
        }
        if text.lines().nth(1).is_some() {
            return Err("the output has more than one line; expected a token or a JSON object");
        }
        if text.contains(char::is_whitespace) {
            return Err(SEVERAL_WORDS);
        }
        Self::of_token(text, now)
    }

    fn of_token(token: &str, now: SystemTime) -> Result<Self, &'static str> {
        let expires_at = own_expiry(token, now);
        Ok(Self { secret: secret(token)?, expires_at, username: None })
    }

    fn of_json(json: &Value, written: SystemTime, now: SystemTime) -> Result<Self, &'static str> {
        let text = |path: &&str| json.pointer(path)?.as_str().map(str::trim).filter(|text| !text.is_empty());
        let token = TOKENS.iter().find_map(text).ok_or(
            "the JSON has none of the fields token, access_token, accessToken, password and status.token",
        )?;
        let said = EXPIRIES.iter().find_map(|path| expiry::moment(json.pointer(path)?, written, now));
        if said.is_none() && json.get("expires_in").is_some_and(expiry::is_over) {
            return Err("the token has already expired by the field expires_in");
        }
        let is_user = |name: &&str| {
            (1..=Token::OBJECT_ID_LENGTH).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let username = match json.get("username") {
            None | Some(Value::Null) => None,
            Some(name) => Some(name.as_str().filter(is_user).ok_or(OTHER_USER)?.into()),
        };
        let expires_at = expiry::agreed(said, own_expiry(token, now));
        Ok(Self { secret: secret(token)?, expires_at, username })
    }
}

/// Returns `token` as a secret. No token has control characters, but the output of a failing command may.
fn secret(token: &str) -> Result<Secret, &'static str> {
    if token.contains(char::is_control) { Err(CONTROL) } else { Ok(Secret::new(token.to_owned())) }
}

/// Returns when `token` expires by itself: a JWT by its claim `exp`, a signed request of AWS by its parameters.
fn own_expiry(token: &str, now: SystemTime) -> Option<SystemTime> {
    let claim = Claims::of(token).expires_at().filter(|claim| expiry::is_plausible(*claim, now));
    claim.or_else(|| signed_expiry(token))
}

/// Returns when a presigned request ends: `X-Amz-Date=20261127T011500Z` and `X-Amz-Expires=900`.
/// Source: AWS, "Authenticating with IAM" of `ElastiCache`, and Signature Version 4.
fn signed_expiry(token: &str) -> Option<SystemTime> {
    let query = token.split_once('?')?.1;
    let field = |name| query.split('&').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    let (day, time) = field("X-Amz-Date")?.strip_suffix('Z')?.split_once('T')?;
    let is_digits =
        |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_digits(day, 8) && is_digits(time, 6)).then_some(())?;
    let date =
        format!("{}-{}-{}T{}:{}:{}Z", &day[..4], &day[4..6], &day[6..], &time[..2], &time[2..4], &time[4..]);
    let lifetime = field("X-Amz-Expires")?.parse().ok().filter(|seconds| (1..=604_800).contains(seconds))?;
    expiry::date(&date)?.checked_add(std::time::Duration::from_secs(lifetime))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

    use super::*;

    /// 2020-01-16 05:24:12 UTC.
    const END: u64 = 1_579_152_252;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn seconds(time: SystemTime) -> u64 {
        time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
    }

    /// Returns token, expiry and user of `output`, an hour before [`END`].
    fn read(output: &str) -> Result<(String, Option<u64>, Option<String>), &'static str> {
        let now = at(END - 3600);
        let supplied = Supplied::read(output.as_bytes(), now, now)?;
        let username = supplied.username.map(|name| name.to_string());
        Ok((supplied.secret.expose().to_owned(), supplied.expires_at.map(seconds), username))
    }

    #[test]
    fn a_token_alone_is_read_without_the_space_around_it() {
        assert_eq!(read("ya29.token\n"), Ok(("ya29.token".into(), None, None)));
        assert_eq!(read("\r\n token \r\n"), Ok(("token".into(), None, None)));
        // A password with a space needs JSON.
        assert_eq!(read("\"two words\""), Ok(("two words".into(), None, None)));
    }

    #[test]
    fn a_token_may_be_a_json_string_or_follow_a_byte_order_mark() {
        for output in ["\"tok\"\n", "\u{feff}tok", "\u{feff}\"tok\"", "\u{feff}{\"token\":\"tok\"}"] {
            assert_eq!(read(output), Ok(("tok".into(), None, None)), "{output:?}");
        }
        assert_eq!(read(r#""a \"b\"""#).unwrap().0, r#"a "b""#);
    }

    #[test]
    fn a_token_that_happens_to_be_json_is_one() {
        for token in ["123456789", "012345", "1e5", "-1.50", "1e999", "true", "false", "null"] {
            assert_eq!(read(&format!("{token}\n")), Ok((token.into(), None, None)), "{token}");
        }
        assert_eq!(read("\u{feff}null").unwrap().0, "null");
    }

    #[test]
    fn a_token_in_json_has_an_expiry_in_any_form_and_a_user() {
        for json in [
            r#"{"token":"t","expires_on":1579152252,"username":"u"}"#,
            r#"{"access_token":"t","expires_in":3600,"token_type":"Bearer","username":"u"}"#,
            r#"{"accessToken":"t","expiresOn":"2020-01-16 05:24:12.000000","username":"u"}"#,
            r#"{"accessToken":"t","expiresOn":"2020-01-16 06:24:12.000000","expires_on":1579152252,"username":"u"}"#,
            r#"{"password":"t","expiration":"2020-01-16T05:24:12Z","username":"u"}"#,
            r#"{"Version":1,"token":"t","Expiration":"2020-01-16T05:24:12Z","username":"u"}"#,
            r#"{"token":"t","expirationTimestamp":"2020-01-16T05:24:12Z","username":"u"}"#,
            r#" {"kind":"ExecCredential","status":{"token":" t ","expirationTimestamp":"2020-01-16T05:24:12Z"},"username":"u"} "#,
        ] {
            assert_eq!(read(json), Ok(("t".into(), Some(END), Some("u".into()))), "{json}");
        }
        let json = r#"{"token":"","access_token":"t","expires_on":"soon","username":null}"#;
        assert_eq!(read(json), Ok(("t".into(), None, None)));
    }

    #[test]
    fn a_token_may_say_itself_when_it_expires() {
        let jwt = format!("{}.{}.s", BASE64.encode("{}"), BASE64.encode(format!(r#"{{"exp":{END}}}"#)));
        assert_eq!(read(&jwt).unwrap().1, Some(END));
        // The claim is never a time from now.
        let old = format!("{}.{}.s", BASE64.encode("{}"), BASE64.encode(r#"{"exp":3600}"#));
        assert_eq!(read(&old).unwrap().1, Some(3600));
        assert_eq!(read(&format!(r#"{{"token":"{jwt}"}}"#)).unwrap().1, Some(END));
        assert_eq!(read(&format!(r#"{{"token":"{jwt}","expires_in":60}}"#)).unwrap().1, Some(END - 3540));
        // The earlier holds if they differ.
        assert_eq!(read(&format!(r#"{{"token":"{jwt}","expires_in":7200}}"#)).unwrap().1, Some(END));
        assert_eq!(read(&format!(r#"{{"token":"{jwt}","expires_in":3660}}"#)).unwrap().1, Some(END + 60));
        let signed =
            "orders/?Action=connect&User=u&X-Amz-Date=20200116T050912Z&X-Amz-Expires=900&X-Amz-Signature=5";
        assert_eq!(read(signed), Ok((signed.into(), Some(END), None)));
        for (from, to) in
            [("900", "0"), ("900", "x"), ("T", ""), ("20200116", "20201316"), ("20200116", "2020é16")]
        {
            assert_eq!(read(&signed.replacen(from, to, 1)).unwrap().1, None, "{from} {to}");
        }
    }

    #[test]
    fn a_lifetime_counts_from_the_time_at_which_it_was_written() {
        let expiry = |json: &str, written| {
            Supplied::read(json.as_bytes(), at(written), at(END)).unwrap().expires_at.map(seconds)
        };
        assert_eq!(expiry(r#"{"token":"t","expires_in":60}"#, END - 3600), Some(END - 3540));
        assert_eq!(expiry(r#"{"token":"t","expires_on":"60"}"#, END - 3600), Some(END - 3540));
        // A moment is one, however old the file is, as in some images.
        let json = format!(r#"{{"token":"t","expires_on":{}}}"#, END + 60);
        assert_eq!(expiry(&json, 0), Some(END + 60));
    }

    #[test]
    fn what_is_no_token_is_an_error_that_does_not_repeat_it() {
        for (output, problem) in [
            ("", "the output is empty"),
            (" \n\n", "the output is empty"),
            ("WARNING: old\ntoken", "the output has more than one line; expected a token or a JSON object"),
            ("{\"token\":", "the output starts like JSON, but is not"),
            ("two words", SEVERAL_WORDS),
            ("tok\0en", CONTROL),
            (r#""tok\u0000en""#, CONTROL),
            (r#"{"token":"tok\u0007en"}"#, CONTROL),
            (r#"{"token":"t","username":"two words"}"#, OTHER_USER),
            (r#"{"token":"t","username":""}"#, OTHER_USER),
            (r#"{"token":"t","username":1}"#, OTHER_USER),
        ] {
            assert_eq!(read(output), Err(problem), "{output}");
        }
        for json in
            ["{}", r#"{"token":1}"#, r#"{"token":" "}"#, r#"{"AccessKeyId":"a","SecretAccessKey":"b"}"#]
        {
            assert!(read(json).unwrap_err().starts_with("the JSON has none of the fields token"), "{json}");
        }
        for lifetime in ["0", "-1", "\"0\""] {
            let json = format!(r#"{{"token":"t","expires_in":{lifetime}}}"#);
            assert_eq!(read(&json), Err("the token has already expired by the field expires_in"), "{json}");
        }
        assert_eq!(read(r#"["tok"]"#), Err(LIST));
        for json in ["\"\"", "\" \""] {
            assert_eq!(read(json), Err("the output is an empty JSON string"), "{json}");
        }
        assert_eq!(read("\"tok"), Err("the output starts like JSON, but is not"));
        assert!(read(&"x".repeat(MAX_LENGTH)).is_ok());
        assert_eq!(read(&"x".repeat(MAX_LENGTH + 1)), Err(TOO_LONG));
        assert_eq!(Supplied::read(b"\xff\xfe", at(END), at(END)), Err("the output is not UTF-8 text"));
    }
}
