//! The server at a real socket, by bytes: what it refuses, and that nobody else has to wait for that.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, TcpStream},
    time::{Duration, Instant},
};

use super::{
    serve::{CONNECTIONS, HEADER_BYTES, HEADER_TIME, WHOLE_TIME},
    *,
};

/// Shows what it was asked for; a large page is one that does not fit what the kernel buffers.
struct Echo;

impl Pages for Echo {
    fn page(&self, path: &str, accept: Option<&str>) -> Page {
        match path {
            "/large" => Page::ok("text/plain", "x".repeat(32 << 20)),
            "/nowhere" => Page::text(404, "nowhere\n"),
            path => Page::ok("text/plain", format!("{path} as {accept:?}\n")),
        }
    }
}

fn server() -> Server {
    Server::start((Ipv4Addr::LOCALHOST, 0).into(), Arc::new(Echo)).unwrap()
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(WHOLE_TIME * 3)).unwrap();
    stream
}

/// All that comes until the server closes.
fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    // It may reset a connection on which something is left unread.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn ask(server: &Server, request: &[u8]) -> String {
    let mut stream = connect(server);
    // What is refused may be closed before all of it is sent.
    let _ = stream.write_all(request);
    rest(stream)
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

/// Guards a page: its headers, all of them, its body, and that of HEAD, which has none.
#[test]
fn a_page_is_served_once_for_each_connection() {
    let server = server();
    let answer =
        ask(&server, b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nAccept: text/plain\r\naccept: */*;q=0.1\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "/a as Some(\"text/plain,*/*;q=0.1\")\n");
    let mut lines: Vec<_> = head.lines().filter(|line| !line.starts_with("date: ")).collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "HTTP/1.1 200 OK",
            "cache-control: no-store",
            "connection: close",
            "content-length: 35",
            "content-type: text/plain",
            "x-content-type-options: nosniff",
        ]
    );
    let answer = ask(&server, b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.contains("content-length: 11\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    // What follows on the same connection is not answered.
    let twice = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(ask(&server, twice).matches("HTTP/1.1 200").count(), 1);
    assert_eq!(status(&ask(&server, b"GET /nowhere HTTP/1.0\r\n\r\n")), "404");
}

/// Guards what is refused, each in words of HTTP: methods that change something, bodies, what is too long, what is no HTTP.
#[test]
fn what_is_no_reading_is_refused() {
    let server = server();
    let long = "x".repeat(HEADER_BYTES);
    let many = "A: b\r\n".repeat(500);
    let cases: [(String, &[&str]); 9] = [
        ("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".to_owned(), &["405"]),
        ("DELETE / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), &["405"]),
        ("CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), &["405"]),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n".to_owned(), &["413"]),
        ("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), &["413"]),
        (format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), &["414", "431"]),
        (format!("GET / HTTP/1.1\r\nX: {long}\r\n\r\n"), &["431"]),
        (format!("GET / HTTP/1.1\r\n{many}\r\n"), &["431"]),
        ("\u{16}\u{3}\u{1} no HTTP\r\n\r\n".to_owned(), &["400"]),
    ];
    for (request, expected) in cases {
        let answer = ask(&server, request.as_bytes());
        let first: String = request.chars().take(40).collect();
        assert!(expected.contains(&status(&answer)), "{first:?}: {answer:?}");
    }
    assert_eq!(status(&ask(&server, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")), "200", "it serves on");
}

/// Guards against clients that say a letter now and then: they are cut off in time, though they hold every place that there is,
/// and whoever comes after them is served.
#[test]
fn slow_requests_are_cut_off() {
    let server = server();
    let began = Instant::now();
    let slow: Vec<_> = (0..CONNECTIONS * 2)
        .map(|_| {
            let mut stream = connect(&server);
            stream.write_all(b"GET / HTTP/1.1\r\nX: ").unwrap();
            stream
        })
        .collect();
    let dripping: Vec<_> = slow
        .into_iter()
        .map(|mut stream| {
            thread::spawn(move || {
                while stream.write_all(b"y").is_ok() && began.elapsed() < WHOLE_TIME * 3 {
                    thread::sleep(Duration::from_millis(200));
                }
                began.elapsed()
            })
        })
        .collect();
    // The kernel has the connections that wait in their order.
    assert_eq!(status(&ask(&server, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")), "200");
    let most = HEADER_TIME * 2 + Duration::from_secs(5);
    assert!(began.elapsed() < most, "{:?}", began.elapsed());
    for one in dripping {
        assert!(one.join().unwrap() < most);
    }
}

/// Guards against clients that say nothing, and those that do not read what they asked for.
#[test]
fn silent_and_sated_clients_are_cut_off() {
    let server = server();
    let began = Instant::now();
    let silent = connect(&server);
    let mut sated = connect(&server);
    sated.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(!rest(silent).contains(" 200 "));
    assert!(began.elapsed() < HEADER_TIME + Duration::from_secs(5), "{:?}", began.elapsed());
    thread::sleep((WHOLE_TIME + Duration::from_secs(1)).saturating_sub(began.elapsed()));
    assert!(rest(sated).len() < 32 << 20, "the rest of the page must not come any more");
    // A client that says that it is done, and is.
    let mut half = connect(&server);
    half.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    assert_eq!(status(&rest(half)), "200");
}

/// Guards the words about a port that is taken, and that a server that is dropped gives its port back at once.
#[test]
fn a_port_is_one_servers_until_that_ends() {
    let server = server();
    let address = server.address();
    assert!(address.ip().is_loopback());
    assert_eq!(server.url(), format!("http://127.0.0.1:{}/metrics", address.port()));
    let error = Server::start(address, Arc::new(Echo)).unwrap_err().to_string();
    assert!(error.contains("listens at") && error.contains(&address.to_string()), "{error}");
    assert_eq!(status(&ask(&server, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")), "200");
    let idle = connect(&server);
    drop(server);
    assert!(rest(idle).is_empty());
    assert!(Server::start(address, Arc::new(Echo)).is_ok());
    let error = Server::start("192.0.2.1:0".parse().unwrap(), Arc::new(Echo)).unwrap_err().to_string();
    assert!(error.contains("no address 192.0.2.1"), "{error}");
}
