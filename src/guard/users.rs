//! The users, the hashes of their passwords, and which passwords were right or wrong.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hint::black_box;
use std::sync::Mutex;

use bcrypt::HashParts;
use ring::hmac;
use ring::rand::SystemRandom;

use super::basic::Credentials;
use crate::lock::lock;

/// How many wrong passwords are remembered.
const WRONG: usize = 100;

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
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

/// The users.
#[derive(Debug)]
pub struct Users {
    by_name: HashMap<Box<str>, User>,
    highest_cost: u32,
    key: hmac::Key,
    /// The newest wrong credentials, newest last.
    wrong: Mutex<VecDeque<Tag>>,
}

#[derive(Debug)]
struct User {
    hash: PasswordHash,
    /// The credentials that were right.
    right: Mutex<Option<Tag>>,
}

/// What identifies credentials. Keyed, so that neither memory nor a collision reveals a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag([u8; 32]);

impl Users {
    /// Creates users with these passwords.
    ///
    /// # Panics
    /// If the system has no random numbers, as TLS would.
    #[must_use]
    pub fn new(hashes: HashMap<Box<str>, PasswordHash>) -> Self {
        let highest_cost = hashes.values().map(|hash| hash.cost).max().unwrap_or_default();
        let user = |(name, hash)| (name, User { hash, right: Mutex::default() });
        Self {
            by_name: hashes.into_iter().map(user).collect(),
            highest_cost,
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
                .expect("the system has random numbers"),
            wrong: Mutex::default(),
        }
    }

    /// Returns whether `credentials` are right, if that is remembered.
    pub(super) fn remembered(&self, credentials: &Credentials) -> Option<bool> {
        let tag = self.tag(credentials);
        if self.user(credentials).is_some_and(|user| *lock(&user.right) == Some(tag)) {
            return Some(true);
        }
        lock(&self.wrong).contains(&tag).then_some(false)
    }

    /// Checks `credentials` and remembers the result. Takes as long as the highest cost demands if they are wrong, whether
    /// or not there is such a user.
    pub(super) fn check(&self, credentials: &Credentials) -> bool {
        let tag = self.tag(credentials);
        let password = credentials.password();
        let Some(user) = self.user(credentials) else {
            work(self.highest_cost, password);
            self.remember_wrong(tag);
            return false;
        };
        if bcrypt::verify(password, &user.hash.text).unwrap_or(false) {
            *lock(&user.right) = Some(tag);
            return true;
        }
        // Each step of the cost doubles the work, so that this makes up for what a lower cost saved.
        (user.hash.cost..self.highest_cost).for_each(|cost| work(cost, password));
        self.remember_wrong(tag);
        false
    }

    fn user(&self, credentials: &Credentials) -> Option<&User> {
        self.by_name.get(std::str::from_utf8(credentials.user()).ok()?)
    }

    fn tag(&self, credentials: &Credentials) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        // The length separates them.
        context.update(&credentials.user().len().to_le_bytes());
        context.update(credentials.user());
        context.update(credentials.password());
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        Tag(tag)
    }

    fn remember_wrong(&self, tag: Tag) {
        let mut wrong = lock(&self.wrong);
        if wrong.len() == WRONG {
            wrong.pop_front();
        }
        wrong.push_back(tag);
    }
}

/// Works as a check of `password` at this cost does.
fn work(cost: u32, password: &[u8]) {
    let mut key: Vec<u8> = password.iter().copied().chain([0]).collect();
    key.truncate(LONGEST);
    black_box(bcrypt::bcrypt(cost, [0; 16], &key));
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// The passwords "secret" and "other", hashed by Python's bcrypt.
    const SECRET: &str = "$2b$04$4UU80IkT6aXoE9QImZFKlestKhRSe7x3RHfkrsp6qrMlCCgTT9xx2";
    const OTHER: &str = "$2b$05$OgYwtKGW/7u7F7IUmYRiee0ttdRU9E7tVznoQVD2uT7snS0W6umMu";

    fn users() -> Users {
        let hash = |text| PasswordHash::parse(text).unwrap();
        Users::new([("alice".into(), hash(SECRET)), ("bob".into(), hash(OTHER))].into())
    }

    fn credentials(user: &str, password: &str) -> Credentials {
        let header = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        Credentials::parse(header.as_bytes()).unwrap()
    }

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
    fn what_was_checked_is_remembered_for_the_same_user_and_password_only() {
        let users = users();
        let (right, wrong) = (credentials("alice", "secret"), credentials("alice", "other"));
        assert_eq!((users.remembered(&right), users.remembered(&wrong)), (None, None));
        assert_eq!((users.check(&right), users.check(&wrong)), (true, false));
        assert_eq!((users.remembered(&right), users.remembered(&wrong)), (Some(true), Some(false)));
        for (user, password) in
            [("bob", "secret"), ("alices", "ecret"), ("alic", "eother"), ("alice", "secret ")]
        {
            assert_eq!(users.remembered(&credentials(user, password)), None, "{user}:{password}");
        }
    }

    #[test]
    fn wrong_passwords_take_limited_memory_and_displace_no_right_one() {
        let users = users();
        let right = credentials("alice", "secret");
        assert!(users.check(&right));
        for number in 0..=WRONG {
            assert!(!users.check(&credentials("nobody", &number.to_string())));
        }
        assert_eq!(lock(&users.wrong).len(), WRONG);
        assert_eq!(users.remembered(&right), Some(true));
        assert_eq!(users.remembered(&credentials("nobody", "0")), None, "the oldest one is forgotten");
        assert_eq!(users.remembered(&credentials("nobody", "1")), Some(false));
    }
}
