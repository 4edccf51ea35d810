//! A hash slot of a cluster, and which of them a key lies in.

use std::fmt;

/// One of the hash slots of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u16);

impl Slot {
    /// The number of hash slots.
    pub const COUNT: u16 = 16_384;
    /// The last slot.
    pub const LAST: Self = Self(Self::COUNT - 1);

    /// Returns the slot with this number; `None` from [`Self::COUNT`] on.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number < Self::COUNT { Some(Self(number)) } else { None }
    }

    /// Returns the slot of `key`: the CRC16 of its hash tag, or else of the whole key.
    #[must_use]
    pub fn of_key(key: &[u8]) -> Self {
        Self(crc16(hashed(key)) % Self::COUNT)
    }

    /// Returns the slot's number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Returns where the hash tag of `key` starts and ends: between the first `{` and the first `}` after it, if that is not
/// empty.
pub(super) fn hash_tag(key: &[u8]) -> Option<(usize, usize)> {
    let start = key.iter().position(|byte| *byte == b'{')? + 1;
    let length = key[start..].iter().position(|byte| *byte == b'}')?;
    (length > 0).then_some((start, start + length))
}

fn hashed(key: &[u8]) -> &[u8] {
    hash_tag(key).map_or(key, |(start, end)| &key[start..end])
}

/// CRC16/XMODEM: the polynomial is 0x1021, the initial value 0, and nothing is reflected.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        let [high, _] = crc.to_be_bytes();
        (crc << 8) ^ CRC16[usize::from(high ^ byte)]
    })
}

static CRC16: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_lies_in_the_slot_that_cluster_keyslot_names() {
        for (key, slot) in [
            ("", 0),
            ("123456789", 12739),
            ("foo", 12182),
            ("bar", 5061),
            ("hello", 866),
            ("a", 15495),
            ("{}foo", 9500),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("foo{bar}{zap}", 5061),
            ("}foo{bar}", 5061),
            ("{bar}x", 5061),
            ("foo{", 7673),
            ("foo}bar{", 11073),
            ("{user1000}.following", 3443),
            ("é", 10180),
            ("3560", 0),
            ("22179", 1),
            ("41402", 5460),
            ("18403", 5461),
            ("42163", 8191),
            ("8209", 8192),
            ("5405", 10922),
            ("18948", 10923),
            ("15179", 16382),
            ("39296", 16383),
        ] {
            assert_eq!(Slot::of_key(key.as_bytes()).number(), slot, "{key}");
        }
        assert_eq!(Slot::of_key(b"\xe9").number(), 11271, "bytes count, not characters");
    }

    #[test]
    fn there_are_16384_slots() {
        assert_eq!(Slot::new(16_383), Some(Slot::LAST));
        assert_eq!(Slot::new(16_384), None);
        assert_eq!(Slot::LAST.to_string(), "16383");
    }
}
