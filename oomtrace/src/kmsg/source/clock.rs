//! Times of day, in every way that logs write them. One that cannot be is absent.

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::Offset, tz::TimeZone};

use super::{
    About,
    bytes::{after_spaces, digits, exactly, fraction, word},
};

const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const DAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
/// Clocks differ, and so do zones.
const SLACK: SignedDuration = SignedDuration::from_hours(24);
/// How far apart leap years are at the most (1896 and 1904, 2096 and 2104).
const LEAP: i16 = 8;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    /// No stamp is later.
    latest: Option<Timestamp>,
    zone: TimeZone,
}

/// A time of day, and what follows it.
pub(super) type Read<'a> = (Option<Timestamp>, &'a [u8]);

/// Year, month, day.
type Date = (u64, u8, u64);

/// Hours, minutes, seconds, nanoseconds.
type Day = (i8, i8, i8, i32);

impl Clock {
    pub(super) fn new(about: &About) -> Self {
        let latest = about.written.and_then(|written| written.checked_add(SLACK).ok());
        Self { latest, zone: about.zone.clone() }
    }

    /// `Jan  2 15:04:05 `, `Jan  2 15:04:05.678901 `, `Jan  2 2023 15:04:05 `; with its space.
    pub(super) fn syslog<'a>(&self, text: &'a [u8]) -> Option<Read<'a>> {
        let (month, rest) = month(text)?;
        let (day, rest) = digits(after_spaces(rest.strip_prefix(b" ")?), 2)?;
        let rest = after_spaces(rest.strip_prefix(b" ")?);
        let (year, rest) = match exactly(rest, 4) {
            Some((year, after)) if after.starts_with(b" ") => (Some(year), after_spaces(after)),
            _ => (None, rest),
        };
        let (time, rest) = time(rest)?;
        // Some put a colon there (Cisco's way).
        let rest = rest.strip_prefix(b":").unwrap_or(rest).strip_prefix(b" ")?;
        let stamp = match year {
            Some(year) => self.civil(year, month, day, time),
            None => self.yearless(month, day, time),
        };
        Some((stamp, rest))
    }

    /// `Mon Jan  2 15:04:05 2023` (`ctime()`), without what follows.
    pub(super) fn ctime<'a>(&self, text: &'a [u8]) -> Option<Read<'a>> {
        let rest = weekday(text)?.strip_prefix(b" ")?;
        let (month, rest) = month(rest)?;
        let (day, rest) = digits(after_spaces(rest.strip_prefix(b" ")?), 2)?;
        let (time, rest) = time(rest.strip_prefix(b" ")?)?;
        let (year, rest) = exactly(rest.strip_prefix(b" ")?, 4)?;
        Some((self.civil(year, month, day, time), rest))
    }

    /// `Jan 2 15:04` or `Jan28 15:04` (dmesg's `%b%e %H:%M`), without what follows.
    pub(super) fn minute<'a>(&self, text: &'a [u8]) -> Option<Read<'a>> {
        let (month, rest) = month(text)?;
        let (day, rest) = digits(after_spaces(rest), 2)?;
        let (hour, rest) = exactly(rest.strip_prefix(b" ")?, 2)?;
        let (minute, rest) = exactly(rest.strip_prefix(b":")?, 2)?;
        let time = (i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0);
        Some((self.yearless(month, day, time), rest))
    }

    /// `Mon 2023-01-02 15:04:05 UTC ` (journalctl's short-full), with its space.
    pub(super) fn full<'a>(&self, text: &'a [u8]) -> Option<Read<'a>> {
        let rest = weekday(text)?.strip_prefix(b" ")?;
        let ((year, month, day), rest) = date(rest)?;
        let (time, rest) = time(rest.strip_prefix(b" ")?)?;
        let (zone, rest) = word(rest.strip_prefix(b" ")?)?;
        if !zone.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-:".contains(byte)) {
            return None;
        }
        let stamp = match offset(zone) {
            Some((offset, [])) => in_zone(civil(year, month, day, time), offset),
            // Other names stand for several zones: whoever printed it did so in their own.
            _ => self.civil(year, month, day, time),
        };
        Some((stamp, rest))
    }

    /// `2023-01-02T15:04:05.678901+00:00`, with what leaves out the fraction or the zone or has a space for the `T`, without
    /// what follows. And whether the decimal mark is a comma.
    pub(super) fn iso<'a>(&self, text: &'a [u8]) -> Option<(Read<'a>, bool)> {
        let ((year, month, day), rest) = date(text)?;
        let rest = rest.strip_prefix(b"T").or_else(|| rest.strip_prefix(b" "))?;
        let ((hour, minute, second, mut nanos), rest) = time(rest)?;
        let (rest, comma) = match rest.strip_prefix(b",").and_then(|rest| fraction(rest, 9)) {
            Some((fraction, rest)) => {
                nanos = i32::try_from(fraction).ok()?;
                (rest, true)
            }
            None => (rest, false),
        };
        let time = (hour, minute, second, nanos);
        let (stamp, rest) = match offset(rest) {
            Some((offset, rest)) => (in_zone(civil(year, month, day, time), offset), rest),
            None => (self.civil(year, month, day, time), rest),
        };
        Some(((stamp, rest), comma))
    }

    /// `1700000000.123456 ` (journalctl's short-unix), with its space.
    pub(super) fn unix(text: &[u8]) -> Option<Read<'_>> {
        let (whole, rest) = digits(text, 11)?;
        let (micros, rest) = fraction(rest.strip_prefix(b".")?, 6)?;
        let micros = whole.checked_mul(1_000_000)?.checked_add(micros)?;
        // A stamp of the kernel's own has brackets: this many seconds are of our days.
        (whole >= 100_000_000).then_some((from_micros(micros), rest.strip_prefix(b" ")?))
    }

    fn civil(&self, year: u64, month: u8, day: u64, time: Day) -> Option<Timestamp> {
        self.zone.to_ambiguous_timestamp(civil(year, month, day, time)?).compatible().ok()
    }

    /// The latest that is not after the log was written. A log of more than a year has some wrong.
    fn yearless(&self, month: u8, day: u64, time: Day) -> Option<Timestamp> {
        let latest = self.latest?;
        let year = self.zone.to_datetime(latest).year();
        (0..=LEAP).find_map(|back| {
            let year = u64::try_from(year.checked_sub(back)?).ok()?;
            self.civil(year, month, day, time).filter(|stamp| *stamp <= latest)
        })
    }
}

/// µs since 1970.
pub(super) fn from_micros(micros: u64) -> Option<Timestamp> {
    Timestamp::from_microsecond(i64::try_from(micros).ok()?).ok()
}

fn civil(year: u64, month: u8, day: u64, (hour, minute, second, nanos): Day) -> Option<DateTime> {
    // A leap second: civil time has no place for it.
    let second = second.min(59);
    let month = i8::try_from(month).ok()?;
    DateTime::new(i16::try_from(year).ok()?, month, i8::try_from(day).ok()?, hour, minute, second, nanos).ok()
}

fn in_zone(time: Option<DateTime>, offset: Option<Offset>) -> Option<Timestamp> {
    offset?.to_timestamp(time?).ok()
}

fn weekday(text: &[u8]) -> Option<&[u8]> {
    DAYS.into_iter().find_map(|day| text.strip_prefix(day))
}

fn month(text: &[u8]) -> Option<(u8, &[u8])> {
    let (number, name) = (1..).zip(MONTHS).find(|(_, name)| text.starts_with(name))?;
    Some((number, text.get(name.len()..)?))
}

/// `2023-01-02`.
fn date(text: &[u8]) -> Option<(Date, &[u8])> {
    let (year, rest) = exactly(text, 4)?;
    let (month, rest) = exactly(rest.strip_prefix(b"-")?, 2)?;
    let (day, rest) = exactly(rest.strip_prefix(b"-")?, 2)?;
    Some(((year, u8::try_from(month).ok()?, day), rest))
}

/// `15:04:05`, `15:04:05.678`.
fn time(text: &[u8]) -> Option<(Day, &[u8])> {
    let (hour, rest) = digits(text, 2)?;
    let (minute, rest) = exactly(rest.strip_prefix(b":")?, 2)?;
    let (second, rest) = exactly(rest.strip_prefix(b":")?, 2)?;
    let (nanos, rest) = match rest.strip_prefix(b".").and_then(|rest| fraction(rest, 9)) {
        Some((nanos, rest)) => (i32::try_from(nanos).ok()?, rest),
        None => (0, rest),
    };
    let day = (i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, i8::try_from(second).ok()?, nanos);
    Some((day, rest))
}

/// `Z`, `UTC`, `GMT`, `+01:00`, `+0100`, `+01`.
fn offset(text: &[u8]) -> Option<(Option<Offset>, &[u8])> {
    for name in [&b"Z"[..], b"UTC", b"GMT"] {
        if let Some(rest) = text.strip_prefix(name) {
            return Some((Some(Offset::UTC), rest));
        }
    }
    let (sign, rest) = match text.split_first()? {
        (b'+', rest) => (1, rest),
        (b'-', rest) => (-1, rest),
        _ => return None,
    };
    let (hours, rest) = exactly(rest, 2)?;
    let (minutes, rest) = exactly(rest.strip_prefix(b":").unwrap_or(rest), 2).unwrap_or((0, rest));
    let seconds = i32::try_from(hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?).ok()?;
    Some((Offset::from_seconds(sign * seconds).ok(), rest))
}
