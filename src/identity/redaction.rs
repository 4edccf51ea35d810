//! Redaction: what programs and endpoints print, without anything that may be a secret. Pure.
//!
//! Nobody knows what a program prints when it fails. So a text is redacted by shape: PEM blocks, user information in URLs,
//! tokens, values that follow words such as `password`, and long runs that do not look like words. Paths, GUIDs and names
//! stay readable.

const REDACTED: &str = "<redacted>";

/// The value of a name that ends with one of these words is a secret.
const KEYWORDS: [&str; 12] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "key",
    "credential",
    "authorization",
    "bearer",
    "signature",
    "sig",
];

/// Names of authentication schemes, which stand before a secret.
const SCHEMES: [&str; 5] = ["bearer", "basic", "digest", "token", "apikey"];

/// Returns `text` with `<redacted>` in place of everything that may be a secret. Redact before cutting: the rest of a
/// secret may look like a word.
pub(super) fn without_secrets(text: &str) -> String {
    [without_pem, without_user_info, without_tokens, without_values, without_long_runs]
        .into_iter()
        .fold(text.to_owned(), |text, pass| pass(&text))
}

/// Whether `text`, which should be a path or the name of a program, is probably a secret. A path that starts with `/`, `.`
/// or `~` never is.
pub(crate) fn is_no_path(text: &str) -> bool {
    !text.starts_with(['/', '.', '~']) && without_secrets(text).contains(REDACTED)
}

/// Redacts PEM blocks, also those whose start or end is missing.
fn without_pem(text: &str) -> String {
    const BEGIN: &str = "-----BEGIN ";
    const END: &str = "-----END ";
    let mut rest = text;
    let mut kept = String::new();
    loop {
        let (begin, end) = (rest.find(BEGIN), rest.find(END));
        let start = match (begin, end) {
            (None, None) => return kept + rest,
            // The block has no start.
            (begin, Some(end)) if begin.is_none_or(|begin| end < begin) => 0,
            (begin, _) => begin.unwrap_or_default(),
        };
        kept += &rest[..start];
        kept += REDACTED;
        let Some(end) = end.filter(|end| *end >= start) else { return kept };
        let after = end + END.len();
        rest = rest[after..].split_once("-----").map_or("", |(_, rest)| rest);
    }
}

/// Redacts user and password between `://` and `@`.
fn without_user_info(text: &str) -> String {
    let mut parts = text.split("://");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept += "://";
        let url = &part[..part.find(|c: char| c.is_whitespace()).unwrap_or(part.len())];
        let authority = &url[..url.find(['/', '?', '#', '"', '\'', '`']).unwrap_or(url.len())];
        // A password may contain what usually ends it. Digits after the colon are a port.
        let is_cut =
            authority.split_once(':').is_some_and(|(_, port)| !port.bytes().all(|b| b.is_ascii_digit()));
        let end = authority.rfind('@').or_else(|| url.rfind('@').filter(|_| is_cut));
        match end {
            Some(end) => kept.extend([REDACTED, &part[end..]]),
            None => kept += part,
        }
    }
    kept
}

/// Redacts everything that looks like a JWT: they all begin with `{"` in base64.
fn without_tokens(text: &str) -> String {
    let separates = |c: char| !(c.is_ascii_alphanumeric() || "-_.=".contains(c));
    text.split_inclusive(separates)
        .map(|part| match part.find("eyJ") {
            Some(start) => {
                let end = part.trim_end_matches(separates).len();
                format!("{}{REDACTED}{}", &part[..start], &part[end..])
            }
            None => part.to_owned(),
        })
        .collect()
}

/// Redacts the values of names that end with a keyword: `client_secret=…`, `"token": "…"`, `Authorization: Bearer …`,
/// `--password …`.
fn without_values(text: &str) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_name) {
        let end = rest[start..].find(|c| !is_name(c)).map_or(rest.len(), |length| start + length);
        let name = &rest[start..end];
        kept += &rest[..end];
        rest = &rest[end..];
        // `not a token: …` is a sentence of the agent.
        if kept.strip_suffix(name).is_some_and(|before| before.ends_with("not a ")) {
            continue;
        }
        let Some(value) = is_keyword(name).then(|| value(name, rest)).flatten() else { continue };
        kept += &rest[..value.start];
        kept += REDACTED;
        rest = &rest[value.end..];
    }
    kept + rest
}

fn is_keyword(name: &str) -> bool {
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit()).to_ascii_lowercase();
    let name = name.strip_suffix('s').unwrap_or(&name);
    KEYWORDS.iter().any(|keyword| name.ends_with(keyword))
}

/// Returns where the value of `name` is in the text after it.
fn value(name: &str, after: &str) -> Option<std::ops::Range<usize>> {
    let at = |text: &str| after.len() - text.len();
    let spaced = after.trim_start_matches(['"', '\'', '`', '\\']).trim_start_matches([' ', '\t']);
    let assigned = spaced.strip_prefix(['=', ':']).map(|text| text.strip_prefix('>').unwrap_or(text));
    let is_flag = name.starts_with("--");
    let value = match assigned {
        Some(value) => value.trim_start(),
        None if is_flag || name.eq_ignore_ascii_case("bearer") => after.trim_start(),
        None => return None,
    };
    let scheme = value.split_whitespace().next().unwrap_or_default();
    let value = if SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        value[scheme.len()..].trim_start()
    } else {
        value
    };
    let length = length(value);
    // `Bearer token is missing` is a sentence.
    let is_sentence =
        assigned.is_none() && !is_flag && value[..length].bytes().all(|b| b.is_ascii_lowercase());
    (length > 0 && !is_sentence).then(|| at(value)..at(value) + length)
}

/// Returns the length of the value that `text` starts with: up to the closing quote or white space.
fn length(text: &str) -> usize {
    if text.starts_with(REDACTED) {
        return REDACTED.len();
    }
    let opening = text.trim_start_matches('\\');
    let Some(quote) = opening.chars().next().filter(|c| "\"'`".contains(*c)) else {
        return text.find(char::is_whitespace).unwrap_or(text.len());
    };
    let skipped = text.len() - opening.len() + 1;
    let mut is_escaped = false;
    for (at, c) in text[skipped..].char_indices() {
        if c == quote && !is_escaped {
            return skipped + at + 1;
        }
        is_escaped = c == '\\' && !is_escaped && skipped == 1;
    }
    text.len()
}

/// Redacts long runs that do not look like words, paths or GUIDs.
fn without_long_runs(text: &str) -> String {
    /// Keys and tokens are longer than this, and few words are.
    const SHORTEST: usize = 20;
    let is_of_run = |c: char| c.is_ascii_alphanumeric() || "+/_-.~%".contains(c);
    let mut kept = String::with_capacity(text.len());
    for piece in text.split_inclusive(|c| !is_of_run(c)) {
        let run = piece.trim_end_matches(|c| !is_of_run(c));
        // Entra ID names a certificate by its thumbprint, which is public.
        let is_public =
            kept.get(kept.len().saturating_sub(40)..).is_some_and(|it| it.contains("Thumbprint of key"));
        if run.len() < SHORTEST || is_public {
            kept += run;
        } else {
            kept += &readable(run);
        }
        kept += &piece[run.len()..];
    }
    kept
}

/// Returns what can be shown of a long run: all of it, its words, or nothing.
fn readable(run: &str) -> String {
    /// Names of temporary folders and hosts have fewer random characters.
    const RANDOM: usize = 12;
    let parts = parts(run);
    let is_random = |part: &str| !is_ordinary(part);
    let random: usize = parts.iter().filter(|part| is_random(part)).map(|part| part.len()).sum();
    let is_path = run.starts_with(['/', '~', '.'])
        && !run.contains('+')
        && parts.get(1).is_some_and(|it| is_ordinary(it));
    if random < RANDOM {
        run.to_owned()
    } else if 2 * random >= run.len() && !is_path {
        REDACTED.to_owned()
    } else {
        // Of a path, the random names of folders and files stay if they are short.
        let is_shown = |part: &str| !is_random(part) || is_path && part.len() < RANDOM;
        parts.into_iter().map(|part| if is_shown(part) { part } else { REDACTED }).collect()
    }
}

/// Splits a run into GUIDs, alphanumeric parts and what separates them.
fn parts(run: &str) -> Vec<&str> {
    const GUID: usize = 36;
    let mut parts = Vec::new();
    let mut rest = run;
    while !rest.is_empty() {
        let alphanumeric = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let is_whole = !rest[GUID.min(rest.len())..].starts_with(|c: char| c.is_ascii_alphanumeric());
        let end = match rest.get(..GUID) {
            Some(start) if is_whole && is_guid(start) => GUID,
            _ => alphanumeric.max(1),
        };
        let (part, after) = rest.split_at(end);
        parts.push(part);
        rest = after;
    }
    parts
}

fn is_guid(text: &str) -> bool {
    text.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

/// Whether `part` looks like a word, a number or a GUID: `python3`, `userAssignedIdentities`, `v1beta1`.
fn is_ordinary(part: &str) -> bool {
    const LONGEST: usize = 19;
    const LONGEST_WITH_DIGITS: usize = 15;
    if part.len() <= 3 || is_guid(part) {
        return true;
    }
    let letters: Vec<&str> = part.split(|c: char| c.is_ascii_digit()).filter(|it| !it.is_empty()).collect();
    if letters.is_empty() {
        return part.len() <= LONGEST;
    }
    let bytes = part.as_bytes();
    let changes = bytes.windows(2).filter(|it| it[0].is_ascii_digit() != it[1].is_ascii_digit()).count();
    let has_digits = bytes.iter().any(u8::is_ascii_digit);
    let words: Vec<&str> = letters.into_iter().flat_map(words).collect();
    let short = words.iter().filter(|word| word.len() < 3 && **word != "Id").count();
    let is_of_words = words.iter().all(|word| word.len() <= LONGEST) && 3 * short <= words.len();
    is_of_words && (!has_digits || part.len() <= LONGEST_WITH_DIGITS && changes <= 3)
}

/// Returns the words of `letters` in camel case: `read`, `HTTP` and `Reply` of `readHTTPReply`.
fn words(letters: &str) -> Vec<&str> {
    let bytes = letters.as_bytes();
    let is_upper = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_uppercase);
    let starts = |at: &usize| {
        *at == 0
            || is_upper(*at) && (!is_upper(*at - 1) || bytes.get(*at + 1).is_some_and(u8::is_ascii_lowercase))
    };
    let starts: Vec<usize> = (0..bytes.len()).filter(starts).chain([bytes.len()]).collect();
    starts.windows(2).map(|it| &letters[it[0]..it[1]]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_redacted() {
        for (text, expected) in [
            (
                "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                "aws_secret_access_key = <redacted>",
            ),
            ("got wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY!", "got <redacted>!"),
            ("got /wJalrXUtnFEMI+K7MDENG/bPxRfiCYEXAMPLEKE==", "got <redacted>=="),
            ("/tmp/.tmpTvZNmv/of/5d672d79c15b13162d92_1.key", "/tmp/.tmpTvZNmv/of/<redacted>_1.key"),
            ("got AKIAIOSFODNN7EXAMPLE", "got <redacted>"),
            ("got qwertzuiopasdfghjklyx", "got <redacted>"),
            ("got QWERTZUIOPASDFGHJKLYX", "got <redacted>"),
            ("got qWeRtZuIoPaSdFgHjKlYx", "got <redacted>"),
            ("got 12345678901234567890", "got <redacted>"),
            ("got 5d672d79c15b13162d925d672d79c15b", "got <redacted>"),
            (
                "in /var/lib/tokens/of/orders/5d672d79c15b13162d92.json",
                "in /var/lib/tokens/of/orders/<redacted>.json",
            ),
            ("password=hunter2 for a", "password=<redacted> for a"),
            (
                "{\"password\": \"two \\\" words\", \"user\": \"u\"}",
                "{\"password\": <redacted>, \"user\": \"u\"}",
            ),
            (
                "\"{\\\"token\\\":\\\"two words\\\",\\\"a\\\":1}\"",
                "\"{\\\"token\\\":<redacted>,\\\"a\\\":1}\"",
            ),
            (
                "Pwd: 'a b' passwd=x apiKey=>y sig=z",
                "Pwd: <redacted> passwd=<redacted> apiKey=><redacted> sig=<redacted>",
            ),
            (
                "client_secret=a~B.c secrets: x token2: y",
                "client_secret=<redacted> secrets: <redacted> token2: <redacted>",
            ),
            ("Authorization: Bearer abc, x", "Authorization: Bearer <redacted> x"),
            ("sent bearer a1, --password hunter2", "sent bearer <redacted> --password <redacted>"),
            ("GET https://user:hunter2@host/a?b", "GET https://<redacted>@host/a?b"),
            ("redis://:a/b#c@host:1/2 x", "redis://<redacted>@host:1/2 x"),
            ("a=eyJx.y-_z, b 'eyJ'", "a=<redacted>, b '<redacted>'"),
            (
                "a -----BEGIN RSA PRIVATE KEY-----\nMII\nabc\n-----END RSA PRIVATE KEY----- b",
                "a <redacted> b",
            ),
            ("MII\n-----END KEY-----\nb -----BEGIN KEY-----\nMII", "<redacted>\nb <redacted>"),
            (
                "orders/?Action=connect&X-Amz-Signature=5d6",
                "orders/?Action=connect&X-Amz-Signature=<redacted>",
            ),
        ] {
            assert_eq!(without_secrets(text), expected);
            assert_eq!(without_secrets(expected), expected, "again");
        }
    }

    #[test]
    fn a_secret_in_place_of_a_path_is_recognised() {
        for text in
            ["eyJhbGciOi.eyJhdWQiOi.c2ln", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "a?X-Amz-Signature=5d"]
        {
            assert!(is_no_path(text), "{text}");
        }
        for text in [
            "ca.pem",
            "tokens/orders.json",
            "/run/eyJhbGciOi",
            "./5d672d79c15b13162d925d672d79c15b",
            "/var/run/secrets/azure/tokens/azure-identity-token",
            "secrets/client-certificate-of-the-orders-service.pem",
        ] {
            assert!(!is_no_path(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_secret_stays_readable() {
        for text in [
            "File \"/usr/lib/python3.12/site-packages/botocore/auth.py\", line 418",
            "An error occurred (AccessDenied) when calling AssumeRole-on-the-cache-of-orders",
            "/subscriptions/0/resourceGroups/shop/providers/Microsoft.ManagedIdentity/userAssignedIdentities/probe",
            "https://login.microsoftonline.com/5f1d2c3b-4a59-4687-9b7c-8d9e0f1a2b3c/oauth2/v2.0/token",
            "AADSTS700016: Application with identifier '7d5c8a52-6d34-4c3b-9a53-0c1b0a3f9a10' was not found",
            "AADSTS700027: x. Thumbprint of key used by client: '0123456789ABCDEF0123456789ABCDEF01234567'",
            "HTTP 200, but not a token: neither the response nor the token says when it expires",
            "KeyError: 'x'; CredentialUnavailableException: no token cache at /home/u/.azure/msal_token_cache.json",
            "the key file /var/opt/azcmagent/tokens/1a2b3c4d.key cannot be read: Permission denied (os error 13)",
            "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId.",
            "client_id=abc of system:serviceaccount:payments-production:checkout-monitoring",
            "api://AzureADTokenExchange Bearer token is missing http://127.0.0.1:8080/a@b",
            "shop-cache-7f3a9d2c1b.redis.cache.windows.net, InvalidAuthenticationTokenTenant",
        ] {
            assert_eq!(without_secrets(text), text);
        }
    }
}
