//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    agent::config::{Age, AgentArgs},
    kernel::hooks::Tier,
    profile::criterion::Criterion,
};

const EXAMPLES: &str = "\
Examples:
  sudo oomtrace                              watch, for people
  sudo oomtrace --json | jq .victims         watch, for programs
  sudo oomtrace --cgroup '/kubepods/*' --min-rss 100M
  sudo oomtrace --container 4e9bf3a17c02
  sudo oomtrace --record incident.oomtrace   keep the stream, to look at it elsewhere
  oomtrace replay incident.oomtrace          … without root and without that kernel
  oomtrace import /var/log/kern.log          what happened before anybody watched: any kernel log
  oomtrace history --since '7 days'          what an agent has kept
  oomtrace explain memcg-limit               what a finding means, and what to do about it
  sudo oomtrace run -- stress-ng --vm 4 -t 60  what a stress test goes through, and who is hit by it
  oomtrace check                             is this machine set up to run out of memory? who would die first?
  oomtrace check --fail-on warning           … for monitoring: exit status 4 if so
  sudo oomtrace hooks                        what this kernel lets oomtrace see
  sudo oomtrace bugreport                    one archive for whoever looks into a problem with oomtrace

Exit status: 0 done, 1 failed, 2 wrong usage, 3 cannot trace here, 4 found what --fail-on or --fail-if asks for.";

/// Traces Linux out-of-memory kills as the kernel decides them: what ran out, who asked, who died and why that one.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Cli {
    /// What to do; without it: trace.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to trace.
    #[command(flatten)]
    pub trace: TraceArgs,
}

/// What oomtrace does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Trace until interrupted (what oomtrace does without a subcommand)
    Trace(Box<TraceArgs>),
    /// Show a recorded stream as if it were live; needs neither root nor that kernel
    Replay(ReplayArgs),
    /// Run a command, such as a memory stress test, and report what it went through and did to others as memory or processes ran out
    Run(Box<RunArgs>),
    /// Compare reports of runs: what got better and what got worse, beyond what changes from run to run
    Diff(DiffArgs),
    /// Read kernel logs that were kept: the incidents in them, as if oomtrace had watched
    Import(ImportArgs),
    /// Look into what an agent has kept: incidents, whom they hit, how often
    History(HistoryArgs),
    /// Show what this kernel lets oomtrace see: role, hook, what was refused, which fields that costs
    Hooks(HooksArgs),
    /// Look at this machine before anything happens: what is set up badly, what is left of each limit, who would be killed first
    Check(CheckArgs),
    /// Say what a finding means: how oomtrace knows, what to do, and what that may cost
    Explain(ExplainArgs),
    /// Trace for months on a machine in production: with a history, metrics and other outputs of its own
    Agent(Box<AgentArgs>),
    /// Gather what a maintainer needs to look into a problem with oomtrace, in one archive that stays on this machine
    Bugreport(BugreportArgs),
    /// Print the JSON Schema of the output
    Schema(SchemaArgs),
}

/// Options of `trace`.
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own on the command line")]
pub struct TraceArgs {
    /// How to look at the kernel.
    #[command(flatten)]
    pub kernel: KernelArgs,
    /// How to show it.
    #[command(flatten)]
    pub output: OutputArgs,
    /// What to show.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Take nothing from the kernel log
    #[arg(long)]
    pub no_kmsg: bool,
    /// Leave out what triggers and victims were started with. (Secrets in it are masked in any case.)
    #[arg(long)]
    pub no_cmdline: bool,
    /// Where neither trampolines nor kprobes are to be had, watch the ends of system calls for forks that fail. That slows every
    /// system call of every process
    #[arg(long)]
    pub fork_syscalls: bool,
    /// Size of the ring buffer between kernel and oomtrace, rounded up to a power of two
    #[arg(long, value_name = "SIZE", default_value = "256K", value_parser = parse_ring_size)]
    pub ring_size: u32,
    /// Keep the stream of records in FILE, for `oomtrace replay`
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Show the kernel programs' own log on standard error
    #[arg(short, long)]
    pub verbose: bool,
}

/// Options that choose the hooks.
#[derive(Clone, Debug, Args)]
pub struct KernelArgs {
    /// Which hooks to use
    #[arg(long, value_enum, default_value_t = TierChoice::Auto)]
    pub tier: TierChoice,
    /// Type information (BTF) of the running kernel
    #[arg(long, value_name = "FILE", default_value = crate::kernel::btf::VMLINUX)]
    pub btf: PathBuf,
}

impl KernelArgs {
    /// Whether anything will do.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.tier == TierChoice::Auto && self.btf.as_os_str() == crate::kernel::btf::VMLINUX
    }
}

/// A tier, or the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TierChoice {
    /// The best that this kernel offers
    Auto,
    /// BPF trampolines and tracepoints
    Trampoline,
    /// Kprobes and tracepoints
    Kprobe,
    /// Tracepoints alone
    Tracepoint,
    /// No BPF: the kernel log is followed, and says what it says
    Kmsg,
}

impl TierChoice {
    /// The tier, unless any will do.
    #[must_use]
    pub fn forced(self) -> Option<Tier> {
        match self {
            Self::Auto => None,
            Self::Trampoline => Some(Tier::Trampoline),
            Self::Kprobe => Some(Tier::Kprobe),
            Self::Tracepoint => Some(Tier::Tracepoint),
            Self::Kmsg => Some(Tier::Kmsg),
        }
    }
}

/// Options that choose the form of the output.
#[derive(Clone, Copy, Debug, Args)]
pub struct OutputArgs {
    /// Form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = Form::Human)]
    pub output: Form,
    /// One JSON object a line (short for --output json)
    #[arg(long)]
    pub json: bool,
}

impl OutputArgs {
    /// The form that the two options come to.
    #[must_use]
    pub fn form(self) -> Form {
        if self.json { Form::Json } else { self.output }
    }
}

/// Form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// For people
    Human,
    /// One JSON object a line
    Json,
}

/// Options that leave incidents out. An incident is shown if one of its victims passes all of them.
#[derive(Clone, Debug, Default, Args)]
pub struct FilterArgs {
    /// Victims in this memory cgroup or below it; * stands for anything
    #[arg(long, value_name = "PATTERN")]
    pub cgroup: Option<String>,
    /// Victims in the container with this id, or its beginning, or this name; * stands for anything
    #[arg(long, value_name = "PATTERN")]
    pub container: Option<String>,
    /// Victims with this process id
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// Victims of this name; * stands for anything
    #[arg(long, value_name = "PATTERN")]
    pub comm: Option<String>,
    /// Victims with at least this much resident memory, such as 10M or 1.5G
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub min_rss: Option<u64>,
    /// Only these: OOM kills (and allocations that failed), or forks that failed
    #[arg(long, value_enum, value_name = "KIND", value_delimiter = ',')]
    pub kind: Vec<Kind>,
}

impl FilterArgs {
    /// Whether something of this kind can be shown at all.
    #[must_use]
    pub fn takes(&self, kind: Kind) -> bool {
        self.kind.is_empty() || self.kind.contains(&kind)
    }
}

/// What can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Runs of the OOM killer, and allocations that failed without one
    Oom,
    /// Forks that failed
    Fork,
}

/// Options of `replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// What `oomtrace --record` wrote; - for standard input
    pub file: PathBuf,
    /// How to show it.
    #[command(flatten)]
    pub output: OutputArgs,
    /// What to show.
    #[command(flatten)]
    pub filter: FilterArgs,
}

const RUN_EXAMPLES: &str = "\
Examples:
  sudo oomtrace run -- stress-ng --bigheap 2 --oomable --timeout 60
  sudo oomtrace run --cgroup-limit 512M --html report.html -- stress-ng --vm 4 --vm-bytes 1G --oomable -t 60
  sudo oomtrace run --pids-limit 100 -- make -j200
  sudo oomtrace run --repeat 5 --warmup 1 --name before --json before.json -- ./load.sh
  oomtrace diff before.json after.json           what got better, what worse
  sudo oomtrace run --fail-if 'bystander_kills>0' --fail-if 'reclaim_p99_ms>50' -- ./load.sh

The summary goes to standard error: standard output is the command's.
Exit status: the command's own, 128 and the signal's number if one ended it; 126 it cannot be executed, 127 it was not found; 4 a
--fail-if is met and the command succeeded; 1 failed, 2 wrong usage, 3 cannot trace here.";

/// Options of `run`.
#[derive(Clone, Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own on the command line")]
pub struct RunArgs {
    /// What to call it in reports and comparisons
    #[arg(long, value_name = "LABEL")]
    pub name: Option<String>,
    /// Run it in a memory cgroup of its own with this limit, such as 512M
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub cgroup_limit: Option<u64>,
    /// Run it in a cgroup of its own with at most so many processes and threads
    #[arg(long, value_name = "NUMBER")]
    pub pids_limit: Option<u64>,
    /// Write the report to FILE as JSON (oomtrace schema --run); - for standard output
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the report to FILE as a page for a browser, which needs nothing else
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Run it so many times, one after the other: comparisons then know what changes by itself
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeat: u32,
    /// Run it so many times more before, and report nothing of these
    #[arg(long, value_name = "NUMBER", default_value = "0", value_parser = clap::value_parser!(u32).range(..=1000))]
    pub warmup: u32,
    /// Fail if this holds in any of the runs, such as 'bystander_kills>0'; may be given several times
    #[arg(long, value_name = "CONDITION")]
    pub fail_if: Vec<Criterion>,
    /// What stress-ng is told to write (--yaml FILE): its bogo-ops are shown beside the kills
    #[arg(long, value_name = "FILE")]
    pub stress_ng_yaml: Option<PathBuf>,
    /// From one sample of memory to the next at first; a long run takes them less often
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_interval)]
    pub interval: Duration,
    /// Kills and forks that fail, and nothing beside: no reclaim, no compaction, no samples, nothing from the kernel log where
    /// there are hooks
    #[arg(long)]
    pub light: bool,
    /// How to look at the kernel.
    #[command(flatten)]
    pub kernel: KernelArgs,
    /// Take nothing from the kernel log
    #[arg(long)]
    pub no_kmsg: bool,
    /// Leave out what victims were started with. (Secrets in it are masked in any case.)
    #[arg(long)]
    pub no_cmdline: bool,
    /// Where neither trampolines nor kprobes are to be had, watch the ends of system calls for forks that fail. That slows every
    /// system call of every process
    #[arg(long)]
    pub fork_syscalls: bool,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    pub command: Vec<std::ffi::OsString>,
}

/// A time between two samples, such as `500ms` or `2s`.
fn parse_interval(text: &str) -> Result<Duration, String> {
    let Age(time) = text.parse()?;
    let (least, most) = (Duration::from_millis(100), Duration::from_secs(10));
    if time < least || time > most {
        return Err("samples are taken every 100ms at the most, and every 10s at the least".to_owned());
    }
    Ok(time)
}

const DIFF_EXAMPLES: &str = "\
Examples:
  oomtrace diff before.json after.json
  oomtrace diff --html kernels.html 6.1.json 6.12.json 7.2.json    each against the first
  oomtrace diff --json a.json b.json | jq '.rows[] | select(.changes[].verdict == \"worse\")'

Exit status: 0 done, 1 failed, 2 wrong usage.";

/// Options of `diff`.
#[derive(Clone, Debug, Args)]
#[command(after_help = DIFF_EXAMPLES)]
pub struct DiffArgs {
    /// What `oomtrace run --json` wrote: the first is what the others are compared with
    #[arg(required = true, num_args = 2.., value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Write the comparison to FILE as a page for a browser as well
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Print JSON (oomtrace schema --diff)
    #[arg(long)]
    pub json: bool,
}

/// Options of `schema`.
#[derive(Clone, Debug, Args)]
pub struct SchemaArgs {
    /// Of what `oomtrace run --json` writes
    #[arg(long)]
    pub run: bool,
    /// Of what `oomtrace diff --json` prints
    #[arg(long, conflicts_with = "run")]
    pub diff: bool,
}

const IMPORT_EXAMPLES: &str = "\
Examples:
  oomtrace import /var/log/kern.log*            files, compressed or not
  oomtrace import /var/log                      all logs below a folder
  journalctl -k -o export | oomtrace import -   the journal (-o json and the short forms as well)
  journalctl -k -b -1 | oomtrace import -       … of the boot before
  oomtrace import /var/lib/systemd/pstore       what the kernel left behind when it panicked
  oomtrace import --json dmesg.txt | jq .victims
  oomtrace import --since '2 days' --comm 'java*' /var/log/messages

Exit status: 0 done, 1 a log could not be read to its end, 2 wrong usage.";

/// Options of `import`.
#[derive(Clone, Debug, Args)]
#[command(after_help = IMPORT_EXAMPLES)]
pub struct ImportArgs {
    /// Kernel logs in any form, folders of them; - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Only what happened from then on: a date, a time such as 2026-11-28T14:00, or how long ago, such as '2 days'
    #[arg(long, value_name = "WHEN", value_parser = crate::moment::parse)]
    pub since: Option<jiff::Timestamp>,
    /// Only what happened before then; the same forms
    #[arg(long, value_name = "WHEN", value_parser = crate::moment::parse)]
    pub until: Option<jiff::Timestamp>,
    /// How to show it.
    #[command(flatten)]
    pub output: OutputArgs,
    /// What to show.
    #[command(flatten)]
    pub filter: FilterArgs,
}

const HISTORY_EXAMPLES: &str = "\
Examples:
  oomtrace history                                 the newest hundred
  oomtrace history --since '7 days' --summary      whom it hit, where, why, and how often
  oomtrace history --container 4e9bf3a17c02
  oomtrace history --cgroup '/kubepods/*' --cause memcg
  oomtrace history --kind fork_failure --cause pids_max
  oomtrace history --json | jq -r '.findings[]?.id' | sort | uniq -c
  oomtrace history --csv --since 2026-11-01 >november.csv

Exit status: 0 done, 1 failed, 2 wrong usage.";

/// Options of `history`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HISTORY_EXAMPLES)]
pub struct HistoryArgs {
    /// The file that the agent keeps
    #[arg(long, value_name = "FILE", default_value = "/var/lib/oomtrace/history.db")]
    pub database: PathBuf,
    /// Only what happened from then on: a date, a time such as 2026-11-28T14:00, or how long ago, such as '2 days'
    #[arg(long, value_name = "WHEN", value_parser = crate::moment::parse)]
    pub since: Option<jiff::Timestamp>,
    /// Only what happened before then; the same forms
    #[arg(long, value_name = "WHEN", value_parser = crate::moment::parse)]
    pub until: Option<jiff::Timestamp>,
    /// Only what hit a process of this name; * stands for anything
    #[arg(long, value_name = "PATTERN")]
    pub comm: Option<String>,
    /// … in the container with this id, or its beginning, or this name, or in the pod of this name; * stands for anything
    #[arg(long, value_name = "PATTERN")]
    pub container: Option<String>,
    /// … in this memory cgroup or below it, or where that one was at its limit; * stands for anything
    #[arg(long, value_name = "PATTERN")]
    pub cgroup: Option<String>,
    /// Only what had this cause: what ran out (global, memcg, cpuset, mempolicy), how (sysrq, limit_lowered, …), how it ended
    /// (panic, no_victim), what refused a fork (pids_max, …), or a finding's id; * stands for anything
    #[arg(long, value_name = "PATTERN")]
    pub cause: Option<String>,
    /// Only these; without it all that hurt somebody: oom,userspace_kill,fork_failure,alloc_failure
    #[arg(long, value_enum, value_name = "KIND", value_delimiter = ',')]
    pub kind: Vec<crate::output::LineKind>,
    /// The newest of these, at the most; without it a table has 100, and other forms have all
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<u32>,
    /// Whom it hit most often, where and why, and a chart of how often, in place of the table
    #[arg(long, conflicts_with_all = ["json", "csv", "limit"])]
    pub summary: bool,
    /// The lines of JSON as they were told
    #[arg(long)]
    pub json: bool,
    /// Comma-separated values (RFC 4180), one line a process
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
}

const CHECK_EXAMPLES: &str = "\
Examples:
  oomtrace check                               for people
  oomtrace check --json | jq '.findings[].id'  for programs
  oomtrace check --fail-on critical            for monitoring
  oomtrace check --cgroup /system.slice/web.service
  oomtrace check --root ./sosreport-web1       a captured tree of /proc and /sys

Exit status: 0 done, 1 failed, 2 wrong usage, 4 a finding is as bad as --fail-on says.";

/// Options of `check`.
#[derive(Clone, Debug, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub struct CheckArgs {
    /// Form of the output.
    #[command(flatten)]
    pub output: OutputArgs,
    /// End with exit status 4 if anything is found that is as bad as this, or worse
    #[arg(long, value_enum, value_name = "SEVERITY")]
    pub fail_on: Option<FailOn>,
    /// Who would be killed first if this memory cgroup reached its limit, in place of the machine
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<String>,
    /// A captured tree that has the proc and sys of another machine
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// Leave out what processes were started with. (Secrets in it are masked in any case.)
    #[arg(long)]
    pub no_cmdline: bool,
}

/// From which severity on a check fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// What is worth knowing
    Notice,
    /// What will go wrong sooner or later
    Warning,
    /// What endangers the whole machine
    Critical,
}

/// Options of `explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// The finding, such as memcg-limit; without it all are listed
    pub id: Option<String>,
}

/// Options of `hooks`.
#[derive(Clone, Debug, Args)]
pub struct HooksArgs {
    /// How to look at the kernel.
    #[command(flatten)]
    pub kernel: KernelArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

const BUGREPORT_EXAMPLES: &str = "\
Examples:
  sudo oomtrace bugreport                                 oomtrace-bugreport-TIME.tar.gz in this folder
  sudo oomtrace bugreport --output /tmp/report.tar.gz
  sudo oomtrace bugreport --config ./oomtrace.toml --database ./history.db
  tar -xzf oomtrace-bugreport-*.tar.gz                    look through it before you send it

Nothing is sent anywhere. Without root less of it can be had; its manifest.json says what is left out, and why.
Exit status: 0 written, whatever was left out, 1 failed, 2 wrong usage.";

/// Options of `bugreport`.
#[derive(Clone, Debug, Args)]
#[command(after_help = BUGREPORT_EXAMPLES)]
pub struct BugreportArgs {
    /// The archive to make: a new file, which its owner alone can read
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The agent's settings, whose secrets are masked; without it /etc/oomtrace/oomtrace.toml
    #[arg(long, value_name = "FILE", env = "OOMTRACE_CONFIG")]
    pub config: Option<PathBuf>,
    /// The history that the agent keeps: the last incidents are taken along
    #[arg(long, value_name = "FILE", default_value = "/var/lib/oomtrace/history.db")]
    pub database: PathBuf,
    /// How to look at the kernel.
    #[command(flatten)]
    pub kernel: KernelArgs,
}

/// A size in bytes with an optional K, M or G (powers of 1024), such as `10M`, `1.5G`, `64KiB`.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let bad =
        || format!("\"{text}\" is no size: write a number of bytes, or one with K, M or G, such as 10M");
    let number_end =
        text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let factor = match unit.to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
        "" => 1_u64,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return Err(bad()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).ok_or_else(bad);
    }
    // 2^53 bytes is as far as a fraction stays exact, and farther than any machine goes.
    let bytes =
        number.parse::<f64>().map_err(|_| bad())? * f64::from(u32::try_from(factor).map_err(|_| bad())?);
    if !(0.0..=9_007_199_254_740_992.0).contains(&bytes) {
        return Err(bad());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range, as tested above")]
    Ok(bytes as u64)
}

/// What a ring has that nobody asks for.
pub(crate) const DEFAULT_RING_BYTES: u32 = 256 << 10;

fn parse_ring_size(text: &str) -> Result<u32, String> {
    ring_bytes(parse_size(text)?)
}

/// The kernel takes powers of two, in whole pages.
pub(crate) fn ring_bytes(asked: u64) -> Result<u32, String> {
    let bytes = asked;
    if bytes == 0 {
        return Err("a ring of nothing holds nothing: 4K is the least".to_owned());
    }
    let bytes = bytes.max(u64::from(crate::host::page_bytes()));
    let bytes = bytes.checked_next_power_of_two().and_then(|bytes| u32::try_from(bytes).ok());
    bytes
        .filter(|bytes| *bytes <= 1 << 30)
        .ok_or_else(|| format!("a ring of {} is too large: 1G is the most", crate::words::size(asked)))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// Guards the definition of the command line as a whole.
    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    /// Guards the units of sizes, and that nonsense is no size.
    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(parse_size("10M"), Ok(10 << 20));
        assert_eq!(parse_size("1.5G"), Ok(3 << 29));
        assert_eq!(parse_size("64KiB"), Ok(64 << 10));
        assert_eq!(parse_size("512"), Ok(512));
        for nonsense in ["", "x", "10X", "-1", "1.2.3", "99999999999G", "NaN"] {
            assert!(parse_size(nonsense).is_err(), "{nonsense}");
        }
    }

    /// Guards the ring's size against what the kernel refuses.
    #[test]
    fn ring_sizes_are_powers_of_two_pages() {
        assert_eq!(parse_ring_size("1"), Ok(crate::host::page_bytes()));
        assert_eq!(parse_ring_size("100K"), Ok(128 << 10));
        assert!(parse_ring_size("2G").is_err());
    }
}
