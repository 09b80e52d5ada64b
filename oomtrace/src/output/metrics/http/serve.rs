//! Connections: one request each.

use std::{convert::Infallible, net::TcpListener, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Body as _, Bytes, Incoming},
    header::{
        ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS,
    },
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener as Listener, TcpStream},
    sync::{Semaphore, oneshot},
    time::{sleep, timeout},
};

use super::{Page, Pages};
use crate::say::say;

/// Connections at once. Prometheus has one; more wait in the kernel until there is room.
pub const CONNECTIONS: usize = 16;
/// How long a client may take to say what it wants. Prometheus says it with the first packet.
pub const HEADER_TIME: Duration = Duration::from_secs(3);
/// How long all of it may take: as long as Prometheus waits by default (`scrape_timeout`).
pub const WHOLE_TIME: Duration = Duration::from_secs(10);
/// What a client may say, bytes. hyper has no less.
pub const HEADER_BYTES: usize = 8 * 1024;
/// In so many lines.
const HEADER_LINES: usize = 64;
/// How long to wait where no connection can be taken: there are no file descriptors left, or no memory.
const RECOVERY: Duration = Duration::from_millis(500);

/// Serves pages until told to stop.
pub async fn until(stopped: oneshot::Receiver<()>, listener: TcpListener, pages: Arc<dyn Pages>) {
    let listener = match Listener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return say!("metrics: nothing can be served: {error}."),
    };
    tokio::select! {
        // Told, or forgotten: both are an end. What is being served ends with the runtime.
        _ = stopped => {}
        () = accept(&listener, pages) => {}
    }
}

async fn accept(listener: &Listener, pages: Arc<dyn Pages>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut failing = false;
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                failing = false;
                let pages = Arc::clone(&pages);
                tokio::spawn(async move {
                    connection(stream, pages).await;
                    drop(place);
                });
            }
            Err(error) => {
                if !failing {
                    say!("metrics: a connection cannot be taken: {error}; it is tried again.");
                }
                failing = true;
                sleep(RECOVERY).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, pages: Arc<dyn Pages>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(&request, pages.as_ref());
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADER_LINES)
        // A client that says no more may still be listening.
        .half_close(true)
        // The next request has a bound of its own, on a connection of its own.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // What goes wrong is the client's: it is told by HTTP, or is gone. Time that is over ends the connection.
    let _ = timeout(WHOLE_TIME, connection).await;
}

fn answer(request: &Request<Incoming>, pages: &dyn Pages) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = response(Page::text(405, "These pages can be read, and nothing else.\n"));
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    if !request.body().is_end_stream() {
        return response(Page::text(413, "A request has nothing behind its headers.\n"));
    }
    response(pages.page(request.uri().path(), accepted(request.headers()).as_deref()))
}

/// What a client accepts: the header may be there several times.
fn accepted(headers: &HeaderMap) -> Option<String> {
    let all: Vec<_> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    (!all.is_empty()).then(|| all.join(","))
}

/// Nothing of a header comes from what was measured.
fn response(page: Page) -> Response<Full<Bytes>> {
    let body = match page.body {
        std::borrow::Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
        std::borrow::Cow::Owned(text) => Bytes::from(text),
    };
    let length = body.len();
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(page.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
