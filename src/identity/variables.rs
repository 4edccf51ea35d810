//! The environment variables that identities read. An empty variable counts as unset, as in Azure's SDKs.

use std::fmt;
use std::sync::Arc;

use crate::secret::Secret;

/// Returns the value of the variable with this name.
type LookUp = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Looks up environment variables. Nothing is kept, because values may be secrets.
#[derive(Clone)]
pub struct Variables(Arc<LookUp>);

impl Variables {
    /// Returns the variables of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::new(|name| std::env::var(name).ok())
    }

    /// Creates variables from the function `look_up`.
    #[must_use]
    pub fn new(look_up: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(look_up))
    }

    /// Returns the value of `name`, unless it is unset or empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// Returns the secret in `name`, unless that is unset or empty.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<Secret> {
        self.get(name).map(Secret::new)
    }

    /// Whether `name` is set and not empty.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

#[cfg(test)]
impl Variables {
    /// Creates variables with these values.
    pub(crate) fn of<const N: usize>(values: [(&'static str, &str); N]) -> Self {
        let values = values.map(|(name, value)| (name, value.to_owned()));
        Self::new(move |name| values.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone()))
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Variables")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let variables = Variables::of([("A", ""), ("B", "b")]);
        assert_eq!((variables.get("A"), variables.get("B").as_deref()), (None, Some("b")));
        assert!(!variables.has("A") && !variables.has("C"));
    }
}
