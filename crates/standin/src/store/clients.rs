//! The clients of the store: what `CLIENT` lists and changes, and what `HELLO` replies.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use tokio::time::Instant;

use super::transaction::Transaction;
use super::{VERSION, integer};
use crate::frame::Command;
use crate::hello::{Hello, client_name};
use crate::reply::{Protocol, Reply, printable};

/// The number of the first real connection. The simulated application clients have lower ones.
pub(crate) const FIRST_CLIENT: u64 = 101;

/// Simulated application clients for the list of clients: id, address, name.
const SIMULATED: [(u64, [u8; 4], u16, &str); 3] = [
    (17, [10, 1, 0, 4], 51234, "orders-api"),
    (18, [10, 1, 0, 5], 40122, "orders-api"),
    (23, [10, 1, 0, 9], 38810, "worker"),
];

/// The connected clients by id.
pub(super) struct Clients(BTreeMap<u64, Client>);

pub(super) struct Client {
    address: SocketAddr,
    name: String,
    library: String,
    library_version: String,
    pub(super) user: String,
    since: Instant,
    pub(super) protocol: Protocol,
    pub(super) transaction: Option<Transaction>,
    /// Whether it reads from replicas.
    pub(super) readonly: bool,
    /// Whether its last command was `ASKING`.
    pub(super) asking: bool,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        Self {
            address,
            name: String::new(),
            library: String::new(),
            library_version: String::new(),
            user: "default".to_owned(),
            since: Instant::now(),
            protocol: Protocol::default(),
            transaction: None,
            readonly: false,
            asking: false,
        }
    }

    /// Writes the client's line of `CLIENT LIST`. Fields without a meaning here have the values of a small real server.
    fn describe(&self, list: &mut String, id: u64, command: &str) {
        let Self { address, name, user, library, library_version, .. } = self;
        let age = self.since.elapsed().as_secs();
        let queued = self.transaction.as_ref().map_or_else(|| "-1".to_owned(), |open| open.len().to_string());
        let protocol = self.protocol.number();
        writeln!(
            list,
            "id={id} addr={address} laddr=10.1.0.20:6380 fd={id} name={name} age={age} idle=0 flags=N db=0 sub=0 \
             psub=0 ssub=0 multi={queued} watch=0 qbuf=26 qbuf-free=20448 argv-mem=10 multi-mem=0 rbs=1024 rbp=0 \
             obl=0 oll=0 omem=0 tot-mem=22298 events=r cmd={command} user={user} redir=-1 resp={protocol} \
             lib-name={library} lib-ver={library_version}"
        )
        .expect("writing to a String cannot fail");
    }
}

impl Clients {
    pub(super) fn new() -> Self {
        let mut clients = Self(BTreeMap::new());
        for (id, address, port, name) in SIMULATED {
            let client = Client { name: name.to_owned(), ..Client::new((address, port).into()) };
            clients.0.insert(id, client);
        }
        clients
    }

    pub(super) fn insert(&mut self, id: u64, address: SocketAddr) {
        self.0.insert(id, Client::new(address));
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.0.remove(&id);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the client whose connection is being served.
    pub(super) fn of(&mut self, id: u64) -> &mut Client {
        self.0.get_mut(&id).expect("a client is listed while its connection is served")
    }

    /// Executes `HELLO`.
    pub(super) fn hello(&mut self, id: u64, hello: Hello, [mode, role]: [&str; 2]) -> Reply {
        let client = self.of(id);
        if let Some((user, _)) = hello.auth {
            client.user = user;
        }
        if let Some(name) = hello.name {
            client.name = name;
        }
        client.protocol = hello.protocol.unwrap_or(client.protocol);
        let id = Reply::Integer(i64::try_from(id).unwrap_or(i64::MAX));
        Reply::Map(
            [
                ("server", Reply::text("redis")),
                ("version", Reply::text(VERSION)),
                ("proto", Reply::Integer(client.protocol.number().into())),
                ("id", id),
                ("mode", Reply::text(mode)),
                ("role", Reply::text(role)),
                ("modules", Reply::Array(Vec::new())),
            ]
            .map(|(key, value)| (Reply::text(key), value))
            .into(),
        )
    }

    /// Executes `CLIENT`.
    pub(super) fn execute(&mut self, id: u64, command: &Command) -> Reply {
        let subcommand = command.text(1).to_ascii_uppercase();
        match (subcommand.as_str(), &command.args()[1..]) {
            ("ID", []) => Reply::Integer(i64::try_from(id).unwrap_or(i64::MAX)),
            ("INFO", []) => {
                let mut line = String::new();
                self.of(id).describe(&mut line, id, "client|info");
                Reply::Verbatim(line)
            }
            ("LIST", filter) => self.list(id, filter),
            ("GETNAME", []) => match self.of(id).name.as_str() {
                "" => Reply::Null,
                name => Reply::text(name),
            },
            ("SETNAME", [name]) => match client_name(name) {
                Ok(name) => {
                    self.of(id).name = name;
                    Reply::OK
                }
                Err(error) => error,
            },
            ("SETINFO", [attribute, value]) => self.set_info(id, attribute, value),
            // Nothing is evicted or counted here, so there is nothing to switch.
            ("NO-EVICT" | "NO-TOUCH", [switch]) => {
                let known = [&b"ON"[..], b"OFF"].into_iter().any(|known| switch.eq_ignore_ascii_case(known));
                if known { Reply::OK } else { Reply::syntax_error() }
            }
            ("ID" | "INFO" | "GETNAME" | "SETNAME" | "SETINFO" | "NO-EVICT" | "NO-TOUCH", _) => {
                Reply::wrong_arity(&format!("client|{subcommand}"))
            }
            _ => Reply::unknown_subcommand(command),
        }
    }

    fn set_info(&mut self, id: u64, attribute: &[u8], value: &[u8]) -> Reply {
        let client = self.of(id);
        let (attribute, field) = if attribute.eq_ignore_ascii_case(b"LIB-NAME") {
            ("lib-name", &mut client.library)
        } else if attribute.eq_ignore_ascii_case(b"LIB-VER") {
            ("lib-ver", &mut client.library_version)
        } else {
            let attribute = printable(&String::from_utf8_lossy(attribute));
            return Reply::error(format!("ERR Unrecognized option '{attribute}'"));
        };
        let Ok(value) = client_name(value) else {
            return Reply::error(format!(
                "ERR {attribute} cannot contain spaces, newlines or special characters."
            ));
        };
        *field = value;
        Reply::OK
    }

    /// Executes `CLIENT LIST`, with an optional `TYPE type` or `ID id …`.
    fn list(&self, own: u64, filter: &[Vec<u8>]) -> Reply {
        let listed: Box<dyn Fn(u64) -> bool> = match filter {
            [] => Box::new(|_| true),
            [word, kind] if word.eq_ignore_ascii_case(b"TYPE") => {
                let is_normal = kind.eq_ignore_ascii_case(b"NORMAL");
                let others = [&b"MASTER"[..], b"REPLICA", b"SLAVE", b"PUBSUB"];
                if !is_normal && !others.iter().any(|other| kind.eq_ignore_ascii_case(other)) {
                    let kind = printable(&String::from_utf8_lossy(kind));
                    return Reply::error(format!("ERR Unknown client type '{kind}'"));
                }
                Box::new(move |_| is_normal)
            }
            [word, ids @ ..] if word.eq_ignore_ascii_case(b"ID") && !ids.is_empty() => {
                let ids: Option<Vec<i64>> = ids.iter().map(|id| integer(id)).collect();
                let Some(ids) = ids else { return Reply::error("ERR Invalid client ID") };
                Box::new(move |id| ids.iter().any(|&listed| u64::try_from(listed) == Ok(id)))
            }
            _ => return Reply::syntax_error(),
        };
        let mut list = String::new();
        for (&id, client) in self.0.iter().filter(|&(&id, _)| listed(id)) {
            client.describe(&mut list, id, if id == own { "client|list" } else { "get" });
        }
        Reply::Verbatim(list)
    }
}
