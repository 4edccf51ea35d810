//! The items of `targets`, and `defaults`, which accepts the same keys except `name` and `host`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::field::{Field, Fields, Invalid};
use super::keys::Values;
use super::keys::agent::{DEFAULTS, TARGETS};
use super::keys::connection::{HOST, NAME, PORT, TLS};
use super::keys::identity::{IDENTITY, USERNAME};
use super::keys::probe::{
    ATTEMPTS, CLIENT_LIST, CLIENT_LIST_EVERY, CLIENT_LIST_MODE, COMMAND_TIMEOUT, CONNECT_TIMEOUT, INTERVAL,
    KEY, REPLY_LIMIT,
};
use super::location::{self, Location};
use super::{host, identity, plausible, tls};
use crate::identity::Identity;
use crate::target::{ClientList, ClientListMode, Endpoint, KeyTemplate, Target, TargetName, Tls};

/// Reads every target of the document.
pub(super) fn read_all(document: &Fields<'_>) -> Result<Vec<Target>, Invalid> {
    let defaults = Defaults::read(document);
    let list = document.required(&TARGETS, "give at least one target")?;
    let items = list.items("a list of targets")?;
    if let Values::List(least, most) = TARGETS.values
        && !(least..=most).contains(&items.len())
    {
        return Err(list.problem(format!("expected {least} to {most} targets, found {}", items.len())));
    }
    let mut earlier = Earlier::default();
    // Every item is read, so that all problems are reported together.
    let targets: Vec<_> = items.iter().map(|item| read(item, &defaults, &mut earlier)).collect();
    targets.into_iter().collect()
}

/// The names and identities of earlier targets, each with its path.
#[derive(Default)]
struct Earlier {
    names: HashMap<TargetName, String>,
    /// By their label in the metrics.
    identities: HashMap<String, (Arc<Identity>, String)>,
}

fn read(item: &Field<'_>, defaults: &Defaults<'_>, earlier: &mut Earlier) -> Result<Target, Invalid> {
    let fields = item.fields_of(TARGETS.about.keys, "a mapping with the keys name and host")?;
    let name = fields.required(&NAME, "give the target a name").and_then(|field| {
        let name = read_name(&field)?;
        match earlier.names.entry(name.clone()) {
            Entry::Occupied(first) => {
                let (first, name) = (first.get(), first.key());
                Err(field.problem(format!("duplicate name \"{name}\"; {first} has it, too")))
            }
            Entry::Vacant(free) => {
                free.insert(item.path().to_owned());
                Ok(name)
            }
        }
    });
    let host_field = fields.required(&HOST, "name the cache's host");
    let location = host_field.as_ref().map_err(|invalid| *invalid).and_then(location::read);
    let mut own = Settings::read(&fields);
    let Defaults { settings: defaults, fields: default_fields } = defaults.clone();
    if let (Ok(location), Ok(field)) = (&location, &host_field) {
        own.add(location, defaults.tls.as_ref(), field);
    }

    let tls = pick(own.tls, defaults.tls, || Tls::On { ca_file: None, server_name: None });
    let identity = pick(own.identity, defaults.identity, || Arc::new(identity::default_identity()));
    if let (Ok(Tls::Off), Ok(identity)) = (&tls, &identity) {
        let is_said_by_host = location.as_ref().is_ok_and(|location| location.tls.is_some());
        let host = host_field.as_ref().ok().filter(|_| is_said_by_host);
        refuse_plaintext_tokens(identity, &fields, host, default_fields.as_ref());
    }
    let identity_field = fields.get(&IDENTITY).or_else(|| default_fields.as_ref()?.get(&IDENTITY));
    if let (Ok(identity), Some(field)) = (&identity, identity_field) {
        earlier.refuse_shared_label(identity, &field);
    }
    let mut username = pick(own.username, defaults.username, || None);
    if let Ok(identity) = &identity
        && !takes_username(identity)
    {
        // A default user name is ignored.
        let is_said_by_host = location.as_ref().is_ok_and(|location| location.username.is_some());
        let host = host_field.as_ref().ok().filter(|_| is_said_by_host).cloned();
        let field = fields.get(&USERNAME).or(host);
        username = field.map_or(Ok(None), |field| Err(refuse_username(&field, identity)));
    }

    let (host, tls) = (location?.host, tls?);
    let port = pick(own.port, defaults.port, || host::default_port(host, tls != Tls::Off))?;
    let otherwise = Target::with_defaults(name?, Endpoint { host: host.into(), port });
    let target = Target {
        tls,
        identity: identity?,
        username: username?,
        interval: pick(own.interval, defaults.interval, || otherwise.interval)?,
        connect_timeout: pick(own.connect_timeout, defaults.connect_timeout, || otherwise.connect_timeout)?,
        command_timeout: pick(own.command_timeout, defaults.command_timeout, || otherwise.command_timeout)?,
        attempts: pick(own.attempts, defaults.attempts, || otherwise.attempts)?,
        key: pick(own.key, defaults.key, || otherwise.key)?,
        client_list: pick(own.client_list, defaults.client_list, || otherwise.client_list)?,
        reply_limit: pick(own.reply_limit, defaults.reply_limit, || otherwise.reply_limit)?,
        ..otherwise
    };
    plausible::warn(&target, &fields, default_fields.as_ref());
    Ok(target)
}

impl Target {
    /// A target with the default of every key.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "the default key is short enough")]
    pub fn with_defaults(name: TargetName, endpoint: Endpoint) -> Self {
        Self {
            name,
            endpoint,
            tls: Tls::On { ca_file: None, server_name: None },
            identity: Arc::new(identity::default_identity()),
            username: None,
            interval: INTERVAL.default(),
            connect_timeout: CONNECT_TIMEOUT.default(),
            command_timeout: COMMAND_TIMEOUT.default(),
            attempts: ATTEMPTS.default(),
            key: KeyTemplate::new(KEY.default()).expect("the default is short enough"),
            client_list: default_client_list(),
            reply_limit: REPLY_LIMIT.default(),
        }
    }
}

/// What the operator said under one key: nothing, something wrong, or a value.
type Setting<T> = Option<Result<T, Invalid>>;

fn pick<T>(own: Setting<T>, default: Setting<T>, otherwise: impl FnOnce() -> T) -> Result<T, Invalid> {
    own.or(default).unwrap_or_else(|| Ok(otherwise()))
}

/// What may stand in a target as well as in `defaults`.
#[derive(Clone, Default)]
struct Settings {
    port: Setting<u16>,
    tls: Setting<Tls>,
    identity: Setting<Arc<Identity>>,
    username: Setting<Option<String>>,
    interval: Setting<Duration>,
    connect_timeout: Setting<Duration>,
    command_timeout: Setting<Duration>,
    attempts: Setting<NonZeroU32>,
    key: Setting<KeyTemplate>,
    client_list: Setting<ClientList>,
    reply_limit: Setting<usize>,
}

impl Settings {
    fn read(fields: &Fields<'_>) -> Self {
        Self {
            port: fields.read(&PORT),
            tls: fields.get(&TLS).map(|field| tls::read(&field)),
            identity: fields.get(&IDENTITY).map(|field| identity::read(&field).map(Arc::new)),
            username: fields.get(&USERNAME).map(|field| Ok(Some(field.word(&USERNAME)?.to_owned()))),
            interval: fields.read(&INTERVAL),
            connect_timeout: fields.read(&CONNECT_TIMEOUT),
            command_timeout: fields.read(&COMMAND_TIMEOUT),
            attempts: fields.read(&ATTEMPTS),
            key: fields.get(&KEY).map(|field| read_key(&field)),
            client_list: fields.get(&CLIENT_LIST).map(|field| read_client_list(&field)),
            reply_limit: fields.read(&REPLY_LIMIT),
        }
    }
}

impl Settings {
    /// Adds the settings of `location`, which was read from `host`. Settings that are given twice must be equal. The
    /// details of TLS may come from the defaults.
    fn add(&mut self, location: &Location<'_>, default_tls: Option<&Result<Tls, Invalid>>, host: &Field<'_>) {
        let contradicts = |key: String| {
            host.problem(format!("contradicts {key}; give it once"));
        };
        match (location.port, &self.port) {
            (Some(port), Some(Ok(own))) if *own != port => contradicts(host.name_of(&PORT)),
            (Some(port), None) => self.port = Some(Ok(port)),
            _ => {}
        }
        match (location.tls, &self.tls) {
            (Some(is_on), Some(Ok(own))) if is_on == (*own == Tls::Off) => contradicts(host.name_of(&TLS)),
            (Some(true), None) if matches!(default_tls, None | Some(Ok(Tls::Off))) => {
                self.tls = Some(Ok(Tls::On { ca_file: None, server_name: None }));
            }
            (Some(false), None) => self.tls = Some(Ok(Tls::Off)),
            _ => {}
        }
        match (location.username, &self.username) {
            (Some(user), Some(Ok(Some(own)))) if own != user => contradicts(host.name_of(&USERNAME)),
            (Some(user), None) => self.username = Some(Ok(Some(user.to_owned()))),
            _ => {}
        }
    }
}

/// The key `defaults`.
#[derive(Clone, Default)]
struct Defaults<'a> {
    settings: Settings,
    fields: Option<Fields<'a>>,
}

impl<'a> Defaults<'a> {
    fn read(document: &Fields<'a>) -> Self {
        let Some(field) = document.get(&DEFAULTS) else { return Self::default() };
        let Ok(fields) = field.fields(&DEFAULTS.about) else {
            return Self::default();
        };
        let settings = Settings::read(&fields);
        if let (Some(Ok(identity)), Some(field)) = (&settings.identity, fields.get(&USERNAME))
            && !takes_username(identity)
        {
            refuse_username(&field, identity);
        }
        Self { settings, fields: Some(fields) }
    }
}

fn read_name(field: &Field<'_>) -> Result<TargetName, Invalid> {
    let name = field.text(&NAME)?;
    TargetName::new(name).ok_or_else(|| {
        let most = TargetName::MAX_LENGTH;
        field.expected(format_args!("a name of 1 to {most} characters, without space around it"))
    })
}

impl Earlier {
    /// Notes a problem if `identity`, given at `field`, differs from an earlier one but has the same label in
    /// the metrics: two refresh loops would write the same series.
    fn refuse_shared_label(&mut self, identity: &Arc<Identity>, field: &Field<'_>) {
        let Identity::Entra(entra) = &**identity else { return };
        match self.identities.entry(entra.to_string()) {
            Entry::Vacant(free) => {
                free.insert((Arc::clone(identity), field.path().to_owned()));
            }
            Entry::Occupied(first) if first.get().0 != *identity => {
                let (label, (_, path)) = (first.key(), first.get());
                field.problem(format!(
                    "differs from {path}, but both are the identity \"{label}\" in the metrics; keep the secret or \
                     token of both in the same place, or give each an id"
                ));
            }
            Entry::Occupied(_) => {}
        }
    }
}

/// Notes a problem if `identity` would send tokens without TLS, at the target's own key or else at the defaults.
fn refuse_plaintext_tokens(
    identity: &Identity,
    own: &Fields<'_>,
    host: Option<&Field<'_>>,
    defaults: Option<&Fields<'_>>,
) {
    let place =
        own.get(&TLS).or_else(|| own.get(&IDENTITY)).or(host.cloned()).or_else(|| defaults?.get(&TLS));
    if let (Identity::Entra(_), Some(field)) = (identity, place) {
        let name = identity::type_name(identity);
        field.problem(format!(
            "Entra tokens are sent over TLS only, and the identity is {name}; turn TLS on, or set the identity to \
             access_key, password or none"
        ));
    }
}

fn takes_username(identity: &Identity) -> bool {
    USERNAME.about.is_used_by(identity::type_of(identity))
}

fn refuse_username(field: &Field<'_>, identity: &Identity) -> Invalid {
    let name = identity::type_name(identity);
    field.problem(format!("the identity type {name} uses no user name"))
}

fn read_key(field: &Field<'_>) -> Result<KeyTemplate, Invalid> {
    KeyTemplate::new(field.text(&KEY)?).ok_or_else(|| field.expected(KEY.words()))
}

fn read_client_list(field: &Field<'_>) -> Result<ClientList, Invalid> {
    let fields = field.fields(&CLIENT_LIST.about)?;
    let mode = fields.choice(&CLIENT_LIST_MODE).transpose();
    let every = fields.read(&CLIENT_LIST_EVERY).transpose();
    if let (Ok(Some(ClientListMode::Off)), Some(every)) = (&mode, fields.get(&CLIENT_LIST_EVERY)) {
        every.warning("not used, since the mode is off");
    }
    let default = default_client_list();
    Ok(ClientList { mode: mode?.unwrap_or(default.mode), every: every?.unwrap_or(default.every) })
}

fn default_client_list() -> ClientList {
    ClientList { mode: CLIENT_LIST_MODE.default(), every: CLIENT_LIST_EVERY.default() }
}
