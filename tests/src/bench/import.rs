//! How fast oomtrace reads kernel logs that were kept, on one processor, beside the search that people make by hand; and how
//! much memory it takes, whatever the log's length.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::fd::AsRawFd;
use rustix::fs::{MemfdFlags, memfd_create};

use super::turn::on_first_cpu;
use super::{Bench, sample, value};
use crate::klog::Klog;
use crate::process::die_with_us;

/// A log that is nothing but reports takes so much less, for it is read so much slower.
const REPORTS_PART: u64 = 10;
/// What is written into the pipe at once, bytes.
const BLOCK: usize = 1 << 20;

/// Reads logs of so many MiB, and streams of so many MiB from a pipe. All of a program is kept to the first processor.
pub fn measure(bench: &Bench, mib: u64, stream_mib: u64) -> Result<()> {
    for (name, klog) in
        [("syslog", Klog::Syslog), ("journal export", Klog::Export), ("reports alone", Klog::Reports)]
    {
        let bytes = (mib << 20) / if klog == Klog::Reports { REPORTS_PART } else { 1 };
        let file: File =
            memfd_create("log", MemfdFlags::CLOEXEC).context("cannot make a file in memory")?.into();
        let runs = klog.write(bytes, BufWriter::with_capacity(BLOCK, &file))?;
        let length = file.metadata().context("cannot ask for a file's length")?.len();
        // Opened by that name it is read from its start.
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        let mut import = Command::new(&bench.oomtrace);
        import.args(["import", "--json", &path]);
        let mut grep = Command::new("grep");
        grep.args(["-c", "Killed process", &path]);
        let subjects = [("oomtrace", &mut import), ("grep -c \"Killed process\"", &mut grep)];
        for (subject, command) in subjects.into_iter().take(if bench.alone { 1 } else { 2 }) {
            // The first turn warms up and does not count.
            for run in 0..=bench.runs {
                let used = watch(command.stdin(Stdio::null()), |_| Ok(()))?;
                ensure!(
                    subject != "oomtrace" || used.incidents == runs,
                    "of {runs} runs of the OOM killer {} were told",
                    used.incidents
                );
                if run > 0 {
                    let rate = value(length >> 10) / 1024.0 / used.cpu.as_secs_f64();
                    sample(&format!("import, {name}"), subject, "MiB per second of CPU time", Some(rate))?;
                    sample(
                        &format!("import, {name}, peak memory"),
                        subject,
                        "KiB",
                        Some(value(used.peak_kib)),
                    )?;
                }
            }
        }
    }
    for (name, from) in [("syslog", Stream::Syslog), ("random bytes", Stream::Random)] {
        let length = if from == Stream::Random { stream_mib / 10 } else { stream_mib };
        let mut import = Command::new(&bench.oomtrace);
        import.args(["import", "--json", "-"]).stdin(Stdio::piped());
        let used = watch(&mut import, |child| from.write(length, child))?;
        ensure!(used.incidents == 0, "a stream without a run of the OOM killer told of {}", used.incidents);
        let figure = format!("import, {length} MiB of {name} from a pipe, peak memory");
        sample(&figure, "oomtrace", "KiB", Some(value(used.peak_kib)))?;
    }
    Ok(())
}

/// What a stream is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Syslog,
    Random,
}

impl Stream {
    /// Writes so many MiB into a program's standard input, and ends it.
    fn write(self, mib: u64, child: &mut Child) -> Result<()> {
        let mut input = child.stdin.take().context("a program has no standard input")?;
        let mut block = Vec::with_capacity(BLOCK);
        match self {
            Self::Syslog => drop(Klog::Syslog.write(BLOCK as u64, &mut block)?),
            Self::Random => block.resize(BLOCK, 0),
        }
        let mut random = File::open("/dev/urandom").context("cannot open /dev/urandom")?;
        for _ in 0..mib {
            if self == Self::Random {
                random.read_exact(&mut block).context("cannot read /dev/urandom")?;
            }
            input.write_all(&block).context("a program does not read its standard input to the end")?;
        }
        Ok(())
    }
}

/// What a program used, and what it told.
#[derive(Debug, Default)]
struct Used {
    /// On the processor, in it and in the kernel for it.
    cpu: Duration,
    /// The most memory that ever was resident.
    peak_kib: u64,
    incidents: u64,
}

/// Runs a program on the first processor to its end.
fn watch(command: &mut Command, feed: impl FnOnce(&mut Child) -> Result<()>) -> Result<Used> {
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    die_with_us(command);
    let keep = || {
        on_first_cpu();
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe things may be done; this is one system call.
    unsafe { command.pre_exec(keep) };
    let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    let mut output = child.stdout.take().context("a program has no standard output")?;
    let counter = thread::spawn(move || -> io::Result<u64> {
        let (mut count, mut block) = (0, vec![0; BLOCK]);
        let mut line = Vec::new();
        loop {
            let read = output.read(&mut block)?;
            for part in block.get(..read).unwrap_or_default().split_inclusive(|byte| *byte == b'\n') {
                // What it is stands near a line's beginning.
                line.extend_from_slice(part.get(..part.len().min(64)).unwrap_or_default());
                if part.ends_with(b"\n") {
                    count += u64::from(line.starts_with(b"{\"schema\":\"oomtrace/1\",\"type\":\"oom\""));
                    line.clear();
                }
            }
            if read == 0 {
                return Ok(count);
            }
        }
    });
    let written = feed(&mut child);
    let incidents =
        counter.join().map_err(|_| anyhow!("counting lines panicked"))?.context("cannot read lines")?;
    let (status, mut used) = wait(&child)?;
    written?;
    // grep has found nothing: status 1.
    ensure!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) <= 1, "{command:?} ended with {status}");
    used.incidents = incidents;
    Ok(used)
}

/// Waits for a child, and says what it used.
fn wait(child: &Child) -> Result<(i32, Used)> {
    let pid = i32::try_from(child.id()).context("a process id is too large")?;
    let mut status = 0;
    // SAFETY: all of it may be zero.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to variables of ours; nobody else waits for this child.
    if unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) } != pid {
        return Err(io::Error::last_os_error()).context("cannot wait for a program");
    }
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    let used = Used {
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        peak_kib: usage.ru_maxrss.unsigned_abs(),
        incidents: 0,
    };
    Ok((status, used))
}
