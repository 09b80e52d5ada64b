//! Sizes in bytes on the command line of the eater.

use anyhow::{Context, Result};

/// One KiB in bytes.
pub const KIB: u64 = 1024;
/// One MiB in bytes.
pub const MIB: u64 = 1024 * KIB;
/// One GiB in bytes.
pub const GIB: u64 = 1024 * MIB;

/// Reads a size such as `4096`, `64K`, `32M` or `1G`.
pub fn parse(text: &str) -> Result<u64> {
    let (digits, unit) = match text.chars().last() {
        Some('K') => (text.trim_end_matches('K'), KIB),
        Some('M') => (text.trim_end_matches('M'), MIB),
        Some('G') => (text.trim_end_matches('G'), GIB),
        _ => (text, 1),
    };
    let number: u64 = digits.parse().with_context(|| format!("{text:?} is not a size such as 32M"))?;
    number.checked_mul(unit).with_context(|| format!("{text:?} is larger than any memory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the eater's sizes: a unit misread would provoke another kill than the scenario means.
    #[test]
    fn units_are_binary() {
        assert_eq!(parse("4096").unwrap(), 4096);
        assert_eq!(parse("64K").unwrap(), 65_536);
        assert_eq!(parse("32M").unwrap(), 33_554_432);
        assert_eq!(parse("1G").unwrap(), 1 << 30);
        assert!(
            parse("").is_err()
                && parse("M").is_err()
                && parse("-1M").is_err()
                && parse("99999999999G").is_err()
        );
    }
}
