//! The lines of a histogram's buckets, which are nine tenths of a scrape. They are written into room that is made once, and by
//! copies of a fixed length: each of these is an instruction or two, and not a call. What a copy writes beyond its text, the
//! next one overwrites.

use super::super::histogram::BOUNDS as COUNT;

/// How many bytes are copied at a time of what all lines begin with.
const BLOCK: usize = 32;
/// The most bytes of a bound and of a count with what follows them.
const BOUND_ROOM: usize = 24;
const COUNT_ROOM: usize = 21;

/// The value of the label `le`, with what follows up to the count.
pub(super) struct Bound {
    text: [u8; BOUND_ROOM],
    length: usize,
}

impl Bound {
    const fn new(value: &str) -> Self {
        let mut text = [0; BOUND_ROOM];
        let (start, end) = text.split_at_mut(value.len());
        start.copy_from_slice(value.as_bytes());
        let (end, _) = end.split_at_mut(3);
        end.copy_from_slice(b"\"} ");
        Self { text, length: value.len() + 3 }
    }
}

/// The classic bounds in seconds as Go writes floats, so that the label is the same as from the other formats.
pub(super) static BOUNDS: [Bound; COUNT] = [
    Bound::new("6.103515625e-05"),
    Bound::new("0.0001220703125"),
    Bound::new("0.000244140625"),
    Bound::new("0.00048828125"),
    Bound::new("0.0009765625"),
    Bound::new("0.001953125"),
    Bound::new("0.00390625"),
    Bound::new("0.0078125"),
    Bound::new("0.015625"),
    Bound::new("0.03125"),
    Bound::new("0.0625"),
    Bound::new("0.125"),
    Bound::new("0.25"),
    Bound::new("0.5"),
    Bound::new("1.0"),
    Bound::new("2.0"),
    Bound::new("4.0"),
    Bound::new("8.0"),
    Bound::new("16.0"),
    Bound::new("32.0"),
];

/// The bound of the last bucket.
pub(super) static INFINITY: Bound = Bound::new("+Inf");

/// Replaces what `out` has from `start` on, with which all lines begin, by a line for each bound and its count.
pub(super) fn buckets(start: usize, counts: impl Iterator<Item = (&'static Bound, u64)>, out: &mut Vec<u8>) {
    let length = out.len() - start;
    let padded = length.next_multiple_of(BLOCK);
    out.resize(start + padded + (COUNT + 1) * (length + BOUND_ROOM + COUNT_ROOM) + BLOCK, 0);
    let (beginning, room) = out[start..].split_at_mut(padded);
    let (beginning, _) = beginning.as_chunks::<BLOCK>();
    let mut end = 0;
    for (bound, count) in counts {
        let (blocks, _) = room[end..].as_chunks_mut::<BLOCK>();
        blocks.iter_mut().zip(beginning).for_each(|(to, from)| *to = *from);
        end += length;
        room[end..end + BOUND_ROOM].copy_from_slice(&bound.text);
        end += bound.length;
        end += digits(count, &mut room[end..]);
        room[end] = b'\n';
        end += 1;
    }
    out.copy_within(start + padded..start + padded + end, start);
    out.truncate(start + end);
}

/// Writes a number in decimal, and returns how many digits it has.
fn digits(mut number: u64, room: &mut [u8]) -> usize {
    let length = number.checked_ilog10().map_or(1, |power| power as usize + 1);
    for digit in room[..length].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    length
}

#[cfg(test)]
mod tests {
    use super::super::super::histogram;
    use super::*;

    #[test]
    fn the_labels_of_the_bounds_have_their_values() {
        for (number, bound) in BOUNDS.iter().enumerate() {
            let label = str::from_utf8(&bound.text[..bound.length]).unwrap().strip_suffix("\"} ").unwrap();
            assert_eq!(label.parse(), Ok(histogram::bound(number)));
        }
    }

    #[test]
    fn each_line_has_the_beginning_its_bound_and_its_count() {
        for length in [0, 1, 31, 32, 33, 64, 300] {
            let beginning = "b".repeat(length);
            let mut out = format!("before\n{beginning}").into_bytes();
            let counts = [0, 9, 10, 12345, u64::MAX];
            buckets(7, BOUNDS.iter().chain([&INFINITY]).zip(counts.into_iter().cycle()), &mut out);
            let lines = String::from_utf8(out).unwrap();
            let mut lines = lines.lines();
            assert_eq!(lines.next(), Some("before"));
            for (bound, count) in BOUNDS.iter().chain([&INFINITY]).zip(counts.into_iter().cycle()) {
                let bound = str::from_utf8(&bound.text[..bound.length]).unwrap();
                assert_eq!(lines.next(), Some(&*format!("{beginning}{bound}{count}")));
            }
            assert_eq!(lines.next(), None);
        }
    }
}
