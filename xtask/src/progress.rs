//! Says on standard error what takes long: nothing for the first second, then a line that counts the seconds (on a
//! terminal), or one line at the start and one at the end (in a log).

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Work shorter than this is not worth a line.
const PATIENCE: Duration = Duration::from_secs(1);

/// Does the work, and shows the label while it lasts.
pub fn step<T>(label: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    let terminal = io::stderr().is_terminal();
    let result = thread::scope(|scope| {
        let (done, waiting) = mpsc::channel::<()>();
        scope.spawn(move || show(label, started, terminal, &waiting));
        let result = work();
        drop(done);
        result
    });
    if started.elapsed() > PATIENCE {
        let outcome = if result.is_ok() { "done" } else { "failed" };
        let clear = if terminal { "\r\x1b[K" } else { "" };
        eprintln!("{clear}{label}: {outcome} in {:.1} s", started.elapsed().as_secs_f64());
    }
    result
}

fn show(label: &str, started: Instant, terminal: bool, done: &mpsc::Receiver<()>) {
    let mut wait = PATIENCE;
    // The sender only ever hangs up.
    while done.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        if !terminal {
            eprintln!("{label} ...");
            wait = Duration::MAX;
            continue;
        }
        wait = Duration::from_millis(250);
        eprint!("\r\x1b[K{label} ... {} s", started.elapsed().as_secs());
        // A progress line that cannot be shown is no reason to fail.
        let _ = io::stderr().flush();
    }
}
