//! Which format a client wants: the header `Accept` (RFC 9110, 12.5.1).

use super::text::Form;

/// Ranges of a header that are looked at, at the most.
const RANGES: usize = 64;

/// What a format is offered as: its type and subtype, and its version. The last is for whoever does not mind.
const OFFERS: [(Form, &str, &str, &str); 2] = [
    (Form::OpenMetrics, "application", "openmetrics-text", "1.0.0"),
    (Form::Prometheus, "text", "plain", "0.0.4"),
];

/// The format that a client wants most. Where that is none of them, Prometheus' own: it says what it is, and a person can read it.
#[must_use]
pub fn negotiate(accept: Option<&str>) -> Form {
    let ranges: Vec<_> = accept.unwrap_or_default().split(',').take(RANGES).filter_map(Range::of).collect();
    // How much it is wanted, and how much was said of it. The range that says most about it counts.
    let wanted = |kind: &str, subtype: &str, version: &str| {
        let matching =
            ranges.iter().filter_map(|range| Some((range.matches(kind, subtype, version)?, range.weight)));
        matching.max().map(|(specific, weight)| (weight, specific))
    };
    let offers = OFFERS.iter().map(|(form, kind, subtype, version)| (wanted(kind, subtype, version), *form));
    let best = offers.max_by_key(|(wanted, _)| *wanted);
    best.filter(|(wanted, _)| wanted.is_some_and(|(weight, _)| weight > 0))
        .map_or(Form::Prometheus, |(_, form)| form)
}

/// One range of media types.
struct Range<'header> {
    kind: &'header str,
    subtype: &'header str,
    version: Option<&'header str>,
    /// Thousandths.
    weight: u32,
}

impl<'header> Range<'header> {
    fn of(text: &'header str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let mut range = Self { kind, subtype, version: None, weight: 1000 };
        for part in parts {
            let Some((name, value)) = part.split_once('=') else { continue };
            let value = value.trim().trim_matches('"');
            if name.trim().eq_ignore_ascii_case("q") {
                range.weight = weight(value)?;
            } else if name.trim().eq_ignore_ascii_case("version") {
                range.version = Some(value);
            }
        }
        Some(range)
    }

    /// How much it says about a type that it has in it.
    fn matches(&self, kind: &str, subtype: &str, version: &str) -> Option<u8> {
        let is = |own: &str, other: &str| own.eq_ignore_ascii_case(other);
        match (self.kind, self.subtype, self.version) {
            ("*", "*", _) => Some(0),
            (own, "*", _) if is(own, kind) => Some(1),
            (own, sub, None) if is(own, kind) && is(sub, subtype) => Some(2),
            (own, sub, Some(wanted)) if is(own, kind) && is(sub, subtype) && wanted == version => Some(3),
            _ => None,
        }
    }
}

/// `0` to `1` with three decimals at the most, as thousandths.
fn weight(text: &str) -> Option<u32> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u32 = format!("{decimals:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the choice: what Prometheus (2.42, 3), curl, browsers and others ask for, weights, versions, and nonsense.
    #[test]
    fn the_most_welcome_format_is_chosen() {
        use Form::{OpenMetrics, Prometheus};
        let cases = [
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                OpenMetrics,
            ),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Prometheus),
            ("text/plain, application/openmetrics-text;q=0.9", Prometheus),
            ("text/plain;q=0.2, application/openmetrics-text;q=0.201", OpenMetrics),
            ("application/openmetrics-text; version=\"1.0.0\"", OpenMetrics),
            ("application/openmetrics-text;version=2.0.0", Prometheus),
            ("APPLICATION/OpenMetrics-Text", OpenMetrics),
            ("application/openmetrics-text;q=0, */*", Prometheus),
            ("*/*", Prometheus),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Prometheus),
            ("application/*;q=0.5, text/*;q=0.4", OpenMetrics),
            ("application/json", Prometheus),
            ("application/openmetrics-text;q=2", Prometheus),
            ("application/openmetrics-text;q=0.0001", Prometheus),
            (";;=,/;q", Prometheus),
            ("", Prometheus),
        ];
        for (accept, form) in cases {
            assert_eq!(negotiate(Some(accept)), form, "{accept}");
        }
        assert_eq!(negotiate(None), Prometheus);
    }
}
