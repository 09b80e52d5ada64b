//! Names and figures, as people read them.

use crate::text::printable;

/// A task's name, as far as it is known.
pub(crate) fn name(comm: Option<&str>) -> String {
    comm.map_or_else(|| "?".to_owned(), printable)
}

/// An id, as far as it is known.
pub(crate) fn id(id: Option<u32>) -> String {
    id.map_or_else(|| "?".to_owned(), |id| id.to_string())
}

/// A process by its id; by its thread's, where a log has that alone.
pub(crate) fn who(pid: Option<u32>, tid: Option<u32>) -> String {
    match (pid, tid) {
        (None, Some(tid)) => format!("thread {tid}"),
        (pid, _) => format!("pid {}", id(pid)),
    }
}

/// Bytes for people: KiB below one MiB, then one decimal.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["MiB", "GiB", "TiB", "PiB"];
    if bytes == 0 {
        return "0".to_owned();
    }
    if bytes < 1 << 20 {
        return format!("{} KiB", bytes.div_ceil(1024));
    }
    let mut tenths = bytes / (1 << 20) * 10 + bytes % (1 << 20) * 10 / (1 << 20);
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS.get(unit).unwrap_or(&"EiB"))
}

/// A time for people: three digits, or all of whole seconds.
pub(crate) fn duration(ns: u64) -> String {
    match ns {
        0..1_000_000 => format!("{} µs", ns / 1000),
        1_000_000..10_000_000 => format!("{}.{} ms", ns / 1_000_000, ns / 100_000 % 10),
        10_000_000..1_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ => format!("{}.{} s", ns / 1_000_000_000, ns / 100_000_000 % 10),
    }
}

/// Minutes for people: seconds below two of them.
pub(crate) fn span(ns: u64) -> String {
    match ns {
        0..10_000_000_000 => duration(ns),
        10_000_000_000..120_000_000_000 => format!("{} s", ns / 1_000_000_000),
        _ => format!("{} min", ns / 1_000_000_000 / 60),
    }
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the sizes that people read.
    #[test]
    fn sizes_have_a_unit_and_one_decimal() {
        assert_eq!(size(0), "0");
        assert_eq!(size(1), "1 KiB");
        assert_eq!(size(4096), "4 KiB");
        assert_eq!(size(512 << 20), "512.0 MiB");
        assert_eq!(size((498 << 20) + (1 << 18)), "498.2 MiB");
        assert_eq!(size(3 << 29), "1.5 GiB");
        assert_eq!(size(u64::MAX), "16383.9 PiB");
    }

    /// Guards the times that people read.
    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration(0), "0 µs");
        assert_eq!(duration(999_999), "999 µs");
        assert_eq!(duration(1_250_000), "1.2 ms");
        assert_eq!(duration(214_900_000), "214 ms");
        assert_eq!(duration(61_050_000_000), "61.0 s");
        assert_eq!(span(3_200_000_000), "3.2 s");
        assert_eq!(span(119_999_999_999), "119 s");
        assert_eq!(span(601_000_000_000), "10 min");
    }

    /// Guards the thousands' marks.
    #[test]
    fn thousands_stand_apart() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(127_530), "127,530");
        assert_eq!(grouped(-1_000), "-1,000");
    }
}
