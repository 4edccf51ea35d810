//! An error with all its causes in one line, and whether the agent's own limits are the cause.

use std::error::Error;
use std::fmt;
use std::io;

use crate::os::errors::is_exhausted;

/// Displays an error and then each of its causes. Leaves out levels that are empty or repeat their cause, as the errors
/// of some libraries do.
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut levels: Vec<String> = Vec::new();
        let mut next = Some(self.0);
        while let Some(error) = next {
            let level = error.to_string();
            next = error.source();
            if level.trim().is_empty() {
                continue;
            }
            if levels.last().is_some_and(|above| above.contains(level.trim())) {
                levels.pop();
            }
            levels.push(level);
        }
        f.write_str(&levels.join(": "))
    }
}

/// Whether `error` says that this process or machine has used up its file descriptors or memory.
#[must_use]
pub fn is_local(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::OutOfMemory || is_exhausted(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Level(&'static str, Option<Box<Level>>);

    impl fmt::Display for Level {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Level {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|level| level as &dyn Error)
        }
    }

    #[test]
    fn only_a_lack_of_descriptors_or_memory_is_local() {
        use rustix::io::Errno;
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS] {
            assert!(is_local(&errno.into()), "{errno}");
        }
        assert!(is_local(&io::ErrorKind::OutOfMemory.into()));
        for errno in [Errno::CONNREFUSED, Errno::HOSTUNREACH, Errno::AGAIN, Errno::ACCESS] {
            assert!(!is_local(&errno.into()), "{errno}");
        }
    }

    #[test]
    fn causes_follow_the_error() {
        let error = Level("cannot start", Some(Box::new(Level("no file", None))));
        assert_eq!(Chain(&error).to_string(), "cannot start: no file");
    }

    #[test]
    fn a_level_that_is_empty_or_repeats_its_cause_is_left_out() {
        let cause = Level("no such host", None);
        let silent = Level(" ", Some(Box::new(cause)));
        let repeating = Level("failed: no such host", Some(Box::new(silent)));
        assert_eq!(Chain(&repeating).to_string(), "no such host");
    }
}
