//! The backend behind the front, which executes the commands: the store in memory, or a real redis-server. Both speak
//! RESP.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::task::JoinSet;

use super::unix_socket;
use crate::cluster::layout::Layout;
use crate::frame::{Command, read_reply};
use crate::hello::Hello;
use crate::secret::Secret;
use crate::store::{FIRST_CLIENT, Place, Store};

/// What executes the commands.
#[derive(Clone, Debug)]
pub enum Backend {
    /// A small store in memory, which lets every user run every command it has.
    Memory,
    /// A redis-server at a Unix socket. Its ACL users are named by object id (`default` for the access key), and all
    /// of them have this password.
    RedisServer {
        /// The server's `unixsocket`.
        socket: PathBuf,
        /// The password of its users.
        password: Secret,
    },
}

/// Opens a separate connection for each client, and numbers the clients.
pub(crate) struct Connector {
    target: Target,
    /// The next client's number. The nodes of a cluster share it.
    next_client: Arc<AtomicU64>,
}

/// Where connections lead.
enum Target {
    Memory(Store),
    /// The nodes of a cluster. The layout says which one is the front door.
    Nodes(Vec<Store>, Arc<Mutex<Layout>>),
    RedisServer {
        socket: PathBuf,
        password: Secret,
    },
}

impl From<Backend> for Connector {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Memory => Self::before(Store::new(Place::Alone, Arc::default())),
            Backend::RedisServer { socket, password } => Self::new(Target::RedisServer { socket, password }),
        }
    }
}

impl Connector {
    fn new(target: Target) -> Self {
        Self { target, next_client: Arc::new(AtomicU64::new(FIRST_CLIENT)) }
    }

    /// Returns a connector that leads to `store`.
    pub(crate) fn before(store: Store) -> Self {
        Self::new(Target::Memory(store))
    }

    /// Returns a connector that leads to one of a cluster's nodes.
    pub(crate) fn before_any(nodes: Vec<Store>, layout: Arc<Mutex<Layout>>) -> Self {
        Self::new(Target::Nodes(nodes, layout))
    }

    /// Returns a connector that leads to `store`, and numbers clients together with this one.
    pub(crate) fn with_store(&self, store: Store) -> Self {
        Self { target: Target::Memory(store), next_client: Arc::clone(&self.next_client) }
    }

    /// Returns a number for a new client.
    pub(super) fn next_client(&self) -> u64 {
        self.next_client.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) async fn connect(&self, id: u64, client: SocketAddr) -> io::Result<Upstream> {
        let mut tasks = JoinSet::new();
        let store = match &self.target {
            Target::Memory(store) => store,
            Target::Nodes(nodes, layout) => {
                let node = layout.lock().unwrap_or_else(PoisonError::into_inner).front_door();
                &nodes[node]
            }
            Target::RedisServer { socket, password } => {
                return Ok(Upstream {
                    stream: BufReader::new(unix_socket::connect(socket).await?),
                    password: password.clone(),
                    _tasks: tasks,
                });
            }
        };
        let (stream, other_end): (DuplexStream, _) = tokio::io::duplex(64 * 1024);
        tasks.spawn(store.clone().serve(other_end, id, client));
        let password = Secret::new(String::new());
        Ok(Upstream { stream: BufReader::new(Box::new(stream)), password, _tasks: tasks })
    }
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// One client's connection to the backend.
pub(super) struct Upstream {
    stream: BufReader<Box<dyn Stream>>,
    password: Secret,
    /// The store's side. It ends when this is dropped.
    _tasks: JoinSet<io::Result<()>>,
}

impl Upstream {
    /// Sends one command and reads its one reply.
    pub(super) async fn ask(&mut self, command: &Command) -> io::Result<Vec<u8>> {
        self.stream.write_all(&command.encode()).await?;
        self.stream.flush().await?;
        read_reply(&mut self.stream).await
    }

    /// Signs in as `user`, by HELLO if the client did, with the password that only the front knows.
    pub(super) async fn sign_in(&mut self, user: &str, hello: Option<&Hello>) -> io::Result<Vec<u8>> {
        let password = self.password.expose();
        let command = match hello {
            Some(hello) => hello.signing_in(user, password),
            None => Command::new(&["AUTH", user, password]),
        };
        self.ask(&command).await
    }
}
