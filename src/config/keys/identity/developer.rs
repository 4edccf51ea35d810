//! The account of the Azure CLI.

use super::super::{About, Absent, Flag, Key, Kind, Values};
use super::{GROUP, IdentityType};

/// `targets[].identity.subscription`
pub static SUBSCRIPTION: Key<&str> = Key {
    about: About {
        path: "targets[].identity.subscription",
        flag: Some(Flag::new("subscription", "NAME")),
        group: GROUP,
        help: "Name or id of a subscription of the Azure CLI's sign-in",
        doc: "Selects its account, instead of `tenant_id`. Takes precedence over the variable `AZURE_TENANT_ID`.",
        example: "Shop (test)",
        identities: &[IdentityType::AzureCli],
        pattern: "^[^-\\s<>;|/?#][^<>;|/?#]*$",
        ..About::EMPTY
    },
    values: Values::Text(Kind::Text, "the name or id of a subscription"),
    absent: Absent::Nothing,
};
