//! The key `identity`: how a target signs in, and the sources of its secrets.

use std::path::PathBuf;

use super::certificate;
use super::document::Value;
use super::field::{Field, Fields, Invalid, LIKE_SECRET, one_of};
use super::keys::identity::{
    ACCESS_KEY, AUTHORITY, CLIENT_CERTIFICATE, CLIENT_ID, CLIENT_SECRET, IDENTITY, MANAGED_IDENTITY_IDS,
    OBJECT_ID, PASSWORD, SCOPE, SEND_CERTIFICATE_CHAIN, SUBSCRIPTION, TENANT_ID, TOKEN, TOKEN_FILE,
    TOKEN_PROXY, TYPE,
};
use super::keys::sentinel;
use super::keys::{About, IdentityType, Key, SecretKeys};
use super::problem::with_causes;
use super::token;
use crate::identity::authority::{is_tenant, url_of_host};
use crate::identity::redaction::is_no_path;
use crate::identity::{AzureAccount, EntraIdentity, EntraSource, Identity, ManagedIdentityId};
use crate::secret::SecretSource;

/// The name of the type that signs in without credentials.
pub(super) const NONE: &str = "none";

/// Characters that no name of a subscription has.
const FORBIDDEN: [char; 7] = ['<', '>', ';', '|', '/', '?', '#'];

/// Returns the two ways to configure the source of a secret.
fn places(field: &Field<'_>, keys: &SecretKeys) -> String {
    if field.is_of_flags() {
        format!("{} or {}", field.name_of(&keys.file), field.name_of(&keys.env))
    } else {
        "{file: …} or {env: …}".to_owned()
    }
}

/// Returns the type of `identity`.
pub(super) fn type_of(identity: &Identity) -> IdentityType {
    match identity {
        Identity::Entra(entra) => match entra.source {
            EntraSource::Auto { .. } => IdentityType::Auto,
            EntraSource::ManagedIdentity(_) => IdentityType::ManagedIdentity,
            EntraSource::WorkloadIdentity { .. } => IdentityType::WorkloadIdentity,
            EntraSource::ClientSecret { .. } => IdentityType::ClientSecret,
            EntraSource::ClientCertificate { .. } => IdentityType::ClientCertificate,
            EntraSource::AzureCli(_) => IdentityType::AzureCli,
            EntraSource::AzureDeveloperCli { .. } => IdentityType::AzureDeveloperCli,
        },
        Identity::Token(_) => IdentityType::Token,
        Identity::AccessKey(_) => IdentityType::AccessKey,
        Identity::Password(_) => IdentityType::Password,
        Identity::None => IdentityType::None,
    }
}

/// Returns the name of `identity`'s type.
pub(super) fn type_name(identity: &Identity) -> &'static str {
    TYPE.name_of(&type_of(identity))
}

/// Returns the identity of a target without the key.
pub(super) fn default_identity() -> Identity {
    let source = EntraSource::Auto { client_id: None, token_proxy: TOKEN_PROXY.default() };
    Identity::Entra(EntraIdentity { source, scope: SCOPE.default().to_owned(), authority: None })
}

/// Reads the name of a type, or a mapping with the key `type`.
pub(super) fn read(field: &Field<'_>) -> Result<Identity, Invalid> {
    read_as(field, &IDENTITY)
}

/// Reads an identity whose mapping may have further keys: those of `identity`.
pub(super) fn read_as(field: &Field<'_>, identity: &Key<IdentityType>) -> Result<Identity, Invalid> {
    let (kind, fields) = read_type(field, identity, &TYPE)?;
    // A key of another type is already reported, so its value is not read.
    let own = |key: &Key<&str>| fields.get(key).filter(|_| key.about.is_used_by(kind));
    let id = |key| own(key).map(|field| field.word(key).map(str::to_owned)).transpose();
    let client_id = id(&CLIENT_ID);
    let tenant_id = own(&TENANT_ID).map(|field| read_tenant(&field)).transpose();
    let scope = own(&SCOPE).map(|field| field.word(&SCOPE)).transpose();
    let token_proxy = fields.get(&TOKEN_PROXY).filter(|_| TOKEN_PROXY.about.is_used_by(kind));
    let token_proxy = token_proxy.map_or(Ok(TOKEN_PROXY.default()), |field| field.choice(&TOKEN_PROXY));
    let authority = own(&AUTHORITY).map(|field| read_authority(&field)).transpose();
    let required_secret = |keys| read_required_secret(field, &fields, keys, TYPE.name_of(&kind));

    let source = match kind {
        IdentityType::Auto => EntraSource::Auto { client_id: client_id?, token_proxy: token_proxy? },
        IdentityType::ManagedIdentity => EntraSource::ManagedIdentity(read_managed_identity(&fields)?),
        IdentityType::WorkloadIdentity => {
            let token_file = own(&TOKEN_FILE).map(|field| field.text(&TOKEN_FILE)).transpose();
            EntraSource::WorkloadIdentity {
                client_id: client_id?,
                tenant_id: tenant_id?,
                token_file: token_file?.map(PathBuf::from),
                token_proxy: token_proxy?,
            }
        }
        IdentityType::ClientSecret => {
            let secret =
                own(&CLIENT_SECRET.whole).map(|field| read_secret(&field, &CLIENT_SECRET)).transpose();
            EntraSource::ClientSecret { client_id: client_id?, tenant_id: tenant_id?, secret: secret? }
        }
        IdentityType::ClientCertificate => {
            let files = own(&CLIENT_CERTIFICATE.whole).map(|field| certificate::read(&field)).transpose();
            let send_chain = fields.read(&SEND_CERTIFICATE_CHAIN).transpose();
            EntraSource::ClientCertificate {
                client_id: client_id?,
                tenant_id: tenant_id?,
                files: files?,
                send_chain: send_chain?,
            }
        }
        IdentityType::AzureCli => EntraSource::AzureCli(read_azure_account(&fields, tenant_id?)?),
        IdentityType::AzureDeveloperCli => EntraSource::AzureDeveloperCli { tenant_id: tenant_id? },
        IdentityType::Token => return read_token(field, &fields),
        IdentityType::AccessKey => return required_secret(&ACCESS_KEY).map(Identity::AccessKey),
        IdentityType::Password => return required_secret(&PASSWORD).map(Identity::Password),
        IdentityType::None => return Ok(Identity::None),
    };
    let scope = scope?.unwrap_or(SCOPE.default()).to_owned();
    Ok(Identity::Entra(EntraIdentity { source, scope, authority: authority? }))
}

fn read_token(field: &Field<'_>, fields: &Fields<'_>) -> Result<Identity, Invalid> {
    let advice = if field.is_of_flags() {
        format!("give {} or {}", field.name_of(&TOKEN.file), field.name_of(&TOKEN.command))
    } else {
        "write identity: {type: token, token: {file: …}} or {type: token, token: {command: […]}}".to_owned()
    };
    token::read(&fields.required(&TOKEN.whole, &advice)?).map(Identity::Token)
}

/// Reads the identity for sentinels: a password, or `None`.
pub(super) fn read_of_sentinels(field: &Field<'_>) -> Result<Option<SecretSource>, Invalid> {
    let (kind, fields) = read_type(field, &sentinel::IDENTITY, &sentinel::TYPE)?;
    match kind {
        IdentityType::Password => {
            let name = sentinel::TYPE.name_of(&kind);
            read_required_secret(field, &fields, &sentinel::PASSWORD, name).map(Some)
        }
        _ => Ok(None),
    }
}

/// Reads the type of `identity`, whose key is `kind`, and returns it with the other keys.
fn read_type<'a>(
    field: &Field<'a>,
    identity: &Key<IdentityType>,
    kind: &Key<IdentityType>,
) -> Result<(IdentityType, Fields<'a>), Invalid> {
    let (read, fields) = if let Value::Map(_) = field.value() {
        let read = field.any_fields("a mapping")?.choice(kind).unwrap_or(Ok(kind.default()));
        let is_used = |key: &About| read.ok().is_none_or(|read| key.is_used_by(read));
        let fields = field.fields_listing(&identity.about, is_used)?;
        (read?, fields)
    } else {
        (field.choice(identity)?, field.no_fields())
    };
    refuse_keys_of_other_types(&fields, identity, kind, read);
    Ok((read, fields))
}

/// Reads the source of the secret that an identity of the type `name` must have.
fn read_required_secret(
    field: &Field<'_>,
    fields: &Fields<'_>,
    keys: &SecretKeys,
    name: &str,
) -> Result<SecretSource, Invalid> {
    let advice = if field.is_of_flags() || matches!(field.value(), Value::Map(_)) {
        format!("give {}", places(field, keys))
    } else {
        format!("write identity: {{type: {name}, {}: {{file: …}}}}", keys.whole.about.name())
    };
    read_secret(&fields.required(&keys.whole, &advice)?, keys)
}

fn refuse_keys_of_other_types(
    fields: &Fields<'_>,
    identity: &Key<IdentityType>,
    kind: &Key<IdentityType>,
    read: IdentityType,
) {
    for key in identity.about.keys.iter().map(|key| key.about()).filter(|key| !key.is_used_by(read)) {
        if let Some(field) = fields.named(key.name()) {
            let owners = one_of(key.identities.iter().map(|owner| kind.name_of(owner)));
            let advice = match key.identities {
                [owner] if fields.get(kind).is_none() => {
                    format!("; add {}", field.setting(kind, kind.name_of(owner)))
                }
                _ => String::new(),
            };
            let name = kind.name_of(&read);
            field.problem(format!("not used by the identity type {name}, only by {owners}{advice}"));
        }
    }
}

fn read_managed_identity(fields: &Fields<'_>) -> Result<ManagedIdentityId, Invalid> {
    let mut given = MANAGED_IDENTITY_IDS.into_iter().filter_map(|key| Some((key, fields.get(key)?)));
    let Some((key, field)) = given.next() else { return Ok(ManagedIdentityId::System) };
    let id = field.word(key).map(str::to_owned);
    for (_, other) in given {
        other.problem(format!("{} names the identity already; keep one of them", field.name_of(key)));
    }
    Ok(match key.about.path {
        path if path == CLIENT_ID.about.path => ManagedIdentityId::ClientId(id?),
        path if path == OBJECT_ID.about.path => ManagedIdentityId::ObjectId(id?),
        _ => ManagedIdentityId::ResourceId(id?),
    })
}

/// Reads the id or a domain of a tenant.
fn read_tenant(field: &Field<'_>) -> Result<String, Invalid> {
    let text = field.text(&TENANT_ID)?;
    if is_tenant(text) { Ok(text.to_owned()) } else { Err(field.expected(TENANT_ID.words())) }
}

/// Reads the account of `az`, which takes a tenant or a subscription.
fn read_azure_account(fields: &Fields<'_>, tenant_id: Option<String>) -> Result<AzureAccount, Invalid> {
    let Some(field) = fields.get(&SUBSCRIPTION) else {
        return Ok(tenant_id.map_or(AzureAccount::Default, AzureAccount::Tenant));
    };
    let subscription = field.text(&SUBSCRIPTION)?;
    // Names have any other character. The start of a flag is none of a name.
    if subscription.starts_with(|c: char| c == '-' || c.is_whitespace()) || subscription.contains(FORBIDDEN) {
        return Err(field.expected(SUBSCRIPTION.words()));
    }
    if tenant_id.is_some() {
        let tenant_id = field.name_of(&TENANT_ID);
        return Err(field.problem(format!("{tenant_id} selects the account already; keep one of them")));
    }
    Ok(AzureAccount::Subscription(subscription.to_owned()))
}

/// Reads `https://` and a host, with an optional port and trailing slash. Returns it without the slash. Entra's
/// libraries reject other schemes.
fn read_authority(field: &Field<'_>) -> Result<String, Invalid> {
    let what = AUTHORITY.words();
    if field.text(&AUTHORITY)?.contains('@') {
        // The text before it may be a password, so it is not repeated.
        return Err(field.problem(format!("expected {what}, without user information")));
    }
    let text = field.word(&AUTHORITY)?;
    url_of_host(text).ok_or_else(|| field.expected(what))
}

/// Reads the source of a secret, which must be readable now. Messages repeat only the name of a file or variable, because
/// any other value may be the secret itself.
fn read_secret(field: &Field<'_>, keys: &SecretKeys) -> Result<SecretSource, Invalid> {
    let places = places(field, keys);
    let Value::Map(entries) = field.value() else {
        return Err(
            field.problem(format!("a secret is kept in a file or an environment variable: give {places}"))
        );
    };
    let fields = field.any_fields("a mapping")?;
    let [(_, place)] = entries.as_slice() else {
        return Err(field.problem(format!("give {places}, and nothing else")));
    };
    let (place, source) = match (fields.get(&keys.file), fields.get(&keys.env), &place.value) {
        (Some(file), _, Value::Text(path)) if is_path(path) => (file, SecretSource::File(path.into())),
        (_, Some(env), Value::Text(name)) if is_variable_name(name) => (env, SecretSource::Env(name.clone())),
        (Some(file), _, Value::Text(path)) if is_no_path(path) => {
            return Err(file.problem(format!("expected {}, {LIKE_SECRET}", keys.file.words())));
        }
        (Some(file), _, _) => return Err(file.problem(format!("expected {}", keys.file.words()))),
        (_, Some(env), _) => return Err(env.problem(format!("expected {}", keys.env.words()))),
        (None, None, _) => return Err(field.problem(format!("give {places}, and nothing else"))),
    };
    match source.read_with(|path| place.read_file(path)) {
        Ok(secret) => {
            for surplus in secret.surplus() {
                place.warning(format!(
                    "the secret in {source} {surplus}; it is used as it is, so remove that unless it belongs to the secret"
                ));
            }
            Ok(source)
        }
        Err(error) => Err(place.problem(with_causes(&error))),
    }
}

/// Whether `text` may be a path. Anything else is probably the secret, or would break a message into lines.
fn is_path(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control) && !is_no_path(text)
}

/// Whether `name` is a valid name in POSIX. Anything else is probably the secret, expanded by a template.
fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
