//! Secrets: tokens, access keys and passwords.
//!
//! A [`Secret`] cannot be printed. Only [`Secret::expose`] returns the text, so every use can be searched for. `source.rs`
//! reads secrets from files and variables.

mod source;
mod surplus;

use std::fmt;

use base64::Engine as _;
use zeroize::Zeroizing;

pub use self::source::{ReadError, SecretSource, WatchedSecret};
pub use self::surplus::Surplus;

/// The largest secret that is read, in bytes. Redis rejects longer arguments before sign-in.
pub const MAX_LENGTH: usize = 16 * 1024;

/// Returns whether `text` may hold a password: a URL or host with a user, or a connection string. Messages do not repeat
/// such a text.
#[must_use]
pub fn may_hold_password(text: &str) -> bool {
    text.contains('@') || text.to_ascii_lowercase().contains("password=")
}

/// A token, key or password. Zeroed when dropped, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Creates a secret from `text`.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Returns the secret's text, only for sending it to its recipient.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns `text` with `<redacted>` for every word that contains a part of this secret: as it is, percent-encoded, or
    /// in base64.
    ///
    /// Servers echo arguments ("unknown command `AUTH`, with args beginning with: …"), truncated and with changed white
    /// space. So a word is redacted if it shares sixteen characters with the secret, ignoring white space; an ordinary
    /// word shares fewer. The time grows with the product of both lengths.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
        let mut redacted = redact(text, self.expose());
        for encoded in [STANDARD_NO_PAD.encode(self.expose()), URL_SAFE_NO_PAD.encode(self.expose())] {
            redacted = redact(&redacted, &Zeroizing::new(encoded));
        }
        let escaped = percent_encoded(self.expose());
        if *escaped == *self.expose() { redacted } else { redact(&redacted, &escaped) }
    }
}

fn percent_encoded(text: &str) -> Zeroizing<String> {
    use fmt::Write as _;
    let mut encoded = Zeroizing::new(String::with_capacity(3 * text.len()));
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a String takes everything");
        }
    }
    encoded
}

/// Redacts one spelling of a secret.
fn redact(text: &str, spelling: &str) -> String {
    const SHARED: usize = 16;
    const SEPARATORS: [char; 6] = [' ', '\'', '`', '"', ',', '\n'];
    let is_solid = |c: &char| !c.is_whitespace() && !c.is_control();
    // Allocated at once: a vector that grows would leave copies of the secret in freed memory.
    let mut secret = Zeroizing::new(Vec::with_capacity(spelling.len()));
    secret.extend(spelling.chars().filter(is_solid));
    let (starts, shown): (Vec<usize>, Vec<char>) = text.char_indices().filter(|(_, c)| is_solid(c)).unzip();
    let shared = SHARED.min(secret.len()).max(1);

    let mut redacted = String::new();
    let mut done = 0;
    for (index, piece) in shown.windows(shared).enumerate() {
        if !secret.windows(shared).any(|of_secret| of_secret == piece) {
            continue;
        }
        // From the start of the first word to the end of the last word that the piece touches.
        let last = index + shared - 1;
        let start = text[..starts[index]].rfind(SEPARATORS).map_or(0, |at| at + 1);
        let after = starts[last] + shown[last].len_utf8();
        let end = text[after..].find(SEPARATORS).map_or(text.len(), |at| after + at);
        if start >= done {
            redacted += &text[done..start];
            redacted += "<redacted>";
        }
        done = end;
    }
    redacted + &text[done..]
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(<redacted>)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("hunter2-hunter2".into());
        assert_eq!(format!("{secret:?}"), "Secret(<redacted>)");
    }

    #[test]
    fn a_truncated_echo_of_a_secret_is_redacted() {
        let secret = Secret::new("eyJhbGciOiJFUzI1NiJ9.payload.signature".into());
        let echo = "ERR unknown command 'AUTH', with args beginning with: 'oid' 'eyJhbGciOiJFUzI1";
        let redacted = secret.redact(echo);
        assert!(!redacted.contains("eyJhbG"), "{redacted}");
        assert!(redacted.starts_with("ERR unknown command 'AUTH'"), "{redacted}");
    }

    #[test]
    fn a_secret_of_several_words_is_redacted_whatever_the_white_space() {
        let secret = Secret::new("my 'own'\tpass,word".into());
        for echo in
            ["no my 'own'\tpass,word here", "no my 'own' pass,word here", "no my 'own'  pass,word here"]
        {
            assert_eq!(secret.redact(echo), "no <redacted> here");
        }
    }

    #[test]
    fn what_a_word_shares_with_a_password_by_chance_stays() {
        let secret = Secret::new("s3cretpassword".into());
        let text = "WRONGPASS invalid username-password pair or user is disabled.";
        assert_eq!(secret.redact(text), text);
    }

    #[test]
    fn a_secret_is_redacted_also_where_it_is_encoded() {
        let secret = Secret::new("a secret/of some length".into());
        for echo in ["for a%20secret%2Fof%20some%20length", "for YSBzZWNyZXQvb2Ygc29tZSBsZW5ndGg="] {
            assert_eq!(secret.redact(echo), "for <redacted>");
        }
    }

    #[test]
    fn a_short_secret_is_redacted_where_it_stands_whole() {
        assert_eq!(Secret::new("abc".into()).redact("bad 'abc' here"), "bad '<redacted>' here");
    }
}
