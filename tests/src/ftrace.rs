//! A trace buffer of our own: the kernel's account of its tracepoints, which no tool has a part in.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// A trace instance that records by the clock `CLOCK_BOOTTIME`. Dropping it removes it.
#[derive(Debug)]
pub struct Trace {
    instance: PathBuf,
    /// The file system, mounted nowhere.
    _mount: OwnedFd,
}

/// The kernel's count of calls of one of its functions. Dropping it removes it.
#[derive(Debug)]
pub struct Probe {
    tracing: PathBuf,
    name: String,
    /// The file system, mounted nowhere.
    _mount: OwnedFd,
}

impl Probe {
    /// Begins to count the calls of `function`. It takes kprobes.
    pub fn count(function: &str) -> Result<Self> {
        let mount = detached().context("tracefs cannot be had; run as root")?;
        let tracing = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
        let name = format!("oomtrace_{}_{function}", std::process::id());
        let probe = Self { tracing, name, _mount: mount };
        probe.append(&format!("p:oomtrace/{} {function}", probe.name))?;
        probe.enable("1")?;
        Ok(probe)
    }

    /// How many there were.
    pub fn hits(&self) -> Result<u64> {
        let text = fs::read_to_string(self.tracing.join("kprobe_profile"))
            .context("cannot read the counts of probes")?;
        let counts = text.lines().find_map(|line| line.trim().strip_prefix(&self.name));
        let hits = counts.and_then(|counts| counts.split_ascii_whitespace().next()?.parse().ok());
        hits.with_context(|| format!("the kernel does not count the probe {}", self.name))
    }

    fn enable(&self, value: &str) -> Result<()> {
        let file = self.tracing.join(format!("events/oomtrace/{}/enable", self.name));
        fs::write(file, value).context("cannot switch a probe")
    }

    fn append(&self, line: &str) -> Result<()> {
        let file = fs::OpenOptions::new().append(true).open(self.tracing.join("kprobe_events"));
        file.and_then(|mut file| file.write_all(line.as_bytes())).context("cannot make a probe")
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let gone = self.enable("0").and_then(|()| self.append(&format!("-:oomtrace/{}", self.name)));
        if let Err(error) = gone {
            eprintln!("cannot remove a probe: {error:#}");
        }
    }
}

/// A line of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// The thread that ran.
    pub tid: u64,
    /// When, in ns (to the microsecond).
    pub at_ns: u64,
    /// The tracepoint's name.
    pub name: &'a str,
    /// What it says, `name=value` each.
    pub fields: &'a str,
}

impl Trace {
    /// Begins to record `events`, each as `subsystem/name`.
    pub fn record(events: &[&str]) -> Result<Self> {
        let mount = detached().context("tracefs cannot be had; run as root")?;
        let name = format!("oomtrace-tests-{}", std::process::id());
        let instance = PathBuf::from(format!("/proc/self/fd/{}/instances/{name}", mount.as_raw_fd()));
        fs::create_dir(&instance).context("cannot make a trace instance")?;
        let trace = Self { instance, _mount: mount };
        trace.write("trace_clock", "boot")?;
        for event in events {
            trace.write(&format!("events/{event}/enable"), "1")?;
        }
        Ok(trace)
    }

    /// The lines so far. An error if the buffer overflowed.
    pub fn text(&self) -> Result<String> {
        let text = fs::read(self.instance.join("trace")).context("cannot read the trace")?;
        let text = String::from_utf8_lossy(&text).into_owned();
        if overflowed(&text) {
            bail!("the trace buffer was too small: {}", text.lines().take(3).collect::<Vec<_>>().join(" "));
        }
        Ok(text)
    }

    fn write(&self, file: &str, value: &str) -> Result<()> {
        fs::write(self.instance.join(file), value)
            .with_context(|| format!("cannot write {value} to tracefs' {file}"))
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.instance) {
            eprintln!("cannot remove a trace instance: {error}");
        }
    }
}

impl<'a> Event<'a> {
    /// Reads `  comm-12 [000] d..1.  123.456789: mark_victim: pid=12 ...`, where it is an event called one of `names`.
    #[must_use]
    pub fn read(line: &'a str, names: &[&str]) -> Option<Self> {
        // From the right: a thread's name may look like anything, and stands left of it all, but for a victim's.
        let (before, name, fields) = names.iter().find_map(|name| {
            let (before, fields) = line.rsplit_once(&format!(": {name}: "))?;
            let name = line.get(before.len() + 2..)?.get(..name.len())?;
            Some((before, name, fields))
        })?;
        let (before, at) = before.trim_end().rsplit_once(' ')?;
        let (before, _flags) = before.trim_end().rsplit_once(' ')?;
        let (before, _cpu) = before.trim_end().rsplit_once(" [")?;
        let (_comm, tid) = before.trim_end().rsplit_once('-')?;
        let (seconds, micros) = at.split_once('.')?;
        let micros: u64 = (micros.len() == 6).then(|| micros.parse().ok())??;
        let at_ns = (seconds.parse::<u64>().ok()? * 1_000_000 + micros) * 1000;
        Some(Self { tid: tid.parse().ok()?, at_ns, name, fields })
    }

    /// The number in the field `name`.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        let value = self.fields.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))?;
        value.parse().ok()
    }
}

/// tracefs, mounted nowhere, so that nobody's mounts change.
pub(crate) fn detached() -> rustix::io::Result<OwnedFd> {
    let filesystem = fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&filesystem)?;
    fsmount(&filesystem, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// Whether the head of a trace, `# entries-in-buffer/entries-written: 8/8   #P:2`, says that lines were lost.
fn overflowed(text: &str) -> bool {
    let counts = text.lines().find_map(|line| line.strip_prefix("# entries-in-buffer/entries-written: "));
    counts
        .and_then(|counts| counts.split(' ').next()?.split_once('/'))
        .is_some_and(|(kept, written)| kept != written)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["mm_vmscan_memcg_reclaim_begin", "mm_vmscan_memcg_reclaim_end", "mark_victim"];

    /// Guards the reading of a trace, as 5.10, 6.1, 6.18 and 7.2 write it: columns and fields differ.
    #[test]
    fn reads_each_kernels_lines() {
        let of = |line| Event::read(line, &NAMES).map(|event| (event.tid, event.at_ns, event.name));
        let (begin, end) = (NAMES[0], NAMES[1]);
        let lines = [
            (
                "     stall-asker-185     [000] ....    20.568516: mm_vmscan_memcg_reclaim_begin: order=0 gfp_flags=GFP_HIGHUSER_MOVABLE",
                (185, 20_568_516_000, begin),
            ),
            (
                "     stall-asker-166     [000] .....     9.007905: mm_vmscan_memcg_reclaim_end: nr_reclaimed=0",
                (166, 9_007_905_000, end),
            ),
            (
                "     stall-asker-7047    [001] .N.1.  6785.967038: mark_victim: pid=7045 comm=stall-sleeper total-vm=42512kB",
                (7047, 6_785_967_038_000, "mark_victim"),
            ),
            (
                "     stall-asker-192     [000] .l...    18.854534: mm_vmscan_memcg_reclaim_end: nr_reclaimed=0 pid=192 memcg_id=361 ",
                (192, 18_854_534_000, end),
            ),
        ];
        for (line, expected) in lines {
            assert_eq!(of(line), Some(expected), "{line}");
        }
        assert_eq!(
            of(" a [0] b-7-12    [000] ....    20.568516: mark_victim: pid=12"),
            Some((12, 20_568_516_000, "mark_victim"))
        );
        assert_eq!(of("           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION"), None);
        assert_eq!(of(" x-7 [000] .... 20.568516: signal_generate: sig=9"), None);
    }

    /// Guards the fields: a victim's is told from its killer's thread.
    #[test]
    fn reads_numbers() {
        let line = " x-7 [000] .... 20.568516: mark_victim: pid=12 comm=y total-vm=5kB";
        let event = Event::read(line, &NAMES).unwrap();
        assert_eq!(
            (event.number("pid"), event.number("comm"), event.number("order")),
            (Some(12), None, None)
        );
    }

    /// Guards against counting in a trace that has lost lines.
    #[test]
    fn an_overflow_is_seen() {
        let head =
            |counts| format!("# tracer: nop\n#\n# entries-in-buffer/entries-written: {counts}   #P:2\n");
        assert!(!overflowed(&head("43/43")));
        assert!(overflowed(&head("43/57")));
    }
}
