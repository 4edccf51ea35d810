//! Requests to send: those of `requests.txt`, and random changes of them.

use fastrand::Rng;

/// The bytes to send, and the status codes of the responses.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) line: &'static str,
    pub(crate) bytes: Vec<u8>,
    /// Empty if the connection is closed without a response.
    pub(crate) codes: Vec<u16>,
}

/// Returns the requests of the file.
pub(crate) fn all() -> Vec<Request> {
    let lines = include_str!("requests.txt").lines();
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(Request::parse).collect()
}

impl Request {
    fn parse(line: &'static str) -> Self {
        let is_code = |word: &&str| word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_digit());
        let words: Vec<&str> = line.split(' ').take_while(is_code).collect();
        let skipped = words.iter().map(|word| word.len() + 1).sum();
        let sent = if words.is_empty() { line.strip_prefix("- ").unwrap() } else { &line[skipped..] };
        Self { line, bytes: bytes(sent), codes: words.iter().map(|word| word.parse().unwrap()).collect() }
    }
}

/// Returns the bytes of `text`, with escapes and repetitions resolved.
fn bytes(text: &str) -> Vec<u8> {
    let Some((before, rest)) = text.split_once('{') else { return unescaped(text) };
    let (repeated, rest) = rest.split_once('}').unwrap();
    let (part, times) = repeated.rsplit_once('*').unwrap();
    [unescaped(before), unescaped(part).repeat(times.parse().unwrap()), bytes(rest)].concat()
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut parts = text.split('\\');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    while let Some(part) = parts.next() {
        let (byte, length) = match part.chars().next() {
            Some('r') => (b'\r', 1),
            Some('n') => (b'\n', 1),
            Some('t') => (b'\t', 1),
            Some('x') => (u8::from_str_radix(&part[1..3], 16).unwrap(), 3),
            None => {
                bytes.push(b'\\');
                bytes.extend(parts.next().unwrap().bytes());
                continue;
            }
            _ => panic!("no escape: \\{part}"),
        };
        bytes.push(byte);
        bytes.extend(&part.as_bytes()[length..]);
    }
    bytes
}

/// Returns one of `requests`, changed randomly in a few places.
pub(crate) fn mutant(requests: &[Request], random: &mut Rng) -> Vec<u8> {
    let mut bytes = random.choice(requests).unwrap().bytes.clone();
    for _ in 0..random.usize(1..=4) {
        let at = random.usize(..=bytes.len());
        let end = random.usize(at..=bytes.len().min(at + 100));
        match random.u8(..6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.extend_from_within(at..end),
            3 => bytes.insert(at, random.u8(..)),
            4 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            _ => {
                let other = &random.choice(requests).unwrap().bytes;
                let from = random.usize(..other.len());
                bytes.splice(at..at, other[from..].iter().copied());
            }
        }
    }
    bytes
}

/// Returns random bytes.
pub(crate) fn noise(random: &mut Rng) -> Vec<u8> {
    let length = random.usize(1..2_000);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}
