//! A connection to a server for the tests' own clients, which reads replies line by line.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::redis_server::{ADMIN, PASSWORD};

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_millis(250);

/// A user with a password.
pub(crate) type Login = (&'static str, &'static str);

/// The user of the tests on servers.
pub(crate) const LOGIN: Login = (ADMIN, PASSWORD);

/// A connection to a Unix socket, signed in.
pub(crate) struct LineConnection(BufReader<UnixStream>);

impl LineConnection {
    /// `None` if there is nobody who lets it in.
    pub(crate) async fn open(socket: &Path, login: Login) -> Option<Self> {
        let mut connection = Self(BufReader::new(UnixStream::connect(socket).await.ok()?));
        let reply = connection.call(&["AUTH", login.0, login.1]).await?;
        (reply == "+OK").then_some(connection)
    }

    /// Sends a command, and returns the first line of the reply.
    pub(crate) async fn call(&mut self, words: &[&str]) -> Option<String> {
        let words: Vec<String> = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
        let command = format!("*{}\r\n{}", words.len(), words.concat());
        self.0.write_all(command.as_bytes()).await.ok()?;
        self.line().await
    }

    /// Returns the next line.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).await.ok().filter(|length| *length > 0)?;
        Some(line.trim_end().to_owned())
    }
}

/// Connections that are kept, by their sockets. One that fails or is late is closed.
#[derive(Default)]
pub(crate) struct LineConnections(HashMap<PathBuf, LineConnection>);

impl LineConnections {
    /// Lets `exchange` use the connection to `socket`, which is opened first if there is none.
    pub(crate) async fn with<T>(
        &mut self,
        socket: &Path,
        login: Login,
        exchange: impl AsyncFnOnce(&mut LineConnection) -> Option<T>,
    ) -> Option<T> {
        let kept = self.0.remove(socket);
        let exchanged = timeout(PATIENCE, async {
            let mut connection = match kept {
                Some(kept) => kept,
                None => LineConnection::open(socket, login).await?,
            };
            let result = exchange(&mut connection).await?;
            Some((result, connection))
        });
        let (result, connection) = exchanged.await.ok().flatten()?;
        self.0.insert(socket.to_owned(), connection);
        Some(result)
    }
}
