//! The key `partition`, which flags complete.

use std::num::NonZeroU32;

use super::field::{Field, Fields, Invalid};
use super::keys::Flag;
use super::keys::fleet::{COPIES, INDEX, OF, PARTITION};
use super::{Finding, Problems};
use crate::partition::{Partition, PartitionError};

/// What a configuration file or flags say about the partition of an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionSettings {
    /// The number of the partition, from 0.
    pub index: Option<u32>,
    /// The number of partitions.
    pub of: Option<NonZeroU32>,
    /// The number of partitions that have each target.
    pub copies: Option<NonZeroU32>,
}

impl PartitionSettings {
    /// Returns these settings, completed by those of `others`.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            index: self.index.or(others.index),
            of: self.of.or(others.of),
            copies: self.copies.or(others.copies),
        }
    }

    /// Returns the partition that the settings describe; `None` if there are none.
    ///
    /// # Errors
    /// The problem of settings that are incomplete or do not fit each other.
    pub fn partition(self) -> Result<Option<Partition>, Problems> {
        let missing = |key: &str, flag: Option<Flag>| {
            let flag = flag
                .map(|flag| format!("; set it in the configuration, or with {flag} ({})", flag.variable()));
            Err(problem(key, format!("missing{}", flag.unwrap_or_default())))
        };
        match self {
            Self { index: None, of: None, copies: None } => Ok(None),
            Self { of: None, .. } => missing(OF.about.path, OF.about.flag),
            Self { index: None, .. } => missing(INDEX.about.path, INDEX.about.flag),
            Self { index: Some(index), of: Some(of), copies } => {
                let partition = Partition::new(index, of, copies.unwrap_or(COPIES.default()));
                partition.map(Some).map_err(|error| {
                    let (key, message) = misfit(error, of);
                    problem(key, message)
                })
            }
        }
    }
}

/// Returns the path of the key that does not fit the number of partitions, and the message about it.
fn misfit(error: PartitionError, of: NonZeroU32) -> (&'static str, String) {
    match error {
        PartitionError::Index => {
            (INDEX.about.path, format!("the partitions are numbered from 0 to {}", of.get() - 1))
        }
        PartitionError::Copies => (COPIES.about.path, format!("there are only {of} partitions")),
    }
}

fn problem(path: &str, message: String) -> Problems {
    Problems(vec![Finding { file: None, position: None, path: path.to_owned(), message }])
}

/// Reads the key of a configuration with these top-level `fields`. What flags may complete may be missing.
pub(super) fn read_of(fields: &Fields<'_>) -> Result<PartitionSettings, Invalid> {
    let Some(field) = fields.get(&PARTITION) else { return Ok(PartitionSettings::default()) };
    let fields = field.fields(&PARTITION.about)?;
    let index = fields.read(&INDEX).transpose();
    let of = fields.read(&OF).transpose();
    let copies = fields.read(&COPIES).transpose();
    let settings = PartitionSettings { index: index?.map(|ordinal| ordinal.0), of: of?, copies: copies? };
    let Some(of) = settings.of else { return Ok(settings) };
    let fits = Partition::new(settings.index.unwrap_or(0), of, settings.copies.unwrap_or(COPIES.default()));
    fits.map(|_| settings).map_err(|error| {
        let (path, message) = misfit(error, of);
        wrong(&fields, path).unwrap_or(field).problem(message)
    })
}

/// Returns the value of the key at `path`.
fn wrong<'a>(fields: &Fields<'a>, path: &str) -> Option<Field<'a>> {
    if path == INDEX.about.path { fields.get(&INDEX) } else { fields.get(&COPIES) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(index: Option<u32>, of: Option<u32>, copies: Option<u32>) -> PartitionSettings {
        PartitionSettings {
            index,
            of: of.and_then(NonZeroU32::new),
            copies: copies.and_then(NonZeroU32::new),
        }
    }

    #[test]
    fn settings_are_a_partition_if_they_are_complete_and_fit() {
        let partition = Partition::new(1, NonZeroU32::new(3).unwrap(), NonZeroU32::MIN).unwrap();
        assert_eq!(settings(Some(1), Some(3), None).partition(), Ok(Some(partition)));
        assert_eq!(settings(None, None, None).partition(), Ok(None));
        for (wrong, message) in [
            (
                settings(Some(1), None, None),
                "partition.of: missing; set it in the configuration, or with --partition-of (CACHEPULSE_PARTITION_OF)",
            ),
            (
                settings(None, Some(3), Some(2)),
                "partition.index: missing; set it in the configuration, or with --partition-index \
                 (CACHEPULSE_PARTITION_INDEX)",
            ),
            (settings(Some(3), Some(3), None), "partition.index: the partitions are numbered from 0 to 2"),
            (settings(Some(0), Some(3), Some(4)), "partition.copies: there are only 3 partitions"),
        ] {
            assert_eq!(wrong.partition().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn flags_take_precedence_one_by_one() {
        let file = settings(Some(0), Some(3), Some(2));
        assert_eq!(settings(Some(1), None, None).or(file), settings(Some(1), Some(3), Some(2)));
    }
}
