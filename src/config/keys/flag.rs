//! The flag of a key, and its environment variable.

use std::fmt;

/// The prefix of every environment variable that sets a key.
pub const VARIABLE_PREFIX: &str = "CACHEPULSE_";

/// The flag that sets a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The name without dashes in front, such as `command-timeout`.
    pub name: &'static str,
    /// Another name, which other programs give it.
    pub alias: Option<&'static str>,
    /// The placeholder for the value in help texts, such as `DURATION`.
    pub value: &'static str,
    /// Whether the flag is common, so that `-h` lists it.
    pub is_common: bool,
    /// Whether the flag is allowed with a configuration file, over which it takes precedence.
    pub is_allowed_beside_file: bool,
}

impl Flag {
    pub(super) const fn new(name: &'static str, value: &'static str) -> Self {
        Self { name, alias: None, value, is_common: false, is_allowed_beside_file: false }
    }

    pub(super) const fn alias(self, alias: &'static str) -> Self {
        Self { alias: Some(alias), ..self }
    }

    pub(super) const fn common(self) -> Self {
        Self { is_common: true, ..self }
    }

    pub(super) const fn allowed_beside_file(self) -> Self {
        Self { is_allowed_beside_file: true, ..self }
    }

    /// Whether its value is the path of a file.
    pub(in crate::config) fn takes_file(&self) -> bool {
        self.value == "FILE"
    }

    /// Returns the environment variable that sets the flag, such as `CACHEPULSE_COMMAND_TIMEOUT`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.replace('-', "_").to_ascii_uppercase())
    }
}

impl fmt::Display for Flag {
    /// Writes the flag with dashes, such as `--command-timeout`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--{}", self.name)
    }
}
