//! The key `identities`: the identities that files with targets use by name, and the hosts that may see their secrets.
//!
//! Who can write such a file chooses hosts. So an identity is used only for those that the configuration allows, and only over
//! TLS, whose certificates show that it is them.

use std::sync::Arc;

use super::document::Value;
use super::field::{Field, Fields, Invalid};
use super::host_pattern::HostPattern;
use super::identity;
use super::keys::fleet::{HOSTS, IDENTITIES, NAMED_IDENTITY};
use super::target::Earlier;
use crate::identity::Identity;
use crate::target::{Product, Server, Target, Tls};

/// The identities by their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct NamedIdentities(Vec<NamedIdentity>);

#[derive(Clone, Debug, PartialEq)]
struct NamedIdentity {
    name: String,
    identity: Arc<Identity>,
    /// `None` if the key is not given.
    hosts: Option<Vec<HostPattern>>,
}

/// Reads the key of a configuration with these top-level `fields`. They are the first of its identities.
pub(super) fn read_of(fields: &Fields<'_>, earlier: &mut Earlier) -> Result<NamedIdentities, Invalid> {
    let Some(field) = fields.get(&IDENTITIES) else { return Ok(NamedIdentities::default()) };
    let identities = field.any_fields(&format!("a mapping such as {}", IDENTITIES.about.example))?;
    // Every one is read, so that all problems are reported together.
    let read: Vec<_> = identities.each().map(|(name, field)| read(name, &field, earlier)).collect();
    read.into_iter().collect::<Result<_, _>>().map(NamedIdentities)
}

fn read(name: &str, field: &Field<'_>, earlier: &mut Earlier) -> Result<NamedIdentity, Invalid> {
    if name == identity::NONE {
        return Err(
            field.problem(format!("{name} stands for no sign-in in files with targets; choose another name"))
        );
    }
    let hosts = match field.value() {
        Value::Map(_) => field.any_fields("a mapping")?.get(&HOSTS),
        _ => None,
    };
    let hosts = hosts.map(|field| read_hosts(&field)).transpose();
    let identity = Arc::new(identity::read_as(field, &NAMED_IDENTITY)?);
    earlier.refuse_shared_label(&identity, field);
    Ok(NamedIdentity { name: name.to_owned(), identity, hosts: hosts? })
}

/// Reads a list of patterns of hosts, or one alone.
fn read_hosts(field: &Field<'_>) -> Result<Vec<HostPattern>, Invalid> {
    let Value::List(_) = field.value() else { return Ok(vec![read_host(field)?]) };
    let items = field.items_of(&HOSTS, "a list of hosts", "hosts")?;
    let hosts: Vec<_> = items.iter().map(read_host).collect();
    hosts.into_iter().collect()
}

fn read_host(field: &Field<'_>) -> Result<HostPattern, Invalid> {
    let what = "a host such as cache.example.com, or *. and a domain such as *.example.com";
    match field.value() {
        Value::Text(text) => HostPattern::parse(text).ok_or_else(|| field.expected(what)),
        _ => Err(field.expected(what)),
    }
}

impl NamedIdentities {
    /// Checks that `target` of a file shows the secrets of its identities only to hosts that the configuration allows.
    ///
    /// # Errors
    /// What is wrong and what to do about it.
    pub(super) fn check(&self, target: &Target) -> Result<(), String> {
        let password = target.server.sentinels().and_then(|sentinels| sentinels.password.clone());
        let password = password.map(Identity::Password);
        let identities = [Some(&*target.identity), password.as_ref()].into_iter().flatten();
        for identity in identities.filter(|identity| **identity != Identity::None) {
            let hosts = verified_hosts(target).ok_or(
                "a file with targets uses an identity over TLS only; turn TLS on, set the identity to none, or move the \
                 target to the configuration",
            )?;
            for host in hosts {
                self.check_host(identity, host)?;
            }
        }
        Ok(())
    }

    fn check_host(&self, identity: &Identity, host: &str) -> Result<(), String> {
        // The same secrets may have several names.
        let mut named = self.0.iter().filter(|named| *named.identity == *identity).peekable();
        let Some(first) = named.peek() else {
            return if is_default_host(identity, host) {
                Ok(())
            } else {
                Err(format!(
                    "the default identity may not be used for {host}; name an identity whose {} in the configuration have \
                     this host",
                    HOSTS.about.path
                ))
            };
        };
        let key = HOSTS.about.path.replace('*', &first.name);
        if named.any(|named| named.has(host)) {
            Ok(())
        } else {
            Err(format!(
                "this identity may not be used for {host}; add the host to {key} in the configuration"
            ))
        }
    }
}

impl NamedIdentity {
    fn has(&self, host: &str) -> bool {
        match &self.hosts {
            Some(hosts) => hosts.iter().any(|pattern| pattern.has(host)),
            None => is_default_host(&self.identity, host),
        }
    }
}

/// Whether the identity is used for `host` if nothing says for which: Entra's tokens are meant for the caches of Azure.
fn is_default_host(identity: &Identity, host: &str) -> bool {
    matches!(identity, Identity::Entra(_)) && Product::of_host(host).is_some()
}

/// Returns the names for which the certificates of all servers are verified, among them the sentinels that name the cache's
/// host. `None` if a connection has no TLS.
fn verified_hosts(target: &Target) -> Option<Vec<&str>> {
    match &target.server {
        Server::Host(endpoint) => verified_name(&target.tls, &endpoint.host).map(|name| vec![name]),
        Server::Sentinels(sentinels) => {
            let Tls::On { server_name, .. } = &target.tls else { return None };
            let addresses = sentinels.addresses.iter();
            let names = addresses.map(|address| verified_name(&sentinels.tls, &address.host));
            names.chain(server_name.as_deref().map(Some)).collect()
        }
    }
}

/// Returns the name for which the certificate of the server at `host` is verified; `None` without TLS.
fn verified_name<'t>(tls: &'t Tls, host: &'t str) -> Option<&'t str> {
    match tls {
        Tls::Off => None,
        Tls::On { server_name, .. } => Some(server_name.as_deref().unwrap_or(host)),
    }
}
