//! Where things are measured, and by which commands.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use super::figure::Figures;
use crate::build::Built;
use crate::setup::StressNg;
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

/// How often `oomtrace run` is measured where the clock counts instructions, and in how many pairs here.
const PROFILES: u32 = 5;
const PAIRS: u32 = 8;

/// A part of the measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Tracing, in a virtual machine of one processor whose clock counts instructions
    Icount,
    /// Tracing, in a virtual machine of two processors, beside other tools
    Guest,
    /// Tracing, on this machine, oomtrace alone
    Live,
    /// `oomtrace run`, by instructions beside bpftrace, and on this machine by time
    Run,
}

/// Where things are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A virtual machine of one processor whose clock counts instructions
    Icount,
    /// A virtual machine of two processors, beside other tools
    Guest,
    /// This machine, oomtrace alone
    Live,
    /// `oomtrace run` in a virtual machine of one processor whose clock counts instructions, beside bpftrace
    RunIcount,
    /// `oomtrace run` on this machine
    RunLive,
}

impl Place {
    /// Whether it is this machine.
    pub fn is_here(self) -> bool {
        matches!(self, Self::Live | Self::RunLive)
    }
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

impl Part {
    /// All, in order, with their places: those whose figures repeat best first.
    pub const ALL: [(Self, Place); 5] = [
        (Self::Icount, Place::Icount),
        (Self::Guest, Place::Guest),
        (Self::Live, Place::Live),
        (Self::Run, Place::RunIcount),
        (Self::Run, Place::RunLive),
    ];
}

impl Place {
    /// Its name in the figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Icount => "icount",
            Self::Guest => "guest",
            Self::Live => "live",
            Self::RunIcount => "run, icount",
            Self::RunLive => "run, live",
        }
    }
}

impl Setting {
    /// Measures what there is to measure in a place.
    pub fn measure(&self, place: Place, figures: &mut Figures) -> Result<()> {
        match place {
            Place::Live | Place::RunLive => self.live(place, figures),
            Place::Icount | Place::Guest | Place::RunIcount => self.in_guest(place, figures),
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
            Place::RunIcount => vec![format!("profile --runs {PROFILES}")],
            Place::RunLive => vec![format!("profile-timed --runs {PAIRS}")],
        }
    }

    fn live(&self, place: Place, figures: &mut Figures) -> Result<()> {
        for run in self.runs(place) {
            let mut scenarios = Command::new(&self.built.scenarios);
            if place == Place::RunLive {
                scenarios.env("PATH", process::path_with(StressNg::get()?.folder())?);
            }
            scenarios.arg("bench").args(run.split(' ')).arg("--oomtrace").arg(&self.built.oomtrace);
            let samples =
                progress::step(&format!("bench {run}, on this machine"), || process::output(&mut scenarios))?;
            figures.add(place.name(), &samples)?;
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
        let icount = matches!(place, Place::Icount | Place::RunIcount);
        let stress_ng = (place == Place::RunIcount).then(StressNg::get).transpose()?;
        let stress_ng = stress_ng.map(|it| (it.program().to_owned(), PathBuf::from("/usr/bin/stress-ng")));
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
            ]
            .into_iter()
            .chain(stress_ng)
            .collect(),
            packages: vec!["libbpf-tools".into(), "bpftrace".into()],
            // What zram compresses with is a module of its own there.
            modules: if place == Place::RunIcount {
                ["lzo_rle", "zram"].map(str::to_owned).to_vec()
            } else {
                Vec::new()
            },
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
