//! Errors together with their causes, in one line: printed once, at the top.

use std::error::Error;
use std::fmt;

/// `error`, then each of its causes.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_follow_the_error() {
        let error = crate::secret::SecretSource::File("/nonexistent".into()).read().unwrap_err();
        let told = "the secret in file /nonexistent cannot be read: No such file or directory (os error 2)";
        assert_eq!(Chain(&error).to_string(), told);
    }
}
