//! The matrix: every scenario on this machine, and on every kernel in every tier.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::fields::Fields;
use super::table::{Cell, Status, parse};
use crate::build::Built;
use crate::setup::{self, StressNg};
use crate::vm::kernel::Wanted;
use crate::vm::{self, End, Guest, Output, Report, Userland, package};
use crate::{process, progress, workspace};

/// Which of the scenarios, and how much of them.
pub struct Choice {
    /// Only these; all if there are none.
    pub only: Vec<String>,
    /// Every scenario in every tier, and every change of the type information in place of a sample.
    pub full: bool,
}

impl Choice {
    /// Options of `scenarios run` for a tier in which all run, or for another.
    fn options(&self, whole: bool) -> Vec<String> {
        let mut options = Vec::new();
        if !self.only.is_empty() {
            options.extend(["--only".to_owned(), self.only.join(",")]);
        } else if !whole && !self.full {
            options.push("--again".to_owned());
        }
        if self.full {
            options
                .extend(["--mutations", "all", "--fork-storms", "10", "--limit", "3600"].map(str::to_owned));
            // In the other tiers as many as usual: ten mixtures are made in a second, and an agent dies once in two.
            if whole {
                options.extend(["--mixtures", "10000", "--endurance"].map(str::to_owned));
            }
        }
        options
    }

    /// How long a guest may take.
    fn timeout(&self) -> Duration {
        if self.full { FULL_TIMEOUT } else { TIMEOUT }
    }
}

/// A kernel to boot, and what to run there.
#[derive(Clone, Copy)]
struct Plan {
    kernel: &'static str,
    /// MiB.
    memory: u32,
    cpus: u32,
    /// The tiers in which the scenarios run, one after the other.
    tiers: &'static [&'static str],
    /// The tier in which all of them run; in the others those do that differ by tier, or none ([`Plan::tiers`]). Half an hour has to do
    /// for all.
    whole: Option<&'static str>,
    /// Modules to insert: what some scenarios are caught in.
    modules: &'static [&'static str],
    /// What it is for.
    purpose: Purpose,
    /// Whether it is booted though nothing was asked for by name, and not everything by `--full`.
    in_suite: bool,
}

/// What a machine is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Every scenario, but those that need a special machine.
    Usual,
    /// Those that need two NUMA nodes or a device to swap to.
    Nodes,
    /// The one that does what findings propose: it has the programs for that, and zram.
    Cures,
    /// The one that does what findings about failed forks, and about units, propose: it has the programs for that, and systemd.
    Repairs,
    /// Those of `oomtrace run`: it has stress-ng.
    Runs,
    /// Those that compare times: it has one processor, whose time passes by the instructions that it executes.
    Times,
}

impl Purpose {
    /// The scenarios that it is for; None for all.
    fn scenarios(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Usual => None,
            Self::Nodes => Some(&["cpuset", "mempolicy", "swap_limit", "check"]),
            Self::Cures => Some(&["cures", "global_container"]),
            Self::Repairs => Some(&["fork_cures", "units"]),
            Self::Runs => Some(&RUNS),
            Self::Times => Some(&["stall", "relief"]),
        }
    }
}

/// The scenarios of `oomtrace run`.
const RUNS: [&str; 6] =
    ["run_stress", "run_bystander", "run_forks", "run_child", "run_bad_input", "run_repeat"];
/// How many of them run in guests of the suite: each takes long to begin under emulation, and the others have little to do with the
/// kernel. Asked for by name, or with `--full`, all run.
const RUNS_IN_GUESTS: usize = 3;

const EVERY_TIER: &[&str] = &["trampoline", "kprobe", "tracepoint"];

/// Two nodes, the second without processors, so that these need not be told apart.
const NODES: [&str; 8] = [
    "-object",
    "memory-backend-ram,id=first,size=160M",
    "-object",
    "memory-backend-ram,id=second,size=96M",
    "-numa",
    "node,nodeid=0,memdev=first,cpus=0-1",
    "-numa",
    "node,nodeid=1,memdev=second",
];
/// Their size in MiB.
const NODES_MEMORY: u32 = 256;

/// What is booted. `auto` comes to trampolines on all of these; each tier is forced in turn, so that all must tell
/// the same. Of special machines the suite has those with the oldest and the newest kernel, or one where kernels differ little.
const PLANS: [Plan; 20] = [
    // Those that take longest come first, so that none is left alone at the end.
    Plan { modules: FUSE, ..small("6.1", "trampoline") },
    small("6.12", "kprobe"),
    small("7.2", "trampoline"),
    Plan { modules: FUSE, ..small("5.10", "trampoline") },
    // mark_victim passes the thread id alone here.
    Plan { modules: FUSE, ..small("5.10.223", "tracepoint") },
    // The counters of a process are per-CPU: with many, what each holds back matters.
    many("6.12"),
    if_asked(many("7.2")),
    // What zram compresses with is a module of its own here.
    Plan { modules: &["lzo_rle", "zram"], ..nodes("5.10.223", "tracepoint") },
    if_asked(nodes("6.12", "kprobe")),
    nodes("7.2", "trampoline"),
    cures("6.12"),
    repairs("7.2"),
    if_asked(runs("5.10.223", "tracepoint")),
    if_asked(runs("6.1", "kprobe")),
    runs("6.12", "trampoline"),
    if_asked(runs("7.2", "trampoline")),
    // Emulation that counts instructions takes ten seconds to boot, and as long again for each tier.
    times("5.10", "trampoline"),
    if_asked(times("6.1", "tracepoint")),
    if_asked(times("6.12", "trampoline")),
    times("7.2", "tracepoint"),
];

/// Kernels on which the agent's scenarios run: the oldest. With `--full` they run on all.
const AGENT: [&str; 1] = ["5.10.223"];

/// What takes longest and differs least from kernel to kernel, and the kernels on which it runs: the oldest and the newest. Nor does
/// anything run in a second tier on the others. With `--full`, or asked for by name, it does.
const LONG: [&str; 7] =
    ["fork_mixtures", "fork_storm", "kmsg", "mutated_btf", "pids_events", "reader_stopped", "refusals"];
const LONG_ON: [&str; 2] = ["5.10.223", "7.2"];

/// Has an oomtrace follow the kernel's log beside the scenarios' own: the tier without hooks.
const FOLLOW: &str = "--follow-log";
/// The results of the scenarios on this machine, in the folder of all.
const LIVE_RESULTS: &str = "live.jsonl";
/// Where FUSE is not built in.
const FUSE: &[&str] = &["fuse"];

/// MiB: quickly exhausted, and enough for the programs, which are in memory, and for what is kept of each scenario. (Per-CPU memory of
/// many processors takes more.)
const SMALL_MEMORY: u32 = 320;

/// A small machine, with every scenario in the tier `whole`.
const fn small(kernel: &'static str, whole: &'static str) -> Plan {
    let whole = Some(whole);
    Plan {
        kernel,
        memory: SMALL_MEMORY,
        cpus: 2,
        tiers: EVERY_TIER,
        whole,
        modules: &[],
        purpose: Purpose::Usual,
        in_suite: true,
    }
}

/// A machine that the suite does without.
const fn if_asked(plan: Plan) -> Plan {
    Plan { in_suite: false, ..plan }
}

/// A machine with many processors.
const fn many(kernel: &'static str) -> Plan {
    Plan { cpus: 16, memory: 512, tiers: &["auto"], whole: None, ..small(kernel, "") }
}

/// A machine with nodes and swap.
const fn nodes(kernel: &'static str, whole: &'static str) -> Plan {
    let purpose = Purpose::Nodes;
    Plan { memory: NODES_MEMORY, modules: &["zram"], purpose, ..small(kernel, whole) }
}

/// A machine with the programs that findings propose to call. What they and their libraries take is in memory.
const fn cures(kernel: &'static str) -> Plan {
    Plan { tiers: &["trampoline"], memory: 320, purpose: Purpose::Cures, ..nodes(kernel, "trampoline") }
}

/// What the findings and the scenario itself call there, and what busybox has in another form or not at all.
const TOOLS: [&str; 15] = [
    "bash",
    "choom",
    "chroot",
    "df",
    "fallocate",
    "grep",
    "mke2fs",
    "mkswap",
    "nsenter",
    "prlimit",
    "ps",
    "slabtop",
    "swapon",
    "sysctl",
    "unshare",
];

/// A machine with what findings about failed forks and units propose to call.
const fn repairs(kernel: &'static str) -> Plan {
    Plan { memory: 384, purpose: Purpose::Repairs, ..cures(kernel) }
}

/// A machine with stress-ng, which takes 32 MiB with its libraries.
const fn runs(kernel: &'static str, whole: &'static str) -> Plan {
    Plan { memory: SMALL_MEMORY + 32, purpose: Purpose::Runs, ..small(kernel, whole) }
}

/// A machine with exact times.
const fn times(kernel: &'static str, whole: &'static str) -> Plan {
    Plan { cpus: 1, purpose: Purpose::Times, ..small(kernel, whole) }
}

/// A guest may take this long: TCG on two processors needs some minutes.
const TIMEOUT: Duration = Duration::from_mins(15);
/// The same with everything.
const FULL_TIMEOUT: Duration = Duration::from_hours(3);

impl Plan {
    /// What heads its columns.
    fn column(&self, tier: &str) -> String {
        format!("{}{} {tier}", self.kernel, self.special())
    }

    /// What sets it apart from the other machines with its kernel.
    fn special(&self) -> String {
        match self.purpose {
            Purpose::Usual if self.cpus == 2 => String::new(),
            Purpose::Usual => format!(" {} CPUs", self.cpus),
            Purpose::Nodes => " 2 nodes".to_owned(),
            Purpose::Cures => " cures".to_owned(),
            Purpose::Repairs => " repairs".to_owned(),
            Purpose::Runs => " run".to_owned(),
            Purpose::Times => " exact time".to_owned(),
        }
    }

    /// The tiers in which anything runs.
    fn tiers(&self, choice: &Choice) -> impl Iterator<Item = &'static str> {
        let (full, purpose, whole) = (choice.full, self.purpose, self.whole);
        let few = choice.only.is_empty() && !LONG_ON.contains(&self.kernel);
        let one = match purpose {
            Purpose::Usual => few && whole.is_some(),
            Purpose::Times | Purpose::Nodes | Purpose::Runs => true,
            Purpose::Cures | Purpose::Repairs => false,
        };
        let one = one && !full;
        self.tiers.iter().copied().filter(move |tier| !one || whole == Some(tier))
    }

    /// Whether another oomtrace follows the kernel's log beside that tier's: once on each machine, where time is not exact and
    /// another traces by itself anyway.
    fn follows_log(&self, tier: &str) -> bool {
        !matches!(self.purpose, Purpose::Times | Purpose::Runs)
            && self.whole.or(self.tiers.first().copied()) == Some(tier)
    }

    /// Whether it is booted at all.
    fn is_concerned(&self, choice: &Choice) -> bool {
        let asked = choice.full || !choice.only.is_empty();
        (self.in_suite || asked) && self.only(choice).is_none_or(|only| !only.is_empty())
    }

    /// Those of the chosen scenarios that run here; None for all. Those that need a special machine are not applicable
    /// on the others, and say so.
    fn only(&self, choice: &Choice) -> Option<Vec<String>> {
        let chosen = |name: &str| choice.only.is_empty() || choice.only.iter().any(|only| only == name);
        let few = self.purpose == Purpose::Runs && !choice.full && choice.only.is_empty();
        let most = if few { RUNS_IN_GUESTS } else { usize::MAX };
        let names = self.purpose.scenarios()?.iter().filter(|name| chosen(name)).take(most);
        Some(names.map(ToString::to_string).collect())
    }

    /// Where its results go, in a folder for all of them.
    fn artifacts(&self, folder: &Path) -> PathBuf {
        let special = match self.purpose {
            Purpose::Usual => "",
            Purpose::Nodes => "-nodes",
            Purpose::Cures => "-cures",
            Purpose::Repairs => "-repairs",
            Purpose::Runs => "-run",
            Purpose::Times => "-times",
        };
        folder.join(format!("{}-{}{special}", self.kernel, self.cpus))
    }

    /// The programs of this machine that it has, in place of busybox's, and where.
    fn tools(&self) -> Result<Vec<(PathBuf, PathBuf)>> {
        let tools = TOOLS.iter().filter(|_| matches!(self.purpose, Purpose::Cures | Purpose::Repairs));
        let copy = |tool: &&str| {
            let found = process::find(tool).with_context(|| format!("{tool} is not installed"))?;
            Ok((found, Path::new("/usr/bin").join(tool)))
        };
        tools.map(copy).collect()
    }

    /// Debian packages that its scenarios need. Where one cannot be had, what needs it is left out.
    fn packages(&self) -> Vec<String> {
        let wanted = (self.purpose == Purpose::Repairs).then_some("systemd");
        wanted.into_iter().filter(|name| package::tree(name).is_ok()).map(str::to_owned).collect()
    }

    fn guest(&self, built: &Built, artifacts: &Path, choice: &Choice) -> Result<Guest> {
        let wanted: Wanted = self.kernel.parse().map_err(anyhow::Error::msg)?;
        let script: Vec<_> = self
            .tiers(choice)
            .map(|tier| {
                let only = self.only(choice).unwrap_or_else(|| choice.only.clone());
                let choice = Choice { only, full: choice.full };
                let mut options = choice.options(self.whole == Some(tier));
                if choice.only.is_empty() && !choice.full && !AGENT.contains(&self.kernel) {
                    options.push("--without-agent".to_owned());
                }
                let whole = self.purpose == Purpose::Usual && self.whole == Some(tier);
                if choice.only.is_empty() && !choice.full && whole && !LONG_ON.contains(&self.kernel) {
                    options.extend(["--without".to_owned(), LONG.join(",")]);
                }
                if self.purpose == Purpose::Times {
                    options.push("--exact-times".to_owned());
                } else if self.follows_log(tier) {
                    options.push(FOLLOW.to_owned());
                }
                let options = options.join(" ");
                format!("scenarios run --tier {tier} --results /artifacts/{tier}.jsonl --keep /artifacts/{tier} {options}")
            })
            .collect();
        // Where it cannot be had, the scenario that needs it says so.
        let usual = |package: fn() -> Result<PathBuf>| match self.purpose {
            Purpose::Usual => package().ok(),
            Purpose::Nodes | Purpose::Cures | Purpose::Repairs | Purpose::Runs | Purpose::Times => None,
        };
        let stress_ng = (self.purpose == Purpose::Runs).then(StressNg::get).transpose()?;
        let (runc, earlyoom) = (usual(package::runc), usual(package::earlyoom));
        // Each tier is judged by its results: what one exits with must not end the others.
        let command = ["sh", "-c", &format!("{}; exit 0", script.join("; "))].map(OsString::from).to_vec();
        Ok(Guest {
            kernel: setup::kernel(&wanted, false)?,
            memory: self.memory,
            cpus: self.cpus,
            icount: self.purpose == Purpose::Times,
            patient: self.purpose != Purpose::Usual,
            append: Vec::new(),
            qemu: if self.purpose == Purpose::Nodes { NODES.map(str::to_owned).to_vec() } else { Vec::new() },
            timeout: choice.timeout(),
            copies: [
                (built.oomtrace.clone(), "/usr/bin/oomtrace".into()),
                (built.scenarios.clone(), "/usr/bin/scenarios".into()),
            ]
            .into_iter()
            .chain(runc.map(|runc| (runc, "/usr/bin/runc".into())))
            .chain(earlyoom.map(|earlyoom| (earlyoom, "/usr/bin/earlyoom".into())))
            .chain(stress_ng.map(|it| (it.program().to_owned(), "/usr/bin/stress-ng".into())))
            .chain(self.tools()?)
            .collect(),
            packages: self.packages(),
            modules: self.modules.iter().map(ToString::to_string).collect(),
            artifacts: Some(artifacts.to_owned()),
            expect_panic: false,
            userland: Userland::Busybox,
            command,
        })
    }
}

/// The scenarios on this machine.
pub fn live(built: &Built, choice: &Choice) -> Result<Vec<Cell>> {
    let folder = workspace::target_dir().join("test");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let results = folder.join(LIVE_RESULTS);
    // Those of an earlier run must not pass for this one's.
    let _ = fs::remove_file(&results);
    let mut scenarios = Command::new(&built.scenarios);
    scenarios.arg("run").arg("--oomtrace").arg(&built.oomtrace).arg("--results").arg(&results);
    scenarios.args(choice.options(true)).arg(FOLLOW);
    // Behind the system's own.
    let path = env::var_os("PATH").unwrap_or_default();
    let runc = package::runc().ok().and_then(|runc| runc.parent().map(Path::to_owned));
    let stress_ng = StressNg::get().ok().map(|stress_ng| stress_ng.folder().to_owned());
    let folders = runc.into_iter().chain(package::prometheus().ok()).chain(stress_ng);
    scenarios.env("PATH", env::join_paths(env::split_paths(&path).chain(folders)).unwrap_or(path.clone()));
    eprintln!("scenarios on this machine");
    let status = scenarios.status().context("the scenarios cannot be started")?;
    let text = fs::read_to_string(&results).unwrap_or_default();
    Ok(judged("live", &text, if status.success() { None } else { Some("the scenarios failed".to_owned()) }))
}

/// What the last run saw of the output's fields.
pub fn fields(built: &Built) -> Result<Fields> {
    let mut fields = Fields::default();
    let folder = workspace::target_dir().join("test");
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let here = Command::new(&built.oomtrace)
        .args(["hooks", "--json"])
        .output()
        .context("oomtrace cannot be started")?;
    let here: serde_json::Value = serde_json::from_slice(&here.stdout).unwrap_or_default();
    if let (Some(tier), Some(kernel)) = (here["tier"].as_str(), here["kernel"].as_str()) {
        // As the others are named: by its series.
        let series: Vec<_> = kernel.split('.').take(2).collect();
        fields.add(tier, &series.join("."), &read(&folder.join(LIVE_RESULTS)));
    }
    for plan in &PLANS {
        for tier in plan.tiers {
            // `auto` comes to trampolines on all of these.
            let name = if *tier == "auto" { "trampoline" } else { tier };
            fields.add(name, plan.kernel, &read(&plan.artifacts(&folder).join(format!("{tier}.jsonl"))));
        }
    }
    Ok(fields)
}

/// The scenarios in virtual machines.
pub fn guests(built: &Built, choice: &Choice, jobs: usize) -> Result<Vec<Cell>> {
    let machine = setup::virtual_machine()?;
    let folder = workspace::target_dir().join("test");
    let plans: Vec<_> = PLANS.iter().filter(|plan| plan.is_concerned(choice)).collect();
    let run = |plan: &&Plan| {
        let artifacts = plan.artifacts(&folder);
        // Results of an earlier run must not pass for this one's.
        if artifacts.exists() {
            fs::remove_dir_all(&artifacts)
                .with_context(|| format!("cannot clear {}", artifacts.display()))?;
        }
        let guest = match plan.guest(built, &artifacts, choice) {
            Ok(guest) => guest,
            Err(error) => return Ok(unavailable(plan, choice, &format!("{error:#}"))),
        };
        let label = format!("Linux {}{}", guest.kernel.version, plan.special());
        let report = progress::step(&label, || guest.run(&machine, &Output::Capture));
        Ok(outcome(plan, choice, &artifacts, &report))
    };
    // Small ones run beside the others, and what they leave of the processors while they wait is enough for them.
    let (patient, others): (Vec<_>, Vec<_>) =
        plans.into_iter().partition(|plan| plan.purpose != Purpose::Usual);
    let cells = thread::scope(|scope| {
        let beside = scope.spawn(|| vm::for_each(&patient, 1, run));
        let mut cells = vm::for_each(&others, jobs, run);
        let panicked = |_| vec![Err(anyhow!("the thread of the guests beside the others panicked"))];
        cells.extend(beside.join().unwrap_or_else(panicked));
        cells
    });
    cells.into_iter().collect::<Result<Vec<_>>>().map(|cells| cells.into_iter().flatten().collect())
}

/// A kernel that cannot be had: every column of its is skipped, loudly.
fn unavailable(plan: &Plan, choice: &Choice, reason: &str) -> Vec<Cell> {
    let cell = |tier: &str| Cell {
        row: "all scenarios".to_owned(),
        column: plan.column(tier),
        status: Status::Skipped,
        reason: reason.to_owned(),
    };
    plan.tiers(choice).map(cell).collect()
}

fn outcome(plan: &Plan, choice: &Choice, artifacts: &Path, report: &Result<Report>) -> Vec<Cell> {
    let failure = match report {
        Ok(Report { end: End::Exited(_), .. }) => None,
        Ok(report) => report.status().err().map(|error| format!("{error:#}")),
        Err(error) => Some(format!("{error:#}")),
    };
    let mut cells = Vec::new();
    for tier in plan.tiers(choice) {
        let text = fs::read_to_string(artifacts.join(format!("{tier}.jsonl"))).unwrap_or_default();
        cells.extend(judged(&plan.column(tier), &text, failure.clone()));
    }
    if let Ok(report) = report {
        let clean = report.splats.is_empty();
        cells.push(Cell {
            row: "no kernel splat".to_owned(),
            column: plan.column(plan.tiers(choice).next().unwrap_or("auto")),
            status: if clean { Status::Passed } else { Status::Failed },
            reason: report.splats.first().cloned().unwrap_or_default(),
        });
    }
    cells
}

/// Cells of a column from its results. A run that ended badly, or without any result, has failed whatever they say.
pub fn judged(column: &str, results: &str, failure: Option<String>) -> Vec<Cell> {
    let mut cells = parse(column, results);
    let told = cells.iter().any(|cell| cell.status == Status::Failed);
    let reason = match failure {
        Some(reason) if !told => Some(reason),
        None if cells.is_empty() => Some("there are no results".to_owned()),
        _ => None,
    };
    if let Some(reason) = reason {
        cells.push(Cell {
            row: "the run".to_owned(),
            column: column.to_owned(),
            status: Status::Failed,
            reason,
        });
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSED: &str = r#"{"scenario":"a","status":"passed","reason":"","millis":1,"details":{}}"#;
    const FAILED: &str = r#"{"scenario":"b","status":"failed","reason":"why","millis":1,"details":{}}"#;

    /// Guards against a column that passes because nothing ran, or because a crash left only what passed before it.
    #[test]
    fn a_column_without_results_or_with_a_crash_has_failed() {
        let failed = |cells: Vec<Cell>| cells.iter().filter(|cell| cell.status == Status::Failed).count();
        assert_eq!(failed(judged("x", PASSED, None)), 0);
        assert_eq!(failed(judged("x", "", None)), 1);
        assert_eq!(failed(judged("x", PASSED, Some("crashed".to_owned()))), 1);
        assert_eq!(failed(judged("x", FAILED, Some("exit status 1".to_owned()))), 1, "said once");
    }

    /// Guards the plans: each names a kernel in a form that setup takes, and all scenarios run somewhere in every
    /// tier.
    #[test]
    fn plans_name_kernels() {
        for plan in PLANS {
            assert!(plan.kernel.parse::<Wanted>().is_ok(), "{}", plan.kernel);
            assert!(!plan.tiers.is_empty());
            assert!(plan.whole.is_none_or(|whole| plan.tiers.contains(&whole)), "{}", plan.kernel);
        }
        for tier in EVERY_TIER {
            let all = |plan: &Plan| plan.purpose == Purpose::Usual && plan.whole == Some(tier);
            assert!(PLANS.iter().any(all), "{tier}");
        }
    }

    /// Guards the special machines: they run what they are for, or nothing, and one is large enough for its nodes.
    #[test]
    fn special_machines_run_what_they_are_for() {
        let of = |only: &[&str]| Choice { only: only.iter().map(ToString::to_string).collect(), full: false };
        let names = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(
            nodes("6.12", "kprobe").only(&of(&[])),
            names(&["cpuset", "mempolicy", "swap_limit", "check"])
        );
        assert_eq!(nodes("6.12", "kprobe").only(&of(&["group", "cpuset"])), names(&["cpuset"]));
        assert_eq!(nodes("6.12", "kprobe").only(&of(&["group"])), names(&[]));
        let times = times("6.12", "kprobe");
        assert_eq!(times.only(&of(&["group", "stall"])), names(&["stall"]));
        assert_eq!(times.tiers(&of(&[])).collect::<Vec<_>>(), ["kprobe"]);
        assert_eq!(times.tiers(&Choice { only: Vec::new(), full: true }).collect::<Vec<_>>(), EVERY_TIER);
        assert_eq!(small("6.12", "kprobe").only(&of(&[])), None);
        let tiers = |kernel, only: &[&str]| small(kernel, "kprobe").tiers(&of(only)).count();
        assert_eq!((tiers("6.12", &[]), tiers("6.12", &["group"]), tiers("7.2", &[])), (1, 3, 3));
        let booted = |only: &[&str], full| {
            let choice = Choice { full, ..of(only) };
            PLANS.iter().filter(|plan| plan.purpose == Purpose::Runs && plan.is_concerned(&choice)).count()
        };
        assert_eq!((booted(&[], false), booted(&[], true)), (1, 4));
        assert_eq!((booted(&["run_forks"], false), booted(&["group"], false)), (4, 0));
        let in_suite = |purpose| PLANS.iter().filter(|plan| plan.purpose == purpose && plan.in_suite).count();
        assert_eq!((in_suite(Purpose::Usual), in_suite(Purpose::Nodes), in_suite(Purpose::Times)), (6, 2, 2));
        let sizes = NODES
            .iter()
            .filter_map(|word| word.rsplit_once("size=")?.1.strip_suffix('M')?.parse::<u32>().ok());
        assert_eq!(sizes.sum::<u32>(), NODES_MEMORY);
    }

    /// Guards that the tier without hooks is seen on every kernel, and once on each machine.
    #[test]
    fn the_log_is_followed_once_on_each_machine() {
        for plan in PLANS {
            let times = plan.tiers.iter().filter(|tier| plan.follows_log(tier)).count();
            assert_eq!(
                times,
                usize::from(!matches!(plan.purpose, Purpose::Times | Purpose::Runs)),
                "{}{}",
                plan.kernel,
                plan.special()
            );
        }
    }

    /// Guards what is left out: nothing that was asked for by name, and nothing in full.
    #[test]
    fn scenarios_are_left_out_where_the_plan_says_so() {
        let again = |only: &[&str], full, whole| {
            let only = only.iter().map(ToString::to_string).collect();
            Choice { only, full }.options(whole).contains(&"--again".to_owned())
        };
        assert!(again(&[], false, false));
        assert!(!again(&[], false, true) && !again(&[], true, false) && !again(&["storm"], false, false));
    }

    /// Guards the number of mixtures of causes, and of the agent's kills and deaths: thousands and hundreds once on each kernel with
    /// everything, and else the scenario's own.
    #[test]
    fn what_takes_long_is_done_once_on_each_kernel() {
        let many = |full, whole| {
            let options = Choice { only: Vec::new(), full }.options(whole);
            let mixtures = options.windows(2).any(|pair| pair == ["--mixtures", "10000"]);
            assert_eq!(options.contains(&"--endurance".to_owned()), mixtures);
            mixtures
        };
        assert!(many(true, true));
        assert!(!many(true, false) && !many(false, true) && !many(false, false));
    }
}
