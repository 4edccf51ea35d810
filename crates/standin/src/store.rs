//! The demo's cache behind the front: keys with expiries in memory, and the few commands that a probe and a curious
//! person send, in Redis 7's words.
//!
//! Sign-in is the front's business: what reaches this store is signed in already, and `AUTH` only tells who it is.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::time::Instant;

use super::frame::{Command, Limits, read_command};

/// The number of the first real connection. The pretended application clients have lower ones.
pub(super) const FIRST_CLIENT: u64 = 101;
/// Keys beyond this are refused, in Redis' words for a full memory.
const MAX_KEYS: usize = 10_000;

/// Application clients, so that a list of clients has something to show: id, address, name.
const PRETENDED: [(u64, &str, &str); 3] = [
    (17, "10.1.0.4:51234", "orders-api"),
    (18, "10.1.0.5:40122", "orders-api"),
    (23, "10.1.0.9:38810", "worker"),
];

/// Keys and clients, shared by all connections.
#[derive(Clone, Default)]
pub(super) struct Store(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    keys: HashMap<Vec<u8>, Entry>,
    clients: BTreeMap<u64, Client>,
}

struct Entry {
    value: Vec<u8>,
    expires: Option<Instant>,
}

struct Client {
    address: String,
    name: String,
    user: String,
    since: Instant,
    protocol: u8,
}

impl Client {
    fn new(address: String, name: &str) -> Self {
        let (name, user) = (name.to_owned(), "default".to_owned());
        Self { address, name, user, since: Instant::now(), protocol: 2 }
    }

    fn line(&self, id: u64, command: &str) -> String {
        let Self { address, name, user, since, protocol } = self;
        let age = since.elapsed().as_secs();
        format!(
            "id={id} addr={address} laddr=10.1.0.20:6380 fd={id} name={name} age={age} idle=0 flags=N db=0 sub=0 \
             psub=0 ssub=0 multi=-1 qbuf=26 qbuf-free=20448 argv-mem=10 multi-mem=0 rbs=1024 rbp=0 obl=0 oll=0 \
             omem=0 tot-mem=22298 events=r cmd={command} user={user} redir=-1 resp={protocol}\n"
        )
    }
}

/// Takes the client off the list when its connection ends, however it ends.
struct Registered<'a> {
    store: &'a Store,
    id: u64,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.store.contents().clients.remove(&self.id);
    }
}

impl Store {
    pub(super) fn new() -> Self {
        let store = Self::default();
        for (id, address, name) in PRETENDED {
            store.contents().clients.insert(id, Client::new(address.to_owned(), name));
        }
        store
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        // Nothing panics while it holds the lock; if something did, the keys would still be whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one connection, number `id`, of a client at `address`, until it is closed.
    pub(super) async fn serve(
        self,
        stream: impl AsyncRead + AsyncWrite,
        id: u64,
        address: SocketAddr,
    ) -> io::Result<()> {
        let (reader, mut writer) = tokio::io::split(stream);
        let mut reader = std::pin::pin!(BufReader::new(reader));
        self.contents().clients.insert(id, Client::new(address.to_string(), ""));
        let _registered = Registered { store: &self, id };
        while let Ok(Some(command)) = read_command(&mut reader, Limits::AUTHENTICATED).await {
            let reply = self.contents().execute(id, &command, Instant::now());
            writer.write_all(&reply).await?;
        }
        Ok(())
    }
}

impl Contents {
    fn execute(&mut self, id: u64, command: &Command, now: Instant) -> Vec<u8> {
        let args = command.args();
        match (command.name().as_str(), args) {
            ("PING", []) => b"+PONG\r\n".to_vec(),
            ("PING" | "ECHO", [text]) => bulk(text),
            ("SET", [key, value, options @ ..]) => self.set(key, value, options, now),
            ("GET", [key]) => match self.keys.get(key).filter(|entry| entry.is_alive(now)) {
                Some(entry) => bulk(&entry.value),
                None if self.protocol(id) == 3 => b"_\r\n".to_vec(),
                None => b"$-1\r\n".to_vec(),
            },
            ("DEL", [_, ..]) => {
                let gone =
                    args.iter().filter(|&key| self.keys.remove(key).is_some_and(|entry| entry.is_alive(now)));
                format!(":{}\r\n", gone.count()).into_bytes()
            }
            ("AUTH", [.., _]) => {
                let user = if args.len() > 1 { command.text(1) } else { "default".to_owned() };
                self.with_client(id, |client| client.user = user)
            }
            ("HELLO", args) => self.hello(id, args),
            ("CLIENT", [_, args @ ..]) => self.client(id, command, args),
            ("PING" | "ECHO" | "SET" | "GET" | "DEL" | "AUTH" | "CLIENT", _) => wrong_arity(&command.name()),
            _ => unknown(command),
        }
    }

    fn protocol(&self, id: u64) -> u8 {
        self.clients.get(&id).map_or(2, |client| client.protocol)
    }

    fn with_client(&mut self, id: u64, change: impl FnOnce(&mut Client)) -> Vec<u8> {
        self.clients.get_mut(&id).map(change);
        b"+OK\r\n".to_vec()
    }

    fn set(&mut self, key: &[u8], value: &[u8], options: &[Vec<u8>], now: Instant) -> Vec<u8> {
        let expires = match options {
            [] => None,
            [unit, amount] => {
                let amount: Option<u64> = std::str::from_utf8(amount).ok().and_then(|text| text.parse().ok());
                let Some(amount) = amount else {
                    return b"-ERR value is not an integer or out of range\r\n".to_vec();
                };
                let lifetime = if unit.eq_ignore_ascii_case(b"EX") {
                    Duration::from_secs(amount)
                } else if unit.eq_ignore_ascii_case(b"PX") {
                    Duration::from_millis(amount)
                } else {
                    return b"-ERR syntax error\r\n".to_vec();
                };
                match now.checked_add(lifetime) {
                    Some(expires) if amount > 0 => Some(expires),
                    _ => return b"-ERR invalid expire time in 'set' command\r\n".to_vec(),
                }
            }
            _ => return b"-ERR syntax error\r\n".to_vec(),
        };
        if self.keys.len() >= MAX_KEYS && !self.keys.contains_key(key) {
            self.keys.retain(|_, entry| entry.is_alive(now));
            if self.keys.len() >= MAX_KEYS {
                return b"-OOM command not allowed when used memory > 'maxmemory'.\r\n".to_vec();
            }
        }
        self.keys.insert(key.to_vec(), Entry { value: value.to_vec(), expires });
        b"+OK\r\n".to_vec()
    }

    fn client(&mut self, id: u64, command: &Command, args: &[Vec<u8>]) -> Vec<u8> {
        match (command.text(1).to_ascii_uppercase().as_str(), args) {
            ("ID", []) => format!(":{id}\r\n").into_bytes(),
            ("LIST", []) => {
                let list: String = self
                    .clients
                    .iter()
                    .map(|(&other, client)| {
                        client.line(other, if other == id { "client|list" } else { "get" })
                    })
                    .collect();
                match self.protocol(id) {
                    3 => format!("={}\r\ntxt:{list}\r\n", list.len() + 4).into_bytes(),
                    _ => bulk(list.as_bytes()),
                }
            }
            ("SETNAME", [name]) if name.iter().all(|&byte| (b'!'..=b'~').contains(&byte)) => {
                let name = String::from_utf8_lossy(name).into_owned();
                self.with_client(id, |client| client.name = name)
            }
            ("SETNAME", [_]) => {
                b"-ERR Client names cannot contain spaces, newlines or special characters.\r\n".to_vec()
            }
            (subcommand @ ("ID" | "LIST" | "SETNAME"), _) => wrong_arity(&format!("client|{subcommand}")),
            _ => error(&format!("ERR unknown subcommand '{}'. Try CLIENT HELP.", excerpt(&command.text(1)))),
        }
    }

    fn hello(&mut self, id: u64, args: &[Vec<u8>]) -> Vec<u8> {
        let protocol = match args {
            [] => self.protocol(id),
            [version] if version == b"2" => 2,
            [version] if version == b"3" => 3,
            _ => return b"-NOPROTO unsupported protocol version\r\n".to_vec(),
        };
        self.with_client(id, |client| client.protocol = protocol);
        let open = if protocol == 3 { "%7" } else { "*14" };
        format!(
            "{open}\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\nproto\r\n:{protocol}\r\n\
             $2\r\nid\r\n:{id}\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n\
             $7\r\nmodules\r\n*0\r\n"
        )
        .into_bytes()
    }
}

impl Entry {
    fn is_alive(&self, now: Instant) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// An error reply with `words`, which must be one line.
pub(super) fn error(words: &str) -> Vec<u8> {
    format!("-{words}\r\n").into_bytes()
}

fn wrong_arity(name: &str) -> Vec<u8> {
    error(&format!("ERR wrong number of arguments for '{}' command", name.to_ascii_lowercase()))
}

fn unknown(command: &Command) -> Vec<u8> {
    let mut words =
        format!("ERR unknown command '{}', with args beginning with: ", excerpt(&command.text(0)));
    for index in 1..=command.args().len().min(8) {
        write!(words, "'{}' ", excerpt(&command.text(index))).expect("a String takes everything");
    }
    error(&words)
}

/// What of a client's word is echoed: one line, bounded.
fn excerpt(word: &str) -> String {
    word.chars().take(128).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Session {
        contents: Contents,
        now: Instant,
    }

    impl Session {
        fn new() -> Self {
            let mut contents = Contents::default();
            contents.clients.insert(101, Client::new("127.0.0.1:5000".to_owned(), ""));
            Self { contents, now: Instant::now() }
        }

        fn send(&mut self, command: &str) -> String {
            let words: Vec<&str> = command.split(' ').collect();
            let reply = self.contents.execute(101, &Command::new(&words), self.now);
            String::from_utf8(reply).unwrap()
        }
    }

    #[test]
    fn what_was_set_is_read_back_until_it_expires_or_is_deleted() {
        let mut session = Session::new();
        assert_eq!(session.send("GET k"), "$-1\r\n");
        assert_eq!(session.send("SET k v1 EX 30"), "+OK\r\n");
        assert_eq!(session.send("GET k"), "$2\r\nv1\r\n");
        session.now += Duration::from_secs(30);
        assert_eq!(session.send("GET k"), "$-1\r\n");
        assert_eq!(session.send("SET k v2 px 500"), "+OK\r\n");
        assert_eq!(session.send("DEL k other"), ":1\r\n");
        assert_eq!(session.send("GET k"), "$-1\r\n");
    }

    #[test]
    fn mistakes_are_answered_in_redis_words() {
        let mut session = Session::new();
        for (command, words) in [
            ("GET", "-ERR wrong number of arguments for 'get' command\r\n"),
            ("SET k v EX 0", "-ERR invalid expire time in 'set' command\r\n"),
            ("SET k v EX soon", "-ERR value is not an integer or out of range\r\n"),
            ("SET k v ZZ 1", "-ERR syntax error\r\n"),
            ("CONFIG GET x", "-ERR unknown command 'CONFIG', with args beginning with: 'GET' 'x' \r\n"),
            ("CLIENT KILL x", "-ERR unknown subcommand 'KILL'. Try CLIENT HELP.\r\n"),
            ("CLIENT LIST ID 1", "-ERR wrong number of arguments for 'client|list' command\r\n"),
            ("HELLO 4", "-NOPROTO unsupported protocol version\r\n"),
        ] {
            assert_eq!(session.send(command), words, "{command}");
        }
    }

    #[test]
    fn a_full_store_takes_no_new_key_until_one_expires() {
        let mut session = Session::new();
        for key in 0..MAX_KEYS {
            assert_eq!(session.send(&format!("SET {key} v EX 60")), "+OK\r\n");
        }
        assert!(session.send("SET new v").starts_with("-OOM "));
        assert_eq!(session.send("SET 0 v EX 60"), "+OK\r\n");
        session.now += Duration::from_secs(60);
        assert_eq!(session.send("SET new v"), "+OK\r\n");
    }

    #[test]
    fn the_client_list_shows_id_name_and_user() {
        let mut session = Session::new();
        session.send("AUTH oid-1 secret");
        session.send("CLIENT SETNAME cachepulse");
        assert_eq!(session.send("CLIENT ID"), ":101\r\n");
        let list = session.send("CLIENT LIST");
        assert!(list.contains("id=101 addr=127.0.0.1:5000 "), "{list}");
        assert!(list.contains(" name=cachepulse ") && list.contains(" user=oid-1 "), "{list}");
        assert!(!list.contains("secret"), "{list}");
    }

    #[test]
    fn resp3_is_spoken_after_hello_3() {
        let mut session = Session::new();
        assert!(session.send("HELLO 3").starts_with("%7\r\n"));
        assert_eq!(session.send("GET nothing"), "_\r\n");
        assert!(session.send("CLIENT LIST").contains("\r\ntxt:id=101 "));
        assert!(session.send("HELLO 2").starts_with("*14\r\n"));
        assert_eq!(session.send("GET nothing"), "$-1\r\n");
    }

    #[tokio::test]
    async fn a_client_is_listed_while_it_is_connected() {
        let store = Store::new();
        let (mut client, server) = tokio::io::duplex(1024);
        let address = SocketAddr::from(([127, 0, 0, 1], 5000));
        let serving = tokio::spawn(store.clone().serve(server, FIRST_CLIENT, address));
        client.write_all(&Command::new(&["PING"]).encode()).await.unwrap();
        let mut pong = [0; 7];
        tokio::io::AsyncReadExt::read_exact(&mut client, &mut pong).await.unwrap();
        assert_eq!(store.contents().clients.len(), PRETENDED.len() + 1);
        drop(client);
        serving.await.unwrap().unwrap();
        assert_eq!(store.contents().clients.len(), PRETENDED.len());
    }
}
