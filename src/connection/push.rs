//! A push: what a server sends out of band under RESP3, as a bounded value. What it means is left to others.

/// The longest text that is kept, in bytes. Notices have less than 300.
pub(super) const MAX_TEXT: usize = 4096;

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
    /// It is too long or has no name, or pushes are not kept.
    Unreadable,
}

/// An element of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A number.
    Integer(i64),
    /// A string. Bytes that are not UTF-8 are escaped.
    Text(String),
    /// Nothing.
    Null,
    /// Anything else, such as an array or a long text.
    Other,
}
