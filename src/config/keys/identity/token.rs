//! A token that a file or a command supplies.

use std::time::Duration;

use super::super::{About, Absent, Flag, Key, Kind, Values, WORD};
use super::{GROUP, IdentityType};

const SUPPLIED: &[IdentityType] = &[IdentityType::Token];

/// The keys of a supplied token.
#[derive(Debug)]
pub struct TokenKeys {
    /// The mapping.
    pub whole: Key<&'static str>,
    /// The file with the token.
    pub file: Key<&'static str>,
    /// The command that prints the token.
    pub command: Key<&'static str>,
    /// How long the command may take.
    pub timeout: Key<Duration>,
    /// How long a token is valid that does not say so.
    pub lifetime: Key<Duration>,
    /// The name of the identity.
    pub name: Key<&'static str>,
}

/// `targets[].identity.token`
pub static TOKEN: TokenKeys = TokenKeys {
    whole: Key {
        about: About {
            path: "targets[].identity.token",
            group: GROUP,
            help: "Source of the token: a file, or a command that prints it",
            doc: "The content or output is the token alone, or a JSON object with the token and its expiry.",
            example: "{command: [/usr/local/bin/cache-token, orders], timeout: 30s}",
            identities: SUPPLIED,
            keys: &[&TOKEN.file, &TOKEN.command, &TOKEN.timeout, &TOKEN.lifetime, &TOKEN.name],
            ..About::EMPTY
        },
        values: Values::Mapping,
        absent: Absent::Required,
    },
    file: Key {
        about: About {
            path: "targets[].identity.token.file",
            flag: Some(Flag::new("token-from-file", "FILE")),
            group: GROUP,
            help: "File with the token",
            doc: "The file is watched: when it changes, its new token is presented on the open connection.",
            example: "/run/cachepulse/token",
            identities: SUPPLIED,
            ..About::EMPTY
        },
        values: Values::Text(Kind::Path, "the path of a file"),
        absent: Absent::Nothing,
    },
    command: Key {
        about: About {
            path: "targets[].identity.token.command",
            flag: Some(Flag::new("token-from-command", "PROGRAM")),
            group: GROUP,
            help: "Command that prints the token: the program and its arguments",
            doc: "The program is an absolute path, or a name on `PATH`. There is no shell and no input, the working directory \
                  is `/`, and the environment is the agent's. Arguments are not shown by the agent, but by the \
                  system's list of processes. The flag takes a program without arguments.",
            example: "[/usr/local/bin/cache-token, orders]",
            identities: SUPPLIED,
            ..About::EMPTY
        },
        values: Values::Words(1, 100),
        absent: Absent::Nothing,
    },
    timeout: Key {
        about: About {
            path: "targets[].identity.token.timeout",
            flag: Some(Flag::new("token-timeout", "DURATION")),
            group: GROUP,
            help: "How long the command may take",
            doc: "After that, the command and the processes that it started are killed.",
            identities: SUPPLIED,
            ..About::EMPTY
        },
        values: Values::Range(Duration::from_secs(1), Duration::from_secs(5 * 60)),
        absent: Absent::Default(Duration::from_secs(30)),
    },
    lifetime: Key {
        about: About {
            path: "targets[].identity.token.lifetime",
            flag: Some(Flag::new("token-lifetime", "DURATION")),
            group: GROUP,
            help: "How long a token is valid that does not say so",
            doc: "With the default, such a token is requested again every 5 minutes.",
            identities: SUPPLIED,
            ..About::EMPTY
        },
        values: Values::Range(Duration::from_secs(60), Duration::from_secs(24 * 3600)),
        absent: Absent::Default(Duration::from_secs(10 * 60)),
    },
    name: Key {
        about: About {
            path: "targets[].identity.token.name",
            group: GROUP,
            help: "Name of the identity in logs and metrics",
            doc: "Two identities with the same program need different names.",
            example: "orders",
            identities: SUPPLIED,
            pattern: WORD,
            ..About::EMPTY
        },
        values: Values::Text(Kind::Text, "a name without spaces"),
        absent: Absent::Described("the name of the file or the program"),
    },
};
