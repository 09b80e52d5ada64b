//! The agent as a service: a Debian with systemd that runs out of memory while it starts, panics, and starts again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::matrix::judged;
use super::table::{Cell, Status};
use crate::build::Built;
use crate::setup;
use crate::vm::{Guest, Output, Userland, debian};
use crate::{progress, workspace};

/// What `--only` calls it by.
pub const NAME: &str = "service";
/// Where it runs.
const KERNEL: &str = "6.12";
const COLUMN: &str = "6.12 systemd";
/// In MiB: what ramoops keeps lies within.
const MEMORY: u32 = 384;
const TIMEOUT: Duration = Duration::from_mins(6);

/// A megabyte of memory that the kernel leaves alone keeps its log over the reset; only panics are written there.
const RESERVED: &str = "memmap=0x100000$0x10000000";
const RAMOOPS: &str = "ramoops mem_address=0x10000000 mem_size=0x100000 record_size=0x40000 max_reason=1";
/// The service's own unit, and those that run out of memory: files of this workspace, and whether they are enabled.
const UNITS: [(&str, &str, bool); 4] = [
    ("oomtrace/deploy/systemd", "oomtrace.service", true),
    ("tests/fixtures/systemd", "oom-before-agent.service", true),
    ("tests/fixtures/systemd", "oom-after-agent.service", true),
    ("tests/fixtures/systemd", "oom-panic.service", false),
];

/// Runs it. Skipped, loudly, where the system or the kernel cannot be had.
pub fn run(built: &Built) -> Vec<Cell> {
    let artifacts = workspace::target_dir().join("test").join(NAME);
    match guest(built, &artifacts) {
        Ok(guest) => judge(&guest, &artifacts),
        Err(error) => vec![Cell {
            row: NAME.to_owned(),
            column: COLUMN.to_owned(),
            status: Status::Skipped,
            reason: format!("{error:#}"),
        }],
    }
}

fn judge(guest: &Guest, artifacts: &Path) -> Vec<Cell> {
    let label = format!("Linux {} with systemd", guest.kernel.version);
    let report = progress::step(&label, || {
        // Results of an earlier run must not pass for this one's.
        if artifacts.exists() {
            fs::remove_dir_all(artifacts).with_context(|| format!("cannot clear {}", artifacts.display()))?;
        }
        guest.run(&setup::virtual_machine()?, &Output::Capture)
    });
    let results: String = ["first.jsonl", "second.jsonl"]
        .iter()
        .map(|name| fs::read_to_string(artifacts.join(name)).unwrap_or_default())
        .collect();
    let failure = match &report {
        // Why a start was judged badly stands in its results, but for what ended it.
        Ok(report) => match report.status() {
            Ok(0) => None,
            Ok(status) => {
                Some(format!("exit status {status}: {}", String::from_utf8_lossy(&report.stderr).trim()))
            }
            Err(error) => Some(format!("{error:#}")),
        },
        Err(error) => Some(format!("{error:#}")),
    };
    judged(COLUMN, &results, failure)
}

fn guest(built: &Built, artifacts: &Path) -> Result<Guest> {
    let wanted = KERNEL.parse().map_err(anyhow::Error::msg)?;
    // Asked for first: what cannot be had is a reason to skip, and not a failure of the guest.
    debian::tree()?;
    let units = UNITS.iter().map(|(folder, unit, _)| {
        let file = workspace::root().join(folder).join(unit);
        (file, Path::new("/etc/systemd/system").join(unit))
    });
    let programs = [(&built.oomtrace, "/usr/bin/oomtrace"), (&built.scenarios, "/usr/bin/scenarios")];
    let programs = programs.into_iter().map(|(file, to)| (file.clone(), PathBuf::from(to)));
    let enabled = UNITS.iter().filter(|(_, _, enabled)| *enabled);
    Ok(Guest {
        kernel: setup::kernel(&wanted, false)?,
        memory: MEMORY,
        cpus: 2,
        icount: false,
        // A start that takes too long is one that systemd gives up.
        patient: false,
        append: vec![RESERVED.to_owned()],
        qemu: Vec::new(),
        timeout: TIMEOUT,
        copies: programs.chain(units).collect(),
        packages: Vec::new(),
        modules: vec![RAMOOPS.to_owned()],
        artifacts: Some(artifacts.to_owned()),
        expect_panic: true,
        userland: Userland::Systemd { enabled: enabled.map(|(_, unit, _)| (*unit).to_owned()).collect() },
        command: ["scenarios", "service", "--folder", "/artifacts"].map(Into::into).to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the reserved memory: it lies within the guest's, and ramoops is told the same place.
    #[test]
    fn the_kept_log_lies_in_the_guests_memory() {
        let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
        let (size, place) = RESERVED.trim_start_matches("memmap=").split_once('$').unwrap();
        let end = number(place) + number(size);
        assert!(end < u64::from(MEMORY) << 20);
        assert!(RAMOOPS.contains(&format!("mem_address={place} mem_size={size} ")));
    }

    /// Guards the units: a guest without one of them would prove nothing.
    #[test]
    fn units_are_there() {
        for (folder, unit, _) in UNITS {
            let file = workspace::root().join(folder).join(unit);
            assert!(file.is_file(), "{}", file.display());
        }
    }
}
