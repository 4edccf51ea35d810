//! Replies under RESP2 and RESP3: where one ends in the bytes that came, and what its error texts mean.
//!
//! Values and errors are the `redis` crate's. Framing is ours, because a reply must be bounded before it is parsed:
//! once a reply is whole, no length in it announces more than there is.

use redis::{ServerError, ServerErrorKind, Value};

use crate::connection::push::{self, Argument, Push};
use crate::escaped::bytes_as_text;
use crate::excerpt::excerpt;
use crate::probe::FailureReason;

/// The longest line: a status, an error, a number or a length.
const MAX_LINE: usize = 64 * 1024;
/// The most values in one reply to a command of a probe: many times those of HELLO, which has the most. Each costs time
/// and memory.
const MAX_VALUES: usize = 10_000;
/// The most values in the reply to `CLUSTER SLOTS`: enough for the largest caches, which have 384 shards, when each has
/// its slots in ten ranges.
const MAX_VALUES_OF_TOPOLOGY: usize = 65_536;
/// How much is kept of a server's words, in characters.
pub(super) const MAX_DETAIL: usize = 400;

/// Why the bytes at hand cannot become a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// They are not RESP.
    NotRedis,
    /// The reply is longer than the limit.
    TooLarge,
    /// The reply has more values than any of its kind.
    TooMany,
}

/// How large a reply may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) bytes: usize,
    pub(super) values: usize,
}

impl Limits {
    /// The limits of a push that is read: several times those of a notice that names each shard of a large cache.
    pub(super) const OF_PUSH: Self = Self { bytes: 64 * 1024, values: 4096 };

    /// Returns the limits of the replies to the commands of a probe.
    pub(super) const fn of_probe(bytes: usize) -> Self {
        Self { bytes, values: MAX_VALUES }
    }

    /// Returns the limits of the reply to `CLUSTER SLOTS`.
    pub(super) const fn of_topology(bytes: usize) -> Self {
        Self { bytes, values: MAX_VALUES_OF_TOPOLOGY }
    }
}

/// Whether the frame at the start of `bytes` was sent out of band: it answers no command.
pub(super) fn is_push(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b'>')
}

/// How far a frame is measured: what was looked at once is not looked at again when more has come.
#[derive(Debug)]
pub(super) struct Scan {
    /// Where the values end that are whole.
    end: usize,
    /// Values that are still to come. An aggregate adds its children, so that nesting needs no stack.
    pending: usize,
    /// All values so far, also those to come.
    values: usize,
}

impl Default for Scan {
    fn default() -> Self {
        Self { end: 0, pending: 1, values: 1 }
    }
}

impl Scan {
    /// Returns the length of the reply or push at the start of `bytes`; `None` while it is incomplete. `bytes` is what it
    /// was the last time, and more.
    pub(super) fn length(&mut self, bytes: &[u8], limits: Limits) -> Result<Option<usize>, Malformed> {
        let limit = limits.bytes;
        while self.pending > 0 {
            let Some(header) = header(&bytes[self.end..])? else { return Ok(None) };
            let mut end = self.end + header.length;
            let children = match header.kind {
                b'$' | b'=' | b'!' => {
                    if let Some(text) = header.announced()? {
                        // Within an aggregate, all that came before counts as well.
                        let before = if self.end > 0 { end } else { 0 };
                        if text > limit.saturating_sub(before) {
                            return Err(Malformed::TooLarge);
                        }
                        end += text + 2;
                        match bytes.get(end - 2..end) {
                            None => return Ok(None),
                            Some(b"\r\n") => {}
                            Some(_) => return Err(Malformed::NotRedis),
                        }
                    }
                    0
                }
                b'*' | b'~' | b'>' => header.children(1, limit)?,
                b'%' => header.children(2, limit)?,
                // Attributes come before the value that they describe.
                b'|' => header.children(2, limit)? + 1,
                _ => 0,
            };
            if end > limit.saturating_add(MAX_LINE) {
                return Err(Malformed::TooLarge);
            }
            self.end = end;
            self.pending += children;
            self.pending -= 1;
            self.values += children;
            if self.values > limits.values {
                return Err(Malformed::TooMany);
            }
        }
        Ok(Some(self.end))
    }
}

/// How far a frame is skipped that is never at hand as a whole.
#[derive(Debug)]
pub(super) struct Skip {
    /// Values that are still to come.
    pending: usize,
    /// Bytes of a text that are still to come, with its line break.
    text: usize,
}

impl Default for Skip {
    fn default() -> Self {
        Self { pending: 1, text: 0 }
    }
}

impl Skip {
    /// Returns how many of `bytes`, which follow what was skipped before, belong to the frame, and whether it has ended.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        let mut skipped = 0;
        loop {
            let piece = self.text.min(bytes.len() - skipped);
            self.text -= piece;
            skipped += piece;
            if self.text > 0 || self.pending == 0 {
                return Ok((skipped, self.text == 0));
            }
            let Some(header) = header(&bytes[skipped..])? else { return Ok((skipped, false)) };
            skipped += header.length;
            self.pending -= 1;
            let announced = |header: &Header<'_>| header.announced().map(|length| length.unwrap_or(0));
            let children = match header.kind {
                b'$' | b'=' | b'!' => {
                    self.text = header.announced()?.map_or(0, |length| length.saturating_add(2));
                    0
                }
                b'*' | b'~' | b'>' => announced(&header)?,
                b'%' => announced(&header)?.saturating_mul(2),
                b'|' => announced(&header)?.saturating_mul(2).saturating_add(1),
                _ => 0,
            };
            self.pending = self.pending.saturating_add(children);
        }
    }
}

/// What the start of a reply says of the rest.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Its first line is incomplete.
    Incomplete,
    /// It is a long string.
    Text {
        /// The length of what comes before the text.
        header: usize,
        /// The length of the text, with its prefix.
        length: usize,
        /// How much of it is no text: RESP3 writes `txt:` before it.
        prefix: usize,
    },
    /// It is anything else.
    Other,
}

/// Reads the start of the reply in `bytes`, which need not be whole.
pub(super) fn start(bytes: &[u8]) -> Result<Start, Malformed> {
    let Some(header) = header(bytes)? else { return Ok(Start::Incomplete) };
    let prefix = match header.kind {
        b'$' => 0,
        b'=' => 4,
        _ => return Ok(Start::Other),
    };
    Ok(header.announced()?.map_or(Start::Other, |length| Start::Text {
        header: header.length,
        length,
        prefix,
    }))
}

/// The first line of a value.
struct Header<'a> {
    kind: u8,
    /// What follows the kind, without the line break.
    line: &'a [u8],
    /// The line's length with its line break.
    length: usize,
}

fn header(bytes: &[u8]) -> Result<Option<Header<'_>>, Malformed> {
    let Some(&kind) = bytes.first() else { return Ok(None) };
    if !b"+-:$_,#(=!*~%|>".contains(&kind) {
        return Err(Malformed::NotRedis);
    }
    let searched = &bytes[..bytes.len().min(MAX_LINE)];
    match searched.windows(2).position(|pair| pair == b"\r\n") {
        Some(end) => Ok(Some(Header { kind, line: &bytes[1..end], length: end + 2 })),
        None if bytes.len() >= MAX_LINE => Err(Malformed::NotRedis),
        None => Ok(None),
    }
}

impl Header<'_> {
    /// The announced length; `None` for RESP2's null.
    fn announced(&self) -> Result<Option<usize>, Malformed> {
        if self.line == b"-1" {
            return Ok(None);
        }
        let digits = std::str::from_utf8(self.line).ok().and_then(|digits| digits.parse().ok());
        digits.map(Some).ok_or(Malformed::NotRedis)
    }

    /// How many values follow, `each` for every one announced. The shortest takes three bytes.
    fn children(&self, each: usize, limit: usize) -> Result<usize, Malformed> {
        let announced = self.announced()?.unwrap_or(0);
        if announced > limit / (3 * each) { Err(Malformed::TooLarge) } else { Ok(announced * each) }
    }
}

/// What a probe expects as a reply. Most replies are that, and looking takes no memory.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected<'a> {
    /// This status.
    Status(&'a str),
    /// This text.
    Text(&'a str),
}

impl Expected<'_> {
    /// Whether the reply that [`Scan::length`] found to fill `bytes` is this.
    pub(super) fn fills(self, bytes: &[u8]) -> bool {
        let content = |kind| bytes.strip_prefix(kind)?.strip_suffix(b"\r\n");
        match self {
            Self::Status(status) => content(b"+") == Some(status.as_bytes()),
            // The length before it is right.
            Self::Text(text) => content(b"$").and_then(text_of) == Some(text.as_bytes()),
        }
    }
}

/// Returns what follows the line with the length.
fn text_of(long: &[u8]) -> Option<&[u8]> {
    let start = long.iter().position(|byte| *byte == b'\n')? + 1;
    long.get(start..)
}

/// Parses the reply that [`Scan::length`] found to fill `bytes`.
///
/// What every probe gets is read here; of an error, the `redis` crate knows what its code means. That crate's parser
/// sets up 8 KiB of buffers for each reply, which was a third of the instructions of a probe.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, Malformed> {
    let (kind, rest) = bytes.split_first().ok_or(Malformed::NotRedis)?;
    let text = |line: &[u8]| line.strip_suffix(b"\r\n").map(bytes_as_text).ok_or(Malformed::NotRedis);
    let long = || rest.strip_suffix(b"\r\n").and_then(text_of).ok_or(Malformed::NotRedis);
    match kind {
        b'+' if rest == b"OK\r\n" => Ok(Value::Okay),
        b'+' => text(rest).map(Value::SimpleString),
        b':' => text(rest)?.parse().map(Value::Int).map_err(|_| Malformed::NotRedis),
        b'-' if !bytes.is_ascii() => redis::parse_redis_value(format!("-{}\r\n", text(rest)?).as_bytes())
            .map_err(|_| Malformed::NotRedis),
        b'_' => Ok(Value::Nil),
        b'$' if rest == b"-1\r\n" => Ok(Value::Nil),
        b'$' => Ok(Value::BulkString(long()?.to_vec())),
        // Three letters say what the text is.
        b'=' => Ok(Value::BulkString(long()?.get(4..).ok_or(Malformed::NotRedis)?.to_vec())),
        _ => match redis::parse_redis_value(bytes) {
            Ok(Value::Attribute { data, .. }) => Ok(*data),
            Ok(value) => Ok(value),
            Err(_) => Err(Malformed::NotRedis),
        },
    }
}

/// Reads the push that fills `bytes`.
pub(super) fn push(bytes: &[u8]) -> Push {
    match redis::parse_redis_value(bytes) {
        Ok(Value::Push { kind, data }) => {
            Push::Read { name: kind.to_string(), arguments: data.iter().map(argument).collect() }
        }
        _ => Push::Unreadable,
    }
}

fn argument(value: &Value) -> Argument {
    match value {
        Value::Int(number) => Argument::Integer(*number),
        Value::BulkString(text) if text.len() <= push::MAX_TEXT => Argument::Text(bytes_as_text(text)),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } if text.len() <= push::MAX_TEXT => {
            Argument::Text(text.clone())
        }
        Value::Okay => Argument::Text("OK".to_owned()),
        Value::Nil => Argument::Null,
        _ => Argument::Other,
    }
}

/// What an error reply means, and its text: one bounded line.
///
/// Words anywhere in the text identify a refused sign-in or missing rights: Azure prefixes them differently (`ERR WRONGPASS …`)
/// and the texts of Azure Managed Redis are not documented. The other conditions have code words of their own.
pub(super) fn classify(error: &ServerError) -> (FailureReason, String) {
    let text = words(error);
    let says = |words: &str| text.contains(words);
    let reason = if says("WRONGPASS") || says("NOAUTH") || says("invalid password") || says("AUTH <password>")
    {
        FailureReason::AuthRejected
    } else if says("NOPERM") {
        FailureReason::PermissionDenied
    } else if says("max number of clients") {
        FailureReason::TooManyClients
    } else {
        match (error.kind(), error.code()) {
            (Some(ServerErrorKind::ReadOnly), _) => FailureReason::ReadOnly,
            (Some(ServerErrorKind::BusyLoading), _) => FailureReason::Loading,
            (
                Some(ServerErrorKind::ClusterDown | ServerErrorKind::MasterDown | ServerErrorKind::TryAgain),
                _,
            ) => FailureReason::ClusterDown,
            (Some(ServerErrorKind::Moved | ServerErrorKind::Ask), _) => FailureReason::WrongNode,
            (None, "OOM") => FailureReason::OutOfMemory,
            (None, "MISCONF" | "NOREPLICAS") => FailureReason::WriteRefused,
            (None, "BUSY") => FailureReason::Busy,
            (None, "DENIED") => FailureReason::ConnectionDenied,
            _ => FailureReason::ServerError,
        }
    };
    (reason, excerpt(&text, MAX_DETAIL))
}

/// What an error reply to AUTH or HELLO means, and its text without the arguments that some servers repeat.
///
/// Servers before version 6 and proxies refuse a sign-in in words of their own.
pub(super) fn classify_sign_in(error: &ServerError) -> (FailureReason, String) {
    let (reason, _) = classify(error);
    let mut text = words(error);
    if let Some(arguments) = text.find(", with args beginning with") {
        text.truncate(arguments);
    }
    let says = |words: &str| text.to_ascii_lowercase().contains(words);
    let refuses = says("no password is set")
        || says("without any password configured")
        || says("invalid username-password pair")
        || says("for 'auth' command")
        || says("unknown command 'auth'")
        || says("unknown command `auth`");
    let reason =
        if reason == FailureReason::ServerError && refuses { FailureReason::AuthRejected } else { reason };
    (reason, text)
}

/// The whole text of an error.
pub(super) fn words(error: &ServerError) -> String {
    match error.details() {
        Some(details) => format!("{} {details}", error.code()),
        None => error.code().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1000;

    fn length(bytes: &[u8], limit: usize) -> Result<Option<usize>, Malformed> {
        Scan::default().length(bytes, Limits::of_probe(limit))
    }

    fn error(text: &str) -> (FailureReason, String) {
        match parse(format!("-{text}\r\n").as_bytes()).unwrap() {
            Value::ServerError(error) => classify(&error),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_expected_is_that_reply_and_no_other() {
        for (expected, reply, fills) in [
            (Expected::Status("PONG"), "+PONG\r\n", true),
            (Expected::Status("PONG"), "+PON\r\n", false),
            (Expected::Status("PONG"), "$4\r\nPONG\r\n", false),
            (Expected::Status("OK"), "-OK\r\n", false),
            (Expected::Text("a"), "$1\r\na\r\n", true),
            (Expected::Text("a\nb"), "$3\r\na\nb\r\n", true),
            (Expected::Text("b"), "$3\r\na\nb\r\n", false),
            (Expected::Text(""), "$0\r\n\r\n", true),
            (Expected::Text(""), "$-1\r\n", false),
            (Expected::Text("-1"), "$-1\r\n", false),
            (Expected::Text("a"), "+a\r\n", false),
        ] {
            assert_eq!(expected.fills(reply.as_bytes()), fills, "{expected:?} {reply:?}");
        }
    }

    #[test]
    fn a_reply_is_measured_whole_and_never_early() {
        for reply in [
            "+OK\r\n",
            "-ERR no\r\n",
            ":7\r\n",
            "$5\r\nhello\r\n",
            "$0\r\n\r\n",
            "$-1\r\n",
            "_\r\n",
            "=8\r\ntxt:text\r\n",
            "*2\r\n:1\r\n*1\r\n$1\r\na\r\n",
            "%1\r\n+proto\r\n:3\r\n",
            ">2\r\n+message\r\n%0\r\n",
            "|1\r\n+ttl\r\n:1\r\n+OK\r\n",
            "*-1\r\n",
        ] {
            for cut in 0..reply.len() {
                assert_eq!(length(&reply.as_bytes()[..cut], LIMIT), Ok(None), "{reply:?} cut at {cut}");
            }
            let with_more = format!("{reply}+MORE\r\n");
            assert_eq!(length(with_more.as_bytes(), LIMIT), Ok(Some(reply.len())), "{reply:?}");
        }
    }

    #[test]
    fn what_was_measured_is_not_looked_at_again() {
        let reply = format!("*4\r\n{}:1\r\n$5\r\nhello\r\n+OK\r\n%1\r\n_\r\n_\r\n", "*1\r\n".repeat(50));
        let mut bytes = Vec::new();
        let mut scan = Scan::default();
        for byte in reply.bytes() {
            assert_eq!(scan.length(&bytes, Limits::of_probe(LIMIT)), Ok(None));
            assert!(
                bytes.len() - scan.end < "$5\r\nhello\r\n".len(),
                "only the last value is looked at again"
            );
            bytes[..scan.end].fill(0xff);
            bytes.push(byte);
        }
        assert_eq!(scan.length(&bytes, Limits::of_probe(LIMIT)), Ok(Some(reply.len())));
    }

    #[test]
    fn more_values_than_any_reply_has_are_refused_when_they_are_announced() {
        let limit = 8 * 1024 * 1024;
        for reply in ["*10000\r\n", "%5000\r\n", &"*1\r\n".repeat(MAX_VALUES), &"|1\r\n".repeat(MAX_VALUES)] {
            assert_eq!(length(reply.as_bytes(), limit), Err(Malformed::TooMany), "{}", &reply[..4]);
        }
        assert_eq!(length(b"*9999\r\n", limit), Ok(None));
        let topology = Limits::of_topology(limit);
        assert_eq!(Scan::default().length(b"*65535\r\n", topology), Ok(None));
        assert_eq!(Scan::default().length(b"*65536\r\n", topology), Err(Malformed::TooMany));
    }

    #[test]
    fn what_is_not_resp_is_refused_at_its_first_byte() {
        for bytes in ["HTTP/1.1 400 Bad Request\r\n", "\u{16}", "$x\r\n", "$-2\r\n", "*1\r\nHTTP"] {
            assert_eq!(length(bytes.as_bytes(), LIMIT), Err(Malformed::NotRedis), "{bytes:?}");
        }
        assert_eq!(length(b"$2\r\nabcd", LIMIT), Err(Malformed::NotRedis));
    }

    #[test]
    fn a_reply_is_what_the_redis_crate_makes_of_it() {
        for reply in [
            "+OK\r\n",
            "+PONG\r\n",
            "+\r\n",
            "-ERR no\r\n",
            ":7\r\n",
            ":-7\r\n",
            ":x\r\n",
            ":\r\n",
            "$5\r\nhello\r\n",
            "$0\r\n\r\n",
            "$2\r\n\r\n\r\n",
            "$-1\r\n",
            "_\r\n",
            "%1\r\n+proto\r\n:3\r\n",
        ] {
            let bytes = reply.as_bytes();
            assert_eq!(length(bytes, LIMIT), Ok(Some(bytes.len())), "{reply:?}");
            assert_eq!(parse(bytes).ok(), redis::parse_redis_value(bytes).ok(), "{reply:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_escaped() {
        assert_eq!(parse(b"+\xff\r\n"), Ok(Value::SimpleString("\\xff".into())));
        let Value::ServerError(error) = parse(b"-ERR caf\xe9\r\n").unwrap() else { panic!("no error") };
        assert_eq!(classify(&error).1, "ERR caf\\xe9");
    }

    #[test]
    fn a_reply_over_the_limit_is_refused_when_it_is_announced() {
        assert_eq!(length(b"$1001\r\n", LIMIT), Err(Malformed::TooLarge));
        assert_eq!(length(b"$1000\r\n", LIMIT), Ok(None));
        assert_eq!(length(b"$99999999999999999999\r\n", LIMIT), Err(Malformed::NotRedis));
        assert_eq!(length("+".repeat(MAX_LINE).as_bytes(), LIMIT), Err(Malformed::NotRedis));
        for announced in ["*2000000000\r\n", "%2000000000\r\n", "*99999999999999999999\r\n"] {
            assert!(length(announced.as_bytes(), LIMIT).is_err(), "{announced:?}");
        }
        let lines = format!("*9\r\n{}", format!("+{}\r\n", "x".repeat(60_000)).repeat(2));
        assert_eq!(length(lines.as_bytes(), LIMIT), Err(Malformed::TooLarge));
        let long = format!("*2\r\n$600\r\n{0}\r\n$600\r\n{0}\r\n", "x".repeat(600));
        assert_eq!(length(long.as_bytes(), LIMIT), Err(Malformed::TooLarge));
    }

    #[test]
    fn both_spellings_of_wrongpass_are_the_same_thing() {
        for text in [
            "ERR WRONGPASS invalid username-password pair",
            "WRONGPASS invalid username-password pair or user is disabled.",
            "NOAUTH Authentication required.",
            "ERR invalid password",
            "ERR AUTH <password> called without any password configured for the default user.",
        ] {
            assert_eq!(error(text).0, FailureReason::AuthRejected, "{text}");
        }
    }

    #[test]
    fn each_condition_of_a_server_has_its_reason() {
        for (text, reason) in [
            (
                "NOPERM this user has no permissions to run the 'client' command",
                FailureReason::PermissionDenied,
            ),
            ("ERR max number of clients reached", FailureReason::TooManyClients),
            ("READONLY You can't write against a read only replica.", FailureReason::ReadOnly),
            ("LOADING Redis is loading the dataset in memory", FailureReason::Loading),
            ("OOM command not allowed when used memory > 'maxmemory'.", FailureReason::OutOfMemory),
            ("CLUSTERDOWN The cluster is down", FailureReason::ClusterDown),
            ("MASTERDOWN Link with MASTER is down", FailureReason::ClusterDown),
            ("MOVED 1234 10.0.0.1:8500", FailureReason::WrongNode),
            ("ASK 1234 10.0.0.1:8500", FailureReason::WrongNode),
            (
                "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
                FailureReason::WriteRefused,
            ),
            ("NOREPLICAS Not enough good replicas to write.", FailureReason::WriteRefused),
            (
                "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
                FailureReason::Busy,
            ),
            ("DENIED Redis is running in protected mode because …", FailureReason::ConnectionDenied),
            ("ERR unknown command 'PING'", FailureReason::ServerError),
        ] {
            assert_eq!(error(text), (reason, text.to_owned()));
        }
    }
}
