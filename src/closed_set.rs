//! Closed sets: reasons, phases, steps, paths. One entry describes each value.

/// Defines an enum whose values have a label and a meaning, which is the doc comment of the value.
///
/// The set gets `ALL`, `as_str`, `meaning`, `entry` and `Display`. `enum Set: Facts` adds `facts`, which returns the
/// fields that follow each label in braces as a `Facts`.
macro_rules! closed_set {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $set:ident: $facts:ident {
            $($(#[doc = $meaning:literal])+ $value:ident = $label:literal { $($fact:tt)+ },)+
        }
    ) => {
        $crate::closed_set::closed_set! {
            $(#[$attribute])*
            $visibility enum $set {
                $($(#[doc = $meaning])+ $value = $label,)+
            }
        }

        impl $set {
            const fn facts(self) -> $facts {
                match self {
                    $(Self::$value => $facts { $($fact)+ },)+
                }
            }
        }
    };
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $set:ident {
            $($(#[doc = $meaning:literal])+ $value:ident = $label:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $visibility enum $set {
            $($(#[doc = $meaning])+ $value,)+
        }

        impl $set {
            /// Every value, in order; the place of each is `self as usize`.
            $visibility const ALL: [Self; [$($label),+].len()] = [$(Self::$value),+];

            /// Returns the label.
            #[must_use]
            $visibility const fn as_str(self) -> &'static str {
                self.entry().0
            }

            /// Returns what the value means: a sentence or two of Markdown.
            #[must_use]
            $visibility const fn meaning(self) -> &'static str {
                self.entry().1
            }

            /// Returns the label and the meaning.
            #[must_use]
            $visibility const fn entry(self) -> (&'static str, &'static str) {
                // Each line of a doc comment begins with a space.
                match self {
                    $(Self::$value => ($label, concat!($($meaning),+).trim_ascii()),)+
                }
            }
        }

        impl ::std::fmt::Display for $set {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use closed_set;

#[cfg(test)]
mod tests {
    struct Facts {
        legs: u8,
    }

    closed_set! {
        enum Animal: Facts {
            /// Says `woof`.
            Dog = "dog" { legs: 4 },
            /// Says nothing
            /// at all.
            Snake = "snake" { legs: 0 },
        }
    }

    #[test]
    fn an_entry_gives_the_value_its_place_label_meaning_and_facts() {
        assert_eq!(Animal::ALL, [Animal::Dog, Animal::Snake]);
        assert_eq!(Animal::ALL.map(|animal| animal as usize), [0, 1]);
        assert_eq!(
            Animal::ALL.map(Animal::entry),
            [("dog", "Says `woof`."), ("snake", "Says nothing at all.")]
        );
        assert_eq!((Animal::Dog.as_str(), Animal::Dog.meaning()), Animal::Dog.entry());
        assert_eq!(Animal::ALL.map(|animal| animal.facts().legs), [4, 0]);
        assert_eq!(Animal::Snake.to_string(), "snake");
    }
}
