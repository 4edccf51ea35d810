//! What is wrong with a configuration: all of it, each problem with its place.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;

use super::field::Invalid;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, such as `targets[2].interval` or `--interval`; empty for the document as a whole.
    pub path: String,
    /// What is wrong and what to do about it, in one line. Never holds a secret.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

/// Everything that is wrong with a configuration, in the order of the document; at least one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// A problem of the document as a whole.
    pub(super) fn of_document(message: String) -> Self {
        Self(vec![Problem { path: String::new(), message }])
    }

    /// The problems.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// The same problems, each path put through `rename`.
    pub(super) fn with_paths(self, rename: impl Fn(String) -> String) -> Self {
        let rename = |problem: Problem| Problem { path: rename(problem.path), ..problem };
        Self(self.0.into_iter().map(rename).collect())
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

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

/// Collects problems while a document is read, in whatever order its readers find them.
#[derive(Debug, Default)]
pub(super) struct Findings(RefCell<Vec<(usize, Problem)>>);

impl Findings {
    /// Notes a problem with the value at `order` (see [`super::document::Node`]).
    pub(super) fn add(&self, order: usize, path: String, message: String) {
        self.0.borrow_mut().push((order, Problem { path, message }));
    }

    /// The value that was `read`, if no problem was found.
    pub(super) fn conclude<T>(self, read: Result<T, Invalid>) -> Result<T, Problems> {
        match (read, self.into_problems()) {
            (_, Some(problems)) => Err(problems),
            (Ok(value), None) => Ok(value),
            (Err(_), None) => unreachable!("Invalid is only made where a problem is noted"),
        }
    }

    /// What was found, each problem once; `None` if all is well.
    fn into_problems(self) -> Option<Problems> {
        let mut found = self.0.into_inner();
        found.sort_by_key(|(order, _)| *order);
        found.dedup();
        let problems: Vec<Problem> = found.into_iter().map(|(_, problem)| problem).collect();
        (!problems.is_empty()).then_some(Problems(problems))
    }
}

/// `error` and its causes in one line.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
