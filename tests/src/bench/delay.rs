//! The time from the kernel's mark on a victim to the line that tells of it, readable at the other end.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::child::{Killer, hogs};
use super::marks::Marks;
use super::terminal::{Timed, by_pipe, by_terminal};
use super::tool;
use super::wake;
use super::{Bench, sample, value};

/// How long a report may take before it counts as missing.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long is waited between two kills, so that each finds the tool asleep.
const PAUSE: Duration = Duration::from_millis(20);

/// Has one child after another killed, for each tool in turn; and, for comparison, as many threads woken.
///
/// oomtrace writes to a pipe, once for people and once as JSON. The others write to a terminal, since libbpf-tools'
/// oomkill keeps back what it writes to a pipe until it has 4 KiB.
pub fn measure(bench: &Bench, kills: u32, hog_count: u32) -> Result<()> {
    let when = if hog_count == 0 { "idle".to_owned() } else { format!("beside {hog_count} hogs") };
    let human = tool::oomtrace(&bench.oomtrace, &[]);
    let json = tool::oomtrace(&bench.oomtrace, &["--json"]).named("oomtrace --json");
    let mut tools = vec![human, json];
    if !bench.alone {
        tools.extend(tool::peers());
    }
    let (killer, marks) = (Killer::new()?, Marks::record()?);
    let _burning = hogs(hog_count)?;
    wake::measure(&format!("wake-up {when}"), kills, PAUSE)?;
    for tool in &tools {
        let (stdout, lines) = if tool.name.starts_with("oomtrace") { by_pipe() } else { by_terminal() }?;
        let armed = tool.start(stdout)?;
        // The kprobe of the others is there a little before their program is.
        sleep(Duration::from_secs(1));
        for _ in 0..kills {
            let pid = killer.kill()?;
            let read = told(&lines, pid)?;
            let Some(marked) = marks.times()?.get(&pid).copied() else {
                bail!("the trace does not have the kill of {pid}")
            };
            // The others probe the start of oom_kill_process, and may have told before the mark: less than zero.
            let delay = read.map(|read| (value(read) - value(marked)) / 1e3);
            sample(&format!("delay {when}"), tool.name, "us", delay)?;
            sleep(PAUSE);
        }
        armed.stop()?;
    }
    Ok(())
}

/// When the line that tells of this victim came; None when none came in time.
fn told(lines: &Receiver<Timed>, pid: u32) -> Result<Option<u64>> {
    let end = Instant::now() + PATIENCE;
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok((time, line)) if tells_of(&line, pid) => return Ok(Some(time)),
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("a tool ended while it was measured"),
        }
    }
}

/// Whether a line names the pid: `pid 12`, `PID 12` or `"pid":12`.
fn tells_of(line: &str, pid: u32) -> bool {
    let line = line.to_lowercase();
    [format!("pid {pid}"), format!("\"pid\":{pid}")].iter().any(|word| {
        line.match_indices(word).any(|(at, _)| {
            let rest = line.get(at + word.len()..).unwrap_or_default();
            !rest.starts_with(|c: char| c.is_ascii_digit())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the words by which each tool's line is known, and that a longer pid is another one.
    #[test]
    fn lines_are_known_by_their_pid() {
        for line in [
            "14:03:22.481  OOM KILL  java (pid 412, adj 0)  in /a",
            "00:00:09 Triggered by PID 412 (\"x\"), OOM kill of PID 412 (\"x\"), 1024 pages, loadavg: 0.9",
            "{\"type\":\"oom\",\"victims\":[{\"pid\":412,\"tid\":412}]}",
        ] {
            assert!(tells_of(line, 412), "{line}");
            assert!(!tells_of(line, 41) && !tells_of(line, 12), "{line}");
        }
    }
}
