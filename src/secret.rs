//! Secrets: tokens, access keys and passwords, and their sources.
//!
//! A [`Secret`] cannot be printed. Only [`Secret::expose`] returns the text, so every use can be searched for.

use std::fmt;
use std::io::Read as _;
use std::path::PathBuf;

use base64::Engine as _;
use zeroize::Zeroizing;

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

/// The source of a secret. It is read at each sign-in, so a rotated secret needs no restart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SecretSource {
    /// A file. One trailing line break is removed.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

impl SecretSource {
    /// Reads the secret.
    ///
    /// # Errors
    /// [`ReadError`] if it is missing, empty, not text or longer than [`MAX_LENGTH`].
    pub fn read(&self) -> Result<Secret, ReadError> {
        let text = match self {
            Self::File(path) => {
                let fault = |fault| ReadError { source: self.clone(), fault };
                let file = std::fs::File::open(path).map_err(|error| fault(Fault::Unreadable(error)))?;
                let mut text = Zeroizing::new(String::new());
                file.take(MAX_LENGTH as u64 + 2)
                    .read_to_string(&mut text)
                    .map_err(|error| fault(Fault::Unreadable(error)))?;
                text
            }
            Self::Env(name) => Zeroizing::new(
                std::env::var(name).map_err(|_| ReadError { source: self.clone(), fault: Fault::Unset })?,
            ),
        };
        let text =
            text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
        match text.len() {
            0 => Err(ReadError { source: self.clone(), fault: Fault::Empty }),
            length if length > MAX_LENGTH => Err(ReadError { source: self.clone(), fault: Fault::TooLong }),
            _ => Ok(Secret::new(text.to_owned())),
        }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// A secret could not be read.
#[derive(Debug)]
pub struct ReadError {
    source: SecretSource,
    fault: Fault,
}

#[derive(Debug)]
enum Fault {
    Unreadable(std::io::Error),
    Unset,
    Empty,
    TooLong,
}

impl ReadError {
    /// Returns the system's error, if there was one.
    #[must_use]
    pub const fn io(&self) -> Option<&std::io::Error> {
        match &self.fault {
            Fault::Unreadable(error) => Some(error),
            Fault::Unset | Fault::Empty | Fault::TooLong => None,
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = &self.source;
        match &self.fault {
            Fault::Unreadable(_) => write!(f, "the secret in {source} cannot be read"),
            Fault::Unset => write!(f, "the secret's {source} is not set"),
            Fault::Empty => write!(f, "the secret in {source} is empty"),
            Fault::TooLong => write!(f, "the secret in {source} is longer than {MAX_LENGTH} bytes"),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            Fault::Unreadable(error) => Some(error),
            Fault::Unset | Fault::Empty | Fault::TooLong => None,
        }
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

    #[test]
    fn a_file_is_read_without_its_trailing_line_break() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "key=\r\n").unwrap();
        assert_eq!(SecretSource::File(file.path().into()).read().unwrap().expose(), "key=");
        std::fs::write(file.path(), "rotated").unwrap();
        assert_eq!(SecretSource::File(file.path().into()).read().unwrap().expose(), "rotated");
    }

    #[test]
    fn a_missing_empty_or_endless_secret_is_an_error_that_names_its_source() {
        let missing = SecretSource::File("/nonexistent/key".into()).read().unwrap_err();
        assert_eq!(missing.to_string(), "the secret in file /nonexistent/key cannot be read");
        let unset = SecretSource::Env("CACHEPULSE_TEST_UNSET".into()).read().unwrap_err();
        assert_eq!(unset.to_string(), "the secret's environment variable CACHEPULSE_TEST_UNSET is not set");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\n").unwrap();
        let empty = SecretSource::File(file.path().into()).read().unwrap_err();
        assert!(empty.to_string().ends_with("is empty"), "{empty}");
        let endless = SecretSource::File("/dev/zero".into()).read().unwrap_err();
        assert!(endless.to_string().ends_with("is longer than 16384 bytes"), "{endless}");
    }
}
