//! A Kubernetes workload identity.

use super::super::{About, Absent, Choice, Flag, Key, Kind, Values};
use super::{GROUP, IdentityType};
use crate::identity::TokenProxyMode;

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
