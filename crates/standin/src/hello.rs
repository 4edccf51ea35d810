//! `HELLO [version [AUTH user secret] [SETNAME name]]`: its arguments, parsed as Redis does.
//!
//! The front checks the sign-in in it, the backend carries out the rest.

use super::frame::Command;
use super::reply::{Protocol, Reply, printable};

/// A valid `HELLO`. Not `Debug`: it carries a secret.
#[derive(Default)]
pub(super) struct Hello {
    /// The protocol to speak from now on; `None` to keep the present one.
    pub(super) protocol: Option<Protocol>,
    /// The user and the secret.
    pub(super) auth: Option<(String, String)>,
    pub(super) name: Option<String>,
}

impl Hello {
    /// Parses the arguments. The error is a reply in Redis' words.
    pub(super) fn parse(command: &Command) -> Result<Self, Reply> {
        let mut hello = Self::default();
        let Some(version) = command.args().first() else { return Ok(hello) };
        hello.protocol = Some(match version.as_slice() {
            b"2" => Protocol::Resp2,
            b"3" => Protocol::Resp3,
            other if std::str::from_utf8(other).is_ok_and(|text| text.parse::<i64>().is_ok()) => {
                return Err(Reply::error("NOPROTO unsupported protocol version"));
            }
            _ => return Err(Reply::error("ERR Protocol version is not an integer or out of range")),
        });
        let count = command.args().len();
        let mut index = 2;
        while index <= count {
            let option = command.text(index);
            if option.eq_ignore_ascii_case("AUTH") && index + 2 <= count {
                hello.auth = Some((command.text(index + 1), command.text(index + 2)));
                index += 3;
            } else if option.eq_ignore_ascii_case("SETNAME") && index < count {
                hello.name = Some(client_name(&command.args()[index])?);
                index += 2;
            } else {
                return Err(Reply::error(format!(
                    "ERR Syntax error in HELLO option '{}'",
                    printable(&option)
                )));
            }
        }
        Ok(hello)
    }

    /// Returns the command that signs in as `user` with `password`, with the same protocol and name.
    pub(super) fn signing_in(&self, user: &str, password: &str) -> Command {
        let version = self.protocol.unwrap_or_default().number().to_string();
        let mut words = vec!["HELLO", &version, "AUTH", user, password];
        if let Some(name) = &self.name {
            words.extend(["SETNAME", name]);
        }
        Command::new(&words)
    }
}

/// Validates the name of a connection, or of a client's library.
pub(super) fn client_name(name: &[u8]) -> Result<String, Reply> {
    match String::from_utf8(name.to_vec()) {
        Ok(name) if name.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(name),
        _ => Err(Reply::error("ERR Client names cannot contain spaces, newlines or special characters.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Hello, Reply> {
        Hello::parse(&Command::new(&words.split(' ').collect::<Vec<_>>()))
    }

    #[test]
    fn the_options_are_accepted_in_any_order_and_case() {
        for words in ["HELLO 3 AUTH u p SETNAME n", "hello 3 setname n auth u p"] {
            let hello = parse(words).ok().unwrap();
            assert_eq!(hello.protocol, Some(Protocol::Resp3));
            assert_eq!(hello.auth, Some(("u".to_owned(), "p".to_owned())));
            assert_eq!(hello.name.as_deref(), Some("n"));
            let signing_in = Command::new(&["HELLO", "3", "AUTH", "oid", "secret", "SETNAME", "n"]);
            assert!(hello.signing_in("oid", "secret") == signing_in);
        }
        assert!(parse("HELLO").ok().unwrap().protocol.is_none());
    }

    #[test]
    fn mistakes_get_the_errors_of_redis() {
        for (words, error) in [
            ("HELLO 4", "NOPROTO unsupported protocol version"),
            ("HELLO -1 AUTH u p", "NOPROTO unsupported protocol version"),
            ("HELLO x", "ERR Protocol version is not an integer or out of range"),
            ("HELLO 3 AUTH u", "ERR Syntax error in HELLO option 'AUTH'"),
            ("HELLO 3 SETNAME", "ERR Syntax error in HELLO option 'SETNAME'"),
            ("HELLO 3 ZZ", "ERR Syntax error in HELLO option 'ZZ'"),
        ] {
            assert_eq!(parse(words).err(), Some(Reply::error(error)), "{words}");
        }
        let name = Command::new(&["HELLO", "3", "SETNAME", "a b"]);
        let error = "ERR Client names cannot contain spaces, newlines or special characters.";
        assert_eq!(Hello::parse(&name).err(), Some(Reply::error(error)));
    }
}
