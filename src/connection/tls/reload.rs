//! Keeps a TLS client up to date with the files that it is made from.

use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::path::{Path, PathBuf};

use futures_util::future::select_all;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use super::TlsClient;
use super::client_certificate::ClientCertificate;
use super::pem::{self, PemError};
use super::roots::Roots;
use crate::files::{Content, Files, ReadError, WatchedFile};
use crate::target::TlsFiles;

/// The newest TLS client. Clones share it.
#[derive(Clone, Debug)]
pub struct ReloadedClient {
    newest: watch::Receiver<TlsClient>,
    /// Requests to read the files now.
    requests: mpsc::Sender<oneshot::Sender<()>>,
}

impl ReloadedClient {
    /// Returns the newest client.
    pub fn newest(&mut self) -> TlsClient {
        self.newest.borrow_and_update().clone()
    }

    /// Waits until there is a newer client than the one that was returned last. Cancel safe.
    pub async fn renewed(&mut self) {
        if self.newest.changed().await.is_err() {
            // There are no files, so nothing changes.
            pending::<()>().await;
        }
    }

    /// Reads the files now. Returns whether there is a newer client than the one that was returned last.
    pub async fn reload(&mut self) -> bool {
        let (done, is_done) = oneshot::channel();
        if self.requests.send(done).await.is_ok() {
            // An error means that the agent stops.
            let _ = is_done.await;
        }
        self.newest.has_changed().unwrap_or(false)
    }
}

/// Makes a TLS client from files, and again when they change.
#[derive(Debug)]
pub struct Reloader {
    roots: Roots,
    files: WatchedFiles,
    /// What was read last, or the text of the error, so that each change is logged once.
    last: Result<Contents, String>,
    publish: watch::Sender<TlsClient>,
    requests: mpsc::Receiver<oneshot::Sender<()>>,
}

impl Reloader {
    /// Reads the files at `paths`. `roots` are trusted as well.
    ///
    /// # Errors
    /// [`TlsFileError`] if a file cannot be read or used.
    pub async fn start(
        roots: Roots,
        paths: TlsFiles,
        files: &Files,
    ) -> Result<(Self, ReloadedClient), TlsFileError> {
        let mut files = WatchedFiles::new(paths, files);
        let contents = files.read().await?;
        let (publish, newest) = watch::channel(contents.client(&roots, &files.paths)?);
        // Those who find the queue full wait for their turn.
        let (send, requests) = mpsc::channel(1);
        let reloader = Self { roots, files, last: Ok(contents), publish, requests };
        Ok((reloader, ReloadedClient { newest, requests: send }))
    }

    /// Publishes a new client whenever the files change, until it is dropped.
    pub async fn run(mut self) -> Infallible {
        loop {
            let request = tokio::select! {
                () = self.files.changed() => None,
                Some(request) = self.requests.recv() => Some(request),
            };
            self.reload().await;
            if let Some(done) = request {
                // Who asked may have given up.
                let _ = done.send(());
            }
        }
    }

    async fn reload(&mut self) {
        let read = self.files.read().await.map_err(|error| error.to_string());
        if read == self.last {
            return;
        }
        let client = read.as_ref().map_err(String::clone).and_then(|contents| {
            contents.client(&self.roots, &self.files.paths).map_err(|error| error.to_string())
        });
        self.last = read;
        match client {
            Ok(client) => {
                self.publish.send_modify(|newest| *newest = client.after(newest));
                info!(files = %self.files.paths, "TLS files reloaded");
            }
            Err(error) => warn!(%error, "TLS files not usable; keeping the previous ones"),
        }
    }
}

/// The files of a TLS client, watched.
#[derive(Debug)]
struct WatchedFiles {
    paths: TlsFiles,
    ca: Option<WatchedFile>,
    /// The certificate and its key.
    client: Option<(WatchedFile, WatchedFile)>,
}

impl WatchedFiles {
    fn new(paths: TlsFiles, files: &Files) -> Self {
        let ca = paths.ca_file.as_deref().map(|path| files.watch(path));
        let client = paths.client.as_ref().map(|it| (files.watch(&it.cert_file), files.watch(&it.key_file)));
        Self { paths, ca, client }
    }

    async fn read(&mut self) -> Result<Contents, TlsFileError> {
        let mut contents = Contents { ca: None, client: None };
        if let (Some(file), Some(path)) = (&mut self.ca, &self.paths.ca_file) {
            contents.ca = Some(read(file, path).await?);
        }
        if let (Some((certificate, key)), Some(paths)) = (&mut self.client, &self.paths.client) {
            contents.client =
                Some((read(certificate, &paths.cert_file).await?, read(key, &paths.key_file).await?));
        }
        Ok(contents)
    }

    /// Waits until one of the files changes. Cancel safe.
    async fn changed(&mut self) {
        let client = self.client.as_mut().map(|(certificate, key)| [certificate, key]);
        let files = self.ca.as_mut().into_iter().chain(client.into_iter().flatten());
        let changes: Vec<_> = files.map(|file| Box::pin(file.changed())).collect();
        if changes.is_empty() {
            return pending().await;
        }
        select_all(changes).await;
    }
}

async fn read(file: &mut WatchedFile, path: &Path) -> Result<Content, TlsFileError> {
    file.read().await.map_err(|error| TlsFileError { path: path.to_owned(), fault: Fault::Unreadable(error) })
}

/// The contents of the files of a TLS client.
#[derive(Debug, PartialEq, Eq)]
struct Contents {
    ca: Option<Content>,
    /// The certificate and its key.
    client: Option<(Content, Content)>,
}

impl Contents {
    fn client(&self, roots: &Roots, paths: &TlsFiles) -> Result<TlsClient, TlsFileError> {
        let roots = match (&self.ca, &paths.ca_file) {
            (Some(pem), Some(path)) => {
                roots.with_pem(pem).map_err(|error| TlsFileError::unusable(path, error))?
            }
            _ => roots.clone(),
        };
        let certificate = match (&self.client, &paths.client) {
            (Some((chain, key)), Some(paths)) => {
                let chain = pem::certificates(chain)
                    .map_err(|error| TlsFileError::unusable(&paths.cert_file, error))?;
                Some(
                    ClientCertificate::new(chain, key)
                        .map_err(|error| TlsFileError::unusable(&paths.key_file, error))?,
                )
            }
            _ => None,
        };
        Ok(TlsClient::new(&roots, certificate))
    }
}

/// A file of a TLS client cannot be read or used.
#[derive(Debug)]
pub struct TlsFileError {
    path: PathBuf,
    fault: Fault,
}

#[derive(Debug)]
enum Fault {
    Unreadable(ReadError),
    Unusable(PemError),
}

impl TlsFileError {
    fn unusable(path: &Path, error: PemError) -> Self {
        Self { path: path.to_owned(), fault: Fault::Unusable(error) }
    }
}

impl fmt::Display for TlsFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.fault {
            Fault::Unreadable(error) => write!(f, "{path} cannot be read: {error}"),
            Fault::Unusable(error) => write!(f, "{path} {error}"),
        }
    }
}

impl std::error::Error for TlsFileError {}
