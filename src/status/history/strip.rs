//! The last outcomes, a byte each.

use crate::probe::FailureReason;

/// How many outcomes are kept.
pub const OUTCOMES: usize = LENGTH as usize;

const LENGTH: u8 = 60;

/// One of the last outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// A tick succeeded.
    Success,
    /// A tick failed.
    Failure(FailureReason),
    /// Ticks passed while the agent or its machine did not run.
    Gap,
}

const SUCCESS: u8 = 0;
const GAP: u8 = 1;
/// The first of the reasons.
const FAILURE: u8 = 2;

const _: () = assert!(FailureReason::ALL.len() <= (u8::MAX - FAILURE) as usize, "each reason has a byte");

impl Cell {
    const fn encode(self) -> u8 {
        match self {
            Self::Success => SUCCESS,
            Self::Gap => GAP,
            Self::Failure(reason) => FAILURE + reason as u8,
        }
    }

    const fn decode(byte: u8) -> Self {
        match byte {
            SUCCESS => Self::Success,
            GAP => Self::Gap,
            failure => Self::Failure(FailureReason::ALL[(failure - FAILURE) as usize]),
        }
    }
}

/// The last outcomes.
#[derive(Clone, Debug)]
pub(super) struct Strip {
    /// A ring.
    cells: [u8; OUTCOMES],
    next: u8,
    length: u8,
}

impl Default for Strip {
    fn default() -> Self {
        Self { cells: [SUCCESS; OUTCOMES], next: 0, length: 0 }
    }
}

impl Strip {
    /// Appends `cell`, `count` times.
    pub(super) fn push(&mut self, cell: Cell, count: u64) {
        for _ in 0..count.min(OUTCOMES as u64) {
            self.cells[self.next as usize] = cell.encode();
            self.next = (self.next + 1) % LENGTH;
            self.length = (self.length + 1).min(LENGTH);
        }
    }

    /// Returns the outcomes, the oldest first.
    pub(super) fn cells(&self) -> Vec<Cell> {
        let (newer, older) = self.cells.split_at(self.next as usize);
        let kept = OUTCOMES - self.length as usize;
        older.iter().chain(newer).skip(kept).map(|byte| Cell::decode(*byte)).collect()
    }
}
