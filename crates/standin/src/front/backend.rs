//! What serves the commands behind the front: the store in memory, or a real redis-server. Both are a stream of RESP.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::frame::{Command, read_reply};
use crate::secret::Secret;
use crate::store::Store;

/// What is to serve the commands.
#[derive(Clone, Debug)]
pub enum Backend {
    /// A small store in memory.
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

/// Opens a connection of its own for each client.
pub(super) enum Connector {
    Memory(Store),
    RedisServer { socket: PathBuf, password: Secret },
}

impl From<Backend> for Connector {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Memory => Self::Memory(Store::new()),
            Backend::RedisServer { socket, password } => Self::RedisServer { socket, password },
        }
    }
}

impl Connector {
    pub(super) async fn connect(&self, id: u64, client: SocketAddr) -> io::Result<Link> {
        let mut tasks = JoinSet::new();
        let (stream, password): (Box<dyn Stream>, _) = match self {
            Self::Memory(store) => {
                let (stream, other_end): (DuplexStream, _) = tokio::io::duplex(64 * 1024);
                tasks.spawn(store.clone().serve(other_end, id, client));
                (Box::new(stream), Secret::new(String::new()))
            }
            Self::RedisServer { socket, password } => {
                (Box::new(UnixStream::connect(socket).await?), password.clone())
            }
        };
        Ok(Link { stream: BufReader::new(stream), password, _tasks: tasks })
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// One client's connection to the backend.
pub(super) struct Link {
    stream: BufReader<Box<dyn Stream>>,
    password: Secret,
    /// Ends the store's side with the link.
    _tasks: JoinSet<io::Result<()>>,
}

impl Link {
    /// Sends one command and reads its one reply.
    pub(super) async fn ask(&mut self, command: &Command) -> io::Result<Vec<u8>> {
        self.stream.write_all(&command.encode()).await?;
        self.stream.flush().await?;
        read_reply(&mut self.stream).await
    }

    /// Signs in as `user` with the password that is known here only.
    pub(super) async fn sign_in(&mut self, user: &str) -> io::Result<Vec<u8>> {
        self.ask(&Command::new(&["AUTH", user, self.password.expose()])).await
    }
}
