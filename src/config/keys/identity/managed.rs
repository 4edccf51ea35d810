//! The ids of a managed identity.

use super::super::{About, Absent, Flag, Key, Kind, Values, WORD};
use super::entra::{CLIENT_ID, ID};
use super::{GROUP, IdentityType};

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
