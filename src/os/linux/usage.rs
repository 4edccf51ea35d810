//! What the process uses of the machine, as `/proc` says.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::sync::LazyLock;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::time::{ClockId, clock_gettime};

use crate::os::Usage;

/// When the machine was started, in seconds since 1970.
static BOOT: LazyLock<Option<u64>> =
    LazyLock::new(|| boot_time(&fs::read_to_string("/proc/stat").unwrap_or_default()));

/// Returns what this process uses. `None` without `/proc`.
pub(crate) fn usage() -> Option<Usage> {
    let stat = Stat::read().ok().flatten()?;
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    Some(Usage {
        // `stat` has hundredths of seconds.
        cpu_seconds: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
        threads: stat.threads,
        open_descriptors: open_descriptors()?,
        resident_bytes: stat.resident_pages * page_size() as u64,
        virtual_bytes: stat.virtual_bytes,
        started: (*BOOT)? as f64 + stat.started_ticks as f64 / clock_ticks_per_second() as f64,
    })
}

/// What is used of `/proc/self/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    threads: u64,
    /// Since the machine was started.
    started_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    /// Reads it at once: std reads a file of unknown size in small pieces.
    fn read() -> io::Result<Option<Self>> {
        // Some 350 bytes.
        let mut text = [0; 1024];
        let length = File::open("/proc/self/stat")?.read(&mut text)?;
        Ok(str::from_utf8(&text[..length]).ok().and_then(Self::parse))
    }

    fn parse(text: &str) -> Option<Self> {
        // The second field, the name of the program in parentheses, may contain anything.
        let (_, fields) = text.rsplit_once(") ")?;
        // proc(5) numbers the fields from 1.
        let field = |number: usize| fields.split(' ').nth(number - 3)?.parse().ok();
        Some(Self {
            threads: field(20)?,
            started_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// Returns when the machine was started, as `/proc/stat` says.
fn boot_time(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("btime "))?.parse().ok()
}

fn open_descriptors() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    // Since Linux 6.2, the size of the folder is their number.
    match fs::metadata(FOLDER).ok()?.len() {
        // The folder itself is open while it is read.
        0 => Some(fs::read_dir(FOLDER).ok()?.count().saturating_sub(1) as u64),
        number => Some(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_have_any_name() {
        let stat = "71 (a) R 1 (b) 2) S 1 71 71 0 -1 4194304 99 0 0 0 7 8 0 0 20 0 5 0 4242 1000000 250 18446744073709551615\n";
        let expected =
            Stat { threads: 5, started_ticks: 4242, virtual_bytes: 1_000_000, resident_pages: 250 };
        assert_eq!(Stat::parse(stat), Some(expected));
        assert_eq!(Stat::parse("71 (short) S 1"), None);
    }

    #[test]
    fn the_usage_is_that_of_this_process() {
        // Other tests use files and memory meanwhile.
        let files = [0; 100].map(|_| fs::File::open("/proc/self/stat").unwrap());
        let memory = vec![1u8; 32 << 20];
        let found = usage().unwrap();
        assert!(found.open_descriptors >= files.len() as u64, "{found:?}");
        assert!(found.resident_bytes >= memory.len() as u64, "{found:?}");
        assert!(found.virtual_bytes > found.resident_bytes, "{found:?}");
        assert!(found.cpu_seconds > 0.0 && found.threads >= 1, "{found:?}");
        let age = crate::clock::unix_seconds(crate::clock::Clock::system().now()) - found.started;
        assert!((-2.0..3600.0).contains(&age), "{age} s old");
    }
}
