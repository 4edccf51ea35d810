//! The types of the values of keys: their names in the documentation, and how values are written.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use super::IdentityType;
use crate::config::{duration, size};
use crate::guard::{ClientAuth, TlsVersion};
use crate::identity::TokenProxyMode;
use crate::metrics::{ClassicFactor, Histograms};
use crate::target::{AddressMode, ClientListMode, ClusterMode, ExpectRole, Maintenance, Protocol};
use crate::telemetry::{Format, Level};

/// The value of a key of the type [`Kind::IntegerOrAuto`] that is no number.
pub(in crate::config) const AUTO: &str = "auto";

/// The type of a value in the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A whole number, or a name that ends with one.
    Ordinal,
    /// A whole number, or `auto`.
    IntegerOrAuto,
    /// A number and a unit, such as `10s`.
    Duration,
    /// A duration, or `0s` for off.
    DurationOrOff,
    /// A number of bytes, or with `KiB` or `MiB`.
    Size,
    /// One of a closed set of words.
    Choice,
    /// Text.
    Text,
    /// The path of a file.
    Path,
    /// A host name or an IP address.
    Host,
    /// An IP address and a port.
    Address,
    /// A URL.
    Url,
    /// Other keys.
    Mapping,
    /// A list.
    List,
    /// A list of hosts, each with an optional port.
    Hosts,
    /// A list of words, or the first alone.
    Words,
    /// A mapping whose keys the operator names.
    Named,
}

impl Kind {
    /// Returns the value beside the range, if there is one: `auto`, or `0s`.
    #[must_use]
    pub const fn beside_range(self) -> Option<&'static str> {
        match self {
            Self::IntegerOrAuto => Some(AUTO),
            Self::DurationOrOff => Some("0s"),
            _ => None,
        }
    }
}

/// A type of the values of keys.
pub trait Value: Copy + PartialEq + fmt::Debug + Sync + 'static {
    /// The name of the type in the documentation.
    const KIND: Kind;

    /// Returns a value as written in the configuration. Values of a closed set have the name of their
    /// [`Choice`](super::Choice) instead.
    fn written(&self) -> String {
        String::new()
    }
}

impl Value for &'static str {
    const KIND: Kind = Kind::Text;

    fn written(&self) -> String {
        (*self).to_owned()
    }
}

impl Value for bool {
    const KIND: Kind = Kind::Boolean;

    fn written(&self) -> String {
        self.to_string()
    }
}

impl Value for u16 {
    const KIND: Kind = Kind::Integer;

    fn written(&self) -> String {
        self.to_string()
    }
}

impl Value for u32 {
    const KIND: Kind = Kind::Integer;

    fn written(&self) -> String {
        self.to_string()
    }
}

impl Value for NonZeroU32 {
    const KIND: Kind = Kind::Integer;

    fn written(&self) -> String {
        self.to_string()
    }
}

/// A number that is chosen by itself if it is not given.
impl Value for Option<NonZeroU32> {
    const KIND: Kind = Kind::IntegerOrAuto;

    fn written(&self) -> String {
        self.as_ref().map_or_else(|| AUTO.to_owned(), Value::written)
    }
}

impl Value for Duration {
    const KIND: Kind = Kind::Duration;

    fn written(&self) -> String {
        duration::written(*self)
    }
}

/// A duration; zero is off.
impl Value for Option<Duration> {
    const KIND: Kind = Kind::DurationOrOff;

    fn written(&self) -> String {
        self.unwrap_or_default().written()
    }
}

/// A number of bytes.
impl Value for usize {
    const KIND: Kind = Kind::Size;

    fn written(&self) -> String {
        size::written(*self)
    }
}

impl Value for SocketAddr {
    const KIND: Kind = Kind::Address;

    fn written(&self) -> String {
        self.to_string()
    }
}

/// Values that are one of a few words.
macro_rules! choices {
    ($($type:ty),+ $(,)?) => {
        $(
            impl Value for $type {
                const KIND: Kind = Kind::Choice;
            }
        )+
    };
}

choices! {
    Level, Format, Option<Protocol>, ClientListMode, IdentityType, AddressMode, ClusterMode, ExpectRole, Maintenance,
    TokenProxyMode, Histograms, ClassicFactor, ClientAuth, TlsVersion,
}
