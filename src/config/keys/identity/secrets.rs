//! The secrets that the cache itself knows: its access key and the passwords of its ACL users.

use super::super::secret::{SecretKeys, secret_doc, secret_env, secret_file, secret_mapping};
use super::super::{Absent, Flag};
use super::{GROUP, IdentityType};

/// The documentation of a secret that is presented to the cache.
const CACHE_SECRET: &str = secret_doc!(
    "The secret is read at each sign-in. A file is watched: when it changes, its new secret is presented on the open \
     connection."
);

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
