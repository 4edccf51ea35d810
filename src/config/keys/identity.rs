//! How a target signs in.

use super::{About, Absent, Choice, Descriptor, Flag, Group, Key, Kind, Values, WORD};
use crate::identity::TokenProxyMode;

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
    /// The Azure CLI's sign-in.
    AzureCli,
    /// The Azure Developer CLI's sign-in.
    AzureDeveloperCli,
    /// The cache's access key.
    AccessKey,
    /// An ACL user's password.
    Password,
    /// No sign-in.
    None,
}

const TYPES: &[Choice<IdentityType>] = &[
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
    Choice { name: "azure_cli", value: IdentityType::AzureCli, help: "The user signed in to the Azure CLI" },
    Choice {
        name: "azure_developer_cli",
        value: IdentityType::AzureDeveloperCli,
        help: "The user signed in to the Azure Developer CLI",
    },
    Choice {
        name: "access_key",
        value: IdentityType::AccessKey,
        help: "The cache's access key, as the password of the default user",
    },
    Choice { name: "password", value: IdentityType::Password, help: "The password of an ACL user" },
    Choice { name: "none", value: IdentityType::None, help: "No sign-in" },
];

/// The types whose credentials are Entra tokens.
const ENTRA: &[IdentityType] = &[
    IdentityType::Auto,
    IdentityType::ManagedIdentity,
    IdentityType::WorkloadIdentity,
    IdentityType::ClientSecret,
    IdentityType::AzureCli,
    IdentityType::AzureDeveloperCli,
];

/// `targets[].identity`
pub static IDENTITY: Key<IdentityType> = Key {
    about: About {
        path: "targets[].identity",
        group: GROUP,
        help: "How to sign in: a type, or a mapping with the type and its details",
        doc: "Targets with equal identities share one token.",
        example: "{type: managed_identity, client_id: 7d5c8a52-6d34-4c3b-9a53-0c1b0a3f9a10}",
        keys: &[
            &TYPE,
            &CLIENT_ID,
            &OBJECT_ID,
            &RESOURCE_ID,
            &TENANT_ID,
            &TOKEN_FILE,
            &TOKEN_PROXY,
            &CLIENT_SECRET.whole,
            &ACCESS_KEY.whole,
            &PASSWORD.whole,
            &SCOPE,
            &AUTHORITY,
        ],
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

const ID: &str = "an id without spaces";

/// `targets[].identity.client_id`
pub static CLIENT_ID: Key<&str> = Key {
    about: About {
        path: "targets[].identity.client_id",
        flag: Some(Flag::new("client-id", "ID").common()),
        group: GROUP,
        help: "Client id of a managed identity or an application",
        doc: "A managed identity without an id is the system-assigned one. For a workload identity or a client \
              secret the default is the variable `AZURE_CLIENT_ID`.",
        example: "7d5c8a52-6d34-4c3b-9a53-0c1b0a3f9a10",
        identities: &[
            IdentityType::Auto,
            IdentityType::ManagedIdentity,
            IdentityType::WorkloadIdentity,
            IdentityType::ClientSecret,
        ],
        pattern: WORD,
        ..About::EMPTY
    },
    values: Values::Text(Kind::Text, ID),
    absent: Absent::Described("$AZURE_CLIENT_ID, or the system-assigned identity"),
};

/// `targets[].identity.object_id`
pub static OBJECT_ID: Key<&str> = Key {
    about: About {
        path: "targets[].identity.object_id",
        flag: Some(Flag::new("object-id", "ID")),
        group: GROUP,
        help: "Object id of a managed identity, instead of its client id",
        example: "0f4b7a5e-2c1d-4f6a-8b3e-9d7c5a1e2f40",
        identities: &[IdentityType::ManagedIdentity],
        pattern: WORD,
        ..About::EMPTY
    },
    values: Values::Text(Kind::Text, ID),
    absent: Absent::Nothing,
};

/// `targets[].identity.resource_id`
pub static RESOURCE_ID: Key<&str> = Key {
    about: About {
        path: "targets[].identity.resource_id",
        flag: Some(Flag::new("resource-id", "ID")),
        group: GROUP,
        help: "Azure resource id of a managed identity, instead of its client id",
        example: "/subscriptions/0/resourceGroups/shop/providers/Microsoft.ManagedIdentity/userAssignedIdentities/probe",
        identities: &[IdentityType::ManagedIdentity],
        pattern: WORD,
        ..About::EMPTY
    },
    values: Values::Text(Kind::Text, ID),
    absent: Absent::Nothing,
};

/// The ids of a managed identity, of which it takes one.
pub static MANAGED_IDENTITY_IDS: [&Key<&str>; 3] = [&CLIENT_ID, &OBJECT_ID, &RESOURCE_ID];

/// `targets[].identity.tenant_id`
pub static TENANT_ID: Key<&str> = Key {
    about: About {
        path: "targets[].identity.tenant_id",
        flag: Some(Flag::new("tenant-id", "ID")),
        group: GROUP,
        help: "Entra tenant of the application",
        example: "5f1d2c3b-4a59-4687-9b7c-8d9e0f1a2b3c",
        identities: &[IdentityType::WorkloadIdentity, IdentityType::ClientSecret],
        pattern: WORD,
        ..About::EMPTY
    },
    values: Values::Text(Kind::Text, ID),
    absent: Absent::Described("$AZURE_TENANT_ID"),
};

/// `targets[].identity.token_file`
pub static TOKEN_FILE: Key<&str> = Key {
    about: About {
        path: "targets[].identity.token_file",
        flag: Some(Flag::new("token-file", "FILE")),
        group: GROUP,
        help: "File with the projected service account token",
        doc: "The file is read at each sign-in.",
        example: "/var/run/secrets/azure/tokens/azure-identity-token",
        identities: &[IdentityType::WorkloadIdentity],
        ..About::EMPTY
    },
    values: Values::Text(Kind::Path, "a path"),
    absent: Absent::Described("$AZURE_FEDERATED_TOKEN_FILE"),
};

/// `targets[].identity.token_proxy`
pub static TOKEN_PROXY: Key<TokenProxyMode> = Key {
    about: About {
        path: "targets[].identity.token_proxy",
        flag: Some(Flag::new("token-proxy", "MODE")),
        group: GROUP,
        help: "Whether tokens are exchanged by the proxy of AKS identity bindings",
        doc: "The webhook of Azure Workload Identity names the proxy in the variable `AZURE_KUBERNETES_TOKEN_PROXY`. With \
              `token_file`, the token is exchanged with Entra ID.",
        identities: &[IdentityType::Auto, IdentityType::WorkloadIdentity],
        ..About::EMPTY
    },
    values: Values::Choices(&[
        Choice {
            name: "auto",
            value: TokenProxyMode::Auto,
            help: "Where the variables of the pod name the proxy and the token file",
        },
        Choice { name: "off", value: TokenProxyMode::Off, help: "Never" },
    ]),
    absent: Absent::Default(TokenProxyMode::Auto),
};

/// `targets[].identity.client_secret`
pub static CLIENT_SECRET: SecretKeys = SecretKeys {
    whole: secret_mapping(
        "targets[].identity.client_secret",
        GROUP,
        "Source of the application's secret",
        TOKEN_SECRET,
        "{file: /etc/cachepulse/client-secret}",
        &[IdentityType::ClientSecret],
        &[&CLIENT_SECRET.file, &CLIENT_SECRET.env],
        Absent::Described("$AZURE_CLIENT_SECRET"),
    ),
    file: secret_file(
        "targets[].identity.client_secret.file",
        GROUP,
        Flag::new("client-secret-file", "FILE"),
        "File with the application's secret",
        &[IdentityType::ClientSecret],
    ),
    env: secret_env(
        "targets[].identity.client_secret.env",
        GROUP,
        Flag::new("client-secret-env", "NAME"),
        "Environment variable with the application's secret",
        &[IdentityType::ClientSecret],
    ),
};

/// `targets[].identity.key`
pub static ACCESS_KEY: SecretKeys = SecretKeys {
    whole: secret_mapping(
        "targets[].identity.key",
        GROUP,
        "Source of the cache's access key",
        CACHE_SECRET,
        "{file: /etc/cachepulse/access-key}",
        &[IdentityType::AccessKey],
        &[&ACCESS_KEY.file, &ACCESS_KEY.env],
        Absent::Required,
    ),
    file: secret_file(
        "targets[].identity.key.file",
        GROUP,
        Flag::new("access-key-file", "FILE").common(),
        "File with the cache's access key",
        &[IdentityType::AccessKey],
    ),
    env: secret_env(
        "targets[].identity.key.env",
        GROUP,
        Flag::new("access-key-env", "NAME"),
        "Environment variable with the cache's access key",
        &[IdentityType::AccessKey],
    ),
};

/// `targets[].identity.password`
pub static PASSWORD: SecretKeys = SecretKeys {
    whole: secret_mapping(
        "targets[].identity.password",
        GROUP,
        "Source of the ACL user's password",
        CACHE_SECRET,
        "{env: CACHE_PASSWORD}",
        &[IdentityType::Password],
        &[&PASSWORD.file, &PASSWORD.env],
        Absent::Required,
    ),
    file: secret_file(
        "targets[].identity.password.file",
        GROUP,
        Flag::new("password-file", "FILE").common(),
        "File with the password of the ACL user",
        &[IdentityType::Password],
    ),
    env: secret_env(
        "targets[].identity.password.env",
        GROUP,
        Flag::new("password-env", "NAME"),
        "Environment variable with the password of the ACL user",
        &[IdentityType::Password],
    ),
};

/// `targets[].identity.scope`
pub static SCOPE: Key<&str> = Key {
    about: About {
        path: "targets[].identity.scope",
        flag: Some(Flag::new("scope", "SCOPE")),
        group: GROUP,
        help: "Scope of the Entra tokens",
        doc: "The default is right for Azure Cache for Redis and Azure Managed Redis in every cloud.",
        identities: ENTRA,
        pattern: WORD,
        ..About::EMPTY
    },
    values: Values::Text(Kind::Text, "a scope without spaces"),
    absent: Absent::Default(crate::identity::DEFAULT_SCOPE),
};

/// `targets[].identity.authority`
pub static AUTHORITY: Key<&str> = Key {
    about: About {
        path: "targets[].identity.authority",
        flag: Some(Flag::new("authority", "URL")),
        group: GROUP,
        help: "Entra's address in another cloud",
        doc: "`https://` and a host, such as `https://login.microsoftonline.us` for Azure Government.",
        example: "https://login.microsoftonline.us",
        identities: &[IdentityType::Auto, IdentityType::WorkloadIdentity, IdentityType::ClientSecret],
        pattern: "^https://[^/@\\s]+/?$",
        ..About::EMPTY
    },
    values: Values::Text(Kind::Url, "https:// and a host, such as https://login.microsoftonline.us"),
    absent: Absent::Described("$AZURE_AUTHORITY_HOST, or the public cloud"),
};

/// `targets[].username`
pub static USERNAME: Key<&str> = Key {
    about: About {
        path: "targets[].username",
        flag: Some(Flag::new("username", "NAME").common()),
        group: GROUP,
        help: "Redis user",
        doc: "With an Entra identity, the object id that has an access policy on the cache.",
        example: "0f4b7a5e-2c1d-4f6a-8b3e-9d7c5a1e2f40",
        identities: &[
            IdentityType::Auto,
            IdentityType::ManagedIdentity,
            IdentityType::WorkloadIdentity,
            IdentityType::ClientSecret,
            IdentityType::AzureCli,
            IdentityType::AzureDeveloperCli,
            IdentityType::Password,
        ],
        pattern: WORD,
        ..About::EMPTY
    },
    values: Values::Text(Kind::Text, "a user name without spaces"),
    absent: Absent::Described("the token's object id; with a password, the default user"),
};

/// The keys of a secret: the mapping that names its source, and the two sources below it.
#[derive(Debug)]
pub struct SecretKeys {
    /// The mapping.
    pub whole: Key<&'static str>,
    /// A file.
    pub file: Key<&'static str>,
    /// An environment variable.
    pub env: Key<&'static str>,
}

/// Returns the documentation of a secret; `$when` says when it is read and used.
macro_rules! secret_doc {
    ($when:literal) => {
        concat!(
            "The configuration never contains the secret itself: `file` names a file, `env` an environment variable. ",
            $when,
            " A rotated secret needs no restart. One trailing line break is ignored."
        )
    };
}

pub(super) use secret_doc;

/// The documentation of a secret that is exchanged for tokens.
const TOKEN_SECRET: &str = secret_doc!("The secret is read at each request for a token.");

/// The documentation of a secret that is presented to the cache.
const CACHE_SECRET: &str = secret_doc!(
    "The secret is read at each sign-in. A file is watched: when it changes, its new secret is presented on the open \
     connection."
);

#[expect(clippy::too_many_arguments, reason = "the parts of a descriptor")]
pub(super) const fn secret_mapping(
    path: &'static str,
    group: Group,
    help: &'static str,
    doc: &'static str,
    example: &'static str,
    identities: &'static [IdentityType],
    keys: &'static [&'static dyn Descriptor],
    absent: Absent<&'static str>,
) -> Key<&'static str> {
    Key {
        about: About { path, group, help, doc, example, identities, keys, is_one_of: true, ..About::EMPTY },
        values: Values::Mapping,
        absent,
    }
}

pub(super) const fn secret_file(
    path: &'static str,
    group: Group,
    flag: Flag,
    help: &'static str,
    identities: &'static [IdentityType],
) -> Key<&'static str> {
    Key {
        about: About {
            path,
            flag: Some(flag),
            group,
            help,
            example: "/etc/cachepulse/secret",
            identities,
            ..About::EMPTY
        },
        values: Values::Text(Kind::Path, "the path of a file"),
        absent: Absent::Nothing,
    }
}

pub(super) const fn secret_env(
    path: &'static str,
    group: Group,
    flag: Flag,
    help: &'static str,
    identities: &'static [IdentityType],
) -> Key<&'static str> {
    Key {
        about: About {
            path,
            flag: Some(flag),
            group,
            help,
            example: "CACHE_SECRET",
            identities,
            pattern: "^[A-Za-z_][A-Za-z0-9_]*$",
            ..About::EMPTY
        },
        values: Values::Text(Kind::Text, "the name of an environment variable"),
        absent: Absent::Nothing,
    }
}
