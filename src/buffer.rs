//! A buffer for many short texts, of which a scrape of a thousand targets has millions. Appending one to a `Vec` is a call of
//! `memcpy`, and musl's takes longer to begin and to end than most of them take. Here, the first and the last bytes of a
//! short text are copied, as many as instructions move at once; where these overlap, they are written twice.

use std::io;
use std::ops::Range;

/// Bytes that are appended to. The memory for them is kept when they are cleared.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    /// The bytes, and room for further ones.
    room: Vec<u8>,
    length: usize,
}

impl Buffer {
    /// Creates a buffer that need not grow for `capacity` bytes.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { room: vec![0; capacity], length: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.room[..self.length]
    }

    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        self.room.truncate(self.length);
        self.room
    }

    pub(crate) const fn clear(&mut self) {
        self.length = 0;
    }

    #[inline]
    pub(crate) fn push(&mut self, byte: u8) {
        if self.length == self.room.len() {
            self.grow(1);
        }
        self.room[self.length] = byte;
        self.length += 1;
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        copy(bytes, self.extend(bytes.len()));
    }

    /// Appends what is at `place` in the buffer.
    pub(crate) fn repeat(&mut self, place: Range<usize>) {
        let (start, count) = (self.length, place.len());
        self.extend(count);
        let (earlier, new) = self.room.split_at_mut(start);
        copy(&earlier[place], &mut new[..count]);
    }

    /// Replaces what is at `place` by at least as many bytes.
    pub(crate) fn replace(&mut self, place: Range<usize>, bytes: &[u8]) {
        let (end, more) = (self.length, bytes.len() - place.len());
        if more > 0 {
            self.extend(more);
            self.room.copy_within(place.end..end, place.end + more);
        }
        copy(bytes, &mut self.room[place.start..place.end + more]);
    }

    /// Appends `count` bytes, which the caller sets.
    #[inline]
    fn extend(&mut self, count: usize) -> &mut [u8] {
        if count > self.room.len() - self.length {
            self.grow(count);
        }
        let new = &mut self.room[self.length..][..count];
        self.length += count;
        new
    }

    /// Makes room for `count` further bytes.
    #[cold]
    fn grow(&mut self, count: usize) {
        self.room.resize((self.length + count).next_power_of_two(), 0);
    }
}

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Copies `from` to as many bytes.
fn copy(from: &[u8], to: &mut [u8]) {
    match from.len() {
        0 => {}
        1 => to[0] = from[0],
        2..4 => copy_ends::<2>(from, to),
        4..8 => copy_ends::<4>(from, to),
        8..16 => copy_ends::<8>(from, to),
        16..32 => copy_ends::<16>(from, to),
        32..64 => copy_ends::<32>(from, to),
        64..=128 => copy_ends::<64>(from, to),
        _ => to.copy_from_slice(from),
    }
}

/// Copies the first and the last `N` bytes.
#[inline]
fn copy_ends<const N: usize>(from: &[u8], to: &mut [u8]) {
    if let (Some(from), Some(to)) = (from.first_chunk::<N>(), to.first_chunk_mut()) {
        *to = *from;
    }
    if let (Some(from), Some(to)) = (from.last_chunk::<N>(), to.last_chunk_mut()) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_every_length_are_appended_and_repeated() {
        let text: Vec<u8> = (0..=255).collect();
        for length in 0..=text.len() {
            let (text, mut buffer) = (&text[..length], Buffer::default());
            buffer.put(b"before");
            buffer.put(text);
            buffer.push(b',');
            buffer.repeat(6..6 + length);
            let expected = [b"before", text, b",", text].concat();
            assert_eq!(buffer.as_bytes(), expected);
            assert_eq!(buffer.into_bytes(), expected);
        }
    }

    #[test]
    fn bytes_are_replaced_by_as_many_or_more() {
        let mut buffer = Buffer::default();
        buffer.put(b"abcd");
        buffer.replace(1..2, b"x");
        assert_eq!(buffer.as_bytes(), b"axcd");
        buffer.replace(1..2, b"123");
        assert_eq!(buffer.as_bytes(), b"a123cd");
        buffer.replace(6..6, b"!");
        assert_eq!(buffer.as_bytes(), b"a123cd!");
    }

    #[test]
    fn memory_is_allocated_once_for_what_fits() {
        let mut buffer = Buffer::with_capacity(100);
        for _ in 0..3 {
            buffer.clear();
            buffer.put(&[b'x'; 100]);
            assert_eq!(buffer.room.capacity(), 100);
        }
    }
}
