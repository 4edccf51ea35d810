//! The users, and the hashes of their passwords.

use std::collections::HashMap;
use std::fmt;
use std::hint::black_box;

use bcrypt::HashParts;

use super::basic::Credentials;

/// The longest password that bcrypt takes into account, in bytes.
const LONGEST: usize = 72;

/// The hash of a password by bcrypt.
#[derive(Clone)]
pub struct PasswordHash {
    text: Box<str>,
    cost: u32,
}

impl PasswordHash {
    /// Parses what `htpasswd -B` and others write: `$2a$`, `$2b$`, `$2x$` or `$2y$`, a cost of 4 to 31, the salt and the hash.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let cost = text.parse::<HashParts>().ok()?.get_cost();
        (4..=31).contains(&cost).then(|| Self { text: text.into(), cost })
    }

    /// The base-2 logarithm of the rounds that a check takes.
    #[must_use]
    pub fn cost(&self) -> u32 {
        self.cost
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

/// The users.
#[derive(Debug)]
pub struct Users {
    by_name: HashMap<Box<str>, PasswordHash>,
    highest_cost: u32,
}

impl Users {
    /// Creates users with these passwords.
    #[must_use]
    pub fn new(hashes: HashMap<Box<str>, PasswordHash>) -> Self {
        let highest_cost = hashes.values().map(|hash| hash.cost).max().unwrap_or_default();
        Self { by_name: hashes, highest_cost }
    }

    /// Whether there is a user of this `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Returns the user of `credentials`, if there is one: the name, and the hash of the password.
    pub(super) fn find(&self, credentials: &Credentials) -> Option<(&str, &PasswordHash)> {
        let name = std::str::from_utf8(credentials.user()).ok()?;
        self.by_name.get_key_value(name).map(|(name, hash)| (&**name, hash))
    }

    /// Checks whether `credentials` are right. Takes as long as the highest cost demands if they are wrong, whether or not
    /// there is such a user.
    pub(super) fn check(&self, credentials: &Credentials) -> bool {
        let password = credentials.password();
        let Some((_, hash)) = self.find(credentials) else {
            work(self.highest_cost, password);
            return false;
        };
        if bcrypt::verify(password, &hash.text).unwrap_or(false) {
            return true;
        }
        // Each step of the cost doubles the work, so that this makes up for what a lower cost saved.
        (hash.cost..self.highest_cost).for_each(|cost| work(cost, password));
        false
    }
}

/// Works as a check of `password` at this cost does.
fn work(cost: u32, password: &[u8]) {
    let mut key: Vec<u8> = password.iter().copied().chain([0]).collect();
    key.truncate(LONGEST);
    black_box(bcrypt::bcrypt(cost, [0; 16], &key));
}

#[cfg(test)]
pub(super) mod testing {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// The passwords "secret" and "other", hashed by Python's bcrypt.
    pub(in super::super) const SECRET: &str = "$2b$04$4UU80IkT6aXoE9QImZFKlestKhRSe7x3RHfkrsp6qrMlCCgTT9xx2";
    pub(in super::super) const OTHER: &str = "$2b$05$OgYwtKGW/7u7F7IUmYRiee0ttdRU9E7tVznoQVD2uT7snS0W6umMu";

    pub(in super::super) fn users<const N: usize>(hashes: [(&str, &str); N]) -> Users {
        Users::new(hashes.map(|(name, hash)| (name.into(), PasswordHash::parse(hash).unwrap())).into())
    }

    pub(in super::super) fn credentials(user: &str, password: &str) -> Credentials {
        let header = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        Credentials::parse(header.as_bytes()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{OTHER, SECRET, credentials, users};
    use super::*;

    #[test]
    fn hashes_of_every_version_are_accepted_and_anything_else_is_not() {
        for version in ["$2a$", "$2b$", "$2x$", "$2y$"] {
            assert!(PasswordHash::parse(&SECRET.replace("$2b$", version)).is_some(), "{version}");
        }
        for text in
            ["", "secret", &SECRET[1..], "$2b$04$", &SECRET.replace("$04$", "$03$"), &format!("{SECRET}a")]
        {
            assert!(PasswordHash::parse(text).is_none(), "{text}");
        }
        let hash = PasswordHash::parse(SECRET).unwrap();
        assert_eq!(format!("{hash:?}"), "PasswordHash");
    }

    #[test]
    fn only_the_right_password_of_a_known_user_is_right() {
        let users = users([("alice", SECRET), ("bob", OTHER)]);
        for (user, password, is_right) in [
            ("alice", "secret", true),
            ("bob", "other", true),
            ("alice", "other", false),
            ("alices", "ecret", false),
            ("nobody", "secret", false),
        ] {
            assert_eq!(users.check(&credentials(user, password)), is_right, "{user}:{password}");
        }
    }
}
