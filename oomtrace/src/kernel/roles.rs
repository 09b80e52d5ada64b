//! Fills the roles, one by one: the best choice that this kernel lets us have.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::bail;
use aya::{
    Btf as AyaBtf, Ebpf,
    programs::{FEntry, FExit, KProbe, Program, ProgramError, RawTracePoint},
};
use serde::Serialize;

use super::{
    btf::Btf,
    hooks::{
        ALLOC_FAILURE, CANDIDATES, CMDLINE, COLLATERAL, Choice, DECISION, FORK_FAILURE, HUGETLB, Hook,
        KILLED, Kind, OUTCOME, PAGE_ALLOCATION, PRESSURE, RELIEF, Role, STALL, STAND_IN, SYSCALLS, Tier,
        USER_KILL, VICTIM,
    },
    hurt,
    load::{CannotTrace, Options, chain},
    mirror, trampoline,
};

/// What became of a role.
#[derive(Clone, Debug, Serialize)]
pub struct RoleStatus {
    /// The role.
    pub role: &'static str,
    /// What it tells.
    pub purpose: &'static str,
    /// What was attached, as `kind:target`. Empty: done without a hook.
    pub hooks: Vec<String>,
    /// What to know about the choice.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub note: &'static str,
    /// Better choices that were not to be had: hooks and reason.
    pub refused: Vec<Refusal>,
    /// Fields that the choice costs, and why.
    pub losses: BTreeMap<&'static str, &'static str>,
}

/// A choice that was not to be had.
#[derive(Clone, Debug, Serialize)]
pub struct Refusal {
    /// What was tried, as `kind:target`.
    pub hooks: Vec<String>,
    /// Why it was refused.
    pub reason: String,
}

/// Fills every role, those first that a report takes, and calls `armed` once these are filled.
///
/// Errors are [`CannotTrace`].
pub(super) fn fill(
    ebpf: &mut Ebpf,
    btf: &Btf,
    options: &Options,
    armed: impl FnOnce(),
) -> anyhow::Result<Vec<RoleStatus>> {
    Filling { options, btf, ebpf, trampolines: Trampolines::Untried, attached: BTreeSet::new() }.all(armed)
}

/// What attaching goes by, and what came of it so far.
struct Filling<'a> {
    options: &'a Options,
    btf: &'a Btf,
    ebpf: &'a mut Ebpf,
    trampolines: Trampolines,
    /// Programs that are attached.
    attached: BTreeSet<&'static str>,
}

impl Filling<'_> {
    fn all(&mut self, armed: impl FnOnce()) -> anyhow::Result<Vec<RoleStatus>> {
        let stand_in = self.take(&STAND_IN).is_ok();
        // Whether it was a kill must be known before a mark is reported.
        let first = if stand_in {
            [&VICTIM, &RELIEF, &CMDLINE, &KILLED, &COLLATERAL]
        } else {
            [&KILLED, &VICTIM, &RELIEF, &CMDLINE, &COLLATERAL]
        };
        let rest = [
            &USER_KILL,
            &OUTCOME,
            &DECISION,
            &STALL,
            &PRESSURE,
            &CANDIDATES,
            &ALLOC_FAILURE,
            &HUGETLB,
            &PAGE_ALLOCATION,
            &FORK_FAILURE,
        ];
        // A tier that the user wants may prove not to be had at the last role.
        let needed = match self.options.tier {
            None if stand_in => 1,
            None => 2,
            Some(_) => usize::MAX,
        };
        let mut armed = Some(armed);
        let mut roles = Vec::new();
        let wanted = |role: &&Role| match role.name {
            name if name == CMDLINE.name => self.options.cmdline,
            name if name == PRESSURE.name => self.options.run.is_some_and(|run| !run.light),
            _ => true,
        };
        for role in first.into_iter().chain(rest).filter(wanted).collect::<Vec<_>>() {
            // A run whose beginning is seen and whose end is not would never end.
            let endless = roles
                .iter()
                .any(|status: &RoleStatus| status.role == OUTCOME.name && status.hooks.is_empty());
            let in_vain = match role.name {
                name if name == DECISION.name && endless => Some(ENDLESS.to_owned()),
                name if name == CANDIDATES.name && tier(&roles) == Tier::Tracepoint => {
                    Some(UNDECIDED.to_owned())
                }
                name if name == ALLOC_FAILURE.name => hurt::check(self.ebpf).err(),
                _ => None,
            };
            roles.push(self.fill(role, in_vain.as_deref())?);
            if roles.len() == needed
                && let Some(armed) = armed.take()
            {
                armed();
            }
        }
        if let Some(forced) = self.options.tier
            && forced != tier(&roles)
        {
            bail!(CannotTrace(forced_in_vain(self.options, forced, &roles)));
        }
        if let Some(armed) = armed {
            armed();
        }
        self.dismiss_stand_in();
        // The mirror left it loaded for a role that may have taken another.
        if !self.attached.contains(mirror::PROGRAM)
            && let Some(program) = self.ebpf.program_mut(mirror::PROGRAM)
        {
            unload(program);
        }
        Ok(roles)
    }

    /// Takes the best choice for a role that can be had; of tracepoints and none alone, if it is said why all others
    /// would be in vain.
    fn fill(&mut self, role: &Role, in_vain: Option<&str>) -> anyhow::Result<RoleStatus> {
        let mut status = RoleStatus {
            role: role.name,
            purpose: role.purpose,
            hooks: Vec::new(),
            note: "",
            refused: Vec::new(),
            losses: BTreeMap::new(),
        };
        for choice in role.choices {
            if let Some(reason) = in_vain
                && choice.hooks.iter().any(|hook| hook.kind.tier() > Tier::Tracepoint)
            {
                status.refused.push(Refusal { hooks: names(choice), reason: reason.to_owned() });
                continue;
            }
            if !self.options.fork_syscalls && choice.hooks.iter().any(|hook| hook.target == SYSCALLS) {
                let reason = "only with --fork-syscalls: every system call gets slower".to_owned();
                status.refused.push(Refusal { hooks: names(choice), reason });
                continue;
            }
            if choice.shared && !choice.hooks.iter().all(|hook| self.attached.contains(hook.program)) {
                continue;
            }
            match self.take(choice) {
                Ok(()) => {
                    status.hooks = names(choice);
                    status.note = choice.note;
                    status.losses = choice.losses.iter().copied().collect();
                    return Ok(status);
                }
                Err(reason) => status.refused.push(Refusal { hooks: names(choice), reason }),
            }
        }
        let reasons: Vec<_> = status
            .refused
            .iter()
            .map(|refusal| format!("{}: {}", refusal.hooks.join("+"), refusal.reason))
            .collect();
        let reasons = reasons.join("\n  ");
        bail!(CannotTrace(format!(
            "None of the hooks for the role \"{}\" ({}) can be had here:\n  {}\n{}",
            role.name,
            role.purpose,
            reasons,
            advice(self.options, &reasons)
        )))
    }

    /// Attaches all hooks of a choice, or none.
    fn take(&mut self, choice: &Choice) -> Result<(), String> {
        if !choice.allowed(self.options.tier) {
            let forced = self.options.tier.map_or("", Tier::name);
            return Err(format!("not in the tier {forced}"));
        }
        choice.check(self.btf)?;
        // Another role may have some of them already, and keeps those.
        let new: Vec<_> = choice.hooks.iter().filter(|hook| !self.attached.contains(hook.program)).collect();
        for hook in &new {
            if let Err(reason) = self.attach(hook) {
                for hook in &new {
                    self.detach(hook);
                }
                return Err(reason);
            }
        }
        Ok(())
    }

    fn attach(&mut self, hook: &Hook) -> Result<(), String> {
        let program = self.ebpf.program_mut(hook.program).ok_or("the eBPF object lacks the program")?;
        attach_program(program, &mut self.trampolines, hook, self.btf).map_err(|error| {
            unload(program);
            match error {
                Refused::Program(error) => why(&error),
                Refused::Reason(reason) => reason,
            }
        })?;
        self.attached.insert(hook.program);
        Ok(())
    }

    fn detach(&mut self, hook: &Hook) {
        if self.attached.remove(hook.program)
            && let Some(program) = self.ebpf.program_mut(hook.program)
        {
            unload(program);
        }
    }

    /// Detaches what stood in.
    fn dismiss_stand_in(&mut self) {
        for hook in STAND_IN.hooks {
            self.detach(hook);
        }
    }
}

/// What to do about these reasons.
fn advice(options: &Options, reasons: &str) -> String {
    let mut advice = Vec::new();
    if let Some(tier) = options.tier {
        advice.push(format!("Leave out --tier {} to take the best that this kernel offers.", tier.name()));
    }
    if reasons.contains("permit") || reasons.contains("denied") {
        advice.push(
            "Run oomtrace as root, or with CAP_BPF and CAP_PERFMON (for kprobes, where kernel.perf_event_paranoid is \
             above 2, with CAP_SYS_ADMIN)."
                .to_owned(),
        );
    }
    if advice.is_empty() {
        advice.push("This kernel is not one that oomtrace can trace.".to_owned());
    }
    advice.join(" ")
}

/// Why a decision is not hooked where the end of its run is not.
const ENDLESS: &str = "no hook shows where it ends (see outcome)";
/// Why scores are not hooked where the decision is not.
const UNDECIDED: &str = "no hook shows the decision that it belongs to (see decision)";

fn forced_in_vain(options: &Options, forced: Tier, roles: &[RoleStatus]) -> String {
    let kinds: &[&str] = match forced {
        Tier::Trampoline => &["fentry:", "fexit:"],
        Tier::Kprobe => &["kprobe:", "kretprobe:"],
        Tier::Tracepoint => &["raw_tp:"],
        Tier::Kmsg => &[],
    };
    let of_that_kind = |hook: &String| kinds.iter().any(|kind| hook.starts_with(kind));
    let reason = roles
        .iter()
        .flat_map(|role| &role.refused)
        .find(|refusal| {
            refusal.hooks.iter().any(of_that_kind) && ![ENDLESS, UNDECIDED].contains(&refusal.reason.as_str())
        })
        .map_or("no hook of that kind could be attached", |refusal| refusal.reason.as_str());
    let advice = advice(options, reason);
    format!("The tier {} cannot be had on this kernel: {reason}. {advice}", forced.name())
}

/// The kernel's functions as aya wants them for trampolines: made only if one is tried.
enum Trampolines {
    Untried,
    Ready(Box<AyaBtf>),
    Refused(String),
}

impl Trampolines {
    fn btf(&mut self, btf: &Btf) -> Result<&AyaBtf, String> {
        if matches!(self, Self::Untried) {
            *self = match trampoline::substitute(btf) {
                Ok(btf) => Self::Ready(Box::new(btf)),
                Err(error) => Self::Refused(chain(&error)),
            };
        }
        match self {
            Self::Ready(btf) => Ok(btf),
            Self::Refused(reason) => Err(reason.clone()),
            Self::Untried => Err("not tried".to_owned()),
        }
    }
}

/// Takes a program out of the kernel again, with its attachment.
fn unload(program: &mut Program) {
    // One that cannot be unloaded was not loaded.
    let _ = match program {
        Program::FEntry(program) => program.unload(),
        Program::FExit(program) => program.unload(),
        Program::KProbe(program) => program.unload(),
        Program::RawTracePoint(program) => program.unload(),
        _ => Ok(()),
    };
}

enum Refused {
    Program(ProgramError),
    Reason(String),
}

impl From<ProgramError> for Refused {
    fn from(error: ProgramError) -> Self {
        Self::Program(error)
    }
}

fn attach_program(
    program: &mut Program,
    trampolines: &mut Trampolines,
    hook: &Hook,
    btf: &Btf,
) -> Result<(), Refused> {
    match hook.kind {
        Kind::Fentry => {
            let program: &mut FEntry = program.try_into()?;
            program.load(hook.target, trampolines.btf(btf).map_err(Refused::Reason)?)?;
            program.attach()?;
        }
        Kind::Fexit => {
            let program: &mut FExit = program.try_into()?;
            program.load(hook.target, trampolines.btf(btf).map_err(Refused::Reason)?)?;
            program.attach()?;
        }
        Kind::Kprobe | Kind::Kretprobe => {
            let program: &mut KProbe = program.try_into()?;
            program.load()?;
            // The kernel's kprobes without tracefs: where it has none, it does not have them at all.
            if !Path::new("/sys/bus/event_source/devices/kprobe").exists() {
                return Err(Refused::Reason("this kernel has no kprobes (CONFIG_KPROBE_EVENTS)".to_owned()));
            }
            program.attach(hook.target, 0)?;
        }
        Kind::RawTracepoint => {
            let program: &mut RawTracePoint = program.try_into()?;
            // The one that the mirror used is loaded.
            if program.fd().is_err() {
                program.load()?;
            }
            program.attach(hook.target)?;
        }
    }
    Ok(())
}

/// An operator's words for a refusal.
pub(super) fn why(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            let last =
                log.lines().rev().find(|line| !line.trim().is_empty() && !line.starts_with("processed"));
            match (io_error.raw_os_error(), last) {
                (Some(libc::EPERM), None) => "the kernel does not permit programs of this type".to_owned(),
                (_, Some(last)) => format!("the verifier refused the program ({io_error}): {}", last.trim()),
                (_, None) => format!("the kernel refused the program: {io_error}"),
            }
        }
        error => chain(error),
    }
}

fn names(choice: &Choice) -> Vec<String> {
    choice.hooks.iter().map(|hook| format!("{}:{}", hook.kind.name(), hook.target)).collect()
}

/// The tier that the role "decision" came to: it is what the tiers differ in most.
pub(super) fn tier(roles: &[RoleStatus]) -> Tier {
    let hooks = roles.iter().find(|role| role.role == "decision").map_or(&[][..], |role| &role.hooks);
    if hooks.iter().any(|hook| hook.starts_with("fentry:")) {
        Tier::Trampoline
    } else if hooks.iter().any(|hook| hook.starts_with("kprobe:")) {
        Tier::Kprobe
    } else {
        Tier::Tracepoint
    }
}
