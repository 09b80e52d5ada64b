//! What a tool writes to, with the time at which it can be read at the other end.

use std::fs::File;
use std::io::{Read, pipe};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

use super::turn::first_in_line_on_last_cpu;

/// One line, and CLOCK_BOOTTIME in ns when the read that completed it returned.
pub type Timed = (u64, String);

/// A pipe: the end to write to, and the lines that come out.
pub fn by_pipe() -> Result<(Stdio, Receiver<Timed>)> {
    let (reader, writer) = pipe().context("cannot make a pipe")?;
    Ok((writer.into(), follow(reader)))
}

/// A terminal, to which programs write line by line that would hold their lines back from a pipe.
pub fn by_terminal() -> Result<(Stdio, Receiver<Timed>)> {
    let (mut ours, mut theirs) = (-1, -1);
    let null = std::ptr::null_mut();
    // SAFETY: the two numbers are written; null asks for no name and for the usual settings.
    let status = unsafe { libc::openpty(&raw mut ours, &raw mut theirs, null, null.cast(), null.cast()) };
    if status != 0 {
        return Err(std::io::Error::last_os_error())
            .context("cannot make a terminal; mount devpts on /dev/pts");
    }
    // SAFETY: both were just opened, for us alone.
    let (ours, theirs) = unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
    Ok((theirs.into(), follow(File::from(ours))))
}

fn follow(stream: impl Read + Send + 'static) -> Receiver<Timed> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        first_in_line_on_last_cpu();
        forward(stream, &sender);
    });
    receiver
}

/// Sends the lines of `stream` until its end. A read error ends it too: the writer is gone.
fn forward(mut stream: impl Read, sender: &Sender<Timed>) {
    let (mut buffer, mut rest) = ([0; 16384], Vec::new());
    while let Ok(count) = stream.read(&mut buffer) {
        let time = clock_gettime(ClockId::Boottime);
        let time = time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs();
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { return };
        rest.extend_from_slice(bytes);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            if sender.send((time, String::from_utf8_lossy(&line).into_owned())).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Guards that both ways deliver lines, each with a time.
    #[test]
    fn lines_come_with_their_times() {
        for (stdout, lines) in [by_pipe().unwrap(), by_terminal().unwrap()] {
            let script = "echo one; echo two";
            let mut child =
                std::process::Command::new("sh").args(["-c", script]).stdout(stdout).spawn().unwrap();
            let next = || lines.recv_timeout(Duration::from_secs(30)).unwrap();
            let (one, two) = (next(), next());
            assert_eq!((one.1.trim(), two.1.trim()), ("one", "two"));
            assert!(one.0 > 0 && one.0 <= two.0);
            child.wait().unwrap();
        }
    }
}
