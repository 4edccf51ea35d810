//! The key `identity`: how a target signs in, and where its secrets are kept.

use std::path::PathBuf;

use hyper::http::uri::Authority;

use super::document::Value;
use super::field::{Field, Fields, Invalid, one_of};
use super::problem::with_causes;
use crate::identity::{DEFAULT_SCOPE, EntraIdentity, EntraSource, Identity, ManagedIdentityId};
use crate::secret::SecretSource;

/// What `type` may say, and the keys that belong to it.
#[derive(Clone, Copy, PartialEq)]
enum Type {
    Auto,
    ManagedIdentity,
    WorkloadIdentity,
    ClientSecret,
    AzureCli,
    AzureDeveloperCli,
    AccessKey,
    Password,
    None,
}

const TYPES: [(&str, Type); 9] = [
    ("auto", Type::Auto),
    ("managed_identity", Type::ManagedIdentity),
    ("workload_identity", Type::WorkloadIdentity),
    ("client_secret", Type::ClientSecret),
    ("azure_cli", Type::AzureCli),
    ("azure_developer_cli", Type::AzureDeveloperCli),
    ("access_key", Type::AccessKey),
    ("password", Type::Password),
    ("none", Type::None),
];

const KEYS: [&str; 11] = [
    "type",
    "client_id",
    "object_id",
    "resource_id",
    "tenant_id",
    "token_file",
    "client_secret",
    "key",
    "password",
    "scope",
    "authority",
];

const ID: &str = "an id without spaces";

const WHERE: &str = "give {file: …} or {env: …}";

impl Type {
    fn name(self) -> &'static str {
        TYPES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// The keys beside `type`.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Auto => &["client_id", "scope", "authority"],
            Self::ManagedIdentity => &["client_id", "object_id", "resource_id", "scope"],
            Self::WorkloadIdentity => &["client_id", "tenant_id", "token_file", "scope", "authority"],
            Self::ClientSecret => &["client_id", "tenant_id", "client_secret", "scope", "authority"],
            Self::AzureCli | Self::AzureDeveloperCli => &["scope"],
            Self::AccessKey => &["key"],
            Self::Password => &["password"],
            Self::None => &[],
        }
    }
}

/// The name of `identity`'s type.
pub(super) fn type_name(identity: &Identity) -> &'static str {
    let kind = match identity {
        Identity::Entra(entra) => match entra.source {
            EntraSource::Auto { .. } => Type::Auto,
            EntraSource::ManagedIdentity(_) => Type::ManagedIdentity,
            EntraSource::WorkloadIdentity { .. } => Type::WorkloadIdentity,
            EntraSource::ClientSecret { .. } => Type::ClientSecret,
            EntraSource::AzureCli => Type::AzureCli,
            EntraSource::AzureDeveloperCli => Type::AzureDeveloperCli,
        },
        Identity::AccessKey(_) => Type::AccessKey,
        Identity::Password(_) => Type::Password,
        Identity::None => Type::None,
    };
    kind.name()
}

/// The identity of a target that names none.
pub(super) fn default_identity() -> Identity {
    let source = EntraSource::Auto { client_id: None };
    Identity::Entra(EntraIdentity { source, scope: DEFAULT_SCOPE.to_owned(), authority: None })
}

/// The name of a type, or a mapping with the key `type`.
pub(super) fn read(field: &Field<'_>) -> Result<Identity, Invalid> {
    let (kind, fields) = if let Value::Map(_) = field.value() {
        let fields = field.fields("a mapping", &KEYS)?;
        (fields.get("type").map_or(Ok(Type::Auto), |kind| kind.choice(&TYPES))?, fields)
    } else {
        (field.choice(&TYPES)?, field.no_fields())
    };
    refuse_keys_of_other_types(&fields, kind);

    // A key of another type is refused already: what it says must not be read, nor found wrong once more.
    let own = |key| fields.get(key).filter(|_| kind.keys().contains(&key));
    let id = |key| own(key).map(|field| field.word(ID).map(str::to_owned)).transpose();
    let client_id = id("client_id");
    let tenant_id = id("tenant_id");
    let scope = own("scope").map(|field| field.word("a scope without spaces")).transpose();
    let authority = own("authority").map(|field| read_authority(&field)).transpose();

    let source = match kind {
        Type::Auto => EntraSource::Auto { client_id: client_id? },
        Type::ManagedIdentity => EntraSource::ManagedIdentity(read_managed_identity(&fields)?),
        Type::WorkloadIdentity => {
            let token_file = own("token_file").map(|field| field.text("a path")).transpose();
            EntraSource::WorkloadIdentity {
                client_id: client_id?,
                tenant_id: tenant_id?,
                token_file: token_file?.map(PathBuf::from),
            }
        }
        Type::ClientSecret => {
            let secret = own("client_secret").map(|field| read_secret(&field)).transpose();
            EntraSource::ClientSecret { client_id: client_id?, tenant_id: tenant_id?, secret: secret? }
        }
        Type::AzureCli => EntraSource::AzureCli,
        Type::AzureDeveloperCli => EntraSource::AzureDeveloperCli,
        Type::AccessKey => return Ok(Identity::AccessKey(read_secret(&fields.required("key", WHERE)?)?)),
        Type::Password => return Ok(Identity::Password(read_secret(&fields.required("password", WHERE)?)?)),
        Type::None => return Ok(Identity::None),
    };
    let scope = scope?.unwrap_or(DEFAULT_SCOPE).to_owned();
    Ok(Identity::Entra(EntraIdentity { source, scope, authority: authority? }))
}

fn refuse_keys_of_other_types(fields: &Fields<'_>, kind: Type) {
    for key in KEYS.iter().filter(|key| **key != "type" && !kind.keys().contains(key)) {
        if let Some(field) = fields.get(key) {
            let owners = TYPES.iter().filter(|(_, kind)| kind.keys().contains(key)).map(|(name, _)| *name);
            let (name, owners) = (kind.name(), one_of(owners));
            field.problem(format!("has no meaning with the identity type {name}, only with {owners}"));
        }
    }
}

fn read_managed_identity(fields: &Fields<'_>) -> Result<ManagedIdentityId, Invalid> {
    let keys = ["client_id", "object_id", "resource_id"];
    let mut given = keys.into_iter().filter_map(|key| Some((key, fields.get(key)?)));
    let Some((key, field)) = given.next() else { return Ok(ManagedIdentityId::System) };
    let id = field.word(ID).map(str::to_owned);
    for (_, other) in given {
        other.problem(format!("names the identity again, beside {key}; keep one"));
    }
    Ok(match key {
        "client_id" => ManagedIdentityId::ClientId(id?),
        "object_id" => ManagedIdentityId::ObjectId(id?),
        _ => ManagedIdentityId::ResourceId(id?),
    })
}

/// `https://` and a host, with or without port and a slash at the end. Brings it without the slash.
/// Entra's own libraries refuse anything but `https`.
fn read_authority(field: &Field<'_>) -> Result<String, Invalid> {
    const WHAT: &str = "https:// and a host, such as https://login.microsoftonline.us";
    if field.text(WHAT)?.contains('@') {
        // What stands before it may be a password: it is not repeated, nor found to be anything else.
        return Err(field.problem(format!("expected {WHAT}, without user information")));
    }
    let text = field.word(WHAT)?;
    let url = text.strip_suffix('/').unwrap_or(text);
    let host = url.strip_prefix("https://").and_then(|host| host.parse::<Authority>().ok());
    if host.is_some_and(|host| !host.host().is_empty()) {
        Ok(url.to_owned())
    } else {
        Err(field.expected(WHAT))
    }
}

/// Where a secret is kept, which must be readable now. Messages repeat nothing of what stands here but the name of a
/// file or variable: it may be the secret itself.
fn read_secret(field: &Field<'_>) -> Result<SecretSource, Invalid> {
    let Value::Map(entries) = field.value() else {
        return Err(field.problem(format!("a secret is kept in a file or an environment variable: {WHERE}")));
    };
    let fields = field.any_fields("a mapping")?;
    let [(_, place)] = entries.as_slice() else {
        return Err(field.problem(format!("{WHERE}, and nothing else")));
    };
    let (place, source) = match (fields.get("file"), fields.get("env"), &place.value) {
        (Some(file), _, Value::Text(path)) if is_path(path) => (file, SecretSource::File(path.into())),
        (_, Some(env), Value::Text(name)) if is_variable_name(name) => (env, SecretSource::Env(name.clone())),
        (Some(file), _, _) => return Err(file.problem("expected the path of a file")),
        (_, Some(env), _) => return Err(env.problem("expected the name of an environment variable")),
        (None, None, _) => return Err(field.problem(format!("{WHERE}, and nothing else"))),
    };
    match source.read() {
        Ok(_) => Ok(source),
        Err(error) => Err(place.problem(with_causes(&error))),
    }
}

/// Anything else is more likely the secret, or would break the line of a message.
fn is_path(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control)
}

/// A name as POSIX has it; anything else is more likely the secret, expanded by a template.
fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
