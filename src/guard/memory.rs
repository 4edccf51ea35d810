//! Which passwords were right or wrong, so that each is checked once. It outlives the rules: what it knows depends on the hash
//! of the user's password, so that a changed hash is checked anew and an unchanged one is not.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use ring::hmac;
use ring::rand::SystemRandom;

use super::Users;
use super::basic::Credentials;

/// How many wrong passwords are remembered.
const WRONG: usize = 100;

/// What is known of credentials.
pub(super) struct Memory {
    key: hmac::Key,
    /// The credentials of each user that were right.
    right: HashMap<Box<str>, Tag>,
    /// The newest wrong credentials, newest last.
    wrong: VecDeque<Tag>,
}

/// What identifies credentials, and the hash that they were compared with. Keyed, so that neither memory nor a collision
/// reveals a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag([u8; 32]);

impl Memory {
    /// Creates a memory of nothing.
    ///
    /// # Panics
    /// If the system has no random numbers, as TLS would.
    pub(super) fn new() -> Self {
        Self {
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
                .expect("the system has random numbers"),
            right: HashMap::new(),
            wrong: VecDeque::new(),
        }
    }

    /// Returns whether `credentials` are right for one of `users`, if that is known.
    pub(super) fn recall(&self, users: &Users, credentials: &Credentials) -> Option<bool> {
        let (user, tag) = (users.find(credentials), self.tag(users, credentials));
        if user.is_some_and(|(name, _)| self.right.get(name) == Some(&tag)) {
            return Some(true);
        }
        self.wrong.contains(&tag).then_some(false)
    }

    /// Remembers whether `credentials` are right for one of `users`.
    pub(super) fn remember(&mut self, users: &Users, credentials: &Credentials, is_right: bool) {
        let tag = self.tag(users, credentials);
        match users.find(credentials) {
            Some((name, _)) if is_right => {
                // Users that are gone.
                self.right.retain(|name, _| users.has(name));
                self.right.insert(name.into(), tag);
            }
            _ => {
                if self.wrong.len() == WRONG {
                    self.wrong.pop_front();
                }
                self.wrong.push_back(tag);
            }
        }
    }

    fn tag(&self, users: &Users, credentials: &Credentials) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        let hash = users.find(credentials).map_or("", |(_, hash)| hash.as_str());
        for part in [credentials.user(), hash.as_bytes(), credentials.password()] {
            // The length separates it from the next one.
            context.update(&part.len().to_le_bytes());
            context.update(part);
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        Tag(tag)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

#[cfg(test)]
mod tests {
    use super::super::users::testing::{OTHER, SECRET, credentials, users};
    use super::*;

    #[test]
    fn what_was_checked_is_known_for_the_same_user_and_password_only() {
        let (mut memory, users) = (Memory::new(), users([("alice", SECRET), ("bob", OTHER)]));
        let (right, wrong) = (credentials("alice", "secret"), credentials("alice", "other"));
        assert_eq!((memory.recall(&users, &right), memory.recall(&users, &wrong)), (None, None));
        memory.remember(&users, &right, true);
        memory.remember(&users, &wrong, false);
        assert_eq!((memory.recall(&users, &right), memory.recall(&users, &wrong)), (Some(true), Some(false)));
        for (user, password) in
            [("bob", "secret"), ("alices", "ecret"), ("alic", "eother"), ("alice", "secret ")]
        {
            assert_eq!(memory.recall(&users, &credentials(user, password)), None, "{user}:{password}");
        }
    }

    #[test]
    fn what_is_known_outlives_other_rules_until_the_hash_changes_or_the_user_is_gone() {
        let mut memory = Memory::new();
        let before = users([("alice", SECRET)]);
        let (right, wrong) = (credentials("alice", "secret"), credentials("alice", "other"));
        memory.remember(&before, &right, true);
        memory.remember(&before, &wrong, false);
        memory.remember(&before, &credentials("bob", "other"), false);
        let with_bob = users([("alice", SECRET), ("bob", OTHER)]);
        assert_eq!(memory.recall(&with_bob, &right), Some(true));
        assert_eq!(memory.recall(&with_bob, &wrong), Some(false));
        assert_eq!(memory.recall(&with_bob, &credentials("bob", "other")), None, "there was no such user");
        let changed = users([("alice", OTHER)]);
        assert_eq!((memory.recall(&changed, &right), memory.recall(&changed, &wrong)), (None, None));
        let gone = users([("bob", OTHER)]);
        assert_eq!(memory.recall(&gone, &right), None);
        memory.remember(&gone, &credentials("bob", "other"), true);
        assert_eq!(memory.right.len(), 1, "users that are gone take no memory");
    }

    #[test]
    fn wrong_passwords_take_limited_memory_and_displace_no_right_one() {
        let (mut memory, users) = (Memory::new(), users([("alice", SECRET)]));
        let right = credentials("alice", "secret");
        memory.remember(&users, &right, true);
        for number in 0..=WRONG {
            memory.remember(&users, &credentials("nobody", &number.to_string()), false);
        }
        assert_eq!(memory.wrong.len(), WRONG);
        assert_eq!(memory.recall(&users, &right), Some(true));
        assert_eq!(memory.recall(&users, &credentials("nobody", "0")), None, "the oldest one is forgotten");
        assert_eq!(memory.recall(&users, &credentials("nobody", "1")), Some(false));
    }
}
