//! Characters that a secret probably has by mistake: editors, shells and templates add them.

use std::fmt;

use super::Secret;

/// What a secret begins or ends with, probably by mistake. It may be meant, so it stays part of the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surplus {
    /// A byte-order mark at the start.
    ByteOrderMark,
    /// A quotation mark at the start.
    Quote,
    /// Quotation marks around the secret.
    Quotes,
    /// White space at the start.
    LeadingBlank,
    /// A line break at the end, besides the one that is removed.
    LineBreak,
    /// White space at the end.
    TrailingBlank,
}

/// Defines the texts of the variants: what the secret does, for the warning and for the advice.
macro_rules! texts {
    ($($variant:ident $does:literal,)*) => {
        impl Surplus {
            /// Returns what to do about a refused sign-in with such a secret.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!(
                        "The secret ", $does, ", which is sent as well: remove it unless it belongs to the secret."
                    ),)*
                }
            }
        }

        impl fmt::Display for Surplus {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $does,)*
                })
            }
        }
    };
}

texts! {
    ByteOrderMark "begins with a byte-order mark",
    Quote "begins with a quotation mark",
    Quotes "begins and ends with a quotation mark",
    LeadingBlank "begins with a blank",
    LineBreak "ends in more than one line break",
    TrailingBlank "ends in a blank",
}

impl Secret {
    /// Returns what this secret begins with and ends with, probably by mistake.
    pub fn surplus(&self) -> impl Iterator<Item = Surplus> {
        let text = self.expose();
        let start = text.chars().next().and_then(|first| match first {
            '\u{feff}' => Some(Surplus::ByteOrderMark),
            '"' | '\'' if text.len() > 1 && text.ends_with(first) => Some(Surplus::Quotes),
            '"' | '\'' => Some(Surplus::Quote),
            first if first.is_whitespace() => Some(Surplus::LeadingBlank),
            _ => None,
        });
        let end = text.chars().next_back().and_then(|last| match last {
            '\n' | '\r' => Some(Surplus::LineBreak),
            last if last.is_whitespace() => Some(Surplus::TrailingBlank),
            _ => None,
        });
        start.into_iter().chain(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_surplus_is_named_without_the_secret() {
        for (text, surplus) in [
            ("\u{feff}key", &[Surplus::ByteOrderMark][..]),
            ("\u{feff}key\n", &[Surplus::ByteOrderMark, Surplus::LineBreak]),
            ("\"key\"", &[Surplus::Quotes]),
            ("'key ", &[Surplus::Quote, Surplus::TrailingBlank]),
            ("'", &[Surplus::Quote]),
            ("\tkey", &[Surplus::LeadingBlank]),
            ("key\n", &[Surplus::LineBreak]),
            ("key\r\n", &[Surplus::LineBreak]),
            ("key\u{a0}", &[Surplus::TrailingBlank]),
            ("two words", &[]),
            ("it's=", &[]),
        ] {
            assert_eq!(Secret::new(text.to_owned()).surplus().collect::<Vec<_>>(), surplus, "{text:?}");
        }
    }
}
