//! Lines of a child's output, each waited for with a deadline.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;

use anyhow::{Result, bail};

use crate::deadline::Deadline;

/// The lines of a stream as they arrive. A thread reads the stream, so that its writer never blocks on us.
#[derive(Debug)]
pub struct Lines(Receiver<Vec<u8>>);

impl Lines {
    /// Follows `stream` until its end.
    pub fn follow(stream: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = channel();
        thread::spawn(move || forward(stream, &sender));
        Self(receiver)
    }

    /// The next line without its newline, or None at the end of the stream. `what` names it in the error
    /// for a passed deadline.
    pub fn next(&self, deadline: Deadline, what: &str) -> Result<Option<Vec<u8>>> {
        match self.0.recv_timeout(deadline.left(what)?) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => bail!("the time limit passed while waiting for {what}"),
        }
    }
}

/// Sends the lines of `stream` until its end. A read error ends it too: the pipe's other end is gone.
fn forward(stream: impl Read, sender: &Sender<Vec<u8>>) {
    for line in BufReader::new(stream).split(b'\n') {
        let Ok(line) = line else { return };
        if sender.send(line).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Guards that lines arrive whole, raw bytes included, and that the end of the stream is seen.
    #[test]
    fn lines_then_the_end() {
        let lines = Lines::follow(&b"one\n\xff\x1b\nlast"[..]);
        let deadline = Deadline::after(Duration::from_secs(10));
        let mut seen = Vec::new();
        while let Some(line) = lines.next(deadline, "a line").unwrap() {
            seen.push(line);
        }
        assert_eq!(seen, [b"one".to_vec(), b"\xff\x1b".to_vec(), b"last".to_vec()]);
    }
}
