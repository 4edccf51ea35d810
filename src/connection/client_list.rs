//! The reply to `CLIENT LIST`: a line for each client, fields as `name=value`.
//!
//! The text is kept as it came and read where it lies: a busy cache has tens of thousands of clients, and most
//! probes only count them.

/// A reply to `CLIENT LIST` whose every line names a client.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientList(String);

/// One line of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client<'a> {
    /// The server's number for the connection; never used twice in a server's life.
    pub id: u64,
    /// Address and port, as the server sees them.
    pub addr: &'a str,
}

impl ClientList {
    /// Takes the text of a reply; `None` if it is not UTF-8 or has a line without a client's id.
    #[must_use]
    pub fn parse(reply: Vec<u8>) -> Option<Self> {
        let list = Self(String::from_utf8(reply).ok()?);
        let complete = list.lines().all(|line| client(line).is_some());
        complete.then_some(list)
    }

    /// The clients, in the server's order.
    pub fn clients(&self) -> impl Iterator<Item = Client<'_>> {
        self.lines().filter_map(client)
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.lines().filter(|line| !line.is_empty())
    }
}

fn client(line: &str) -> Option<Client<'_>> {
    let mut id = None;
    let mut addr = None;
    for field in line.split(' ') {
        // The first of each counts: a client can put what it likes into the fields that follow.
        match field.split_once('=') {
            Some(("id", value)) if id.is_none() => id = value.parse().ok(),
            Some(("addr", value)) if addr.is_none() => addr = Some(value),
            _ => {}
        }
        if let (Some(id), Some(addr)) = (id, addr) {
            return Some(Client { id, addr });
        }
    }
    Some(Client { id: id?, addr: "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "id=3 addr=127.0.0.1:50000 laddr=127.0.0.1:6379 fd=8 name= db=0 cmd=get user=default\n\
                       id=12 addr=[::1]:50001 laddr=[::1]:6379 fd=9 name=app=id=7 db=0 cmd=client|list\n";

    #[test]
    fn each_line_is_a_client_with_id_and_address() {
        let list = ClientList::parse(TWO.into()).unwrap();
        let clients: Vec<_> = list.clients().collect();
        assert_eq!(
            clients,
            [Client { id: 3, addr: "127.0.0.1:50000" }, Client { id: 12, addr: "[::1]:50001" }]
        );
    }

    #[test]
    fn an_empty_list_has_no_clients() {
        assert_eq!(ClientList::parse(Vec::new()).unwrap().clients().count(), 0);
    }

    #[test]
    fn a_client_without_an_address_still_counts() {
        let list = ClientList::parse(b"id=1 name=x\n".to_vec()).unwrap();
        assert_eq!(list.clients().collect::<Vec<_>>(), [Client { id: 1, addr: "" }]);
    }

    #[test]
    fn what_is_no_list_of_clients_is_refused() {
        for reply in
            [&b"OK"[..], b"id=x addr=y\n", b"addr=1.2.3.4:5\n", b"id=1 addr=a\n\xff\n", b"id=-1 addr=a"]
        {
            assert_eq!(ClientList::parse(reply.to_vec()), None, "{}", String::from_utf8_lossy(reply));
        }
    }
}
