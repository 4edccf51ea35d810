//! Findings about a configuration: problems, which make it invalid, and warnings.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

pub use super::document::Position;
use super::field::{Invalid, is_word};
use super::flags::Flags;
use super::keys::{self, Descriptor};
use super::sources::Sources;

/// The maximum number of findings per document. A document with aliases could have millions.
const MOST: usize = 10_000;

/// A problem or a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The configuration file; `None` for flags and variables.
    pub file: Option<Arc<str>>,
    /// The position in the file.
    pub position: Option<Position>,
    /// The key, such as `targets[2] (orders).interval`, or the flag or variable, such as `--interval`. Empty for the
    /// whole document.
    pub path: String,
    /// What is wrong and what to do about it, in one line, without secrets.
    pub message: String,
}

impl fmt::Display for Finding {
    /// `FILE:LINE:COLUMN: PATH: MESSAGE`, without the parts that do not apply.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.position) {
            (Some(file), Some(Position { line, column })) => write!(f, "{file}:{line}:{column}: ")?,
            (Some(file), None) => write!(f, "{file}: ")?,
            (None, _) => {}
        }
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

/// All problems of a configuration, in the order of the document; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub(super) Vec<Finding>);

impl Problems {
    /// Returns the problems.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Finding;
    type IntoIter = std::slice::Iter<'a, Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    /// One problem per line, without a line break at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{problem}")?;
        }
        Ok(())
    }
}

impl Error for Problems {}

/// The form of the configuration, which determines the names of keys in messages.
#[derive(Debug)]
pub(super) enum Language {
    Yaml,
    /// That of web configuration files. Messages do not repeat their values, which may be passwords and keys.
    Web,
    /// That of files with targets. Messages repeat neither values nor unknown keys: who writes a link to another file must not
    /// read that in the log.
    TargetFile,
    /// Flags and variables: these.
    Flags(Flags),
}

impl Language {
    /// Returns the top-level keys.
    pub(super) fn keys(&self) -> &'static [&'static dyn Descriptor] {
        match self {
            Self::Yaml | Self::TargetFile | Self::Flags(_) => keys::ROOT,
            Self::Web => keys::web::ROOT,
        }
    }

    /// Whether messages may repeat values.
    pub(super) fn shows_values(&self) -> bool {
        !matches!(self, Self::Web | Self::TargetFile)
    }

    /// Whether messages may repeat this unknown key. A value in the wrong place is a key: `{hunter2}`.
    pub(super) fn shows_key(&self, key: &str) -> bool {
        match self {
            Self::Yaml | Self::Flags(_) => true,
            Self::Web => is_word(key),
            Self::TargetFile => false,
        }
    }
}

/// A finding without its position.
#[derive(Debug, PartialEq)]
pub(super) struct Noted {
    /// The order of the key or value (see [`super::document::Node`]).
    pub(super) order: usize,
    /// The path in the document.
    pub(super) path: String,
    pub(super) message: String,
}

/// Collects findings while a document is read, in any order.
#[derive(Debug)]
pub(super) struct Collector {
    pub(super) language: Language,
    /// Where the files are read that the document names.
    pub(super) sources: Sources,
    problems: RefCell<Vec<Noted>>,
    warnings: RefCell<Vec<Noted>>,
}

impl Collector {
    pub(super) fn new(language: Language, sources: Sources) -> Self {
        Self { language, sources, problems: RefCell::default(), warnings: RefCell::default() }
    }

    pub(super) fn add_problem(&self, problem: Noted) -> Invalid {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < MOST {
            problems.push(problem);
        }
        Invalid::after_a_problem()
    }

    pub(super) fn add_warning(&self, warning: Noted) {
        let mut warnings = self.warnings.borrow_mut();
        // One about the defaults comes from every target.
        if warnings.len() < MOST && !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    /// Returns the value that was `read` with the warnings, if there is no problem. `locate` sorts the findings and adds
    /// their positions.
    pub(super) fn conclude<T>(
        self,
        read: Result<T, Invalid>,
        locate: impl Fn(Vec<Noted>) -> Vec<Finding>,
    ) -> Result<(T, Vec<Finding>), Problems> {
        match (read, self.problems.into_inner()) {
            (Ok(value), problems) if problems.is_empty() => Ok((value, locate(self.warnings.into_inner()))),
            (_, problems) => {
                let is_cut = problems.len() == MOST;
                let mut found = locate(problems);
                if is_cut {
                    let message = format!("{MOST} problems are listed; there may be more");
                    found.push(Finding { position: None, path: String::new(), message, ..found[0].clone() });
                }
                Err(Problems(found))
            }
        }
    }
}

/// `error` and its causes in one line.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
