//! Where things are measured, and by which commands.

use std::ffi::OsString;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use super::figure::Figures;
use crate::build::Built;
use crate::vm::kernel::Wanted;
use crate::vm::{Guest, Output, Userland};
use crate::{process, progress, scratch, setup, workspace};

/// How often a start is timed where the clock counts instructions, and where others disturb it.
const COUNTED_STARTS: u32 = 5;
const TIMED_STARTS: u32 = 15;
/// How often the shared paths are: what is added to a fork or an exec is far less than what they vary by.
const PATH_RUNS: u32 = 7;
/// How often the slow idle minute is.
const IDLE_RUNS: u32 = 3;
/// How often each recording of failures is replayed.
const REPLAYS: u32 = 5;
/// How often each kernel log is imported.
const IMPORTS: u32 = 5;
/// A guest may take this long, if it has to have a thousand processes killed.
const TIMEOUT: Duration = Duration::from_hours(1);

/// Where things are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Place {
    /// A virtual machine of one processor whose clock counts instructions
    Icount,
    /// A virtual machine of two processors, beside other tools
    Guest,
    /// This machine, oomtrace alone
    Live,
}

/// What to measure with.
pub struct Setting {
    /// The binaries.
    pub built: Built,
    /// The kernel of the virtual machines.
    pub kernel: Wanted,
    /// How many kills for each delay.
    pub kills: u32,
}

impl Place {
    /// All places, those whose figures repeat best first.
    pub const ALL: [Self; 3] = [Self::Icount, Self::Guest, Self::Live];

    /// Its name in the figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Icount => "icount",
            Self::Guest => "guest",
            Self::Live => "live",
        }
    }
}

impl Setting {
    /// Measures what there is to measure in a place.
    pub fn measure(&self, place: Place, figures: &mut Figures) -> Result<()> {
        match place {
            Place::Live => self.live(figures),
            Place::Icount | Place::Guest => self.in_guest(place, figures),
        }
    }

    /// The arguments of each run of `scenarios bench` in a place.
    fn runs(&self, place: Place) -> Vec<String> {
        let kills = self.kills;
        match place {
            Place::Icount => {
                vec![format!("paths --runs {PATH_RUNS}"), format!("start --runs {COUNTED_STARTS}")]
            }
            Place::Guest => vec![
                format!("start --runs {TIMED_STARTS}"),
                format!("idle --runs {IDLE_RUNS}"),
                format!("delay --kills {kills}"),
                format!("delay --kills {kills} --hogs 2"),
            ],
            Place::Live => vec![
                format!("idle --alone --runs {IDLE_RUNS}"),
                format!("delay --alone --kills {kills}"),
                format!("delay --alone --kills {kills} --hogs 2"),
                format!("replay --runs {REPLAYS}"),
                format!("import --runs {IMPORTS}"),
            ],
        }
    }

    fn live(&self, figures: &mut Figures) -> Result<()> {
        for run in self.runs(Place::Live) {
            let mut scenarios = Command::new(&self.built.scenarios);
            scenarios.arg("bench").args(run.split(' ')).arg("--oomtrace").arg(&self.built.oomtrace);
            let samples =
                progress::step(&format!("bench {run}, on this machine"), || process::output(&mut scenarios))?;
            figures.add(Place::Live.name(), &samples)?;
        }
        Ok(())
    }

    fn in_guest(&self, place: Place, figures: &mut Figures) -> Result<()> {
        let machine = setup::virtual_machine()?;
        let artifacts = scratch::folder_in(&workspace::target_dir().join("bench"))?;
        // A run that fails must not keep the others from being made; the last status other than 0 is the command's.
        let runs = self.runs(place).into_iter().enumerate().map(|(at, run)| {
            format!("echo 'bench {run}' >&2; scenarios bench {run} >/artifacts/{at}.jsonl || status=$?; ")
        });
        let script = format!("status=0; {}exit $status", runs.collect::<String>());
        let icount = place == Place::Icount;
        let guest = Guest {
            kernel: setup::kernel(&self.kernel, false)?,
            // The unpacked packages lie in memory.
            memory: 2048,
            cpus: if icount { 1 } else { 2 },
            icount,
            patient: false,
            // Where a process lies in memory changes what its forks cost.
            append: vec!["norandmaps".to_owned()],
            qemu: Vec::new(),
            timeout: TIMEOUT,
            copies: vec![
                (self.built.oomtrace.clone(), "/usr/bin/oomtrace".into()),
                (self.built.scenarios.clone(), "/usr/bin/scenarios".into()),
            ],
            packages: vec!["libbpf-tools".into(), "bpftrace".into()],
            modules: Vec::new(),
            artifacts: Some(artifacts.path().to_owned()),
            expect_panic: false,
            userland: Userland::Busybox,
            command: ["sh", "-c", &script].map(OsString::from).to_vec(),
        };
        let label = format!("Linux {} in a virtual machine ({})", guest.kernel.version, place.name());
        let report = progress::step(&label, || guest.run(&machine, &Output::Forward))?;
        for at in 0..self.runs(place).len() {
            let file = artifacts.path().join(format!("{at}.jsonl"));
            // Where it is missing the guest's status says that something failed.
            if file.exists() {
                let text =
                    fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
                figures.add(place.name(), &text)?;
            }
        }
        match report.status()? {
            0 => Ok(()),
            status => bail!("the measurement ended with status {status}; what it said is above"),
        }
    }
}
