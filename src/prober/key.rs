//! The key that one prober writes and reads.

use std::sync::Arc;

use crate::target::KeyTemplate;

/// A key of one prober's own: two of the same process or host never share one, unless the operator wants it so.
#[derive(Debug)]
pub(super) struct Key {
    template: KeyTemplate,
    instance: Arc<str>,
    name: String,
}

impl Key {
    /// A key after `template`; `instance` names this process.
    pub(super) fn new(template: KeyTemplate, instance: Arc<str>, rng: &mut fastrand::Rng) -> Self {
        let mut key = Self { template, instance, name: String::new() };
        key.renew(rng);
        key
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether there is another key to take.
    pub(super) fn is_renewable(&self) -> bool {
        !self.template.is_shared()
    }

    /// Takes another key, and returns the previous one.
    pub(super) fn renew(&mut self, rng: &mut fastrand::Rng) -> String {
        let name = self.template.render(&format!("{}-{:08x}", self.instance, rng.u32(..)));
        std::mem::replace(&mut self.name, name)
    }

    /// Takes a key of before again.
    pub(super) fn restore(&mut self, name: String) {
        self.name = name;
    }
}
