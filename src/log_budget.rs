//! How often a change is logged that others cause, as sentinels that name one primary after the other or a topology that
//! flaps: they fill no log.
//!
//! Pure: no I/O and no clock.

use std::time::Duration;

use tokio::time::Instant;

/// The lines that are logged in each [`PERIOD`].
const LINES: u32 = 5;
const PERIOD: Duration = Duration::from_secs(10 * 60);

/// The lines so far of one kind.
#[derive(Debug, Default)]
pub(crate) struct LogBudget {
    /// When the period began, and how many lines were logged in it.
    period: Option<(Instant, u32)>,
}

impl LogBudget {
    /// Whether a line may be logged at `now`, which counts then.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let (began, lines) = self.period.filter(|(began, _)| now < *began + PERIOD).unwrap_or((now, 0));
        self.period = Some((began, lines.saturating_add(1)));
        lines < LINES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_lines_are_logged_in_ten_minutes() {
        let (start, mut budget) = (Instant::now(), LogBudget::default());
        let second = |second: u32| start + Duration::from_secs(1) * second;
        let logged = (0..1200).filter(|it| budget.take(second(*it)));
        assert_eq!(logged.collect::<Vec<_>>(), [0, 1, 2, 3, 4, 600, 601, 602, 603, 604]);
    }
}
