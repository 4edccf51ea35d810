//! The reply to `CLIENT LIST`: a line for each client, fields as `name=value`.
//!
//! A busy cache has tens of thousands of clients, and probes only count them: the text is counted while it is read, and
//! of each line no more is kept than the beginning. It need be no valid UTF-8, and a line may lack any field.

use std::net::SocketAddr;

use memchr::memchr;

/// How much of a line is looked at: the number and the address stand at its beginning.
const LINE: usize = 256;

/// What a list says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientList {
    /// How many clients there are.
    pub count: u64,
    /// How long the list is, as the server announced it, in bytes.
    pub length: usize,
    /// Whether our own connection is among them.
    pub own_seen: bool,
    /// Those that have a number, if they are wanted.
    pub clients: Vec<Client>,
}

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The server's number for the connection; never used twice in a server's life.
    pub id: u64,
    /// Address and port, as the server sees them.
    pub addr: Box<str>,
}

/// By what our own connection is found in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnClient {
    Id(u64),
    /// The address, if the server has not sent the id. Network address translation on the way hides it.
    Address(Option<SocketAddr>),
}

/// Counts a list while its text comes in pieces.
#[derive(Debug)]
pub(super) struct Counter<'a> {
    list: &'a mut ClientList,
    keeps: bool,
    own: OwnClient,
    own_address: String,
    /// The beginning of a line that has not ended yet.
    line: Vec<u8>,
}

impl<'a> Counter<'a> {
    /// A counter that writes to `list`, and with `keeps` also keeps the clients. It works in the memory of `line`.
    pub(super) fn new(list: &'a mut ClientList, keeps: bool, own: OwnClient, mut line: Vec<u8>) -> Self {
        line.clear();
        let own_address = match own {
            OwnClient::Address(Some(address)) => address.to_string(),
            OwnClient::Address(None) | OwnClient::Id(_) => String::new(),
        };
        Self { list, keeps, own, own_address, line }
    }

    /// Takes the next piece of the text.
    pub(super) fn take(&mut self, mut piece: &[u8]) {
        while let Some(end) = memchr(b'\n', piece) {
            if self.line.is_empty() {
                self.count(&piece[..end]);
            } else {
                self.keep(&piece[..end]);
                self.count_line();
            }
            piece = &piece[end + 1..];
        }
        self.keep(piece);
    }

    /// The text has ended. Returns the memory.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.count_line();
        self.line
    }

    fn count_line(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        self.count(&line);
        line.clear();
        self.line = line;
    }

    fn keep(&mut self, piece: &[u8]) {
        let room = LINE.saturating_sub(self.line.len());
        self.line.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    fn count(&mut self, line: &[u8]) {
        if line.trim_ascii().is_empty() {
            return;
        }
        self.list.count += 1;
        let line = &line[..line.len().min(LINE)];
        // Once it was seen, the other lines need not be read.
        self.list.own_seen = self.list.own_seen
            || match self.own {
                OwnClient::Id(own) => id(line) == Some(own),
                OwnClient::Address(_) => {
                    !self.own_address.is_empty() && address(line) == self.own_address.as_bytes()
                }
            };
        if self.keeps
            && let Some(id) = id(line)
        {
            self.list.clients.push(Client { id, addr: String::from_utf8_lossy(address(line)).into() });
        }
    }
}

/// The number of a client.
fn id(line: &[u8]) -> Option<u64> {
    std::str::from_utf8(value(line, b"id=")?).ok()?.parse().ok()
}

/// The address of a client; empty if there is none.
fn address(line: &[u8]) -> &[u8] {
    value(line, b"addr=").unwrap_or_default().trim_ascii_end()
}

/// The value of the field that begins with `name`. The first counts: a client can put what it likes into the fields that
/// follow.
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    line.split(|byte| *byte == b' ').find_map(|field| field.strip_prefix(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "id=3 addr=127.0.0.1:50000 laddr=127.0.0.1:6379 fd=8 name= db=0 cmd=get user=default\n\
                       id=12 addr=[::1]:50001 laddr=[::1]:6379 fd=9 name=app=id=7 db=0 cmd=client|list\n";

    fn count(text: &[u8], piece: usize, own: OwnClient) -> ClientList {
        let mut list = ClientList::default();
        let mut counter = Counter::new(&mut list, true, own, Vec::new());
        text.chunks(piece).for_each(|piece| counter.take(piece));
        counter.end();
        list
    }

    fn client(id: u64, addr: &str) -> Client {
        Client { id, addr: addr.into() }
    }

    #[test]
    fn each_line_is_a_client_with_id_and_address_in_whatever_pieces_it_comes() {
        for piece in [1, 7, 1000] {
            let list = count(TWO.as_bytes(), piece, OwnClient::Id(12));
            let clients = vec![client(3, "127.0.0.1:50000"), client(12, "[::1]:50001")];
            assert_eq!(list, ClientList { count: 2, own_seen: true, clients, ..ClientList::default() });
        }
    }

    #[test]
    fn our_own_connection_is_found_by_number_or_else_by_address() {
        for (own, seen) in [
            (OwnClient::Id(7), false),
            (OwnClient::Address(Some("[::1]:50001".parse().unwrap())), true),
            (OwnClient::Address(Some("[::1]:50002".parse().unwrap())), false),
            (OwnClient::Address(None), false),
        ] {
            assert_eq!(count(TWO.as_bytes(), 5, own).own_seen, seen, "{own:?}");
        }
    }

    #[test]
    fn a_line_counts_whatever_it_holds() {
        for (text, count_of_lines) in [
            (&b""[..], 0),
            (b"\n\r\n", 0),
            (b"addr=1.2.3.4:5\n", 1),
            (b"id=x addr=y\nid=-1 addr=a", 2),
            (b"id=1 addr=a\n\xff\n", 2),
        ] {
            assert_eq!(count(text, 3, OwnClient::Id(9)).count, count_of_lines, "{}", text.escape_ascii());
        }
        let named = b"id=1 name=\xff addr=a\n";
        assert_eq!(count(named, 4, OwnClient::Id(1)).clients, [client(1, "a")]);
    }

    #[test]
    fn of_a_long_line_only_the_beginning_is_kept() {
        let long = format!("id=1 addr=a name={}\nid=2 addr=b\n", "x".repeat(100_000));
        let mut list = ClientList::default();
        let mut counter = Counter::new(&mut list, false, OwnClient::Id(2), Vec::new());
        for piece in long.as_bytes().chunks(1000) {
            counter.take(piece);
            assert!(counter.line.capacity() <= 2 * LINE);
        }
        counter.end();
        assert_eq!(list, ClientList { count: 2, own_seen: true, ..ClientList::default() });
    }
}
