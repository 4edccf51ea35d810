//! Buffers for replies. The connections of a thread lend them to each other, so that one that waits for its next probe holds
//! none. Never for secrets: what was in a buffer stays there.

use std::cell::RefCell;

/// How many are kept. Few connections have a part of a reply at the same time. One on TLS that reads needs up to three.
const KEPT: usize = 5;
/// The capacity of the largest that is kept.
const LARGEST: usize = 16 * 1024;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Makes an unused `buffer` one that was given back.
pub(super) fn borrow(buffer: &mut Vec<u8>) {
    if buffer.capacity() == 0 {
        *buffer = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
    }
}

/// Takes the memory of `buffer` if it is empty.
pub(super) fn give_back(buffer: &mut Vec<u8>) {
    if buffer.is_empty() && buffer.capacity() > 0 {
        let buffer = std::mem::take(buffer);
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < KEPT && buffer.capacity() <= LARGEST {
                spare.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_buffers_are_kept_and_no_large_one() {
        let mut buffers: Vec<Vec<u8>> = [LARGEST + 1, 10, 10, 10, 10, 10, 10].map(Vec::with_capacity).into();
        buffers.iter_mut().for_each(give_back);
        assert!(buffers.iter().all(|buffer| buffer.capacity() == 0));
        buffers.iter_mut().for_each(borrow);
        let capacities: Vec<_> = buffers.iter().map(Vec::capacity).collect();
        assert_eq!(capacities, [10, 10, 10, 10, 10, 0, 0]);
    }

    #[test]
    fn a_buffer_in_use_stays_where_it_is() {
        let mut buffer = b"partial".to_vec();
        give_back(&mut buffer);
        borrow(&mut buffer);
        assert_eq!(buffer, b"partial");
    }
}
