//! Where a RESP frame begins and ends: commands as a server reads them, replies as a proxy relays them.
//!
//! A reply is a run of bytes here, in RESP2 or RESP3; `reply.rs` has replies as values.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

/// The longest line of a header, in bytes, as in Redis.
const MAX_LINE: u64 = 64 * 1024;
/// The longest reply that is relayed, in bytes.
const MAX_REPLY: usize = 64 * 1024 * 1024;

/// How much a client may send in one command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// More arguments, or a longer one, end the connection, as in Redis.
    arguments: usize,
    argument_bytes: usize,
    /// The error texts of Redis for the two.
    words: [&'static str; 2],
    /// A longer command is read to its end and refused.
    command_bytes: usize,
}

impl Limits {
    /// Before sign-in: the limits and error texts of Redis. A longer token cannot be presented.
    pub(super) const UNAUTHENTICATED: Self = Self {
        arguments: 10,
        argument_bytes: 16_384,
        words: ["unauthenticated multibulk length", "unauthenticated bulk length"],
        command_bytes: usize::MAX,
    };
    /// After sign-in: Redis' own numbers and words, but much shorter commands.
    pub(super) const AUTHENTICATED: Self = Self {
        arguments: 1024 * 1024,
        argument_bytes: 512 * 1024 * 1024,
        words: ["invalid multibulk length", "invalid bulk length"],
        command_bytes: 512 * 1024,
    };
}

/// A client's command: its name and arguments, at least one. Not `Debug`: AUTH carries secrets.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Command(Vec<Vec<u8>>);

impl Command {
    pub(super) fn new<A: AsRef<[u8]>>(args: &[A]) -> Self {
        Self(args.iter().map(|arg| arg.as_ref().to_vec()).collect())
    }

    /// The name in upper case.
    pub(super) fn name(&self) -> String {
        self.text(0).to_ascii_uppercase()
    }

    /// The arguments after the name.
    pub(super) fn args(&self) -> &[Vec<u8>] {
        self.0.get(1..).unwrap_or_default()
    }

    /// The `index`th word, the name being 0; empty if there is none.
    pub(super) fn text(&self, index: usize) -> String {
        self.0.get(index).map(|word| String::from_utf8_lossy(word).into_owned()).unwrap_or_default()
    }

    /// Whether it begins with the words of `pattern`, as in `CLIENT LIST`. `*` stands for every command.
    pub(super) fn matches(&self, pattern: &str) -> bool {
        let mut words = pattern.split_ascii_whitespace().zip(0..);
        pattern == "*" || words.all(|(word, index)| self.text(index).eq_ignore_ascii_case(word))
    }

    /// The bytes a client sends.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", self.0.len()).into_bytes();
        for arg in &self.0 {
            bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            bytes.extend_from_slice(arg);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }
}

/// Why no command could be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The connection failed, or ended within a command.
    Io(io::Error),
    /// The bytes are not a command. Contains the error text of Redis.
    Protocol(&'static str),
    /// The command exceeds [`Limits`]. The next one can be read.
    TooLong,
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads one command, as an array of bulk strings or, as people type it, as words on a line without quotes. Returns
/// `None` when the client has closed between two commands.
pub(super) async fn read_command(
    reader: &mut (impl AsyncBufRead + Unpin),
    limits: Limits,
) -> Result<Option<Command>, ReadError> {
    let [too_many, too_long] = limits.words;
    let mut line = Vec::new();
    loop {
        if !read_until_line_feed(reader, &mut line).await? {
            return Ok(None);
        }
        if line[0] != b'*' {
            let words: Vec<&[u8]> =
                line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
            if words.is_empty() {
                continue;
            }
            return Ok(Some(Command::new(&words)));
        }
        let count = header(&line, b'*').ok_or(ReadError::Protocol("invalid multibulk length"))?;
        if count > limits.arguments {
            return Err(ReadError::Protocol(too_many));
        }
        if count == 0 {
            continue;
        }
        let mut args = Vec::new();
        let mut bytes = 0_usize;
        for _ in 0..count {
            if !read_line(reader, &mut line).await? {
                return Err(ReadError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            let length = header(&line, b'$').ok_or(ReadError::Protocol("expected '$'"))?;
            if length > limits.argument_bytes {
                return Err(ReadError::Protocol(too_long));
            }
            // The header counts too, so that many empty arguments do not take much memory.
            bytes = bytes.saturating_add(line.len() + length);
            if bytes > limits.command_bytes {
                args.clear();
                skip(reader, length + 2).await?;
                continue;
            }
            let mut arg = vec![0; length + 2];
            reader.read_exact(&mut arg).await?;
            arg.truncate(length);
            args.push(arg);
        }
        if bytes > limits.command_bytes {
            return Err(ReadError::TooLong);
        }
        return Ok(Some(Command(args)));
    }
}

/// Reads exactly one reply, whole and unchanged.
pub(super) async fn read_reply(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut reply = Vec::new();
    let mut line = Vec::new();
    // Values that are still to come. An aggregate adds its children, so nesting needs no stack.
    let mut pending = 1_usize;
    while pending > 0 {
        pending -= 1;
        if !read_line(reader, &mut line).await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        reply.extend_from_slice(&line);
        let kind = line[0];
        let (children, bytes) = match kind {
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => (0, None),
            b'$' | b'=' | b'!' => (0, length(&line)?),
            b'*' | b'~' | b'>' => (length(&line)?.unwrap_or(0), None),
            b'%' => (length(&line)?.unwrap_or(0) * 2, None),
            // Attributes come before the value that they describe.
            b'|' => (length(&line)?.unwrap_or(0) * 2 + 1, None),
            _ => return Err(invalid("the backend's reply is not RESP")),
        };
        pending += children;
        if let Some(bytes) = bytes {
            let start = reply.len();
            reply.resize(start + bytes + 2, 0);
            reader.read_exact(&mut reply[start..]).await?;
        }
        if reply.len() > MAX_REPLY {
            return Err(invalid("the backend's reply is too long"));
        }
    }
    Ok(reply)
}

/// Reads and drops `length` bytes.
async fn skip(reader: &mut (impl AsyncBufRead + Unpin), length: usize) -> io::Result<()> {
    let length = length as u64;
    let skipped = tokio::io::copy_buf(&mut (&mut *reader).take(length), &mut tokio::io::sink()).await?;
    if skipped == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Reads a header line of RESP. Returns `false` at the end of the stream.
async fn read_line(reader: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> io::Result<bool> {
    if !read_until_line_feed(reader, line).await? {
        return Ok(false);
    }
    match line.as_slice() {
        [_, .., b'\r', b'\n'] => Ok(true),
        _ => Err(invalid("a line without its kind or its line break")),
    }
}

/// Reads a line with its line feed. Returns `false` at the end of the stream.
async fn read_until_line_feed(
    reader: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> io::Result<bool> {
    line.clear();
    (&mut *reader).take(MAX_LINE).read_until(b'\n', line).await?;
    match line.last() {
        None => Ok(false),
        Some(b'\n') => Ok(true),
        Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The number of a command's header line.
fn header(line: &[u8], kind: u8) -> Option<usize> {
    number(line.strip_prefix(&[kind])?)
}

/// The length in a reply's header line; `None` for null (-1).
fn length(line: &[u8]) -> io::Result<Option<usize>> {
    match &line[1..] {
        b"-1\r\n" => Ok(None),
        digits => number(digits)
            .filter(|&length| length <= MAX_REPLY)
            .map(Some)
            .ok_or_else(|| invalid("the backend's reply has a bad length")),
    }
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits.strip_suffix(b"\r\n")?).ok()?.parse().ok()
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn command(bytes: &[u8]) -> Result<Option<Command>, ReadError> {
        read_command(&mut &bytes[..], Limits::UNAUTHENTICATED).await
    }

    #[tokio::test]
    async fn a_command_is_read_as_encoded_and_further_bytes_stay() {
        let ping = Command::new(&["PING"]);
        let set = Command::new(&[&b"set"[..], b"key", b"\r\n*1\r\n"]);
        let bytes = [ping.encode(), set.encode()].concat();
        let mut reader = bytes.as_slice();
        for expected in [ping, set] {
            let read = read_command(&mut reader, Limits::UNAUTHENTICATED).await.unwrap();
            assert!(read == Some(expected));
        }
        assert!(read_command(&mut reader, Limits::UNAUTHENTICATED).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_command_matches_its_first_words_in_any_case() {
        let list = Command::new(&["client", "List", "ID", "1"]);
        for pattern in ["CLIENT", "CLIENT LIST", "client list", "*"] {
            assert!(list.matches(pattern), "{pattern}");
        }
        for pattern in ["CLIENT ID", "LIST", "CLIENT LIST TYPE"] {
            assert!(!list.matches(pattern), "{pattern}");
        }
    }

    #[tokio::test]
    async fn an_argument_over_16384_bytes_ends_the_connection_before_sign_in_only() {
        let fits = Command::new(&[b"AUTH".to_vec(), vec![b'x'; 16_384]]).encode();
        assert!(command(&fits).await.unwrap().is_some());
        let long = Command::new(&[b"AUTH".to_vec(), vec![b'x'; 16_385]]).encode();
        let Err(ReadError::Protocol(words)) = command(&long).await else { panic!("it was taken") };
        assert_eq!(words, "unauthenticated bulk length");
        assert!(read_command(&mut &long[..], Limits::AUTHENTICATED).await.unwrap().is_some());
        let Err(ReadError::Protocol(words)) = command(b"*11\r\n").await else { panic!("it was taken") };
        assert_eq!(words, "unauthenticated multibulk length");
    }

    #[tokio::test]
    async fn words_on_a_line_are_a_command_and_empty_lines_are_skipped() {
        for bytes in [&b"\r\n\n  SET  k v\r\nPING\r\n"[..], b"set k v\nPING\n"] {
            let mut reader = bytes;
            let mut next = async || read_command(&mut reader, Limits::UNAUTHENTICATED).await.unwrap();
            assert!(next().await.is_some_and(|set| set.matches("SET k v")));
            assert!(next().await == Some(Command::new(&["PING"])));
            assert!(next().await.is_none());
        }
    }

    #[tokio::test]
    async fn a_command_of_a_megabyte_is_refused_and_the_next_one_is_read() {
        let value = vec![b'x'; 1024 * 1024];
        let long = Command::new(&[&b"SET"[..], b"k", &value]).encode();
        let many = Command::new(&vec!["a"; 300_000]).encode();
        let ping = Command::new(&["PING"]);
        for refused in [long, many] {
            let bytes = [refused, ping.encode()].concat();
            let mut reader = bytes.as_slice();
            let error = read_command(&mut reader, Limits::AUTHENTICATED).await.err();
            assert!(matches!(error, Some(ReadError::TooLong)), "{error:?}");
            assert!(read_command(&mut reader, Limits::AUTHENTICATED).await.unwrap() == Some(ping.clone()));
        }
    }

    #[tokio::test]
    async fn bytes_that_are_not_a_command_are_an_error_and_never_a_panic() {
        for bytes in [&b"*x\r\n"[..], b"*-1\r\n", b"*1\r\n:1\r\n", b"*1\r\n$-1\r\n", b"*\n"] {
            assert!(matches!(command(bytes).await, Err(ReadError::Protocol(_))), "{bytes:?}");
        }
        for bytes in [&b"PING"[..], b"*1", b"*1\r\n", b"*1\r\n$4\r\nPI", b"*1\r\n$4\n", b"*1\r\n\n"] {
            assert!(matches!(command(bytes).await, Err(ReadError::Io(_))), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn exactly_one_reply_is_read() {
        let replies: [&[u8]; 14] = [
            b"+OK\r\n",
            b"-ERR no\r\n",
            b":42\r\n",
            b"$5\r\nhe\r\no\r\n",
            b"$0\r\n\r\n",
            b"$-1\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"*2\r\n*2\r\n:1\r\n$1\r\na\r\n+x\r\n",
            b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n_\r\n",
            b"=8\r\ntxt:text\r\n",
            b"|1\r\n+ttl\r\n:3\r\n$1\r\nv\r\n",
            b"~2\r\n#t\r\n,1.5\r\n",
            b">2\r\n+message\r\n(123456789012345678901234567890\r\n",
        ];
        for reply in replies {
            let bytes = [reply, b"+NEXT\r\n"].concat();
            let mut reader = bytes.as_slice();
            assert_eq!(read_reply(&mut reader).await.unwrap(), reply);
            assert_eq!(reader, b"+NEXT\r\n");
        }
    }

    #[tokio::test]
    async fn a_reply_that_is_truncated_or_not_resp_is_an_error() {
        for bytes in
            [&b""[..], b"+OK", b"$5\r\nhel", b"*2\r\n:1\r\n", b"HTTP/1.1\r\n", b"$x\r\n", b"$99999999999\r\n"]
        {
            assert!(read_reply(&mut &bytes[..]).await.is_err(), "{bytes:?}");
        }
    }
}
