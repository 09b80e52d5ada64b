//! A web server that takes what is sent to it, and a client that reads a page.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module.
pub struct Inbox {
    /// Where it listens.
    pub address: SocketAddr,
    bodies: Receiver<Result<Value>>,
}

impl Inbox {
    /// Begins to listen on loopback, and turns away the first `refused` requests as a server does that is overloaded.
    pub fn start(refused: usize) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen on loopback")?;
        let address = listener.local_addr().context("no address")?;
        let (send, bodies) = channel();
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { return };
                let (status, tell) =
                    if number < refused { ("503 Service Unavailable", false) } else { ("200 OK", true) };
                let body = answer(&stream, status);
                if tell && send.send(body).is_err() {
                    return;
                }
            }
        });
        Ok(Self { address, bodies })
    }

    /// Waits for what is sent next.
    pub fn next(&self, patience: Duration) -> Result<Value> {
        self.bodies.recv_timeout(patience).context("nothing was sent")?
    }
}

/// Reads one request and answers it. Gives its body.
fn answer(stream: &TcpStream, status: &str) -> Result<Value> {
    stream.set_read_timeout(Some(PATIENCE)).context("no time limit")?;
    let mut reader = BufReader::new(stream);
    let mut length = None;
    let mut line = String::new();
    loop {
        line.clear();
        reader.read_line(&mut line).context("cannot read a request")?;
        let header = line.trim_end();
        if header.is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse::<usize>().ok();
        }
    }
    let mut body = vec![0; length.context("a request has no length")?];
    reader.read_exact(&mut body).context("cannot read a body")?;
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    { stream }.write_all(answer.as_bytes()).context("cannot answer")?;
    serde_json::from_slice(&body).context("a body is no JSON")
}

/// The page at an address of the form `http://HOST:PORT/PATH`.
pub fn page(url: &str) -> Result<String> {
    let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).context("no URL")?;
    let mut stream = TcpStream::connect(host).with_context(|| format!("cannot reach {host}"))?;
    stream.set_read_timeout(Some(PATIENCE)).context("no time limit")?;
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
        .context("cannot ask")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("cannot read an answer")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    if !head.starts_with("HTTP/1.1 200") {
        bail!("{url}: {head}");
    }
    Ok(body.to_owned())
}

/// The sum of all samples of that name in Prometheus' text whose labels contain all of these: counts. `None`: there is none.
pub fn sum(text: &str, name: &str, labels: &[&str]) -> Option<u64> {
    let samples = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (given, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.rsplit_once("} ")?,
            None => ("", rest.strip_prefix(' ')?),
        };
        labels
            .iter()
            .all(|label| given.contains(label))
            .then(|| value.split(' ').next()?.parse::<u64>().ok())?
    });
    samples.fold(None, |sum, value| Some(sum.unwrap_or_default() + value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the reading of metrics: names that begin alike are others, and nothing is not 0.
    #[test]
    fn samples_are_summed_by_name_and_labels() {
        let text = "# HELP a_total x\na_total{k=\"x\"} 1\na_total{k=\"y\",l=\"z\"} 2\na_totals 5\nb 7\n";
        assert_eq!(sum(text, "a_total", &[]), Some(3));
        assert_eq!(sum(text, "a_total", &["l=\"z\""]), Some(2));
        assert_eq!(sum(text, "b", &[]), Some(7));
        assert_eq!(sum(text, "a", &[]), None);
    }
}
