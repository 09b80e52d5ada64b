//! A small web server: pages that can be read, and nothing else. It has a thread of its own, and a bound on all that a client can
//! take of it: connections, bytes, time.

mod serve;

#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::{self, JoinHandle},
};

use tokio::{runtime, sync::oneshot};

/// The server's stack: a page is made on the heap.
const STACK_BYTES: usize = 512 * 1024;

/// What can be read.
pub trait Pages: Send + Sync + 'static {
    /// A page by its path, in the form that the client accepts. It is made on the server's thread: it must not wait.
    fn page(&self, path: &str, accept: Option<&str>) -> Page;
}

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// HTTP's status.
    pub status: u16,
    /// Its media type.
    pub content_type: &'static str,
    /// What it says.
    pub body: Cow<'static, str>,
}

impl Page {
    /// One that is there.
    pub fn ok(content_type: &'static str, body: impl Into<Cow<'static, str>>) -> Self {
        Self { status: 200, content_type, body: body.into() }
    }

    /// A sentence.
    #[must_use]
    pub fn text(status: u16, body: &'static str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }
}

/// Why no server can be started.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Somebody else listens there.
    #[error(
        "Something else listens at {0} already: set another address or port (--metrics-listen), or end the other one"
    )]
    InUse(SocketAddr),
    /// No interface has the address.
    #[error("This machine has no address {}: set one that it has (--metrics-listen), or 127.0.0.1", .0.ip())]
    NoAddress(SocketAddr),
    /// The port is for the privileged.
    #[error("Port {} is only for those with CAP_NET_BIND_SERVICE: set one from 1024 on (--metrics-listen)", .0.port())]
    Privileged(SocketAddr),
    /// Something else.
    #[error("Nothing can listen at {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// There is no thread for it.
    #[error("The metrics endpoint has no thread: {0}")]
    Thread(io::Error),
}

/// A server that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens at an address; with port 0, at a port that is free.
    ///
    /// # Errors
    /// It cannot.
    pub fn start(address: SocketAddr, pages: Arc<dyn Pages>) -> Result<Self, HttpError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => HttpError::InUse(address),
            io::ErrorKind::AddrNotAvailable => HttpError::NoAddress(address),
            io::ErrorKind::PermissionDenied => HttpError::Privileged(address),
            _ => HttpError::Listen(address, error),
        };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(HttpError::Thread)?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("metrics-http".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || runtime.block_on(serve::until(stopped, listener, pages)))
            .map_err(HttpError::Thread)?;
        Ok(Self { address: bound, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics are to be had.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its end is what the server waits for.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It says itself what kept it from its work.
            let _ = thread.join();
        }
    }
}
