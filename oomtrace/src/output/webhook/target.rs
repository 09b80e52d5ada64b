//! The endpoint, and how it is asked.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ureq::{
    Agent,
    http::{HeaderValue, Uri, header::AUTHORIZATION, header::CONTENT_TYPE},
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
};

use super::{Answer, WebhookError, WebhookSettings};
use crate::text::printable;

/// Where distributions keep the certificates that the system trusts, as one file: Debian, Arch, Alpine; Fedora, RHEL; SUSE;
/// and where else OpenSSL may look.
const STORES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Larger files are none of certificates, bytes.
const LARGEST_STORE: u64 = 8 << 20;
/// Longer values are no token, bytes.
const LONGEST_AUTHORIZATION: u64 = 16 * 1024;
/// Of an answer, so much is read, and not looked at: then the connection can be used again.
const ANSWER_BYTES: u64 = 64 * 1024;
/// Headers of an answer that are longer than that are none, bytes.
const HEADER_BYTES: usize = 32 * 1024;

/// See the module.
pub(super) struct Target {
    agent: Agent,
    uri: Uri,
    /// What is said of it: no path and no user, which may be secrets.
    origin: String,
    authorization_file: Option<PathBuf>,
}

impl Target {
    pub fn new(settings: &WebhookSettings) -> Result<Self, WebhookError> {
        let uri = settings.uri()?;
        let (scheme, host) = (uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default());
        let port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
        let origin = printable(&format!("{scheme}://{host}{port}"));
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // By the settings alone, and by no variable of whoever started the agent.
            .proxy(None)
            .max_response_header_size(HEADER_BYTES)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .accept_encoding("identity")
            .user_agent(concat!("oomtrace/", env!("CARGO_PKG_VERSION")));
        match scheme {
            "http" => {}
            "https" => {
                let tls = TlsConfig::builder()
                    .root_certs(certificates(settings.ca_file.as_deref())?)
                    .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
                config = config.tls_config(tls.build());
            }
            _ => return Err(WebhookError::Url),
        }
        if let Some(path) = &settings.authorization_file {
            authorization(path)
                .map_err(|reason| WebhookError::Authorization { path: path.clone(), reason })?;
        }
        Ok(Self {
            agent: config.build().new_agent(),
            uri,
            origin,
            authorization_file: settings.authorization_file.clone(),
        })
    }

    /// Sends one request, and waits for its answer.
    pub fn post(&self, body: &[u8], content_type: &'static str, timeout: Duration) -> Answer {
        let mut request = self.agent.post(&self.uri).header(CONTENT_TYPE, content_type);
        // Before each request: tokens are exchanged.
        match self.authorization_file.as_deref().map(authorization).transpose() {
            Ok(None) => {}
            Ok(Some(authorization)) => request = request.header(AUTHORIZATION, authorization),
            Err(error) => {
                let reason = format!("the authorization for {} cannot be read: {error}", self.origin);
                return Answer::Later { reason, wish: None };
            }
        }
        match request.config().timeout_global(Some(timeout)).build().send(body) {
            Ok(answer) => {
                let (head, body) = answer.into_parts();
                // An error in it changes nothing: the endpoint has answered.
                let _ = io::copy(&mut body.into_reader().take(ANSWER_BYTES), &mut io::sink());
                Answer::of(&self.origin, head.status, &head.headers)
            }
            Err(error) => Answer::Later {
                reason: format!("{}: {}", self.origin, printable(&error.to_string())),
                wish: None,
            },
        }
    }
}

/// The value of the header, from the first line of a file.
fn authorization(path: &Path) -> io::Result<HeaderValue> {
    let mut text = Vec::new();
    open(path)?.take(LONGEST_AUTHORIZATION).read_to_end(&mut text)?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    if line.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its first line is empty"));
    }
    let mut value = HeaderValue::from_bytes(line)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "its first line is no value of a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The certificates to trust.
fn certificates(named: Option<&Path>) -> Result<RootCerts, WebhookError> {
    let stores: Vec<_> = named.map_or_else(|| STORES.map(Path::new).to_vec(), |named| vec![named]);
    let path = stores.iter().copied().find(|path| path.exists()).or(stores.first().copied());
    let path = path.unwrap_or(Path::new("/"));
    let failed = |reason: String| WebhookError::Certificates { path: path.to_owned(), reason };
    let mut pem = Vec::new();
    let read = open(path).and_then(|file| file.take(LARGEST_STORE).read_to_end(&mut pem));
    read.map_err(|error| failed(format!("cannot be read: {error}")))?;
    let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(failed("has none".to_owned()));
    }
    Ok(RootCerts::Specific(Arc::new(certificates)))
}

/// A file. What is none does not make us wait.
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is something else than a file"))
    }
}
