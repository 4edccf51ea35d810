//! A push: what a server sends out of band under RESP3, as a bounded value. What it means is left to others.

/// The longest push that is read, in bytes. Notices have less than 300.
#[expect(dead_code, reason = "for sessions")]
pub(super) const MAX_LENGTH: usize = 4096;

/// A push that a session has received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Push {
    /// A push that was read.
    Read {
        /// Its first element, such as `message`.
        name: String,
        /// The elements after it.
        arguments: Vec<Argument>,
    },
    /// It is too long, or does not begin with a name.
    Unreadable,
}

/// An element of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A number.
    Integer(i64),
    /// A string. Bytes that are not UTF-8 are replaced.
    Text(String),
    /// Nothing.
    Null,
    /// Anything else, such as an array.
    Other,
}
