//! Endpoints that refuse, hang, are slow, talk nonsense, are not there and come back.

use std::{
    fs,
    io::{BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::mpsc::{Receiver, channel},
    thread,
};

use super::*;
use crate::output::samples::{HOSTILE, fork, incident, opened};

/// A request as an endpoint sees it.
struct Request {
    head: String,
    body: String,
}

/// What an endpoint answers each request with, in order; the last for all that follow.
type Answers = &'static [&'static str];

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const BUSY: &str = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";

/// An endpoint on loopback: where it is, and what it is asked.
fn endpoint(answers: Answers) -> (String, Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (url(&listener), serve(listener, answers))
}

fn url(listener: &TcpListener) -> String {
    format!("http://{}/hook/T0KEN?key=K3Y", listener.local_addr().unwrap())
}

fn serve(listener: TcpListener, answers: Answers) -> Receiver<Request> {
    let (seen, requests) = channel();
    thread::spawn(move || {
        let mut number = 0;
        while let Ok((mut stream, _)) = listener.accept() {
            while let Some(request) = request(&mut BufReader::new(stream.try_clone().unwrap())) {
                let answer = answers.get(number).or(answers.last()).unwrap();
                number += 1;
                if seen.send(request).is_err() || stream.write_all(answer.as_bytes()).is_err() {
                    break;
                }
                if !answer.contains("Content-Length") {
                    break;
                }
            }
        }
    });
    requests
}

fn request(from: &mut impl std::io::BufRead) -> Option<Request> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let header = |line: &str| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned);
    let length = head.lines().find_map(header).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    Some(Request { head, body: String::from_utf8(body).unwrap() })
}

fn settings(url: &str) -> WebhookSettings {
    WebhookSettings {
        url: url.to_owned(),
        kinds: LineKind::OF_INCIDENTS.to_vec(),
        batch: Batch::One,
        timeout: Duration::from_secs(10),
        give_up_after: Duration::from_hours(1),
        authorization_file: None,
        ca_file: None,
    }
}

fn webhook(settings: &WebhookSettings) -> (Webhook, Arc<Health>) {
    let health = Health::new("webhook");
    (Webhook::new(settings, Arc::clone(&health)).unwrap(), health)
}

fn give(webhook: &mut Webhook, seqs: impl IntoIterator<Item = u64>) {
    for seq in seqs {
        webhook.take(&incident(seq, "app")).unwrap();
    }
    webhook.flush().unwrap();
}

/// Lets it send as long as nothing fails.
fn settle(webhook: &mut Webhook) {
    while webhook.rest().is_some_and(|rest| rest.is_zero()) {}
}

/// Tries at once, though it failed just now.
fn again(webhook: &mut Webhook) {
    webhook.retry.hurry();
    settle(webhook);
}

/// Written and lost.
fn books(health: &Health) -> (u64, u64) {
    (health.messages_written(), health.messages_lost())
}

fn temporary(name: &str, content: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("oomtrace-webhook-{name}-{}", std::process::id()));
    fs::write(&path, content).unwrap();
    path
}

/// Guards the request: one object, of its type, to the path of the settings, with the authorization from its file and nothing
/// that an incident's names tried to add.
#[test]
fn an_incident_is_one_request() {
    let (url, requests) = endpoint(&[OK]);
    let token = temporary("token", "Bearer s3cret\nsecond line\n");
    let (mut webhook, health) =
        webhook(&WebhookSettings { authorization_file: Some(token.clone()), ..settings(&url) });
    webhook.take(&opened()).unwrap();
    webhook.take(&incident(1, HOSTILE)).unwrap();
    webhook.flush().unwrap();
    settle(&mut webhook);
    let request = requests.recv().unwrap();
    assert!(request.head.starts_with("POST /hook/T0KEN?key=K3Y HTTP/1.1\r\n"), "{}", request.head);
    let head = request.head.to_ascii_lowercase();
    for header in ["content-type: application/json\r\n", "authorization: bearer s3cret\r\n"] {
        assert!(head.contains(header), "{head}");
    }
    assert!(!head.contains("x-evil") && !head.contains("second"), "{head}");
    let line = Json::line(&incident(1, HOSTILE));
    assert_eq!(request.body.into_bytes(), line);
    // A token is exchanged while the agent runs.
    fs::write(&token, "Bearer other").unwrap();
    give(&mut webhook, [2]);
    assert!(requests.recv().unwrap().head.contains("Bearer other"));
    assert_eq!((books(&health), health.failing()), ((2, 0), None));
    fs::remove_file(&token).unwrap();
    give(&mut webhook, [3]);
    assert!(health.failing().is_some_and(|why| why.contains("authorization") && !why.contains("other")));
    assert_eq!(books(&health), (2, 0), "it waits for the file");
}

/// Guards batches: all that waits, one a line, up to the size of a request; and each by itself where that was asked for.
#[test]
fn lines_go_together_where_that_was_asked_for() {
    let (url, requests) = endpoint(&[OK]);
    let (mut lines, health) = webhook(&WebhookSettings { batch: Batch::Lines, ..settings(&url) });
    give(&mut lines, 1..=300);
    settle(&mut lines);
    let bodies: Vec<_> = requests.try_iter().map(|request| request.body).collect();
    let seqs = bodies.iter().flat_map(|body| body.lines());
    let seqs =
        seqs.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap());
    assert_eq!(seqs.collect::<Vec<_>>(), (1..=300).collect::<Vec<_>>());
    assert!((2..10).contains(&bodies.len()) && bodies.iter().all(|body| body.len() <= REQUEST_BYTES));
    assert_eq!(books(&health), (300, 0));
    // The endpoint serves one connection after the other.
    drop(lines);
    let (mut one, _) = webhook(&WebhookSettings { kinds: vec![LineKind::ForkFailure], ..settings(&url) });
    give(&mut one, 1..=3);
    (0..2).for_each(|_| one.take(&fork()).unwrap());
    one.flush().unwrap();
    settle(&mut one);
    assert_eq!(requests.try_iter().map(|request| request.body.lines().count()).collect::<Vec<_>>(), [1, 1]);
}

/// Guards an endpoint that is overloaded, and one that is not there yet: what it did not take comes later, in order, once.
#[test]
fn what_is_not_taken_is_sent_again() {
    let (url, requests) =
        endpoint(&[BUSY, "HTTP/1.1 429 Slow\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n", OK]);
    let (mut busy, health) = webhook(&settings(&url));
    give(&mut busy, 1..=2);
    assert!(health.failing().is_some_and(|why| why.ends_with("answers with status 503")));
    assert!(busy.rest().is_some_and(|rest| rest <= Duration::from_secs(1)));
    again(&mut busy);
    assert!(busy.rest().is_some_and(|rest| rest > Duration::from_secs(29)), "it asked for 30 s");
    assert_eq!(books(&health), (0, 0));
    again(&mut busy);
    assert_eq!((books(&health), health.failing()), ((2, 0), None));
    let seqs = requests.try_iter().map(|request| request.body.contains("\"seq\":1,"));
    assert_eq!(seqs.collect::<Vec<_>>(), [true, true, true, false]);

    // The port is nobody's, until it is somebody's.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (mut absent, health) = webhook(&settings(&format!("http://{address}/")));
    give(&mut absent, [7]);
    assert!(health.failing().is_some_and(|why| why.contains("refused")), "{:?}", health.failing());
    let requests = serve(TcpListener::bind(address).unwrap(), &[OK]);
    again(&mut absent);
    assert!(requests.recv().unwrap().body.contains("\"seq\":7,"));
    assert_eq!((books(&health), health.failing()), ((1, 0), None));
}

/// Guards against sending for ever what will never be taken, and against following where an endpoint points to.
#[test]
fn what_is_refused_is_dropped_and_counted() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let redirect = format!(
        "HTTP/1.1 307 Go\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n",
        elsewhere.local_addr().unwrap()
    );
    let answers = vec![redirect.leak() as &str, "HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n", OK];
    let (url, requests) = endpoint(answers.leak());
    let (mut webhook, health) = webhook(&settings(&url));
    give(&mut webhook, [1]);
    assert!(health.failing().is_some_and(|why| why.contains("307, and redirects are not followed")));
    give(&mut webhook, [2]);
    assert!(health.failing().is_some_and(|why| why.contains("400")));
    give(&mut webhook, [3]);
    assert_eq!((books(&health), health.failing(), requests.try_iter().count()), ((1, 2), None, 3));
    assert!(elsewhere.accept().is_err(), "nobody was sent there");
}

/// Guards against endpoints that talk something else, or say too much: the line is kept, and the agent goes on.
#[test]
fn nonsense_is_no_answer() {
    let (url, _requests) = endpoint(&["SSH-2.0-OpenSSH\r\n"]);
    let (mut garbage, health) = webhook(&settings(&url));
    give(&mut garbage, [1]);
    assert!(health.failing().is_some() && garbage.rest().is_some());
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(1 << 20)).leak() as &str;
    let (url, _requests) = endpoint(vec![endless].leak());
    let (mut header, health_of_header) = webhook(&settings(&url));
    give(&mut header, [1]);
    assert!(health_of_header.failing().is_some() && header.rest().is_some());
    assert_eq!((books(&health), books(&health_of_header)), ((0, 0), (0, 0)));
    // A body without an end costs no more than a bounded look at it.
    let huge = format!("HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n{}", "x".repeat(1 << 20)).leak()
        as &str;
    let (url, _requests) = endpoint(vec![huge].leak());
    let (mut body, health) = webhook(&settings(&url));
    let begun = Instant::now();
    give(&mut body, [1]);
    assert!(books(&health) == (1, 0) && begun.elapsed() < Duration::from_secs(5));
}

/// Guards against endpoints that hang, before and within their answer, and that read slowly: a request has a time limit.
#[test]
fn a_request_has_a_time_limit() {
    type Hang = fn(TcpStream);
    let hangs: [Hang; 3] = [
        |_stream| thread::sleep(Duration::from_secs(30)),
        |mut stream| {
            for byte in OK.bytes() {
                if stream.write_all(&[byte]).is_err() {
                    return;
                }
                thread::sleep(Duration::from_millis(200));
            }
        },
        |mut stream| {
            while stream.read(&mut [0; 64]).is_ok_and(|count| count > 0) {
                thread::sleep(Duration::from_millis(50));
            }
        },
    ];
    for hang in hangs {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = url(&listener);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || hang(stream));
            }
        });
        let (mut webhook, health) =
            webhook(&WebhookSettings { timeout: Duration::from_millis(400), ..settings(&url) });
        let begun = Instant::now();
        webhook.take(&incident(1, &"x".repeat(1 << 20))).unwrap();
        webhook.flush().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        assert!(health.failing().is_some_and(|why| why.contains("timeout")), "{:?}", health.failing());
        let begun = Instant::now();
        webhook.end();
        assert!(begun.elapsed() < Duration::from_secs(2), "the agent ends in time");
        assert_eq!(books(&health), (0, 1));
    }
}

/// Guards memory, the books, and that one line that is never taken does not hold up all others for ever.
#[test]
fn what_finds_no_room_or_waits_too_long_is_counted() {
    let (url, _requests) = endpoint(&[BUSY]);
    let (mut full, health) = webhook(&settings(&url));
    let large = "z".repeat(100_000);
    for seq in 1..=60 {
        full.take(&incident(seq, &large)).unwrap();
        full.flush().unwrap();
    }
    let waiting = full.backlog.len() as u64;
    assert!(waiting < 40 && health.messages_lost() + waiting == 60);
    full.end();
    assert_eq!(books(&health), (0, 60));
    let (url, _requests) = endpoint(&[BUSY, BUSY, OK]);
    let (mut old, health) =
        webhook(&WebhookSettings { give_up_after: Duration::from_millis(10), ..settings(&url) });
    give(&mut old, 1..=2);
    assert_eq!(books(&health), (0, 0));
    thread::sleep(Duration::from_millis(20));
    again(&mut old);
    assert_eq!(books(&health), (0, 1), "the first has waited too long");
    again(&mut old);
    assert_eq!((books(&health), health.failing()), ((1, 1), None));
}

/// Guards what is said of an endpoint: neither its path, which may be a token, nor its user.
#[test]
fn secrets_of_the_url_are_not_said() {
    let (url, requests) = endpoint(&[BUSY, OK]);
    let with_user = url.replace("http://", "http://user:p4ss@");
    let (mut webhook, health) = webhook(&settings(&with_user));
    give(&mut webhook, [1]);
    let said = health.failing().unwrap();
    for secret in ["T0KEN", "K3Y", "user", "p4ss"] {
        assert!(!said.contains(secret), "{said}");
    }
    assert!(requests.recv().unwrap().head.to_ascii_lowercase().contains("authorization: basic "));
    let wrong = Webhook::new(&settings("https://u:p4ss@ /T0KEN"), Health::new("webhook"));
    assert!(wrong.is_err_and(|error| !error.to_string().contains("p4ss")));
}

/// Guards settings that cannot work: they are said at the start.
#[test]
fn settings_are_checked() {
    let good = settings("http://127.0.0.1:9/");
    let empty = temporary("empty", "");
    let evil = temporary("evil", "Bearer a\rb");
    for wrong in [
        settings(""),
        settings("ftp://x/"),
        settings("/hook"),
        settings("http:///hook"),
        WebhookSettings { timeout: Duration::ZERO, ..good.clone() },
        WebhookSettings { timeout: Duration::from_secs(61), ..good.clone() },
        WebhookSettings { authorization_file: Some("/nonexistent".into()), ..good.clone() },
        WebhookSettings { authorization_file: Some(empty.clone()), ..good.clone() },
        WebhookSettings { authorization_file: Some(evil.clone()), ..good.clone() },
        WebhookSettings { ca_file: Some("/nonexistent".into()), ..settings("https://x/") },
        WebhookSettings { ca_file: Some(empty.clone()), ..settings("https://x/") },
    ] {
        assert!(Webhook::new(&wrong, Health::new("webhook")).is_err(), "{wrong:?}");
    }
    assert!(Webhook::new(&good, Health::new("webhook")).is_ok());
    for path in [empty, evil] {
        fs::remove_file(path).unwrap();
    }
}

/// Guards HTTPS: a certificate that the named file vouches for is taken, and nobody else's, nor one of another host.
#[test]
fn https_takes_whom_it_is_told_to_trust() {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let ca_file = temporary("ca", &key.cert.pem());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], key.signing_key.serialize_der().try_into().unwrap())
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (seen, requests) = channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = BufReader::new(rustls::Stream::new(&mut connection, &mut stream));
            if let Some(request) = request(&mut tls) {
                seen.send(request.body).unwrap();
                let _ = tls.get_mut().write_all(OK.as_bytes());
            }
        }
    });
    let https =
        |host: &str, ca_file| WebhookSettings { ca_file, ..settings(&format!("https://{host}:{port}/")) };
    let (mut trusting, health) = webhook(&https("localhost", Some(ca_file.clone())));
    give(&mut trusting, [1]);
    assert_eq!((books(&health), health.failing()), ((1, 0), None));
    assert!(requests.recv().unwrap().contains("\"seq\":1,"));
    for distrusted in [https("127.0.0.1", Some(ca_file.clone())), https("localhost", None)] {
        let Ok(mut webhook) = Webhook::new(&distrusted, Health::new("webhook")) else { continue };
        give(&mut webhook, [2]);
        assert!(webhook.rest().is_some(), "{distrusted:?}");
    }
    assert!(requests.try_recv().is_err(), "nobody else was told");
    fs::remove_file(ca_file).unwrap();
}
