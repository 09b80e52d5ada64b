//! The agent for long, in a guest that runs out of memory as a whole, and for some minutes on this machine, where what it takes of a
//! processor is not an emulator's doing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::matrix::judged;
use super::table::{Cell, Status};
use crate::build::Built;
use crate::setup;
use crate::vm::{Guest, Output, Userland};
use crate::{process, progress, workspace};

/// What its row is called.
pub const NAME: &str = "agent_soak";
const KERNEL: &str = "6.12";
const COLUMN: &str = "6.12 soak";
/// In MiB: little, so that it runs out soon.
const MEMORY: u32 = 256;
/// How long, in minutes: in the guest, and here.
const MINUTES: [u64; 2] = [40, 5];
/// It starts, and compares everything at its end, beside other guests.
const BESIDE: Duration = Duration::from_mins(20);

/// In a guest. Skipped, loudly, where its kernel cannot be had.
pub fn guest(built: &Built) -> Vec<Cell> {
    let folder = workspace::target_dir().join("test").join(NAME);
    let results = folder.join("soak.jsonl");
    let [minutes, _] = MINUTES;
    let guest = match prepared(built, &folder, minutes) {
        Ok(guest) => guest,
        Err(error) => {
            let (row, column) = (NAME.to_owned(), COLUMN.to_owned());
            return vec![Cell { row, column, status: Status::Skipped, reason: format!("{error:#}") }];
        }
    };
    let label = format!("Linux {}, {minutes} minutes of an agent", guest.kernel.version);
    let report = progress::step(&label, || {
        // Results of an earlier run must not pass for this one's.
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot clear {}", folder.display()))?;
        }
        guest.run(&setup::virtual_machine()?, &Output::Capture)
    });
    let failure = match report.and_then(|report| Ok((report.status()?, report))) {
        Ok((0, _)) => None,
        Ok((status, report)) => {
            Some(format!("exit status {status}: {}", String::from_utf8_lossy(&report.stderr).trim()))
        }
        Err(error) => Some(format!("{error:#}")),
    };
    judged(COLUMN, &fs::read_to_string(results).unwrap_or_default(), failure)
}

/// On this machine, which does not run out.
pub fn here(built: &Built) -> Vec<Cell> {
    let [_, minutes] = MINUTES;
    let results = workspace::target_dir().join("test").join("soak-live.jsonl");
    let _ = fs::remove_file(&results);
    let mut scenarios = Command::new(&built.scenarios);
    scenarios.args(["soak", "--minutes", &minutes.to_string(), "--oomtrace"]).arg(&built.oomtrace);
    scenarios.arg("--results").arg(&results);
    let ended = progress::step(&format!("{minutes} minutes of an agent"), || process::output(&mut scenarios));
    let failure = ended.err().map(|error| format!("{error:#}"));
    judged("live", &fs::read_to_string(results).unwrap_or_default(), failure)
}

fn prepared(built: &Built, folder: &Path, minutes: u64) -> Result<Guest> {
    let wanted = KERNEL.parse().map_err(anyhow::Error::msg)?;
    let programs = [(&built.oomtrace, "/usr/bin/oomtrace"), (&built.scenarios, "/usr/bin/scenarios")];
    let minutes_text = minutes.to_string();
    let command = [
        "scenarios",
        "soak",
        "--minutes",
        &minutes_text,
        "--results",
        "/artifacts/soak.jsonl",
        "--keep",
        "/artifacts",
    ];
    Ok(Guest {
        kernel: setup::kernel(&wanted, false)?,
        memory: MEMORY,
        cpus: 2,
        icount: false,
        patient: true,
        append: Vec::new(),
        qemu: Vec::new(),
        timeout: Duration::from_mins(minutes) + BESIDE,
        copies: programs.map(|(file, to)| (file.clone(), PathBuf::from(to))).to_vec(),
        packages: Vec::new(),
        modules: Vec::new(),
        artifacts: Some(folder.to_owned()),
        expect_panic: false,
        userland: Userland::Busybox,
        command: command.map(Into::into).to_vec(),
    })
}
