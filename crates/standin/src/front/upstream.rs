//! The backend behind the front, which executes the commands: the store in memory, or a real redis-server. Both speak
//! RESP.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::frame::{Command, read_reply};
use crate::hello::Hello;
use crate::secret::Secret;
use crate::store::Store;

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

/// Opens a separate connection for each client.
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
    pub(super) async fn connect(&self, id: u64, client: SocketAddr) -> io::Result<Upstream> {
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
        Ok(Upstream { stream: BufReader::new(stream), password, _tasks: tasks })
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
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
