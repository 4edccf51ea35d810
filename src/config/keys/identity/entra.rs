//! What identities of Entra ID have in common.

use super::super::{About, Absent, Flag, Key, Kind, Values, WORD};
use super::{GROUP, IdentityType};

/// The types whose credentials are Entra tokens.
pub(super) const ENTRA: &[IdentityType] = &[
    IdentityType::Auto,
    IdentityType::ManagedIdentity,
    IdentityType::WorkloadIdentity,
    IdentityType::ClientSecret,
    IdentityType::ClientCertificate,
    IdentityType::AzureCli,
    IdentityType::AzureDeveloperCli,
];

pub(super) const ID: &str = "an id without spaces";

/// The characters of ids and domains of tenants, as Azure's SDKs check them.
const TENANT: &str = "^[A-Za-z0-9][A-Za-z0-9.-]*$";

/// `targets[].identity.client_id`
pub static CLIENT_ID: Key<&str> = Key {
    about: About {
        path: "targets[].identity.client_id",
        flag: Some(Flag::new("client-id", "ID").common()),
        group: GROUP,
        help: "Client id of a managed identity or an application",
        doc: "A managed identity without an id is the system-assigned one. For the other \
              types the default is the variable `AZURE_CLIENT_ID`.",
        example: "7d5c8a52-6d34-4c3b-9a53-0c1b0a3f9a10",
        identities: &[
            IdentityType::Auto,
            IdentityType::ManagedIdentity,
            IdentityType::WorkloadIdentity,
            IdentityType::ClientSecret,
            IdentityType::ClientCertificate,
        ],
        pattern: WORD,
        ..About::EMPTY
    },
    values: Values::Text(Kind::Text, ID),
    absent: Absent::Described("$AZURE_CLIENT_ID, or the system-assigned identity"),
};

/// `targets[].identity.tenant_id`
pub static TENANT_ID: Key<&str> = Key {
    about: About {
        path: "targets[].identity.tenant_id",
        flag: Some(Flag::new("tenant-id", "ID")),
        group: GROUP,
        help: "Entra tenant of the application, or of the developer's account",
        example: "5f1d2c3b-4a59-4687-9b7c-8d9e0f1a2b3c",
        identities: &[
            IdentityType::WorkloadIdentity,
            IdentityType::ClientSecret,
            IdentityType::ClientCertificate,
            IdentityType::AzureCli,
            IdentityType::AzureDeveloperCli,
        ],
        pattern: TENANT,
        ..About::EMPTY
    },
    values: Values::Text(Kind::Text, "the id or a domain of a tenant: letters, digits, `.` and `-`"),
    absent: Absent::Described("$AZURE_TENANT_ID"),
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
        identities: &[
            IdentityType::Auto,
            IdentityType::WorkloadIdentity,
            IdentityType::ClientSecret,
            IdentityType::ClientCertificate,
        ],
        pattern: "^https://[^/@\\s]+/?$",
        ..About::EMPTY
    },
    values: Values::Text(Kind::Url, "https:// and a host, such as https://login.microsoftonline.us"),
    absent: Absent::Described("$AZURE_AUTHORITY_HOST, or the public cloud"),
};
