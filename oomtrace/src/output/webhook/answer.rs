//! What an endpoint's answer means.

use std::time::{Duration, SystemTime};

use ureq::http::{HeaderMap, StatusCode, header::RETRY_AFTER};

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has what was sent.
    Taken,
    /// It will never take this.
    Refused(String),
    /// It may take it later.
    Later {
        /// Why not now.
        reason: String,
        /// After how long it wants to be asked again.
        wish: Option<Duration>,
    },
}

impl Answer {
    /// By its status. Redirects are not followed: what is sent, and its authorization, go where the settings say.
    pub fn of(origin: &str, status: StatusCode, headers: &HeaderMap) -> Self {
        let reason = format!("{origin} answers with status {}", status.as_u16());
        if status.is_success() {
            Self::Taken
        } else if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            Self::Later { reason, wish: retry_after(headers, SystemTime::now()) }
        } else if status.is_redirection() {
            Self::Refused(format!("{reason}, and redirects are not followed: name the endpoint itself"))
        } else {
            Self::Refused(reason)
        }
    }
}

/// Seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    SystemTime::from(date).duration_since(now).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: Option<&str>) -> Answer {
        let mut headers = HeaderMap::new();
        retry_after.map(|value| headers.insert(RETRY_AFTER, value.parse().unwrap()));
        Answer::of("https://x", StatusCode::from_u16(status).unwrap(), &headers)
    }

    /// Guards against sending again what was taken or refused, and against dropping what would be taken later.
    #[test]
    fn statuses_decide() {
        for status in [200, 201, 202, 204] {
            assert_eq!(answer(status, None), Answer::Taken, "{status}");
        }
        for status in [429, 500, 502, 503, 504] {
            assert!(matches!(answer(status, None), Answer::Later { wish: None, .. }), "{status}");
        }
        for status in [300, 301, 302, 307, 308, 304, 400, 401, 403, 404, 413, 422, 600, 999] {
            assert!(matches!(answer(status, None), Answer::Refused(_)), "{status}");
        }
    }

    /// Guards both forms of Retry-After, and an endpoint that sends something else.
    #[test]
    fn an_endpoint_says_when() {
        let wish = |value| match answer(503, Some(value)) {
            Answer::Later { wish, .. } => wish,
            other => panic!("{other:?}"),
        };
        assert_eq!(wish("120"), Some(Duration::from_mins(2)));
        assert_eq!(wish("18446744073709551615"), Some(Duration::from_secs(u64::MAX)));
        for none in ["", "-1", "soon", "1e9", "Sun, 06 Nov 1994 08:49:37 GMT"] {
            assert_eq!(wish(none), None, "{none}");
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        let headers = HeaderMap::from_iter([(RETRY_AFTER, "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap())]);
        assert_eq!(retry_after(&headers, now), Some(Duration::from_secs(7)));
    }
}
