//! Pieces of lines. What is taken from the beginning of a text comes back with the rest.

/// The number that a text begins with, of at most `most` digits.
pub(super) fn digits(text: &[u8], most: usize) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    if end == 0 || end > most {
        return None;
    }
    Some((str::from_utf8(text.get(..end)?).ok()?.parse().ok()?, text.get(end..)?))
}

/// A number of exactly `len` digits, whatever follows.
pub(super) fn exactly(text: &[u8], len: usize) -> Option<(u64, &[u8])> {
    let (number, rest) = text.split_at_checked(len)?;
    let (number, []) = digits(number, len)? else { return None };
    Some((number, rest))
}

/// Digits behind a decimal mark, as `places` of them: `5` of three places is 500.
pub(super) fn fraction(text: &[u8], places: usize) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let mut value = 0u64;
    for at in 0..places {
        let digit = text.get(..end)?.get(at).map_or(0, |digit| u64::from(digit - b'0'));
        value = value.checked_mul(10)?.checked_add(digit)?;
    }
    (end > 0).then_some((value, text.get(end..)?))
}

/// Without the spaces at its beginning.
pub(super) fn after_spaces(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| *byte != b' ').unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

/// The word up to the next space, and what follows that space.
pub(super) fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| *byte == b' ').filter(|end| *end > 0)?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

/// Seconds with a fraction, µs: `12.345678`.
pub(super) fn seconds(text: &[u8]) -> Option<(u64, &[u8])> {
    let (whole, rest) = digits(text, 12)?;
    let (micros, rest) = fraction(rest.strip_prefix(b".")?, 6)?;
    Some((whole.checked_mul(1_000_000)?.checked_add(micros)?, rest))
}
