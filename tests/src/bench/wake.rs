//! What the machine itself takes to wake a thread on another processor. No tool's line can be read sooner: where this
//! takes long, as it does on a virtual machine whose host is busy, so do the delays.

use std::io::{PipeReader, Read, Write, pipe};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{scope, sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::sample;
use super::turn::{first_in_line_on_last_cpu, on_first_cpu};

/// Has a thread on the first processor wake one on the last, so many times, with a pause before each so that it is
/// found asleep.
pub fn measure(figure: &str, times: u32, pause: Duration) -> Result<()> {
    let (asleep, mut wake) = pipe().context("cannot make a pipe")?;
    let woken = sleeper(asleep);
    let rounds = move || -> Result<()> {
        on_first_cpu();
        for _ in 0..times {
            sleep(pause);
            let began = Instant::now();
            wake.write_all(b".").context("nobody is there to be woken")?;
            let then = woken.recv().context("nobody woke")?;
            let took = then.saturating_duration_since(began);
            sample(figure, "this machine", "us", Some(took.as_secs_f64() * 1e6))?;
        }
        Ok(())
    };
    // In a thread of its own, since who it is kept to is not taken back.
    scope(|scope| scope.spawn(rounds).join()).map_err(|_| anyhow!("the measurement of wake-ups panicked"))?
}

/// A thread on the last processor that tells when it was woken, until the pipe's other end is closed.
fn sleeper(mut asleep: PipeReader) -> Receiver<Instant> {
    let (tell, woken) = channel();
    spawn(move || {
        first_in_line_on_last_cpu();
        while asleep.read_exact(&mut [0]).is_ok() && tell.send(Instant::now()).is_ok() {}
    });
    woken
}
