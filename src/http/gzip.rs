//! gzip, for content that is written while it is read.
//!
//! Metrics and JSON repeat themselves within a few kilobytes. So it is enough to look for each text where one with the same
//! hash was last, in a short window, and to use the codes of DEFLATE that are known beforehand. A general library needs
//! 300 KiB for each response, which take longer to map than a scrape of one target takes to compress.
//!
//! `codes.rs` has the codes. Source: RFC 1951 and RFC 1952.

mod codes;

use std::io::{self, BufRead, Read};

use crc32fast::Hasher;

use self::codes::{Bits, END, LITERALS, LONGEST, distance, length};

/// How many bytes are kept at a time, those that wait to be compressed included. No repetition is further away than DEFLATE
/// allows, which is 32 KiB.
const WINDOW: usize = 32 * 1024;
/// How many bytes before the next one are kept when the window moves.
const HISTORY: usize = WINDOW / 2;
/// How many bytes are compressed ahead of the reader, or slightly more.
const AHEAD: usize = 8 * 1024;
/// A shorter repetition takes as many bits as its bytes.
const SHORTEST: usize = 4;
/// The number of bits of a hash.
const HASH: u32 = 12;

/// The header: DEFLATE, without a name and a time, by the fastest algorithm, on an unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// Compresses `content` while it is read.
pub(super) struct Gzip<C> {
    content: C,
    /// The last bytes of the content.
    window: Box<[u8]>,
    /// The next byte of the window to be compressed.
    next: usize,
    /// The end of the content in the window.
    end: usize,
    /// Where in the window a text with each hash was last.
    places: Box<[u16]>,
    checksum: Hasher,
    length: u64,
    output: Bits,
    /// How many bytes of the output have been read.
    read: usize,
    is_complete: bool,
}

impl<C: BufRead> Gzip<C> {
    pub(super) fn new(content: C) -> Self {
        Self {
            content,
            window: vec![0; WINDOW].into(),
            next: 0,
            end: 0,
            places: vec![0; 1 << HASH].into(),
            checksum: Hasher::new(),
            length: 0,
            output: Bits::after(&HEADER, AHEAD + WINDOW),
            read: 0,
            is_complete: false,
        }
    }

    fn write_ahead(&mut self) -> io::Result<()> {
        self.output.bytes.clear();
        self.read = 0;
        while self.output.bytes.len() < AHEAD && !self.is_complete {
            if self.fill()? {
                // A repetition may be as long.
                self.compress(self.end.saturating_sub(LONGEST));
            } else {
                self.compress(self.end);
                self.finish();
            }
        }
        Ok(())
    }

    /// Reads the next part of the content into the window. Returns false if there is none.
    fn fill(&mut self) -> io::Result<bool> {
        if self.end == WINDOW {
            self.slide();
        }
        let content = self.content.fill_buf()?;
        let count = content.len().min(WINDOW - self.end);
        let content = &content[..count];
        self.window[self.end..self.end + count].copy_from_slice(content);
        self.checksum.update(content);
        self.content.consume(count);
        self.end += count;
        self.length += count as u64;
        Ok(count > 0)
    }

    /// Forgets the oldest bytes of the window.
    fn slide(&mut self) {
        let count = self.next - HISTORY;
        self.window.copy_within(count.., 0);
        self.next -= count;
        self.end -= count;
        let count = u16::try_from(count).expect("a window is shorter");
        // One that is forgotten becomes 0, which is as good as any other place: each is compared before it is used.
        self.places.iter_mut().for_each(|place| *place = place.saturating_sub(count));
    }

    /// Compresses the bytes of the window before `until`, and the rest of a repetition that begins there.
    #[expect(clippy::cast_possible_truncation, reason = "a window is shorter than 2^16")]
    fn compress(&mut self, until: usize) {
        let (window, output) = (&self.window[..self.end], &mut self.output);
        while self.next < until {
            let here = &window[self.next..];
            let earlier = here.first_chunk().map(|first| {
                let place = &mut self.places[hash(*first)];
                usize::from(std::mem::replace(place, self.next as u16))
            });
            // Nothing was there before the first text of a hash.
            let earlier = earlier.filter(|place| *place < self.next);
            let repeated = earlier.map_or(0, |place| common(&window[place..], here));
            if let (Some(place), SHORTEST..) = (earlier, repeated) {
                output.put(length(repeated));
                output.put(distance(self.next - place));
                self.next += repeated;
            } else {
                output.put(LITERALS[usize::from(here[0])]);
                self.next += 1;
            }
        }
    }

    fn finish(&mut self) {
        self.output.put(END);
        self.output.pad();
        self.output.bytes.put(&self.checksum.clone().finalize().to_le_bytes());
        self.output.bytes.put(&self.length.to_le_bytes()[..4]);
        self.is_complete = true;
    }
}

impl<C: BufRead> Read for Gzip<C> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.read == self.output.bytes.len() {
            self.write_ahead()?;
        }
        let count = (&self.output.bytes.as_bytes()[self.read..]).read(bytes)?;
        self.read += count;
        Ok(count)
    }
}

/// Returns the hash of the first bytes of a text.
const fn hash(first: [u8; SHORTEST]) -> usize {
    /// 2^32 divided by the golden ratio, whose multiples are spread evenly.
    const FACTOR: u32 = 0x9e37_79b1;
    (u32::from_le_bytes(first).wrapping_mul(FACTOR) >> (u32::BITS - HASH)) as usize
}

/// Returns how many of the first bytes are the same, up to the longest repetition.
fn common(one: &[u8], other: &[u8]) -> usize {
    const WORD: usize = size_of::<u64>();
    let words = one.as_chunks::<WORD>().0.iter().zip(other.as_chunks::<WORD>().0).take(LONGEST / WORD);
    let mut length = 0;
    for (one, other) in words {
        let difference = u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other);
        if difference != 0 {
            return length + (difference.trailing_zeros() / u8::BITS) as usize;
        }
        length += WORD;
    }
    let rest = one[length..].iter().zip(&other[length..]).take(LONGEST - length);
    length + rest.take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    /// Content that arrives in parts of a random length.
    struct Parts<'a> {
        content: &'a [u8],
        random: fastrand::Rng,
        longest: usize,
    }

    impl Read for Parts<'_> {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            let count = self.random.usize(1..=self.longest).min(bytes.len());
            self.content.read(&mut bytes[..count])
        }
    }

    fn packed(content: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        Gzip::new(content).read_to_end(&mut packed).unwrap();
        packed
    }

    fn unpacked(packed: &[u8]) -> Vec<u8> {
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(packed).read_to_end(&mut unpacked).unwrap();
        unpacked
    }

    fn metrics() -> Vec<u8> {
        let mut text = String::new();
        for number in 0..10_000_u32 {
            let (target, bound, count) = (number / 20, number % 20, number.wrapping_mul(number) % 7);
            writeln!(text, "seconds_bucket{{target=\"orders-{target}\",le=\"{bound}\"}} {count}").unwrap();
        }
        text.into_bytes()
    }

    #[test]
    fn content_of_every_kind_and_length_is_the_same_afterwards() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let noise: Vec<u8> = (0..200_000).map(|_| random.u8(..)).collect();
        let few: Vec<u8> = (0..200_000).map(|_| random.u8(b'a'..=b'c')).collect();
        for content in [noise, few, metrics(), vec![b'x'; 200_000]] {
            let lengths = (0..600).chain([1023, WINDOW - 1, WINDOW, WINDOW + 1, content.len()]);
            for length in lengths {
                let content = &content[content.len() - length..];
                assert!(unpacked(&packed(content)) == content, "{length}");
            }
        }
    }

    #[test]
    fn it_does_not_matter_how_the_content_arrives() {
        let (content, seed) = (metrics(), fastrand::u64(..));
        println!("seed {seed}");
        for longest in [1, 300, WINDOW, 3 * WINDOW] {
            let parts = Parts { content: &content, random: fastrand::Rng::with_seed(seed), longest };
            let mut packed = Vec::new();
            Gzip::new(io::BufReader::with_capacity(3 * WINDOW, parts)).read_to_end(&mut packed).unwrap();
            assert!(unpacked(&packed) == content, "{longest}");
        }
    }

    #[test]
    fn a_repetition_is_found_anywhere_in_the_history() {
        for distance in (16..HISTORY).step_by(61) {
            let once = [b"beginning", &vec![b'-'; distance][..]].concat();
            let twice = [&once[..], b"beginning"].concat();
            let (once, packed) = (packed(&once), packed(&twice));
            assert!(unpacked(&packed) == twice, "{distance}");
            // Less than the nine bytes.
            assert!(packed.len() <= once.len() + 5, "{distance}: {} after {}", packed.len(), once.len());
        }
    }

    #[test]
    fn metrics_shrink_to_an_eighth() {
        let content = metrics();
        let length = packed(&content).len();
        assert!(length * 8 < content.len(), "{length} of {}", content.len());
    }

    #[test]
    fn an_error_of_the_content_is_returned() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let mut packed = Vec::new();
        let error = Gzip::new(io::BufReader::new(Broken)).read_to_end(&mut packed).unwrap_err();
        assert_eq!(error.to_string(), "broken");
    }
}
