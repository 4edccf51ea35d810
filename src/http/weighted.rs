//! Lists of alternatives with weights, as a client accepts them (RFC 9110, section 12.4).

use hyper::header::{HeaderMap, HeaderName};

/// One alternative of a list.
#[derive(Debug)]
pub(super) struct Alternative<'a> {
    pub(super) name: &'a str,
    parameters: &'a str,
    /// From 0, which means that the client does not accept it, to 1.
    pub(super) weight: f32,
}

impl<'a> Alternative<'a> {
    fn new(text: &'a str) -> Self {
        let (name, parameters) = text.split_once(';').unwrap_or((text, ""));
        let mut alternative = Self { name: name.trim(), parameters, weight: 1.0 };
        if let Some(weight) = alternative.parameter("q") {
            // A weight that is none is not accepted: the client gets what it surely understands.
            alternative.weight = weight.parse().unwrap_or(0.0);
        }
        alternative
    }

    /// Returns the value of a parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.split(';').find_map(|parameter| {
            let (key, value) = parameter.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
        })
    }
}

/// Iterates over the alternatives in all headers called `name`, in their order.
pub(super) fn alternatives(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = Alternative<'_>> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(Alternative::new)
}
