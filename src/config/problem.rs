//! What is to say about a configuration: problems, which make it invalid, and warnings. Each finding has its place.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

pub use super::document::Position;
use super::field::Invalid;

/// The most findings of one document that are kept. A document with aliases could have millions.
const MOST: usize = 10_000;

/// One thing to say about a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The configuration file; `None` for flags and variables.
    pub file: Option<Arc<str>>,
    /// Where in the file.
    pub position: Option<Position>,
    /// Which key, such as `targets[2] (orders).interval`, or which flag or variable, such as `--interval`; empty for
    /// the document as a whole.
    pub path: String,
    /// What is wrong and what to do about it, in one line. Never holds a secret.
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

/// Everything that makes a configuration invalid, in the order of the document; at least one finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub(super) Vec<Finding>);

impl Problems {
    /// The problems.
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

/// What the operator wrote, and therefore how messages name keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Yaml,
    Flags,
}

/// A finding before its place is known to the operator.
#[derive(Debug, PartialEq)]
pub(super) struct Noted {
    /// The order of the key or value that it is about (see [`super::document::Node`]).
    pub(super) order: usize,
    /// The path in the document.
    pub(super) path: String,
    pub(super) message: String,
}

/// Collects findings while a document is read, in whatever order its readers make them.
#[derive(Debug)]
pub(super) struct Findings {
    pub(super) language: Language,
    problems: RefCell<Vec<Noted>>,
    warnings: RefCell<Vec<Noted>>,
}

impl Findings {
    pub(super) fn new(language: Language) -> Self {
        Self { language, problems: RefCell::default(), warnings: RefCell::default() }
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
        if warnings.len() < MOST {
            warnings.push(warning);
        }
    }

    /// The value that was `read`, with the warnings, if no problem was found. `locate` brings findings into order and
    /// tells their places in the operator's words.
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
