//! The fixed Huffman codes of DEFLATE, and the bits that consist of them.
//!
//! Source: RFC 1951, sections 3.1.1, 3.2.5 and 3.2.6.

use crate::buffer::Buffer;

/// The longest repetition.
pub(super) const LONGEST: usize = 258;
/// The shortest repetition that there is a code for.
const SHORTEST: usize = 3;

/// Bits, the first one lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code {
    bits: u32,
    count: u32,
}

/// The beginning of the only block: the last one, with fixed codes.
const BLOCK: Code = Code { bits: 0b011, count: 3 };
/// The end of the block.
pub(super) const END: Code = symbol(256);
/// The code of each byte.
pub(super) static LITERALS: [Code; 256] = {
    let mut codes = [END; 256];
    let mut byte = 0;
    while byte < 256 {
        codes[byte as usize] = symbol(byte);
        byte += 1;
    }
    codes
};
/// The code of each length, from the shortest one on.
static LENGTHS: [Code; LONGEST - SHORTEST + 1] = {
    let mut codes = [END; LONGEST - SHORTEST + 1];
    let mut above = 0;
    while above < 255 {
        let (number, extra) = split(above, 4);
        codes[above as usize] = symbol(257 + number).then(extra);
        above += 1;
    }
    // The longest one has a symbol of its own.
    codes[255] = symbol(285);
    codes
};

/// Returns the code of a repetition's length.
pub(super) fn length(length: usize) -> Code {
    LENGTHS[length - SHORTEST]
}

/// Returns the code of the distance to the bytes that are repeated.
#[expect(clippy::cast_possible_truncation, reason = "a distance is at most 2^15")]
pub(super) const fn distance(distance: usize) -> Code {
    let (number, extra) = split(distance as u32 - 1, 2);
    Code { bits: reversed(number, 5), count: 5 }.then(extra)
}

/// Returns the code of a literal, of the end, or of a length without its extra bits.
const fn symbol(number: u32) -> Code {
    let (first, code, count) = match number {
        0..144 => (0, 0b0011_0000, 8),
        144..256 => (144, 0b1_1001_0000, 9),
        256..280 => (256, 0, 7),
        _ => (280, 0b1100_0000, 8),
    };
    Code { bits: reversed(code + number - first, count), count }
}

/// Splits a number into that of its symbol and the bits that follow it. The first symbols stand for one number each; then, of
/// every `each` symbols, each stands for twice as many numbers as one before them.
const fn split(number: u32, each: u32) -> (u32, Code) {
    if number < 2 * each {
        return (number, Code { bits: 0, count: 0 });
    }
    let count = number.ilog2() - each.ilog2();
    (each * count + (number >> count), Code { bits: number & ((1 << count) - 1), count })
}

/// Huffman codes begin with their highest bit.
const fn reversed(code: u32, count: u32) -> u32 {
    code.reverse_bits() >> (u32::BITS - count)
}

impl Code {
    const fn then(self, next: Self) -> Self {
        Self { bits: self.bits | next.bits << self.count, count: self.count + next.count }
    }
}

/// Bytes that are written bit by bit.
#[derive(Debug)]
pub(super) struct Bits {
    /// The bytes that are complete.
    pub(super) bytes: Buffer,
    /// The bits after them, fewer than 32.
    pending: u64,
    count: u32,
}

impl Bits {
    /// Begins a block after `header`, with room for `capacity` bytes.
    pub(super) fn after(header: &[u8], capacity: usize) -> Self {
        let mut bytes = Buffer::with_capacity(capacity);
        bytes.put(header);
        let mut bits = Self { bytes, pending: 0, count: 0 };
        bits.put(BLOCK);
        bits
    }

    #[inline]
    pub(super) fn put(&mut self, code: Code) {
        self.pending |= u64::from(code.bits) << self.count;
        self.count += code.count;
        if self.count >= 32 {
            let [a, b, c, d, ..] = self.pending.to_le_bytes();
            self.bytes.put(&[a, b, c, d]);
            self.pending >>= 32;
            self.count -= 32;
        }
    }

    /// Completes the last byte.
    pub(super) fn pad(&mut self) {
        let count = self.count.div_ceil(u8::BITS) as usize;
        self.bytes.put(&self.pending.to_le_bytes()[..count]);
        (self.pending, self.count) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the symbol of a length without extra bits, or of the first length that has these extra bits.
    fn plain(number: u32, extra: u32) -> Code {
        symbol(number).then(Code { bits: 0, count: extra })
    }

    #[test]
    fn lengths_have_the_symbols_and_extra_bits_of_the_table() {
        for (first, number, extra) in [
            (3, 257, 0),
            (10, 264, 0),
            (11, 265, 1),
            (17, 268, 1),
            (19, 269, 2),
            (115, 280, 4),
            (227, 284, 5),
            (258, 285, 0),
        ] {
            assert_eq!(length(first), plain(number, extra), "{first}");
        }
        assert_eq!(length(12), symbol(265).then(Code { bits: 1, count: 1 }));
        assert_eq!(length(257), symbol(284).then(Code { bits: 30, count: 5 }));
    }

    #[test]
    fn distances_have_the_symbols_and_extra_bits_of_the_table() {
        for (first, number, extra) in
            [(1, 0, 0), (4, 3, 0), (5, 4, 1), (7, 5, 1), (257, 16, 7), (24577, 29, 13)]
        {
            let code = Code { bits: reversed(number, 5), count: 5 };
            assert_eq!(distance(first), code.then(Code { bits: 0, count: extra }), "{first}");
        }
        assert_eq!(distance(32768), Code { bits: reversed(29, 5) | 0x1fff << 5, count: 18 });
    }

    #[test]
    fn bits_fill_bytes_from_the_lowest_one() {
        let mut bits = Bits::after(b"header", 64);
        (0..9).for_each(|_| bits.put(Code { bits: 0b1001, count: 4 }));
        bits.put(END);
        bits.pad();
        assert_eq!(bits.bytes.as_bytes(), [b"header", &[0xcb, 0xcc, 0xcc, 0xcc, 0x4c, 0][..]].concat());
    }
}
