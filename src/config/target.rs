//! The items of `targets`, and `defaults`, which accepts the same keys except `name`, `host` and `sentinel`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use super::document::Value;
use super::field::{Field, Fields, Invalid};
use super::keys::Values;
use super::keys::agent::{DEFAULTS, TARGETS};
use super::keys::cluster::{CLUSTER, EXPECT_ROLE, MAINTENANCE};
use super::keys::connection::{self, HOST, NAME, PORT, PROTOCOL, TLS};
use super::keys::fleet::TARGET_FILES;
use super::keys::identity::{IDENTITY, USERNAME};
use super::keys::labels::LABELS;
use super::keys::probe;
use super::keys::sentinel::SENTINEL;
use super::location::{self, Location};
use super::{cluster, host, identity, labels, plausible, sentinel, tls};
use crate::identity::Identity;
use crate::target::{
    ClientList, ClientListMode, Endpoint, ExpectRole, KeyTemplate, Labels, Sentinels, Server, Target,
    TargetName, Tls,
};

/// Reads every target of the document.
pub(super) fn read_all(document: &Fields<'_>, earlier: &mut Earlier) -> Result<Vec<Arc<Target>>, Invalid> {
    let defaults = Defaults::read(document);
    let has_none = match document.get(&TARGETS).as_ref().map(Field::value) {
        None => true,
        Some(Value::List(items)) => items.is_empty(),
        Some(_) => false,
    };
    if has_none && document.get(&TARGET_FILES).is_some() {
        return Ok(Vec::new());
    }
    let list = document.required(&TARGETS, "give at least one target")?;
    let items = list.items_of(&TARGETS, "a list of targets", "targets")?;
    read_items(&items, &defaults, earlier)
}

/// Reads the targets of a file, whose document has the defaults of the configuration. There may be none. `check` says what is
/// wrong with a target that is valid in the configuration.
pub(super) fn read_of_file(
    document: &Fields<'_>,
    check: impl Fn(&Target) -> Result<(), String>,
) -> Result<Vec<Arc<Target>>, Invalid> {
    let defaults = Defaults::read(document);
    let list = document.required(&TARGETS, "give a list of targets")?;
    let items = list.items("a list of targets")?;
    if let Values::List(_, most) = TARGETS.values
        && items.len() > most
    {
        return Err(list.problem(format!("expected at most {most} targets, found {}", items.len())));
    }
    let targets = read_items(&items, &defaults, &mut Earlier::default())?;
    let checked =
        items.iter().zip(&targets).map(|(item, target)| check(target).map_err(|it| item.problem(it)));
    checked.collect::<Vec<_>>().into_iter().collect::<Result<(), _>>()?;
    Ok(targets)
}

fn read_items(
    items: &[Field<'_>],
    defaults: &Defaults<'_>,
    earlier: &mut Earlier,
) -> Result<Vec<Arc<Target>>, Invalid> {
    // Every item is read, so that all problems are reported together.
    let targets: Vec<_> = items.iter().map(|item| read(item, defaults, earlier).map(Arc::new)).collect();
    targets.into_iter().collect()
}

/// The names and identities of earlier targets, each with its path.
#[derive(Default)]
pub(super) struct Earlier {
    /// By the name in lower case.
    names: HashMap<String, (TargetName, String)>,
    /// By their label in the metrics.
    identities: HashMap<String, (Arc<Identity>, String)>,
}

fn read(item: &Field<'_>, defaults: &Defaults<'_>, earlier: &mut Earlier) -> Result<Target, Invalid> {
    let fields = item.fields_of(TARGETS.about.keys, "a mapping with the keys name and host")?;
    let name = fields.required(&NAME, "give the target a name").and_then(|field| {
        let name = read_name(&field)?;
        match earlier.names.entry(name.as_str().to_lowercase()) {
            Entry::Occupied(first) => {
                let (first, path) = first.get();
                Err(field.problem(if *first == name {
                    format!("duplicate name{}; {path} has it, too", field.after_space(name.as_str()))
                } else {
                    format!(
                        "name{} differs only in case from the name{} of {path}; Azure Monitor ignores case and \
                         would mix their series; choose another name",
                        field.after_space(name.as_str()),
                        field.after_space(first.as_str()),
                    )
                }))
            }
            Entry::Vacant(free) => {
                free.insert((name.clone(), item.path().to_owned()));
                Ok(name)
            }
        }
    });
    let host = read_host(&fields);
    let mut target = defaults.prototype.clone();
    read_into(&mut target, &fields);
    let mut own = Linked::read(&fields);
    let (default_fields, defaults) = (defaults.fields.as_ref(), defaults.linked.clone());
    if let Ok(Some((location, field))) = &host {
        own.add(location, defaults.tls.as_ref(), field);
    }
    let said = |is_said: fn(&Location<'_>) -> bool| match &host {
        Ok(Some((location, field))) if is_said(location) => Some(field),
        _ => None,
    };

    let tls = pick(own.tls, defaults.tls, || target.tls.clone());
    let identity = pick(own.identity, defaults.identity, || Arc::clone(&target.identity));
    if let (Ok(Tls::Off), Ok(identity)) = (&tls, &identity) {
        refuse_plaintext_tokens(identity, &fields, said(|host| host.tls.is_some()), default_fields);
    }
    let identity_field = fields.get(&IDENTITY).or_else(|| default_fields?.get(&IDENTITY));
    if let (Ok(identity), Some(field)) = (&identity, identity_field) {
        earlier.refuse_shared_label(identity, &field);
    }
    let mut username = pick(own.username, defaults.username, || None);
    if let Ok(identity) = &identity
        && !takes_username(identity)
    {
        // A default user name is ignored.
        let field = fields.get(&USERNAME).or(said(|host| host.username.is_some()).cloned());
        username = field.map_or(Ok(None), |field| Err(refuse_username(&field, identity)));
    }

    let consistent = cluster::check(&target, &fields, default_fields);

    let server = match host? {
        Some((location, _)) => {
            let is_tls = tls.as_ref().map(|tls| *tls != Tls::Off).map_err(|invalid| *invalid);
            let (host, is_tls) = (location.host, is_tls?);
            let port = pick(own.port, defaults.port, || host::default_port(host, is_tls))?;
            Server::Host(Endpoint { host: host.into(), port })
        }
        None => Server::Sentinels(read_sentinels(&fields, &tls, target.expect_role)?.into()),
    };
    let target =
        Target { name: name?, server, tls: tls?, identity: identity?, username: username?, ..target };
    consistent?;
    plausible::warn(&target, &fields, default_fields);
    Ok(target)
}

/// Reads the key `host`, and returns it with its field. `None` if sentinels name the host.
fn read_host<'a>(fields: &Fields<'a>) -> Result<Option<(Location<'a>, Field<'a>)>, Invalid> {
    match (fields.get(&HOST), fields.get(&SENTINEL)) {
        (None, Some(_)) => Ok(None),
        (Some(_), Some(sentinel)) => {
            let host = fields.name_of(&HOST);
            Err(sentinel.problem(format!("the sentinels name the host; leave out {host}, or the sentinels")))
        }
        (_, None) => {
            let field = fields.required(&HOST, "name the cache's host, or its sentinels")?;
            Ok(Some((location::read(&field)?, field)))
        }
    }
}

fn read_sentinels(
    fields: &Fields<'_>,
    tls: &Result<Tls, Invalid>,
    expect_role: ExpectRole,
) -> Result<Sentinels, Invalid> {
    let port = fields.get(&PORT).map(|port| port.problem("not used with sentinels, which name the port"));
    let field = fields.get(&SENTINEL).expect("the caller has seen it");
    if expect_role == ExpectRole::Replica {
        let role = field.setting(&EXPECT_ROLE, EXPECT_ROLE.name_of(&expect_role));
        return Err(field.problem(format!("the sentinels name the primary, which contradicts {role}")));
    }
    let sentinels = sentinel::read(&field, tls.as_ref().map_err(|invalid| *invalid))?;
    port.map_or(Ok(sentinels), Err)
}

impl Target {
    /// A target with the default of every key.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "the default key is short enough")]
    pub fn with_defaults(name: TargetName, server: impl Into<Server>) -> Self {
        Self {
            name,
            labels: Labels::default(),
            server: server.into(),
            tls: Tls::DEFAULT,
            identity: Arc::new(identity::default_identity()),
            username: None,
            protocol: PROTOCOL.default(),
            interval: probe::INTERVAL.default(),
            connect_timeout: probe::CONNECT_TIMEOUT.default(),
            command_timeout: probe::COMMAND_TIMEOUT.default(),
            attempts: probe::ATTEMPTS.default(),
            startup_grace: probe::STARTUP_GRACE.default(),
            key: KeyTemplate::new(probe::KEY.default()).expect("the default is short enough"),
            keys: probe::KEYS.default(),
            client_list: default_client_list(),
            new_connection_every: probe::NEW_CONNECTION_EVERY.default(),
            dns_refresh: connection::DNS_REFRESH.default(),
            max_connection_age: connection::MAX_CONNECTION_AGE.default(),
            reply_limit: probe::REPLY_LIMIT.default(),
            cluster: cluster::default(),
            expect_role: EXPECT_ROLE.default(),
            maintenance: MAINTENANCE.default(),
        }
    }
}

/// Reads into `target` the keys that are given in `fields`, but for those of [`Linked`]. Where one is wrong, a problem is
/// noted and `target` keeps its value.
fn read_into(target: &mut Target, fields: &Fields<'_>) {
    set(&mut target.protocol, fields.choice(&PROTOCOL));
    set(&mut target.interval, fields.read(&probe::INTERVAL));
    set(&mut target.connect_timeout, fields.read(&probe::CONNECT_TIMEOUT));
    set(&mut target.command_timeout, fields.read(&probe::COMMAND_TIMEOUT));
    set(&mut target.attempts, fields.read(&probe::ATTEMPTS));
    set(&mut target.startup_grace, fields.read(&probe::STARTUP_GRACE));
    set(&mut target.key, fields.get(&probe::KEY).map(|field| read_key(&field)));
    set(&mut target.keys, fields.read(&probe::KEYS));
    set(&mut target.client_list, fields.get(&probe::CLIENT_LIST).map(|field| read_client_list(&field)));
    let new_connection = fields.get(&probe::NEW_CONNECTION).map(|field| read_new_connection(&field));
    set(&mut target.new_connection_every, new_connection);
    set(&mut target.dns_refresh, fields.read(&connection::DNS_REFRESH));
    set(&mut target.max_connection_age, fields.read(&connection::MAX_CONNECTION_AGE));
    set(&mut target.reply_limit, fields.read(&probe::REPLY_LIMIT));
    set(&mut target.cluster, fields.get(&CLUSTER).map(|field| cluster::read(&field)));
    set(&mut target.expect_role, fields.choice(&EXPECT_ROLE));
    set(&mut target.maintenance, fields.choice(&MAINTENANCE));
    set(&mut target.labels, fields.get(&LABELS).map(|field| labels::read(&field)));
}

fn set<T>(value: &mut T, setting: Setting<T>) {
    if let Some(Ok(given)) = setting {
        *value = given;
    }
}

/// What the operator wrote under one key: nothing, something wrong, or a value.
type Setting<T> = Option<Result<T, Invalid>>;

fn pick<T>(own: Setting<T>, default: Setting<T>, otherwise: impl FnOnce() -> T) -> Result<T, Invalid> {
    own.or(default).unwrap_or_else(|| Ok(otherwise()))
}

/// The keys that depend on the host or on each other.
#[derive(Clone, Default)]
struct Linked {
    port: Setting<u16>,
    tls: Setting<Tls>,
    identity: Setting<Arc<Identity>>,
    username: Setting<Option<String>>,
}

impl Linked {
    fn read(fields: &Fields<'_>) -> Self {
        Self {
            port: fields.read(&PORT),
            tls: fields.get(&TLS.whole).map(|field| tls::read(&field, &TLS)),
            identity: fields.get(&IDENTITY).map(|field| identity::read(&field).map(Arc::new)),
            username: fields.get(&USERNAME).map(|field| Ok(Some(field.word(&USERNAME)?.to_owned()))),
        }
    }

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
            (Some(is_on), Some(Ok(own))) if is_on == (*own == Tls::Off) => {
                contradicts(host.name_of(&TLS.whole));
            }
            (Some(true), None) if matches!(default_tls, None | Some(Ok(Tls::Off))) => {
                self.tls = Some(Ok(Tls::DEFAULT));
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
struct Defaults<'a> {
    fields: Option<Fields<'a>>,
    linked: Linked,
    /// A target with the defaults of all other keys. Each target replaces the name and the server.
    prototype: Target,
}

impl<'a> Defaults<'a> {
    fn read(document: &Fields<'a>) -> Self {
        let name = TargetName::new("defaults").expect("the name is short enough");
        let mut prototype = Target::with_defaults(name, Endpoint { host: "".into(), port: 0 });
        let fields = document.get(&DEFAULTS).and_then(|field| field.fields(&DEFAULTS.about).ok());
        let Some(fields) = fields else { return Self { fields: None, linked: Linked::default(), prototype } };
        read_into(&mut prototype, &fields);
        let linked = Linked::read(&fields);
        if let (Some(Ok(identity)), Some(field)) = (&linked.identity, fields.get(&USERNAME))
            && !takes_username(identity)
        {
            refuse_username(&field, identity);
        }
        Self { fields: Some(fields), linked, prototype }
    }
}

fn read_name(field: &Field<'_>) -> Result<TargetName, Invalid> {
    let name = field.text(&NAME)?;
    TargetName::new(name).ok_or_else(|| {
        let most = TargetName::MAX_LENGTH;
        field.expected(format_args!(
            "a name of 1 to {most} characters, without space around it, and not . or .."
        ))
    })
}

impl Earlier {
    /// Notes a problem if `identity`, given at `field`, differs from an earlier one but has the same label in
    /// the metrics: two refresh loops would write the same series.
    pub(super) fn refuse_shared_label(&mut self, identity: &Arc<Identity>, field: &Field<'_>) {
        let Some(tokens) = identity.of_tokens() else { return };
        match self.identities.entry(tokens.to_string()) {
            Entry::Vacant(free) => {
                free.insert((Arc::clone(identity), field.path().to_owned()));
            }
            Entry::Occupied(first) if first.get().0 != *identity => {
                let (label, (_, path)) = (first.key(), first.get());
                let advice = match &**identity {
                    Identity::Token(_) => "give each a token.name",
                    _ => "keep the secret or token of both in the same place, or give each an id",
                };
                field.problem(format!(
                    "differs from {path}, but both are the identity \"{label}\" in the metrics; {advice}"
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
    let place = own
        .get(&TLS.whole)
        .or_else(|| own.get(&IDENTITY))
        .or(host.cloned())
        .or_else(|| defaults?.get(&TLS.whole));
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
    KeyTemplate::new(field.text(&probe::KEY)?).ok_or_else(|| field.expected(probe::KEY.words()))
}

fn read_client_list(field: &Field<'_>) -> Result<ClientList, Invalid> {
    let fields = field.fields(&probe::CLIENT_LIST.about)?;
    let mode = fields.choice(&probe::CLIENT_LIST_MODE).transpose();
    let every = fields.read(&probe::CLIENT_LIST_EVERY).transpose();
    if let (Ok(Some(ClientListMode::Off)), Some(every)) = (&mode, fields.get(&probe::CLIENT_LIST_EVERY)) {
        every.warning("not used, since the mode is off");
    }
    let default = default_client_list();
    Ok(ClientList { mode: mode?.unwrap_or(default.mode), every: every?.unwrap_or(default.every) })
}

fn default_client_list() -> ClientList {
    ClientList { mode: probe::CLIENT_LIST_MODE.default(), every: probe::CLIENT_LIST_EVERY.default() }
}

fn read_new_connection(field: &Field<'_>) -> Result<Option<Duration>, Invalid> {
    let every = field.fields(&probe::NEW_CONNECTION.about)?.read(&probe::NEW_CONNECTION_EVERY);
    every.unwrap_or_else(|| Ok(probe::NEW_CONNECTION_EVERY.default()))
}
