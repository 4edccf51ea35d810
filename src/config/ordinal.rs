//! The number of one of several agents: a whole number, or a name that ends with one.

use super::keys::{Kind, Value};
use super::parse::Parse;

/// A number that counts from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub struct Ordinal(pub u32);

impl Value for Ordinal {
    const KIND: Kind = Kind::Ordinal;

    fn written(&self) -> String {
        self.0.to_string()
    }
}

impl Parse for Ordinal {
    const NOUN: &'static str = "a whole number";
    const SUCH_AS: &'static str = ", or the name of a pod that ends with one, such as cachepulse-2";

    fn parse(text: &str) -> Option<Self> {
        let number = match text.rsplit_once('-') {
            Some((name, number)) if name.ends_with(|c: char| c.is_ascii_alphanumeric()) => number,
            Some(_) => return None,
            None => text,
        };
        let is_plain = number.bytes().all(|byte| byte.is_ascii_digit());
        number.parse().ok().filter(|_| is_plain).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_the_name_of_a_pod_are_ordinals() {
        for (text, number) in
            [("0", 0), ("12", 12), ("cachepulse-2", 2), ("shop-cachepulse-10", 10), ("a1-0", 0)]
        {
            assert_eq!(Ordinal::parse(text), Some(Ordinal(number)), "{text}");
        }
        for text in [
            "",
            "-1",
            "--1",
            "a",
            "a-",
            "a-b",
            "1.5",
            "+1",
            "a-+1",
            "cachepulse-7d9f8c6b5-x2x4z",
            "99999999999",
        ] {
            assert_eq!(Ordinal::parse(text), None, "{text}");
        }
    }
}
