//! The agent: starts and stops probers and refresh loops to match the configured targets.

mod watcher;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::Instant;
use tracing::info;

pub use self::watcher::Watcher;
use crate::clock::Clock;
use crate::connection::dialer::Dialer;
use crate::connection::resolver::Resolver;
use crate::connection::sentinel::Locator;
use crate::connection::tls::reload::{ReloadedClient, Reloader, TlsFileError};
use crate::connection::tls::roots::Roots;
use crate::connection::trace::Trace;
use crate::files::Files;
use crate::identity::refresh::{Refresher, TokenState};
use crate::identity::sign_in::{SignIn, Tokens};
use crate::identity::{Identity, TokenIdentity, TokenSource};
use crate::metrics::Metrics;
use crate::prober::{Prober, Setup, TargetMemory, offset};
use crate::secret::{SecretSource, WatchedSecret};
use crate::status::Status;
use crate::target::{Sentinels, Server, Target, TargetName, Tls, TlsFiles};

/// The services that all targets share.
pub struct Services {
    /// The metrics, served at `/metrics`.
    pub metrics: Metrics,
    /// The status, served at `/status` and `/readyz`.
    pub status: Status,
    /// The wall clock.
    pub clock: Clock,
    /// The files that the targets name.
    pub files: Files,
    /// Finds the addresses of every host.
    pub resolver: Resolver,
    /// The root certificates for targets without `ca_file`; they also apply to those with one.
    pub roots: Roots,
    /// Creates the source of an identity's tokens.
    pub token_source: MakeTokenSource,
    /// The name of this process in the keys that it writes.
    pub instance: Arc<str>,
}

/// Creates the source of an identity's tokens.
pub type MakeTokenSource = Box<dyn Fn(&TokenIdentity) -> Box<dyn TokenSource> + Send>;

/// The running probers, and the loops that keep their tokens and certificates fresh. Dropping it stops them.
pub struct Agent {
    services: Services,
    /// When the first targets were started.
    started: Option<Instant>,
    tasks: JoinSet<std::convert::Infallible>,
    probers: HashMap<TargetName, Running<Arc<Target>>>,
    /// What the probers of each target have reached. Outlives them when settings change.
    memory: HashMap<TargetName, TargetMemory>,
    identities: HashMap<TokenIdentity, Running<Published>>,
    clients: HashMap<TlsFiles, Running<ReloadedClient>>,
    /// Targets with the same secret watch it together.
    secrets: HashMap<SecretSource, WatchedSecret>,
    /// A task that ended unexpectedly while others were being stopped.
    ended: Option<TaskEnded>,
}

/// The TLS clients whose files were read just now.
type NewClients = HashMap<TlsFiles, (Reloader, ReloadedClient)>;

/// The published state of a refresh loop, and the notification that a cache rejected its token.
#[derive(Clone)]
struct Published {
    states: watch::Receiver<TokenState>,
    refused: Arc<Notify>,
}

/// A running task with its target or its published state.
struct Running<T> {
    of: T,
    task: AbortHandle,
}

/// A task of the agent ended unexpectedly.
#[derive(Debug)]
pub struct TaskEnded(JoinError);

impl fmt::Display for TaskEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a task of the agent ended unexpectedly")
    }
}

impl std::error::Error for TaskEnded {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl Agent {
    /// Creates an agent without targets, which watches files from now on.
    #[must_use]
    pub fn new(services: Services) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(services.files.clone().run());
        Self {
            services,
            started: None,
            tasks,
            probers: HashMap::new(),
            memory: HashMap::new(),
            identities: HashMap::new(),
            clients: HashMap::new(),
            secrets: HashMap::new(),
            ended: None,
        }
    }

    /// Starts, stops and restarts probers to match `targets`, at start-up and at each reload. Unchanged targets keep
    /// their connections and counters, also if their labels change.
    ///
    /// # Errors
    /// [`ReconcileError`] if a certificate cannot be used; then nothing has changed.
    pub async fn reconcile(&mut self, targets: &[Arc<Target>]) -> Result<(), ReconcileError> {
        let trace = Trace::default();
        let clients = self.read_certificates(targets).await?;
        let removed = self.stop_removed_and_changed(targets).await;
        self.label(targets);
        self.keep_clients(clients);
        let new: Vec<&Arc<Target>> =
            targets.iter().filter(|target| !self.probers.contains_key(&target.name)).collect();
        let now = Instant::now();
        for (place, target) in new.iter().enumerate() {
            let offset = offset(target.interval, place, new.len());
            let (prober, watcher) = self.build(target, &trace, offset);
            let probing = prober.run(now + offset);
            let task = match watcher {
                None => self.tasks.spawn(probing),
                Some(watcher) => self.tasks.spawn(async move {
                    tokio::select! {
                        never = probing => never,
                        never = watcher.run() => never,
                    }
                }),
            };
            self.probers.insert(target.name.clone(), Running { of: Arc::clone(target), task });
        }
        if removed > 0 {
            info!(removed, running = self.probers.len(), "targets removed");
        }
        if !new.is_empty() {
            info!(started = new.len(), running = self.probers.len(), "targets started");
        }
        self.services.status.started();
        Ok(())
    }

    /// Returns the number of targets that it probes.
    #[must_use]
    pub fn running(&self) -> usize {
        self.probers.len()
    }

    /// Waits until a task ends unexpectedly.
    pub async fn task_ended(&mut self) -> TaskEnded {
        if let Some(ended) = self.ended.take() {
            return ended;
        }
        loop {
            match self.tasks.join_next().await {
                Some(Err(error)) if !error.is_cancelled() => return TaskEnded(error),
                Some(Err(_)) => {}
                Some(Ok(never)) => match never {},
                None => std::future::pending().await,
            }
        }
    }

    /// Stops every prober and refresh loop and waits for their end.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }

    /// Reads the certificates of `targets`, unless they are kept up to date already.
    async fn read_certificates(&self, targets: &[Arc<Target>]) -> Result<NewClients, ReconcileError> {
        let mut clients = NewClients::new();
        for target in targets {
            for files in certificates(target) {
                if self.clients.contains_key(files) || clients.contains_key(files) {
                    continue;
                }
                let Services { roots, files: disk, .. } = &self.services;
                let started = Reloader::start(roots.clone(), files.clone(), disk).await;
                let started =
                    started.map_err(|cause| ReconcileError { target: target.name.clone(), cause })?;
                clients.insert(files.clone(), started);
            }
        }
        Ok(clients)
    }

    /// Keeps `clients` up to date from now on.
    fn keep_clients(&mut self, clients: NewClients) {
        for (files, (reloader, client)) in clients {
            let task = self.tasks.spawn(reloader.run());
            self.clients.insert(files, Running { of: client, task });
        }
    }

    /// Stops what is no longer configured or has changed. Waits for the end of each task, so that its series are removed
    /// before a restarted target adds them again. Returns the number of targets that are no longer configured.
    async fn stop_removed_and_changed(&mut self, targets: &[Arc<Target>]) -> usize {
        let wanted: HashMap<&TargetName, &Target> =
            targets.iter().map(|target| (&target.name, &**target)).collect();
        let identities: HashSet<TokenIdentity> =
            targets.iter().filter_map(|target| target.identity.of_tokens()).collect();
        let certificates: HashSet<&TlsFiles> =
            targets.iter().flat_map(|target| certificates(target)).collect();
        let removed = self.probers.keys().filter(|name| !wanted.contains_key(name)).count();
        let mut stopping: HashSet<Id> = HashSet::new();
        let mut keep = |keep: bool, task: &AbortHandle| {
            if !keep {
                task.abort();
                stopping.insert(task.id());
            }
            keep
        };
        self.probers.retain(|name, running| {
            keep(wanted.get(name).is_some_and(|target| target.is_probed_like(&running.of)), &running.task)
        });
        self.memory.retain(|name, _| wanted.contains_key(name));
        self.identities.retain(|identity, running| keep(identities.contains(identity), &running.task));
        self.clients.retain(|files, running| keep(certificates.contains(files), &running.task));
        let secrets: HashSet<&SecretSource> =
            targets.iter().filter_map(|target| secret(&target.identity)).collect();
        self.secrets.retain(|source, _| secrets.contains(source));
        while !stopping.is_empty() {
            let Some(ended) = self.tasks.join_next_with_id().await else { break };
            let error = match ended {
                Ok((_, never)) => match never {},
                Err(error) => error,
            };
            if !stopping.remove(&error.id()) {
                self.ended = Some(TaskEnded(error));
            }
        }
        removed
    }

    /// Exports the labels of running `targets` that have others now.
    fn label(&mut self, targets: &[Arc<Target>]) {
        for target in targets {
            if let Some(running) = self.probers.get_mut(&target.name)
                && running.of.labels != target.labels
            {
                drop(self.services.metrics.target(&target.name).with_labels(&target.labels));
                running.of = Arc::clone(target);
            }
        }
    }

    /// Creates a prober of `target` without starting it, and what asks its sentinels if it has any. Starts the refresh loop of
    /// its identity. `trace` records details of the connection.
    ///
    /// # Errors
    /// [`ReconcileError`] if its certificates cannot be used.
    pub async fn prober(
        &mut self,
        target: &Arc<Target>,
        trace: &Trace,
    ) -> Result<(Prober<Dialer>, Option<Watcher>), ReconcileError> {
        let clients = self.read_certificates(std::slice::from_ref(target)).await?;
        self.keep_clients(clients);
        Ok(self.build(target, trace, Duration::ZERO))
    }

    /// Creates a prober of `target`, and what watches its sentinels if it has any.
    fn build(
        &mut self,
        target: &Arc<Target>,
        trace: &Trace,
        offset: Duration,
    ) -> (Prober<Dialer>, Option<Watcher>) {
        let dialer = self.dialer(target).with_trace(trace.clone());
        let status = self.services.status.target(target);
        let watcher = dialer.locator().map(|locator| {
            let metrics = self.services.metrics.target(&target.name);
            let status = status.sentinel(&locator.sentinels().service);
            Watcher::new(locator.clone(), target, metrics, status)
        });
        let sign_in = self.sign_in(target);
        let services = &self.services;
        let prober = Prober::new(Setup {
            dialer,
            sign_in,
            clock: services.clock.clone(),
            rng: fastrand::Rng::new(),
            metrics: services.metrics.target(&target.name).with_labels(&target.labels),
            status,
            instance: Arc::clone(&services.instance),
            target: Arc::clone(target),
            offset,
            started: *self.started.get_or_insert_with(Instant::now),
            memory: self.memory.entry(target.name.clone()).or_default().clone(),
        });
        (prober, watcher)
    }

    /// Creates what opens the connections of `target`, whose certificates were read.
    fn dialer(&self, target: &Target) -> Dialer {
        let resolver = self.services.resolver.clone();
        let client = |files| self.clients[files].of.clone();
        let tls = match &target.tls {
            Tls::Off => None,
            Tls::On { files, server_name } => Some((client(files), server_name.as_deref().map(Arc::from))),
        };
        match &target.server {
            Server::Host(endpoint) => {
                let name = |name: Option<Arc<str>>| name.unwrap_or_else(|| Arc::clone(&endpoint.host));
                let tls = tls.map(|(client, server_name)| (client, name(server_name)));
                Dialer::new(endpoint.clone(), tls, resolver)
            }
            Server::Sentinels(sentinels) => {
                let sign_in = match &sentinels.password {
                    None => SignIn::None,
                    Some(source) => SignIn::Secret {
                        username: sentinels.username.as_deref().map(Into::into),
                        secret: WatchedSecret::new(source.clone(), &self.services.files),
                    },
                };
                let of_sentinels = tls_files(&sentinels.tls).map(client);
                let name = target.name.clone();
                let locator =
                    Locator::new(name, Sentinels::clone(sentinels), sign_in, of_sentinels, resolver.clone());
                Dialer::of_primary(locator, tls, resolver)
            }
        }
    }

    fn sign_in(&mut self, target: &Target) -> SignIn {
        let username: Option<Arc<str>> = target.username.as_deref().map(Into::into);
        match &*target.identity {
            Identity::None => SignIn::None,
            Identity::AccessKey(source) | Identity::Password(source) => {
                let watch = || WatchedSecret::new(source.clone(), &self.services.files);
                let secret = self.secrets.entry(source.clone()).or_insert_with(watch).clone();
                SignIn::Secret { username, secret }
            }
            Identity::Entra(identity) => self.refreshed(username, &TokenIdentity::Entra(identity.clone())),
            Identity::Token(supplied) => self.refreshed(username, &TokenIdentity::Supplied(supplied.clone())),
        }
    }

    fn refreshed(&mut self, username: Option<Arc<str>>, identity: &TokenIdentity) -> SignIn {
        let Published { states, refused } = self.tokens(identity);
        SignIn::Tokens(Tokens::new(username, states, refused))
    }

    /// Returns the tokens of `identity`. Starts its refresh loop unless it is running.
    fn tokens(&mut self, identity: &TokenIdentity) -> Published {
        if let Some(running) = self.identities.get(identity) {
            return running.of.clone();
        }
        let services = &self.services;
        let label = identity.to_string();
        let (publish, states) = watch::channel(TokenState::default());
        let published = Published { states, refused: Arc::default() };
        let refresher = Refresher {
            source: (services.token_source)(identity),
            publish,
            refused: Arc::clone(&published.refused),
            clock: services.clock.clone(),
            rng: fastrand::Rng::new(),
            metrics: services.metrics.identity(&label),
            status: services.status.identity(&label),
            label,
        };
        let task = self.tasks.spawn(refresher.run());
        self.identities.insert(identity.clone(), Running { of: published.clone(), task });
        published
    }
}

fn secret(identity: &Identity) -> Option<&SecretSource> {
    match identity {
        Identity::AccessKey(source) | Identity::Password(source) => Some(source),
        Identity::Entra(_) | Identity::Token(_) | Identity::None => None,
    }
}

/// Returns the files of certificates that `target` and its sentinels use.
fn certificates(target: &Target) -> impl Iterator<Item = &TlsFiles> {
    let of_sentinels = target.server.sentinels().and_then(|sentinels| tls_files(&sentinels.tls));
    tls_files(&target.tls).into_iter().chain(of_sentinels)
}

const fn tls_files(tls: &Tls) -> Option<&TlsFiles> {
    match tls {
        Tls::On { files, .. } => Some(files),
        Tls::Off => None,
    }
}

/// The configured targets cannot be started.
#[derive(Debug)]
pub struct ReconcileError {
    target: TargetName,
    cause: TlsFileError,
}

impl fmt::Display for ReconcileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "target {}: tls", self.target)
    }
}

impl std::error::Error for ReconcileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}
