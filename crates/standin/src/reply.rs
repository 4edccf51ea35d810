//! Replies as values, encoded for RESP2 or RESP3, and errors in Redis' words. What a backend replied stays bytes; see
//! `frame.rs`.

use super::frame::Command;

/// The version of the protocol that a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

impl Protocol {
    /// Returns the number in `HELLO`.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

/// A reply to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Simple(&'static str),
    /// One line that starts with a code such as `ERR`.
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    /// Text for people: a bulk string in RESP2.
    Verbatim(String),
    Null,
    Array(Vec<Self>),
    /// An array of keys and values in RESP2.
    Map(Vec<(Self, Self)>),
}

impl Reply {
    pub(super) const OK: Self = Self::Simple("OK");

    pub(super) fn error(words: impl Into<String>) -> Self {
        Self::Error(words.into())
    }

    /// Returns the error for a malformed argument.
    pub(super) fn syntax_error() -> Self {
        Self::error("ERR syntax error")
    }

    /// Returns the error for an argument that is no number, or too large a one.
    pub(super) fn not_an_integer() -> Self {
        Self::error("ERR value is not an integer or out of range")
    }

    /// Returns the error for `name`, such as `get` or `client|id`, with too few or too many arguments.
    pub(super) fn wrong_arity(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        Self::error(format!("ERR wrong number of arguments for '{name}' command"))
    }

    /// Returns the error for an unknown command. It echoes the arguments, as Redis does.
    pub(super) fn unknown_command(command: &Command) -> Self {
        let name = printable(&command.text(0));
        let mut words = format!("ERR unknown command '{name}', with args beginning with: ");
        for index in 1..=command.args().len().min(8) {
            words.extend(["'", &printable(&command.text(index)), "' "]);
        }
        Self::error(words)
    }

    /// Returns the error for an unknown subcommand.
    pub(super) fn unknown_subcommand(command: &Command) -> Self {
        let subcommand = printable(&command.text(1));
        Self::error(format!("ERR unknown subcommand '{subcommand}'. Try {} HELP.", command.name()))
    }

    /// Returns `text` as a bulk string.
    pub(super) fn text(text: &str) -> Self {
        Self::Bulk(text.as_bytes().to_vec())
    }

    /// Returns the bytes on the wire.
    pub(super) fn encode(&self, protocol: Protocol) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.append_to(&mut bytes, protocol);
        bytes
    }

    fn append_to(&self, bytes: &mut Vec<u8>, protocol: Protocol) {
        let mut line = |kind: char, value: &dyn std::fmt::Display| {
            bytes.extend_from_slice(format!("{kind}{value}\r\n").as_bytes());
        };
        match (self, protocol) {
            (Self::Simple(text), _) => line('+', text),
            (Self::Error(words), _) => line('-', words),
            (Self::Integer(number), _) => line(':', number),
            (Self::Null, Protocol::Resp2) => line('$', &-1),
            (Self::Null, Protocol::Resp3) => line('_', &""),
            (Self::Verbatim(text), Protocol::Resp3) => {
                line('=', &(text.len() + "txt:".len()));
                bytes.extend_from_slice(format!("txt:{text}\r\n").as_bytes());
            }
            (Self::Verbatim(text), Protocol::Resp2) => Self::text(text).append_to(bytes, protocol),
            (Self::Bulk(value), _) => {
                line('$', &value.len());
                bytes.extend_from_slice(value);
                bytes.extend_from_slice(b"\r\n");
            }
            (Self::Array(items), _) => {
                line('*', &items.len());
                for item in items {
                    item.append_to(bytes, protocol);
                }
            }
            (Self::Map(pairs), _) => {
                match protocol {
                    Protocol::Resp2 => line('*', &(2 * pairs.len())),
                    Protocol::Resp3 => line('%', &pairs.len()),
                }
                for (key, value) in pairs {
                    key.append_to(bytes, protocol);
                    value.append_to(bytes, protocol);
                }
            }
        }
    }
}

/// Returns a client's word on one line, at most 128 characters of it.
pub(super) fn printable(word: &str) -> String {
    word.chars().take(128).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_maps_and_verbatim_strings_are_encoded_differently_in_resp2_and_resp3() {
        let map = Reply::Map(vec![(Reply::text("a"), Reply::Integer(1)), (Reply::text("b"), Reply::Null)]);
        for (reply, resp2, resp3) in [
            (Reply::Null, "$-1\r\n", "_\r\n"),
            (map, "*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n$-1\r\n", "%2\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n_\r\n"),
            (Reply::Verbatim("hi\n".to_owned()), "$3\r\nhi\n\r\n", "=7\r\ntxt:hi\n\r\n"),
            (
                Reply::Array(vec![Reply::OK, Reply::error("ERR no")]),
                "*2\r\n+OK\r\n-ERR no\r\n",
                "*2\r\n+OK\r\n-ERR no\r\n",
            ),
        ] {
            assert_eq!(String::from_utf8(reply.encode(Protocol::Resp2)).unwrap(), resp2);
            assert_eq!(String::from_utf8(reply.encode(Protocol::Resp3)).unwrap(), resp3);
        }
    }

    #[test]
    fn an_error_stays_one_line_whatever_the_client_sent() {
        let command = Command::new(&["A\r\nB", "c\r\n+OK"]);
        let words = "ERR unknown command 'A  B', with args beginning with: 'c  +OK' ";
        assert_eq!(Reply::unknown_command(&command), Reply::error(words));
    }
}
