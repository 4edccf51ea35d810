//! A service principal.

use super::super::secret::{SecretKeys, secret_doc, secret_env, secret_file, secret_mapping};
use super::super::{Absent, Flag};
use super::{GROUP, IdentityType};

/// The documentation of a secret that is exchanged for tokens.
const TOKEN_SECRET: &str = secret_doc!("The secret is read at each request for a token.");

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
