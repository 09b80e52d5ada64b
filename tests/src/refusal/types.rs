//! Type information that is not there, or that is none.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::ending::{ends, status};
use super::run::{Installed, Start};
use crate::btf::VMLINUX;
use crate::deadline::Deadline;
use crate::stage::{Stage, argument};
use crate::tracer::Tracer;

/// How long oomtrace may take to notice that it is asked to end.
const NOTICE: Duration = Duration::from_secs(10);

/// How a file's bytes are made from the right ones.
type Made = fn(&[u8]) -> Vec<u8>;

/// A file that stands for the kernel's type information.
struct Case {
    name: &'static str,
    /// Its bytes; None where there is no file.
    bytes: Option<Made>,
    /// What the refusal has to say beside its path.
    words: &'static [&'static str],
}

static CASES: &[Case] = &[
    Case { name: "absent", bytes: None, words: &["No such file", "CONFIG_DEBUG_INFO_BTF"] },
    Case { name: "empty", bytes: Some(|_| Vec::new()), words: &["cannot be used", "not BTF"] },
    Case { name: "text", bytes: Some(|_| b"vmlinux\n".to_vec()), words: &["cannot be used", "not BTF"] },
    Case { name: "noise", bytes: Some(|right| noise(right.len())), words: &["cannot be used", "not BTF"] },
    Case { name: "half", bytes: Some(|right| first(right, right.len() / 2)), words: &["cut short"] },
    Case { name: "all-but-one", bytes: Some(|right| first(right, right.len() - 1)), words: &["cut short"] },
    Case { name: "header-alone", bytes: Some(|right| first(right, 24)), words: &["cut short"] },
    Case { name: "magic-then-noise", bytes: Some(|right| noisy_from(right, 2)), words: &["cannot be used"] },
    Case { name: "lengths-noise", bytes: Some(|right| noisy_from(right, 8)), words: &["cannot be used"] },
    Case { name: "types-noise", bytes: Some(|right| noisy_from(right, 24)), words: &["cannot be used"] },
    Case { name: "huge", bytes: Some(huge), words: &["cut short"] },
    Case { name: "foreign", bytes: Some(foreign), words: &["byte order"] },
];

/// Checks each, and a file that never comes to its end.
pub fn cases(stage: &mut Stage<'_>, oomtrace: &Installed) -> Result<()> {
    let right = fs::read(VMLINUX).with_context(|| format!("cannot read {VMLINUX}"))?;
    for case in CASES {
        let file = oomtrace.scratch.file(case.name);
        if let Some(bytes) = case.bytes {
            fs::write(&file, bytes(&right)).with_context(|| format!("cannot write {}", file.display()))?;
        }
        refused(stage, oomtrace, &file, case)?;
        if case.bytes.is_some() {
            fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
    }
    let folder = Case { name: "folder", bytes: None, words: &["directory"] };
    refused(stage, oomtrace, Path::new("/proc"), &folder)?;
    let run = oomtrace.start(&Start::default(), &["hooks", "--btf", "/proc"])?;
    ends(stage, "hooks --btf /proc", run, (status::CANNOT_TRACE, &["/proc", "directory"]));
    endless(stage, oomtrace)
}

/// Checks that a file is refused.
fn refused(stage: &mut Stage<'_>, oomtrace: &Installed, file: &Path, case: &Case) -> Result<()> {
    let path = argument(file)?;
    let run = oomtrace.trace(&Start::default(), &["--btf", path])?;
    let words = [&[path], case.words].concat();
    ends(stage, &format!("--btf FILE ({})", case.name), run, (status::CANNOT_TRACE, &words));
    Ok(())
}

/// Checks that oomtrace ends when it is asked to while it waits for a file, here a pipe that nobody writes to.
fn endless(stage: &mut Stage<'_>, oomtrace: &Installed) -> Result<()> {
    let file = oomtrace.scratch.file("endless");
    mknodat(CWD, &file, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).context("cannot make a named pipe")?;
    let run = oomtrace.trace(&Start::default(), &["--btf", argument(&file)?])?;
    wait_until_asleep(&run, stage.deadline);
    match run.stop(stage.deadline.or_after(NOTICE)) {
        Ok(output) => {
            let said = output.said();
            stage.checks.that(!said.contains("panicked"), || format!("an endless file: it crashed: {said}"));
        }
        Err(error) => stage.checks.fail(format!("an endless file: SIGTERM does not end it: {error:#}")),
    }
    Ok(())
}

/// Waits until it sleeps in the system call that opens a named pipe.
fn wait_until_asleep(run: &Tracer, deadline: Deadline) {
    let file = format!("/proc/{}/wchan", run.pid());
    // The function is `wait_for_partner` (fs/pipe.c) on all kernels so far; where names are hidden there is a 0.
    let asleep = |function: &str| function.contains("wait_for_partner") || function.contains("fifo_open");
    let patience = deadline.or_after(Duration::from_secs(2));
    while !fs::read_to_string(&file).is_ok_and(|function| asleep(&function)) {
        if patience.left("oomtrace to open a named pipe").is_err() {
            return;
        }
        sleep(Duration::from_millis(10));
    }
}

/// The first bytes of the right ones.
fn first(right: &[u8], length: usize) -> Vec<u8> {
    right.iter().take(length).copied().collect()
}

/// The right ones up to a place, and noise from there on.
fn noisy_from(right: &[u8], place: usize) -> Vec<u8> {
    let mut bytes = first(right, place);
    bytes.extend(noise(right.len().saturating_sub(place)));
    bytes
}

/// A header whose sections are as long as can be said.
fn huge(right: &[u8]) -> Vec<u8> {
    let mut bytes = first(right, 12);
    bytes.extend([0xff; 12]);
    bytes.extend(right.iter().skip(24));
    bytes
}

/// The first word as a machine of the other byte order has it.
fn foreign(right: &[u8]) -> Vec<u8> {
    let mut bytes = right.to_vec();
    bytes.iter_mut().take(2).zip(right.iter().take(2).rev()).for_each(|(byte, other)| *byte = *other);
    bytes
}

/// Bytes without a pattern, the same in every run (xorshift64).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(state.to_le_bytes())
    };
    std::iter::from_fn(next).flatten().take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the cases: each differs from the right file where it says so, and is as long as it says.
    #[test]
    fn damage_is_where_it_is_said_to_be() {
        let right: Vec<u8> = (0..100).collect();
        assert_eq!(first(&right, 50), right[..50]);
        let noisy = noisy_from(&right, 24);
        assert_eq!((&noisy[..24], noisy.len()), (&right[..24], 100));
        assert_ne!(noisy[24..], right[24..]);
        assert_eq!(foreign(&right)[..3], [1, 0, 2]);
        assert_eq!((&huge(&right)[..12], &huge(&right)[12..24]), (&right[..12], &[0xff; 12][..]));
        assert_eq!(huge(&right).len(), 100);
    }

    /// Guards the noise: it is the same each time, and no magic number stands at its beginning.
    #[test]
    fn noise_is_repeatable() {
        assert_eq!(noise(9), noise(9));
        assert_ne!(noise(2), 0xeb9f_u16.to_ne_bytes());
        let words: std::collections::BTreeSet<_> = noise(1000).chunks(8).map(<[u8]>::to_vec).collect();
        assert_eq!(words.len(), 125);
    }
}
