//! Name resolution as every other program on this machine does it: `getaddrinfo`, with its hosts file, search
//! domains and resolver settings.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::is_local;
use crate::probe::{Failure, FailureReason, Phase, Stage};
use crate::target::Endpoint;

/// What a lookup function returns. The ports do not matter.
pub type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

type Resolution = Result<Vec<SocketAddr>, Unresolved>;

/// A lookup that failed: the reason, and the system's words.
type Unresolved = (FailureReason, Arc<str>);

/// An answer that is or will be there. The channel is closed as soon as it is.
type Pending = watch::Receiver<Option<Resolution>>;

/// Resolves host names; clones share their lookups.
///
/// `getaddrinfo` blocks a thread and cannot be cancelled, and with a dead name server it takes its time. So there is
/// at most one lookup per name: an attempt that comes while an older one is still under way joins it, and a retry
/// loop cannot fill the thread pool.
#[derive(Clone)]
pub struct Resolver {
    lookup: Arc<dyn Fn(Arc<str>) -> Lookup + Send + Sync>,
    /// The last lookup of each name.
    lookups: Arc<Mutex<HashMap<Arc<str>, Pending>>>,
}

impl Resolver {
    /// The machine's resolver.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|host| Box::pin(async move { Ok(tokio::net::lookup_host((&*host, 0)).await?.collect()) }))
    }

    /// A resolver that asks `lookup`.
    #[must_use]
    pub fn new(lookup: impl Fn(Arc<str>) -> Lookup + Send + Sync + 'static) -> Self {
        Self { lookup: Arc::new(lookup), lookups: Arc::default() }
    }

    /// The addresses of `endpoint`, each once, in the resolver's order: at least one.
    ///
    /// # Errors
    /// [`FailureReason::Resolve`], also when `deadline` passes first.
    pub async fn resolve(&self, endpoint: &Endpoint, deadline: Instant) -> Result<Vec<SocketAddr>, Failure> {
        if let Ok(address) = endpoint.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, endpoint.port)]);
        }
        let failed = |reason, detail: &str| {
            let detail = format!("{}: {detail}", endpoint.host);
            Failure::new(reason, Stage::Phase(Phase::Resolve), detail)
        };
        let failure = |detail: &str| failed(FailureReason::Resolve, detail);
        let mut lookup = self.join_or_start(&endpoint.host);
        let answer = tokio::time::timeout_at(deadline, lookup.wait_for(Option::is_some))
            .await
            .map_err(|_| failure("the resolver did not answer in time"))?
            .ok()
            .and_then(|answer| answer.clone())
            .ok_or_else(|| failure("the lookup was abandoned"))?;
        let mut addresses = Vec::new();
        for mut address in answer.map_err(|(reason, error)| failed(reason, &error))? {
            address.set_port(endpoint.port);
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() { Err(failure("the name has no address")) } else { Ok(addresses) }
    }

    fn join_or_start(&self, host: &Arc<str>) -> Pending {
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pending) = lookups.get(host).filter(|lookup| lookup.has_changed().is_ok()) {
            return pending.clone();
        }
        let (sender, receiver) = watch::channel(None);
        let lookup = (self.lookup)(host.clone());
        // Detached on purpose: it must outlive the attempt that started it, and ends when the system answers.
        tokio::spawn(async move {
            let answer = lookup.await.map_err(|error| (reason(&error), error.to_string().into()));
            sender.send_replace(Some(answer));
        });
        lookups.insert(host.clone(), receiver.clone());
        receiver
    }
}

fn reason(error: &io::Error) -> FailureReason {
    if is_local(error) { FailureReason::LocalResource } else { FailureReason::Resolve }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    fn endpoint(host: &str) -> Endpoint {
        Endpoint { host: host.into(), port: 6380 }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    /// Answers `addresses` after `delay`, and counts how often it was asked.
    fn counting(delay: Duration, addresses: &[&str]) -> (Resolver, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let addresses: Vec<SocketAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let count = asked.clone();
        let resolver = Resolver::new(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            let addresses = addresses.clone();
            Box::pin(async move {
                tokio::time::sleep(delay).await;
                Ok(addresses)
            })
        });
        (resolver, asked)
    }

    #[tokio::test]
    async fn an_address_needs_no_resolver() {
        let resolver = Resolver::new(|_| panic!("asked for an address"));
        let found = resolver.resolve(&endpoint("::1"), soon()).await;
        assert_eq!(found.unwrap(), ["[::1]:6380".parse().unwrap()]);
    }

    #[tokio::test(start_paused = true)]
    async fn every_address_comes_once_in_order_and_with_the_port() {
        let (resolver, _) = counting(Duration::ZERO, &["10.0.0.2:0", "10.0.0.1:0", "10.0.0.2:0"]);
        let found = resolver.resolve(&endpoint("cache"), soon()).await.unwrap();
        assert_eq!(found, ["10.0.0.2:6380".parse().unwrap(), "10.0.0.1:6380".parse().unwrap()]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_outlived_its_deadline_is_joined_not_repeated() {
        let (resolver, asked) = counting(Duration::from_secs(10), &["10.0.0.1:0"]);
        for _ in 0..5 {
            let failure = resolver.resolve(&endpoint("cache"), soon()).await.unwrap_err();
            assert_eq!(failure.reason, FailureReason::Resolve);
            assert_eq!(&*failure.detail, "cache: the resolver did not answer in time");
        }
        let patient = Instant::now() + Duration::from_secs(10);
        resolver.clone().resolve(&endpoint("cache"), patient).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_not_kept_for_the_next_lookup() {
        let (resolver, asked) = counting(Duration::ZERO, &["10.0.0.1:0"]);
        resolver.resolve(&endpoint("cache"), soon()).await.unwrap();
        resolver.resolve(&endpoint("cache"), soon()).await.unwrap();
        resolver.resolve(&endpoint("other"), soon()).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_without_addresses_and_a_failed_lookup_are_failures() {
        let (nothing, _) = counting(Duration::ZERO, &[]);
        let failure = nothing.resolve(&endpoint("cache"), soon()).await.unwrap_err();
        assert_eq!(failure.to_string(), "resolve at resolve: cache: the name has no address");
        let failing = Resolver::new(|_| Box::pin(async { Err(io::Error::other("no such host")) }));
        let failure = failing.resolve(&endpoint("cache"), soon()).await.unwrap_err();
        assert_eq!(failure.to_string(), "resolve at resolve: cache: no such host");
        let starved = Resolver::new(|_| Box::pin(async { Err(io::Error::from_raw_os_error(24)) }));
        let failure = starved.resolve(&endpoint("cache"), soon()).await.unwrap_err();
        assert_eq!(failure.reason, FailureReason::LocalResource, "EMFILE");
    }
}
