//! Parses values from text, numbers or booleans in the configuration.

use std::num::NonZeroU32;

use super::keys::{AUTO, Value};

/// A type that is parsed from text, a number or a boolean.
pub(super) trait Parse: Value + PartialOrd {
    /// The noun for messages, such as "a duration".
    const NOUN: &'static str;
    /// The example after the range, such as ", such as 10s".
    const SUCH_AS: &'static str = "";

    fn parse(text: &str) -> Option<Self>;

    /// Whether the value is valid outside the range of its key.
    fn is_outside_ranges(&self) -> bool {
        false
    }
}

impl Parse for bool {
    const NOUN: &'static str = "true or false";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Parse for u16 {
    const NOUN: &'static str = "a whole number";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Parse for u32 {
    const NOUN: &'static str = "a whole number";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Parse for NonZeroU32 {
    const NOUN: &'static str = "a whole number";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Parse for Option<NonZeroU32> {
    const NOUN: &'static str = "auto or a whole number";

    fn parse(text: &str) -> Option<Self> {
        if text == AUTO { Some(None) } else { NonZeroU32::parse(text).map(Some) }
    }

    fn is_outside_ranges(&self) -> bool {
        self.is_none()
    }
}
