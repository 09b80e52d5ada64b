//! What the agent itself costs, by the names that Prometheus' clients give it: from /proc/self.

use std::{fs, path::Path, time::Duration};

use super::family::{Family, Kind, Unit};
use crate::host::page_bytes;

/// The families that can be had from the process below `proc_self` (`/proc/self`).
#[must_use]
pub fn families(proc_self: &Path) -> Vec<Family> {
    let stat =
        fs::read_to_string(proc_self.join("stat")).ok().and_then(|text| Stat::of(&text, ticks_per_second()));
    let open = fs::read_dir(proc_self.join("fd")).ok().map(|entries| entries.flatten().count() as u64);
    // The folder itself is open while it is read.
    let open = open.map(|open| open.saturating_sub(1));
    let limits = fs::read_to_string(proc_self.join("limits")).ok();
    let most = limits.as_deref().and_then(|text| {
        text.lines()
            .find_map(|line| line.strip_prefix("Max open files"))?
            .split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
    });
    let boot = fs::read_to_string("/proc/stat").ok().and_then(|text| {
        text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse::<u64>().ok()
    });
    let stat = stat.as_ref();
    let gauge = |name, unit, help| Family::new(Kind::Gauge, name, unit, help);
    vec![
        Family::new(
            Kind::Counter,
            "process_cpu_seconds",
            Some(Unit::Seconds),
            "Time that the agent had of all processors, in user space and in the kernel.",
        )
        .only(stat.map(|stat| stat.cpu.as_secs_f64())),
        gauge("process_resident_memory_bytes", Some(Unit::Bytes), "Memory of the agent that is resident.")
            .only(stat.map(|stat| stat.resident_pages.saturating_mul(page_bytes().into()))),
        gauge("process_virtual_memory_bytes", Some(Unit::Bytes), "Size of the agent's address space.")
            .only(stat.map(|stat| stat.virtual_bytes)),
        gauge("process_open_fds", None, "Files that the agent has open.").only(open),
        gauge("process_max_fds", None, "Files that it may have open.").only(most),
        gauge("process_threads", None, "Threads of the agent.").only(stat.map(|stat| stat.threads)),
        gauge(
            "process_start_time_seconds",
            Some(Unit::Seconds),
            "When the agent was started, in seconds since 1970.",
        )
        .only(
            stat.zip(boot)
                .map(|(stat, boot)| Duration::from_secs(boot).saturating_add(stat.started).as_secs_f64()),
        ),
    ]
}

/// Of /proc/PID/stat (man 5 proc_pid_stat).
#[derive(Debug, PartialEq)]
struct Stat {
    /// Time that it had of processors.
    cpu: Duration,
    threads: u64,
    /// When it was started, since boot.
    started: Duration,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    /// `ticks` are those of a second (`sysconf(_SC_CLK_TCK)`).
    fn of(text: &str, ticks: u32) -> Option<Self> {
        // The name may have anything in it, parentheses too.
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<_> = fields.split_whitespace().collect();
        // The first is number 3 there.
        let field = |number: usize| fields.get(number.checked_sub(3)?)?.parse::<u64>().ok();
        let time = |count: u64| {
            let (seconds, rest) = (count.checked_div(ticks.into())?, count.checked_rem(ticks.into())?);
            Duration::from_secs(seconds).checked_add(Duration::from_secs(rest).checked_div(ticks)?)
        };
        Some(Self {
            cpu: time(field(14)?.saturating_add(field(15)?))?,
            threads: field(20)?,
            started: time(field(22)?)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

fn ticks_per_second() -> u32 {
    // SAFETY: sysconf() takes no pointer.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u32::try_from(ticks).ok().filter(|ticks| *ticks > 0).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the fields' numbers, and names that look like the end of a name.
    #[test]
    fn fields_are_counted_from_behind_the_name() {
        let text = "7 (a) b) R 1 7 7 0 -1 4194560 9 0 0 0 11 22 0 0 20 0 5 0 1234 8192000 300 18446744073709551615 1\n";
        let stat = Stat {
            cpu: Duration::from_millis(330),
            threads: 5,
            started: Duration::from_millis(12_340),
            virtual_bytes: 8_192_000,
            resident_pages: 300,
        };
        assert_eq!(Stat::of(text, 100), Some(stat));
        assert_eq!(Stat::of("7 (a) R 1", 100), None);
        assert_eq!(Stat::of("", 100), None);
        assert_eq!(Stat::of(text, 0), None);
    }

    /// Guards that a process finds itself: this one has threads, files, memory, and began in this boot.
    #[test]
    fn a_process_tells_what_it_costs() {
        let families = families(Path::new("/proc/self"));
        for family in &families {
            assert_eq!(family.samples.len(), 1, "{}", family.name);
        }
        assert!(super::families(Path::new("/nowhere")).iter().all(|family| family.samples.is_empty()));
    }
}
