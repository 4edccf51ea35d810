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
    LeadingBlank "begins with a blank",
    LineBreak "ends in more than one line break",
    TrailingBlank "ends in a blank",
}

impl Secret {
    /// Returns what this secret begins or else ends with, probably by mistake.
    #[must_use]
    pub fn surplus(&self) -> Option<Surplus> {
        match self.expose().chars().next()? {
            '\u{feff}' => return Some(Surplus::ByteOrderMark),
            '"' | '\'' => return Some(Surplus::Quote),
            first if first.is_whitespace() => return Some(Surplus::LeadingBlank),
            _ => {}
        }
        match self.expose().chars().next_back()? {
            '\n' | '\r' => Some(Surplus::LineBreak),
            last if last.is_whitespace() => Some(Surplus::TrailingBlank),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_surplus_is_named_without_the_secret() {
        for (text, surplus) in [
            ("\u{feff}key", Some(Surplus::ByteOrderMark)),
            ("\"key\"", Some(Surplus::Quote)),
            ("\tkey", Some(Surplus::LeadingBlank)),
            ("key\n", Some(Surplus::LineBreak)),
            ("key\r\n", Some(Surplus::LineBreak)),
            ("key\u{a0}", Some(Surplus::TrailingBlank)),
            ("two words", None),
            ("it's=", None),
        ] {
            assert_eq!(Secret::new(text.to_owned()).surplus(), surplus, "{text:?}");
        }
    }
}
