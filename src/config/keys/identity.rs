//! How a target signs in: the type of the identity, and in the folder beside this file the keys of each kind.

mod developer;
mod entra;
mod managed;
mod secrets;
mod service_principal;
mod token;
mod workload;

pub use self::developer::SUBSCRIPTION;
use self::entra::ENTRA;
pub use self::entra::{AUTHORITY, CLIENT_ID, SCOPE, TENANT_ID};
pub use self::managed::{MANAGED_IDENTITY_IDS, OBJECT_ID, RESOURCE_ID};
pub use self::secrets::{ACCESS_KEY, PASSWORD};
pub use self::service_principal::{
    CLIENT_CERTIFICATE, CLIENT_SECRET, CertificateKeys, SEND_CERTIFICATE_CHAIN,
};
pub use self::token::{TOKEN, TokenKeys};
pub use self::workload::{TOKEN_FILE, TOKEN_PROXY};
use super::fleet::HOSTS;
use super::{About, Absent, Choice, Descriptor, Flag, Group, Key, Kind, Values, WORD};

const GROUP: Group = Group::Identity;

/// The source of a target's credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityType {
    /// The first Entra identity that the environment offers.
    Auto,
    /// A managed identity.
    ManagedIdentity,
    /// A Kubernetes workload identity.
    WorkloadIdentity,
    /// A service principal's secret.
    ClientSecret,
    /// A service principal's certificate.
    ClientCertificate,
    /// The Azure CLI's sign-in.
    AzureCli,
    /// The Azure Developer CLI's sign-in.
    AzureDeveloperCli,
    /// A token that a file or a command supplies.
    Token,
    /// The cache's access key.
    AccessKey,
    /// An ACL user's password.
    Password,
    /// No sign-in.
    None,
}

pub(super) const TYPES: &[Choice<IdentityType>] = &[
    Choice {
        name: "auto",
        value: IdentityType::Auto,
        help: "The first Entra identity that the environment offers; the log names it",
    },
    Choice {
        name: "managed_identity",
        value: IdentityType::ManagedIdentity,
        help: "A managed identity of the host: a virtual machine, App Service, Container Apps, Azure Arc and others",
    },
    Choice {
        name: "workload_identity",
        value: IdentityType::WorkloadIdentity,
        help: "A Kubernetes service account that is federated with an Entra identity",
    },
    Choice {
        name: "client_secret",
        value: IdentityType::ClientSecret,
        help: "A service principal with a client secret",
    },
    Choice {
        name: "client_certificate",
        value: IdentityType::ClientCertificate,
        help: "A service principal with a certificate",
    },
    Choice { name: "azure_cli", value: IdentityType::AzureCli, help: "The user signed in to the Azure CLI" },
    Choice {
        name: "azure_developer_cli",
        value: IdentityType::AzureDeveloperCli,
        help: "The user signed in to the Azure Developer CLI",
    },
    Choice {
        name: "token",
        value: IdentityType::Token,
        help: "A token that a file contains or a command prints, such as one of AWS or Google Cloud",
    },
    Choice {
        name: "access_key",
        value: IdentityType::AccessKey,
        help: "The cache's access key, as the password of the default user",
    },
    Choice { name: "password", value: IdentityType::Password, help: "The password of an ACL user" },
    Choice { name: "none", value: IdentityType::None, help: "No sign-in" },
];

/// The keys of an identity that has a name. All but the last are also those of a target's.
pub(super) static NAMED: &[&dyn Descriptor] = &[
    &TYPE,
    &CLIENT_ID,
    &OBJECT_ID,
    &RESOURCE_ID,
    &TENANT_ID,
    &SUBSCRIPTION,
    &TOKEN_FILE,
    &TOKEN_PROXY,
    &CLIENT_SECRET.whole,
    &CLIENT_CERTIFICATE.whole,
    &SEND_CERTIFICATE_CHAIN,
    &TOKEN.whole,
    &ACCESS_KEY.whole,
    &PASSWORD.whole,
    &SCOPE,
    &AUTHORITY,
    &HOSTS,
];

/// `targets[].identity`
pub static IDENTITY: Key<IdentityType> = Key {
    about: About {
        path: "targets[].identity",
        group: GROUP,
        help: "How to sign in: a type, or a mapping with the type and its details",
        doc: "Targets with equal identities share one token.",
        example: "{type: managed_identity, client_id: 7d5c8a52-6d34-4c3b-9a53-0c1b0a3f9a10}",
        keys: {
            const OF_TARGET: &[&dyn Descriptor] = NAMED.split_at(NAMED.len() - 1).0;
            OF_TARGET
        },
        ..About::EMPTY
    },
    values: Values::Choices(TYPES),
    absent: Absent::Default(TYPE.default()),
};

/// `targets[].identity.type`
pub static TYPE: Key<IdentityType> = Key {
    about: About {
        path: "targets[].identity.type",
        flag: Some(Flag::new("identity", "TYPE").common()),
        group: GROUP,
        help: "How to sign in",
        example: "managed_identity",
        ..About::EMPTY
    },
    values: Values::Choices(TYPES),
    absent: Absent::Default(IdentityType::Auto),
};

/// The types that sign in as a user.
static USERS: [IdentityType; ENTRA.len() + 2] = {
    let mut users = [IdentityType::Token; ENTRA.len() + 2];
    users.split_at_mut(ENTRA.len()).0.copy_from_slice(ENTRA);
    users[ENTRA.len() + 1] = IdentityType::Password;
    users
};

/// `targets[].username`
pub static USERNAME: Key<&str> = Key {
    about: About {
        path: "targets[].username",
        flag: Some(Flag::new("username", "NAME").common()),
        group: GROUP,
        help: "Redis user",
        doc: "With an Entra identity, the object id that has an access policy on the cache. With a supplied token, the \
              default is the `username` beside it in JSON, then the claim `oid`, then the user `default`.",
        example: "0f4b7a5e-2c1d-4f6a-8b3e-9d7c5a1e2f40",
        identities: &USERS,
        pattern: WORD,
        ..About::EMPTY
    },
    values: Values::Text(Kind::Text, "a user name without spaces"),
    absent: Absent::Described("the token's object id; with a password, the default user"),
};
