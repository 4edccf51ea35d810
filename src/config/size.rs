//! Sizes in the configuration: bytes, or a number with `KiB` or `MiB`.

use super::parse::Parse;

/// 1024 bytes.
pub(super) const KIB: usize = 1024;
/// 1024 × 1024 bytes.
pub(super) const MIB: usize = 1024 * KIB;

impl Parse for usize {
    const NOUN: &'static str = "a size";
    const SUCH_AS: &'static str = ", such as 8MiB (units: KiB, MiB)";

    fn parse(text: &str) -> Option<Self> {
        parse(text)
    }
}

pub(super) fn parse(text: &str) -> Option<usize> {
    let (number, unit) = match (text.strip_suffix("KiB"), text.strip_suffix("MiB")) {
        (Some(number), _) => (number, KIB),
        (_, Some(number)) => (number, MIB),
        _ => (text, 1),
    };
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse::<usize>().ok().filter(|_| digits)?.checked_mul(unit)
}

pub(super) fn written(size: usize) -> String {
    match size {
        _ if size.is_multiple_of(MIB) => format!("{}MiB", size / MIB),
        _ if size.is_multiple_of(KIB) => format!("{}KiB", size / KIB),
        _ => size.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_of_bytes_kib_or_mib() {
        for (text, size) in [("65536", 65_536), ("64KiB", 65_536), ("8MiB", 8_388_608), ("0", 0)] {
            assert_eq!(parse(text), Some(size), "{text}");
        }
    }

    #[test]
    fn text_that_is_not_a_size_is_rejected() {
        for text in ["", "MiB", "8 MiB", "8MB", "8mib", "8M", "1.5MiB", "-1", "+1", "18446744073709551615MiB"]
        {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
