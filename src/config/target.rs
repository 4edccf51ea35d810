//! The items of `targets`, and `defaults`, which may say the same but for `name` and `host`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::field::{Field, Fields, Invalid};
use super::{duration, host, identity, size, tls};
use crate::identity::Identity;
use crate::target::{ClientList, ClientListMode, Endpoint, KeyTemplate, Target, TargetName, Tls};

/// The keys of a target; but for the first two they are also those of `defaults`.
const KEYS: [&str; 13] = [
    "name",
    "host",
    "port",
    "tls",
    "identity",
    "username",
    "interval",
    "connect_timeout",
    "command_timeout",
    "attempts",
    "key",
    "client_list",
    "reply_limit",
];

/// How many targets one agent takes.
const COUNT: RangeInclusive<usize> = 1..=10_000;
const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(300);
const ATTEMPTS: RangeInclusive<NonZeroU32> = NonZeroU32::MIN..=NonZeroU32::new(10).expect("10 is not zero");
const EVERY: RangeInclusive<NonZeroU32> =
    NonZeroU32::MIN..=NonZeroU32::new(1_000_000).expect("a million is not zero");
const REPLY_LIMIT: RangeInclusive<usize> = 64 * size::KIB..=64 * size::MIB;

const MODES: [(&str, ClientListMode); 3] = [
    ("required", ClientListMode::Required),
    ("optional", ClientListMode::Optional),
    ("off", ClientListMode::Off),
];

/// Every target of the document.
pub(super) fn read_all(document: &Fields<'_>) -> Result<Vec<Target>, Invalid> {
    let defaults = Defaults::read(document);
    let list = document.required("targets", "give at least one target")?;
    let items = list.items("a list of targets")?;
    if !COUNT.contains(&items.len()) {
        let (least, most) = (COUNT.start(), COUNT.end());
        return Err(list.problem(format!("expected {least} to {most} targets, found {}", items.len())));
    }
    let mut earlier = Earlier::default();
    // Every item is read before the first problem counts.
    let targets: Vec<_> = items.iter().map(|item| read(item, &defaults, &mut earlier)).collect();
    targets.into_iter().collect()
}

/// What the targets so far have taken for themselves, each with the path where it was said.
#[derive(Default)]
struct Earlier {
    names: HashMap<TargetName, String>,
    /// By their label in the metrics.
    identities: HashMap<String, (Arc<Identity>, String)>,
}

fn read(item: &Field<'_>, defaults: &Defaults<'_>, earlier: &mut Earlier) -> Result<Target, Invalid> {
    let fields = item.fields("a mapping with the keys name and host", &KEYS)?;
    let name = fields.required("name", "give the target a name").and_then(|field| {
        let name = read_name(&field)?;
        match earlier.names.entry(name.clone()) {
            Entry::Occupied(first) => Err(field.problem(format!("is the name of {} already", first.get()))),
            Entry::Vacant(free) => {
                free.insert(item.path().to_owned());
                Ok(name)
            }
        }
    });
    let host = fields.required("host", "name the cache's host").and_then(|field| host::read(&field));
    let own = Settings::read(&fields);
    let Defaults { settings: defaults, fields: default_fields } = defaults.clone();

    let tls = pick(own.tls, defaults.tls, || Tls::On { ca_file: None, server_name: None });
    let identity = pick(own.identity, defaults.identity, || Arc::new(identity::default_identity()));
    if let (Ok(Tls::Off), Ok(identity)) = (&tls, &identity) {
        refuse_plaintext_tokens(identity, &fields, default_fields.as_ref());
    }
    let identity_field = fields.get("identity").or_else(|| default_fields.as_ref()?.get("identity"));
    if let (Ok(identity), Some(field)) = (&identity, identity_field) {
        earlier.refuse_shared_label(identity, &field);
    }
    let mut username = pick(own.username, defaults.username, || None);
    if let Ok(identity) = &identity
        && !takes_username(identity)
    {
        // One of the defaults is simply left out.
        username = fields.get("username").map_or(Ok(None), |field| Err(refuse_username(&field, identity)));
    }

    let (host, tls) = (host?, tls?);
    let port = pick(own.port, defaults.port, || host::default_port(host, tls != Tls::Off))?;
    Ok(Target {
        name: name?,
        endpoint: Endpoint { host: host.into(), port },
        tls,
        identity: identity?,
        username: username?,
        interval: pick(own.interval, defaults.interval, || Target::DEFAULT_INTERVAL)?,
        connect_timeout: pick(own.connect_timeout, defaults.connect_timeout, || {
            Target::DEFAULT_CONNECT_TIMEOUT
        })?,
        command_timeout: pick(own.command_timeout, defaults.command_timeout, || {
            Target::DEFAULT_COMMAND_TIMEOUT
        })?,
        attempts: pick(own.attempts, defaults.attempts, || Target::DEFAULT_ATTEMPTS)?,
        key: pick(own.key, defaults.key, KeyTemplate::default)?,
        client_list: pick(own.client_list, defaults.client_list, ClientList::default)?,
        reply_limit: pick(own.reply_limit, defaults.reply_limit, || Target::DEFAULT_REPLY_LIMIT)?,
    })
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
        let duration = |key, range| fields.get(key).map(|field| duration::read(&field, range));
        Self {
            port: fields.get("port").map(|field| field.integer(1..=u16::MAX)),
            tls: fields.get("tls").map(|field| tls::read(&field)),
            identity: fields.get("identity").map(|field| identity::read(&field).map(Arc::new)),
            username: fields
                .get("username")
                .map(|field| Ok(Some(field.word("a user name without spaces")?.to_owned()))),
            interval: duration("interval", INTERVAL),
            connect_timeout: duration("connect_timeout", TIMEOUT),
            command_timeout: duration("command_timeout", TIMEOUT),
            attempts: fields.get("attempts").map(|field| field.integer(ATTEMPTS)),
            key: fields.get("key").map(|field| read_key(&field)),
            client_list: fields.get("client_list").map(|field| read_client_list(&field)),
            reply_limit: fields.get("reply_limit").map(|field| size::read(&field, REPLY_LIMIT)),
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
        let Some(field) = document.get("defaults") else { return Self::default() };
        let Ok(fields) = field.fields("a mapping of what targets have in common", &KEYS[2..]) else {
            return Self::default();
        };
        let settings = Settings::read(&fields);
        if let (Some(Ok(identity)), Some(field)) = (&settings.identity, fields.get("username"))
            && !takes_username(identity)
        {
            refuse_username(&field, identity);
        }
        Self { settings, fields: Some(fields) }
    }
}

fn read_name(field: &Field<'_>) -> Result<TargetName, Invalid> {
    let name = field.text("a name")?;
    TargetName::new(name).ok_or_else(|| {
        let most = TargetName::MAX_LENGTH;
        field.expected(format_args!("a name of 1 to {most} characters, without space around it"))
    })
}

impl Earlier {
    /// Notes a problem if `identity`, said at `field`, is another than one before, but could not be told from it in
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
                    "differs from {path}, but both would be the identity `{label}` in the metrics: keep the secret \
                     or token of both in the same place, or give them ids of their own"
                ));
            }
            Entry::Occupied(_) => {}
        }
    }
}

/// Notes a problem if `identity`, to be used without TLS, has tokens. It is put to whatever led to this: the target's
/// own key, or else the defaults.
fn refuse_plaintext_tokens(identity: &Identity, own: &Fields<'_>, defaults: Option<&Fields<'_>>) {
    let place = own.get("tls").or_else(|| own.get("identity")).or_else(|| defaults?.get("tls"));
    if let (Identity::Entra(_), Some(field)) = (identity, place) {
        let name = identity::type_name(identity);
        field.problem(format!(
            "Entra tokens go over TLS only, and the identity here is {name}: turn TLS on, or set the identity to \
             none, access_key or password"
        ));
    }
}

fn takes_username(identity: &Identity) -> bool {
    matches!(identity, Identity::Entra(_) | Identity::Password(_))
}

fn refuse_username(field: &Field<'_>, identity: &Identity) -> Invalid {
    let name = identity::type_name(identity);
    field.problem(format!("has no meaning with the identity {name}, which signs in without a user name"))
}

fn read_key(field: &Field<'_>) -> Result<KeyTemplate, Invalid> {
    let key = field.text("a key")?;
    KeyTemplate::new(key).ok_or_else(|| field.expected("a key of 1 to 512 bytes"))
}

fn read_client_list(field: &Field<'_>) -> Result<ClientList, Invalid> {
    let fields = field.fields("a mapping such as {mode: optional, every: 1}", &["mode", "every"])?;
    let mode = fields.get("mode").map(|field| field.choice(&MODES)).transpose();
    let every = fields.get("every").map(|field| field.integer(EVERY)).transpose();
    let default = ClientList::default();
    Ok(ClientList { mode: mode?.unwrap_or(default.mode), every: every?.unwrap_or(default.every) })
}
