//! The keys of the store: strings that may expire. Time is an argument.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::integer;
use crate::reply::Reply;

/// The limit of all keys and values, in bytes. Over it new ones are refused, as in a cache without eviction.
pub(super) const MAX_MEMORY: usize = 64 * 1024 * 1024;
/// The approximate overhead of a key, which bounds the number of empty keys.
const OVERHEAD: usize = 64;

#[derive(Default)]
pub(crate) struct Keys {
    entries: HashMap<Vec<u8>, Entry>,
    used: usize,
}

pub(crate) struct Entry {
    value: Vec<u8>,
    expires: Option<Instant>,
}

impl Entry {
    fn is_alive(&self, now: Instant) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

/// When a key expires.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    NoKey,
    Never,
    In(Duration),
}

/// The options of `SET`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SetOptions {
    expires: Option<Instant>,
    keep_expiry: bool,
    condition: Option<Condition>,
    /// Whether the reply is the old value.
    get: bool,
}

/// When `SET` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    IfAbsent,
    IfPresent,
}

impl SetOptions {
    /// Parses the words after the value. The error is a reply in Redis' words.
    pub(super) fn parse(words: &[Vec<u8>], now: Instant) -> Result<Self, Reply> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.to_ascii_uppercase().as_slice() {
                b"NX" if options.condition != Some(Condition::IfPresent) => {
                    options.condition = Some(Condition::IfAbsent);
                }
                b"XX" if options.condition != Some(Condition::IfAbsent) => {
                    options.condition = Some(Condition::IfPresent);
                }
                b"GET" => options.get = true,
                b"KEEPTTL" if options.expires.is_none() => options.keep_expiry = true,
                unit @ (b"EX" | b"PX") if options.expires.is_none() && !options.keep_expiry => {
                    let amount = words.next().ok_or_else(Reply::syntax_error)?;
                    let amount = integer(amount).ok_or_else(Reply::not_an_integer)?;
                    let expires =
                        u64::try_from(amount).ok().filter(|&amount| amount > 0).and_then(|amount| {
                            now.checked_add(match unit {
                                b"EX" => Duration::from_secs(amount),
                                _ => Duration::from_millis(amount),
                            })
                        });
                    let invalid = || Reply::error("ERR invalid expire time in 'set' command");
                    options.expires = Some(expires.ok_or_else(invalid)?);
                }
                _ => return Err(Reply::syntax_error()),
            }
        }
        Ok(options)
    }
}

impl Keys {
    fn alive(&self, key: &[u8], now: Instant) -> Option<&Entry> {
        self.entries.get(key).filter(|entry| entry.is_alive(now))
    }

    pub(super) fn contains(&self, key: &[u8], now: Instant) -> bool {
        self.alive(key, now).is_some()
    }

    pub(super) fn get(&self, key: &[u8], now: Instant) -> Reply {
        self.alive(key, now).map_or(Reply::Null, |entry| Reply::Bulk(entry.value.clone()))
    }

    pub(super) fn set(&mut self, key: &[u8], value: &[u8], options: &SetOptions, now: Instant) -> Reply {
        let old = self.alive(key, now);
        let writes =
            options.condition.is_none_or(|condition| old.is_some() == (condition == Condition::IfPresent));
        let old_value = old.map_or(Reply::Null, |entry| Reply::Bulk(entry.value.clone()));
        let kept = old.and_then(|entry| entry.expires).filter(|_| options.keep_expiry);
        if writes && let Err(error) = self.write(key, value, options.expires.or(kept), now) {
            return error;
        }
        match (options.get, writes) {
            (true, _) => old_value,
            (false, true) => Reply::OK,
            (false, false) => Reply::Null,
        }
    }

    /// Adds `amount` to a number, which is zero if there is no key, and keeps its expiry.
    pub(super) fn add(&mut self, key: &[u8], amount: i64, now: Instant) -> Reply {
        let (number, expires) = match self.alive(key, now) {
            Some(entry) => (integer(&entry.value), entry.expires),
            None => (Some(0), None),
        };
        let Some(number) = number else { return Reply::not_an_integer() };
        let Some(number) = number.checked_add(amount) else {
            return Reply::error("ERR increment or decrement would overflow");
        };
        match self.write(key, number.to_string().as_bytes(), expires, now) {
            Ok(()) => Reply::Integer(number),
            Err(error) => error,
        }
    }

    /// Sets the expiry of a key in seconds from now, or deletes it if that is no future time. Returns whether there
    /// was such a key.
    pub(super) fn expire(&mut self, key: &[u8], seconds: i64, now: Instant) -> bool {
        if seconds <= 0 {
            return self.remove(key, now);
        }
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.is_alive(now)) else { return false };
        // A time that is too far in the future for the clock means no expiry.
        entry.expires = now.checked_add(Duration::from_secs(seconds.unsigned_abs()));
        true
    }

    pub(super) fn expiry(&self, key: &[u8], now: Instant) -> Expiry {
        match self.alive(key, now).map(|entry| entry.expires) {
            None => Expiry::NoKey,
            Some(None) => Expiry::Never,
            Some(Some(expires)) => Expiry::In(expires - now),
        }
    }

    /// Deletes a key. Returns whether there was one.
    pub(super) fn remove(&mut self, key: &[u8], now: Instant) -> bool {
        let Some(entry) = self.entries.remove(key) else { return false };
        self.used -= size(key, &entry.value);
        entry.is_alive(now)
    }

    /// Returns the keys.
    pub(crate) fn names(&self, now: Instant) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().filter(move |(_, entry)| entry.is_alive(now)).map(|(key, _)| key.as_slice())
    }

    /// Removes and returns the entries whose keys fulfil a condition.
    pub(crate) fn take_where(&mut self, is_taken: impl Fn(&[u8]) -> bool) -> Vec<(Vec<u8>, Entry)> {
        let taken: Vec<_> = self.entries.extract_if(|key, _| is_taken(key)).collect();
        self.used -= taken.iter().map(|(key, entry)| size(key, &entry.value)).sum::<usize>();
        taken
    }

    /// Inserts an entry that another shard had.
    pub(crate) fn put(&mut self, key: Vec<u8>, entry: Entry) {
        self.used += size(&key, &entry.value);
        if let Some(replaced) = self.entries.get(&key) {
            self.used -= size(&key, &replaced.value);
        }
        self.entries.insert(key, entry);
    }

    /// Returns the number of keys.
    pub(super) fn len(&self, now: Instant) -> usize {
        self.entries.values().filter(|entry| entry.is_alive(now)).count()
    }

    /// Returns the number of keys that will expire.
    pub(super) fn with_expiry(&self, now: Instant) -> usize {
        self.entries.values().filter(|entry| entry.is_alive(now) && entry.expires.is_some()).count()
    }

    pub(super) fn used_memory(&self) -> usize {
        self.used
    }

    fn write(
        &mut self,
        key: &[u8],
        value: &[u8],
        expires: Option<Instant>,
        now: Instant,
    ) -> Result<(), Reply> {
        if !self.has_room(key, value) {
            self.entries.retain(|_, entry| entry.is_alive(now));
            self.used = self.entries.iter().map(|(key, entry)| size(key, &entry.value)).sum();
            if !self.has_room(key, value) {
                return Err(Reply::error("OOM command not allowed when used memory > 'maxmemory'."));
            }
        }
        self.remove(key, now);
        self.used += size(key, value);
        self.entries.insert(key.to_vec(), Entry { value: value.to_vec(), expires });
        Ok(())
    }

    fn has_room(&self, key: &[u8], value: &[u8]) -> bool {
        let replaced = self.entries.get(key).map_or(0, |entry| size(key, &entry.value));
        self.used - replaced + size(key, value) <= MAX_MEMORY
    }
}

fn size(key: &[u8], value: &[u8]) -> usize {
    key.len() + value.len() + OVERHEAD
}
