//! What happens to the output of a guest's command while it runs.

use std::io::{self, BufRead, BufReader, PipeReader, Read, Write};

/// Where the command's output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Into the report.
    Capture,
    /// To our own standard output and error, byte for byte.
    Forward,
    /// To our own standard output and error, each line with the guest's name in front.
    Prefix,
}

/// Which of the two streams is relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Output {
    /// Reads the pipe to its end; returns what was captured.
    pub fn relay(&self, pipe: PipeReader, stream: Stream, name: &str) -> io::Result<Vec<u8>> {
        match (self, stream) {
            (Self::Capture, _) => {
                let mut captured = Vec::new();
                BufReader::new(pipe).read_to_end(&mut captured)?;
                return Ok(captured);
            }
            (Self::Forward, Stream::Out) => forward(pipe, io::stdout()),
            (Self::Forward, Stream::Err) => forward(pipe, io::stderr()),
            (Self::Prefix, Stream::Out) => prefix(pipe, io::stdout, name),
            (Self::Prefix, Stream::Err) => prefix(pipe, io::stderr, name),
        }?;
        Ok(Vec::new())
    }
}

fn forward(mut pipe: PipeReader, mut to: impl Write) -> io::Result<()> {
    let mut buffer = [0; 8192];
    loop {
        let count = pipe.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        // The guest has to be read to its end, even if nobody reads us.
        let _ = to.write_all(bytes).and_then(|()| to.flush());
    }
}

fn prefix<W: Write>(pipe: impl Read, to: impl Fn() -> W, name: &str) -> io::Result<()> {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    while pipe.read_until(b'\n', &mut line)? > 0 {
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        let mut whole = format!("[{name}] ").into_bytes();
        whole.append(&mut line);
        // One write a line, so that guests side by side do not cut each other's lines; see also forward().
        let _ = to().write_all(&whole);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Guards that every line carries its guest's name, the last unfinished one included.
    #[test]
    fn prefixes_each_line() {
        struct Sink<'a>(&'a Mutex<Vec<u8>>);
        impl Write for Sink<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let written = Mutex::new(Vec::new());
        prefix(&b"one\n\ntwo"[..], || Sink(&written), "6.1").unwrap();
        assert_eq!(
            String::from_utf8(written.into_inner().unwrap()).unwrap(),
            "[6.1] one\n[6.1] \n[6.1] two\n"
        );
    }
}
