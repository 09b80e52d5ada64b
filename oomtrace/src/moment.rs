//! Moments as people write them on a command line.

use jiff::{Span, Timestamp, Zoned, civil, tz::TimeZone};

/// A moment: RFC 3339; a date or a time of the machine's time zone; or how long ago it is.
pub fn parse(text: &str) -> Result<Timestamp, String> {
    parse_at(text.trim(), &Zoned::now())
}

fn parse_at(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let of = |time: civil::DateTime, zone: &TimeZone| zone.to_zoned(time).map(|time| time.timestamp()).ok();
    if let Some(moment) = text.parse::<civil::DateTime>().ok().and_then(|time| of(time, now.time_zone())) {
        return Ok(moment);
    }
    // `2 days` and `2 days ago` are the same moment: nobody looks for what is to come.
    let ago = text.strip_suffix("ago").unwrap_or(text).trim();
    if let Some(moment) = ago.parse::<Span>().ok().and_then(|span| now.checked_sub(span.abs()).ok()) {
        return Ok(moment.timestamp());
    }
    Err(format!(
        "\"{text}\" is no moment: write a date such as 2026-11-28, a time such as 2026-11-28T14:00 or 2026-11-28T14:00:00Z, or how \
         long ago it is, such as '2 days' or 90m"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards each form against the zone that it is in, and what is none.
    #[test]
    fn forms() {
        let now: Zoned = "2026-03-10T12:00:00+01:00[Europe/Berlin]".parse().unwrap_or_else(|_| {
            // Without a database of time zones.
            "2026-03-10T12:00:00+01:00[+01:00]".parse().unwrap()
        });
        let said = |text: &str| parse_at(text, &now).map(|moment| moment.to_string());
        assert_eq!(said("2026-03-09T10:00:00Z").unwrap(), "2026-03-09T10:00:00Z");
        assert_eq!(said("2026-03-09T10:00:00+01:00").unwrap(), "2026-03-09T09:00:00Z");
        assert_eq!(said("2026-03-09").unwrap(), "2026-03-08T23:00:00Z");
        assert_eq!(said("2026-03-09 10:00").unwrap(), "2026-03-09T09:00:00Z");
        for ago in ["2 days", "2d", "2 days ago", "48h"] {
            assert_eq!(said(ago).unwrap(), "2026-03-08T11:00:00Z", "{ago}");
        }
        for nonsense in ["", "yesterday morning", "2026-13-01", "99999999999 years"] {
            assert!(said(nonsense).is_err(), "{nonsense}");
        }
    }
}
