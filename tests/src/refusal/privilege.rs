//! Fewer rights than root's, and less of a system than oomtrace is used to: the cases, and what has to come of each.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};
use rustix::io::Errno;

use super::conditions::Conditions;
use super::denial::Denial;
use super::rights::{self, Bounds, ENOUGH};
use super::run::{Installed, Start};
use crate::btf::VMLINUX;
use crate::btf::verdict::Verdict;
use crate::stage::{Stage, argument};

/// An oomtrace under conditions, and what has to come of it.
#[derive(Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// What it is started under.
    pub conditions: Conditions,
    /// Its options.
    pub options: Vec<String>,
    /// What has to come of it.
    pub ending: Ending,
}

/// What has to come of an oomtrace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It reports the kill; these fields may be absent, for a reason, and no others.
    Reports(&'static [&'static str]),
    /// It refuses to trace, in these words among others.
    Refuses(&'static [&'static str]),
    /// It says so in these words among others, and follows the kernel log in place of it.
    FollowsLog(&'static [&'static str]),
}

impl Case {
    /// A case.
    pub(super) fn new(name: &str, conditions: Conditions, options: &[&str], ending: Ending) -> Self {
        let options = options.iter().map(ToString::to_string).collect();
        Self { name: name.to_owned(), conditions, options, ending }
    }

    /// The tier that it insists on.
    #[must_use]
    pub fn tier(&self) -> Option<&str> {
        let mut options = self.options.iter().skip_while(|option| *option != "--tier");
        options.nth(1).map(String::as_str)
    }
}

/// All is there.
pub(super) const ALL: Ending = Ending::Reports(&[]);
/// What takes CAP_SYSLOG is absent: how this kernel reads its counters, and what follows from that.
pub(super) const BUT_SYMBOLS: Ending = Ending::Reports(&["rss_kernel", "points", "rss_bytes"]);
/// What the tracepoints do not tell is absent.
const BUT_DECISION: Ending =
    Ending::Reports(&["constraint", "gfp_mask", "gfp_flags", "order", "candidates", "ballot"]);
/// It asks for what tracing takes.
pub(super) const ASKS: Ending = Ending::Refuses(&["root", "CAP_BPF", "CAP_PERFMON"]);
/// It asks for type information.
const ASKS_FOR_TYPES: Ending = Ending::Refuses(&["/sys/kernel/btf/vmlinux", "--btf"]);
/// It says that kprobes are not permitted.
pub(super) const ASKS_FOR_KPROBES: Ending = Ending::Refuses(&["tier kprobe", "ermission denied"]);

/// `enum bpf_cmd` (include/uapi/linux/bpf.h).
const BPF_MAP_CREATE: u32 = 0;

/// Where the kernel shows its type information.
const TYPES: &[&str] = &["/sys/kernel/btf"];
/// Where it shows its tracepoints and kprobes, to those that set them up by files.
const TRACEFS: &[&str] = &["/sys/kernel/tracing", "/sys/kernel/debug"];

/// The cases of this machine.
pub fn table(stage: &Stage<'_>, oomtrace: &Installed) -> Result<Vec<Case>> {
    let bounds = Bounds::here(stage.machine, oomtrace.tier());
    let mut cases = rights::table(bounds, oomtrace.tier().is_none());
    cases.extend(sparse(stage, oomtrace, bounds)?);
    cases.extend(denied(oomtrace, tier_is_there(stage, oomtrace, "kprobe")?));
    Ok(cases)
}

/// Whether somebody may follow the kernel log: everybody may, or those with CAP_SYSLOG (check_syslog_permissions(),
/// kernel/printk/printk.c).
#[must_use]
pub fn may_read_log(capable: bool) -> bool {
    let restricted = fs::read_to_string("/proc/sys/kernel/dmesg_restrict").unwrap_or_default();
    let readable = fs::metadata("/dev/kmsg").is_ok_and(|file| file.permissions().mode() & 0o004 != 0);
    capable || (restricted.trim() == "0" && readable)
}

/// The cases in which folders of /sys are empty.
fn sparse(stage: &Stage<'_>, oomtrace: &Installed, bounds: Bounds) -> Result<Vec<Case>> {
    let copy = oomtrace.scratch.file("types");
    fs::copy(VMLINUX, &copy).with_context(|| format!("cannot copy {VMLINUX} to {}", copy.display()))?;
    let by_copy = ["--btf", argument(&copy)?];
    let root = Conditions::default().empty(TYPES)?;
    let nobody = bounds.able(ENOUGH).empty(TYPES)?;
    // By id, which takes CAP_SYS_ADMIN, kernels give their own types since 5.11, too.
    let open = oomtrace.tier().is_none();
    let by_id = if bounds.locking_counts { ASKS_FOR_TYPES.or_log(open) } else { ALL };
    let typeless = ASKS_FOR_TYPES.or_log(open && may_read_log(false));
    let with_copy = bounds.of_perf(BUT_SYMBOLS);
    let no_tracefs = Conditions::default().empty(TRACEFS)?;
    let mut cases = vec![
        Case::new("no types in sysfs", root, &[], by_id),
        Case::new("no types in sysfs, nobody", nobody.clone(), &[], typeless),
        Case::new("no types in sysfs, nobody with a copy", nobody, &by_copy, with_copy),
        Case::new("no tracefs", no_tracefs.clone(), &[], ALL),
    ];
    for (tier, ending, refusal) in [
        ("trampoline", ALL, &["tier trampoline", "not permit"]),
        ("kprobe", ALL, &["tier kprobe", "no kprobes"]),
        ("tracepoint", BUT_DECISION, &["tier tracepoint", "no tracepoints"]),
    ] {
        // The control may have less than another tier.
        if oomtrace.tier().is_some_and(|insisted| insisted != tier) {
            continue;
        }
        let there = tier_is_there(stage, oomtrace, tier)?;
        let ending = if there { ending } else { Ending::Refuses(refusal) };
        let (name, options) = (format!("no tracefs, tier {tier}"), ["--tier", tier]);
        cases.push(Case::new(&name, no_tracefs.clone(), &options, ending));
    }
    Ok(cases)
}

/// Whether this kernel has all that a tier takes.
fn tier_is_there(stage: &Stage<'_>, oomtrace: &Installed, tier: &str) -> Result<bool> {
    let hooks = oomtrace.start(&Start::default(), &["hooks", "--tier", tier])?;
    Ok(hooks.finish(stage.deadline)?.status.success())
}

/// The cases in which a system call fails.
fn denied(oomtrace: &Installed, kprobes: bool) -> Vec<Case> {
    let without = |call, first, error| Conditions::default().deny(Denial { call, first, error });
    let bpf = libc::SYS_bpf;
    let (forbidden, unknown) = (without(bpf, None, Errno::PERM), without(bpf, None, Errno::NOSYS));
    // As a kernel before 5.8 fails to make a ring buffer; here it is whichever map is the first.
    let no_maps = without(bpf, Some(BPF_MAP_CREATE), Errno::INVAL);
    let no_perf = without(libc::SYS_perf_event_open, None, Errno::ACCESS);
    let no_kprobes = if kprobes { ASKS_FOR_KPROBES } else { Ending::Refuses(&["tier kprobe", "no kprobes"]) };
    let open = oomtrace.tier().is_none();
    let mut cases = vec![
        Case::new("bpf(2) is not permitted", forbidden, &[], ASKS.or_log(open)),
        Case::new("there is no bpf(2)", unknown, &[], Ending::Refuses(&["CONFIG_BPF_SYSCALL"]).or_log(open)),
        Case::new("maps are refused", no_maps, &[], Ending::Refuses(&["5.8", "ring buffers"]).or_log(open)),
        Case::new("no perf_event_open(2), tier kprobe", no_perf.clone(), &["--tier", "kprobe"], no_kprobes),
    ];
    if oomtrace.tier() != Some("kprobe") {
        cases.push(Case::new("no perf_event_open(2)", no_perf, &[], ALL));
    }
    cases
}

impl Ending {
    /// What a refusal has to say.
    #[must_use]
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::Refuses(words) | Self::FollowsLog(words) => words,
            Self::Reports(_) => &[],
        }
    }

    /// What becomes of it where the kernel log may be followed, and nothing is insisted on.
    #[must_use]
    pub fn or_log(self, may_follow: bool) -> Self {
        match self {
            Self::Refuses(words) if may_follow => Self::FollowsLog(words),
            other => other,
        }
    }

    /// How a verdict is not this ending.
    #[must_use]
    pub fn differs(self, verdict: &Verdict) -> Option<String> {
        let allowed = |field: &String| {
            let may_lack = if let Self::Reports(may_lack) = self { may_lack } else { &[] };
            may_lack.iter().any(|name| field.split('.').any(|step| step == *name))
        };
        match (self, verdict) {
            (Self::Reports(_), Verdict::Right) | (Self::Refuses(_), Verdict::Refused(_)) => None,
            (Self::Reports(_), Verdict::Absent(fields)) if fields.iter().all(allowed) => None,
            (expected, verdict) => Some(format!("{verdict}; expected was: {expected:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the judgement: what is absent beyond what may be, a refusal instead of a report, and the reverse.
    #[test]
    fn other_endings_differ() {
        let absent = |fields: &[&str]| Verdict::Absent(fields.iter().map(ToString::to_string).collect());
        let of_symbols = absent(&["victims[0].rss_kernel.anon_bytes", "victims[0].points"]);
        assert_eq!(BUT_SYMBOLS.differs(&Verdict::Right), None);
        assert_eq!(BUT_SYMBOLS.differs(&of_symbols), None);
        assert!(BUT_SYMBOLS.differs(&absent(&["victims[0].rss.anon_bytes"])).is_some());
        assert!(ALL.differs(&absent(&["victims[0].points"])).is_some());
        assert!(BUT_SYMBOLS.differs(&Verdict::Refused("no.".to_owned())).is_some());
        assert!(ASKS.differs(&Verdict::Right).is_some());
        assert!(ASKS.differs(&Verdict::Wrong(vec![])).is_some());
    }

    /// Guards the tier that a case's reports must have.
    #[test]
    fn a_case_may_insist_on_a_tier() {
        let case = |options: &[&str]| Case::new("case", Conditions::default(), options, ALL);
        assert_eq!(case(&["--tier", "kprobe"]).tier(), Some("kprobe"));
        assert_eq!(case(&["--btf", "kprobe"]).tier(), None);
    }
}
