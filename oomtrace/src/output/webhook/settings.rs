//! What the webhook is told.

use std::{io, path::PathBuf, time::Duration};

use ureq::http::Uri;

use crate::output::LineKind;

/// A request that takes longer is none that comes through.
const LONGEST_TIMEOUT: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Where to: `https://…` or `http://…`. Secrets may be in it: when something is said of it, no more than its scheme and host
    /// are.
    pub url: String,
    /// What is sent. [`LineKind::OF_INCIDENTS`] unless told otherwise.
    pub kinds: Vec<LineKind>,
    /// How many lines a request carries.
    pub batch: Batch,
    /// How long a request may take, from looking the host up to the end of the answer.
    pub timeout: Duration,
    /// How long what the endpoint does not take is tried again before it is dropped.
    pub give_up_after: Duration,
    /// A file whose first line is the value of the header `Authorization`, such as `Bearer …`. It is read before each request.
    pub authorization_file: Option<PathBuf>,
    /// A file of certificates (PEM) to trust in place of the system's.
    pub ca_file: Option<PathBuf>,
}

/// How many lines a request carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Batch {
    /// One object, as `application/json`.
    #[default]
    One,
    /// All that wait, up to 256 KiB, one a line, as `application/x-ndjson`.
    Lines,
}

impl Batch {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::One => "application/json",
            Self::Lines => "application/x-ndjson",
        }
    }
}

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// No URL, or not one of HTTP. It is not shown: it may have secrets.
    #[error("The webhook's URL must be https://HOST/… or http://HOST/…")]
    Url,
    /// No time, or very much.
    #[error("The webhook needs a time limit of more than 0 s and at most a minute")]
    Timeout,
    /// The file of its authorization.
    #[error("The webhook's authorization cannot be read from {}: {reason}", path.display())]
    Authorization {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// The certificates.
    #[error("The webhook needs certificates to trust, and {}: {reason}. Install ca-certificates, or name a file of them", path.display())]
    Certificates {
        /// Where they were looked for.
        path: PathBuf,
        /// Why there are none.
        reason: String,
    },
}

impl WebhookSettings {
    /// Whether this can be done.
    pub fn check(&self) -> Result<(), WebhookError> {
        if self.timeout.is_zero() || self.timeout > LONGEST_TIMEOUT {
            return Err(WebhookError::Timeout);
        }
        self.uri().map(drop)
    }

    /// Where to: with a host, and by HTTP.
    pub(super) fn uri(&self) -> Result<Uri, WebhookError> {
        let uri: Uri = self.url.parse().map_err(|_| WebhookError::Url)?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_host = uri.host().is_some_and(|host| !host.is_empty());
        if is_http && has_host { Ok(uri) } else { Err(WebhookError::Url) }
    }
}
