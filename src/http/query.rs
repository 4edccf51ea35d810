//! The query string of a request: parameters by name. Its length is bounded by
//! [`MAX_REQUEST_HEADER`](super::MAX_REQUEST_HEADER).

use std::borrow::Cow;
use std::fmt;

use hyper::Uri;

use crate::target::TargetName;

/// The longest value of a parameter, in characters: a name of a target fits.
const MAX_LENGTH: usize = TargetName::MAX_LENGTH;

/// The parameters of a request. A page reads those that it knows; others are ignored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// Returns the parameters in `uri`.
    pub(super) fn of(uri: &'a Uri) -> Self {
        Self(uri.query().unwrap_or_default())
    }

    /// Returns the value of the parameter `name`, empty if it is absent.
    ///
    /// # Errors
    /// If it is there more than once, or too long.
    pub(super) fn get(self, name: &'static str) -> Result<Cow<'a, str>, InvalidQuery> {
        let parameters = form_urlencoded::parse(self.0.as_bytes());
        let mut values = parameters.filter(|(key, _)| key == name).map(|(_, value)| value);
        let value = values.next().unwrap_or_default();
        if values.next().is_some() {
            Err(InvalidQuery::Repeated(name))
        } else if value.chars().count() > MAX_LENGTH {
            Err(InvalidQuery::TooLong(name))
        } else {
            Ok(value)
        }
    }
}

/// A parameter that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InvalidQuery {
    Repeated(&'static str),
    TooLong(&'static str),
    NotPositive(&'static str),
}

impl fmt::Display for InvalidQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repeated(name) => write!(f, "{name}: given more than once"),
            Self::TooLong(name) => write!(f, "{name}: longer than {MAX_LENGTH} characters"),
            Self::NotPositive(name) => write!(f, "{name}: expected a number from 1"),
        }
    }
}

impl std::error::Error for InvalidQuery {}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(uri: &str, name: &'static str) -> Result<String, InvalidQuery> {
        Query::of(&uri.parse().unwrap()).get(name).map(Cow::into_owned)
    }

    #[test]
    fn a_parameter_is_decoded_and_empty_if_it_is_absent() {
        for (uri, value) in [
            ("/", ""),
            ("/?", ""),
            ("/?q", ""),
            ("/?q=", ""),
            ("/?q=a%20b+c%2B%26", "a b c+&"),
            ("/?other=1&q=a=b&q2=3", "a=b"),
            ("/?%71=%C3%A9", "é"),
            ("/?q=%ff%zz", "\u{fffd}%zz"),
            ("/?Q=a&&=", ""),
        ] {
            assert_eq!(get(uri, "q").as_deref(), Ok(value), "{uri}");
        }
    }

    #[test]
    fn a_parameter_that_is_repeated_or_too_long_is_an_error() {
        for uri in ["/?q=a&q=b", "/?q=a&q=a", "/?q&x=1&q"] {
            assert_eq!(get(uri, "q").unwrap_err().to_string(), "q: given more than once", "{uri}");
            assert_eq!(get(uri, "state").as_deref(), Ok(""), "only parameters that are read");
        }
        let longest = "%C3%A9".repeat(128);
        assert_eq!(get(&format!("/?q={longest}"), "q"), Ok("é".repeat(128)));
        let error = get(&format!("/?q=x{longest}"), "q").unwrap_err();
        assert_eq!(error.to_string(), "q: longer than 128 characters");
    }
}
