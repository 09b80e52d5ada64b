//! Loads the programs and attaches them, role by role: the best choice that this kernel lets us have.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use aya::{
    Btf as AyaBtf, Ebpf, EbpfLoader, GlobalData, Pod, VerifierLogLevel,
    maps::Array,
    programs::{FEntry, FExit, KProbe, Program, ProgramError, RawTracePoint},
};
use oomtrace_ebpf::{Layout, Params};
use serde::Serialize;

use super::{
    btf::Btf,
    hooks::{Choice, Hook, Kind, ROLES, Tier},
    layout::{self, Resolved},
    mirror, trampoline,
};

/// The programs, where this build has them.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/oomtrace.bpf.o"));

/// The kernel's own type information.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// How to load.
#[derive(Clone, Debug)]
pub struct Options {
    /// Hooks of this tier and of tracepoints only; `None`: the best.
    pub tier: Option<Tier>,
    /// Type information of the running kernel.
    pub btf: PathBuf,
    /// Size of the ring buffer, bytes: a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    /// Whether the programs log what they see.
    pub verbose: bool,
    /// Number of possible CPUs.
    pub cpus: u32,
}

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

/// The programs, attached. Dropping it detaches them.
pub struct Attached {
    /// The object's maps and programs.
    pub ebpf: Ebpf,
    /// The tier that came out.
    pub tier: Tier,
    /// Role by role.
    pub roles: Vec<RoleStatus>,
    /// What is known of the kernel's types.
    pub resolved: Resolved,
}

/// Why the programs cannot trace here.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CannotTrace(pub String);

#[repr(transparent)]
#[derive(Clone, Copy)]
struct Table<T>(T);
// SAFETY: both tables are structures of u32 without padding.
unsafe impl Pod for Table<Layout> {}
// SAFETY: as above.
unsafe impl Pod for Table<Params> {}

/// Loads and attaches.
///
/// Errors are [`CannotTrace`] where the machine does not let us.
pub fn attach(options: &Options) -> anyhow::Result<Attached> {
    // What loading takes is large and short-lived: mapped by itself it goes back to the system at once. (glibc would
    // raise this bound with the first such piece that is freed.)
    // SAFETY: mallopt() takes no pointer, and there is one thread.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, 64 * 1024) };
    if OBJECT.is_empty() {
        bail!(CannotTrace(
            "This oomtrace was built without its eBPF programs, so it can replay but not trace. Build it with \
             `cargo xtask build`, or set OOMTRACE_EBPF_OBJECT to a prebuilt object."
                .to_owned()
        ));
    }
    let btf = Btf::read(&options.btf).map_err(|error| {
        CannotTrace(format!(
            "{error} oomtrace needs a kernel built with CONFIG_DEBUG_INFO_BTF=y (5.8 or later), or that \
             kernel's type information by --btf FILE."
        ))
    })?;
    let resolved = layout::resolve(&btf, options.cpus);
    let mut ebpf = load(options, &resolved)?;
    let page_bytes = crate::host::page_bytes();
    if let Err(differences) = mirror::check(&mut ebpf, page_bytes, options.cpus) {
        bail!(CannotTrace(format!(
            "The type information in {} is not this kernel's: read by it, {differences}. Leave out --btf, or give \
             the file that belongs to the running kernel.",
            options.btf.display()
        )));
    }
    let mut trampolines = Trampolines::Untried;
    let mut roles = Vec::new();
    for role in ROLES {
        let mut status = RoleStatus {
            role: role.name,
            purpose: role.purpose,
            hooks: Vec::new(),
            note: "",
            refused: Vec::new(),
            losses: BTreeMap::new(),
        };
        let mut filled = false;
        for choice in role.choices {
            match take(&mut ebpf, &btf, &mut trampolines, choice, options) {
                Ok(()) => {
                    status.hooks = names(choice);
                    status.note = choice.note;
                    status.losses = choice.losses.iter().copied().collect();
                    filled = true;
                    break;
                }
                Err(reason) => status.refused.push(Refusal { hooks: names(choice), reason }),
            }
        }
        if !filled {
            let reasons: Vec<_> = status
                .refused
                .iter()
                .map(|refusal| format!("{}: {}", refusal.hooks.join("+"), refusal.reason))
                .collect();
            bail!(CannotTrace(format!(
                "None of the hooks for the role \"{}\" ({}) can be had here:\n  {}\n{}",
                role.name,
                role.purpose,
                reasons.join("\n  "),
                advice(options)
            )));
        }
        roles.push(status);
    }
    let tier = tier(&roles);
    if let Some(forced) = options.tier
        && forced != tier
    {
        bail!(CannotTrace(forced_in_vain(forced, &roles)));
    }
    arm(&mut ebpf)?;
    drop((btf, trampolines));
    // Parsing types leaves many small free blocks: give them back.
    // SAFETY: malloc_trim() takes no pointer and may be called at any time.
    unsafe { libc::malloc_trim(0) };
    Ok(Attached { ebpf, tier, roles, resolved })
}

/// From here on the programs see what happens: all of them at once.
fn arm(ebpf: &mut Ebpf) -> anyhow::Result<()> {
    let map = ebpf.map_mut("ARMED").context("The eBPF object lacks the map ARMED")?;
    let mut armed: Array<_, u32> = map.try_into().context("ARMED")?;
    armed.set(0, 1, 0).context("The programs cannot be armed")
}

fn advice(options: &Options) -> String {
    match options.tier {
        Some(tier) => format!("Leave out --tier {} to take the best that this kernel offers.", tier.name()),
        None => "Run oomtrace as root, or with CAP_BPF and CAP_PERFMON.".to_owned(),
    }
}

fn forced_in_vain(forced: Tier, roles: &[RoleStatus]) -> String {
    let reason = roles
        .iter()
        .filter(|role| role.role == "decision")
        .flat_map(|role| &role.refused)
        .find(|refusal| refusal.hooks.iter().all(|hook| hook.starts_with(prefix(forced))))
        .map_or("no hook of that kind could be attached", |refusal| refusal.reason.as_str());
    format!(
        "The tier {} cannot be had on this kernel: {reason}. Leave out --tier to take the best that it offers.",
        forced.name()
    )
}

fn prefix(tier: Tier) -> &'static str {
    match tier {
        Tier::Trampoline => "fentry:",
        Tier::Kprobe => "kprobe:",
        Tier::Tracepoint => "raw_tp:",
    }
}

/// A loader that has not read the kernel's type information. aya's reads and parses all of it first thing, 20 MB,
/// also for a program that has no use for it and says so next; an open() that fails is the one thing that keeps it
/// from that. Nothing else opens files meanwhile: oomtrace has one thread until it traces.
fn loader() -> EbpfLoader<'static> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a rlimit of ours.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
    let none = libc::rlimit { rlim_cur: 0, ..limit };
    // SAFETY: as above. Lowering a soft limit and raising it again up to the hard one takes no privilege.
    let lowered = known && unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const none) } == 0;
    let loader = EbpfLoader::new();
    if lowered {
        // SAFETY: as above.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    }
    loader
}

fn load(options: &Options, resolved: &Resolved) -> anyhow::Result<Ebpf> {
    let (layout, params) = (Table(resolved.layout), Table(resolved.params));
    let level = if options.verbose { aya_log::Level::Debug as u8 } else { 0 };
    let mut loader = loader();
    let mut loader = loader
        .btf(None)
        .verifier_log_level(VerifierLogLevel::DEBUG)
        .override_global("LAYOUT", GlobalData::from(&layout), true)
        .override_global("PARAMS", GlobalData::from(&params), true)
        .override_global(aya_log::LEVEL, GlobalData::from(&level), true)
        .map_max_entries("RECORDS", options.ring_bytes);
    if !options.verbose {
        // The log's ring is in the object: as small as a ring can be while nothing writes to it.
        loader = loader.map_max_entries("AYA_LOGS", crate::host::page_bytes());
    }
    loader.load(OBJECT).map_err(|error| {
        let chain = chain(&error);
        let hint = if chain.contains("Operation not permitted") || chain.contains("Permission denied") {
            "Run oomtrace as root, or with CAP_BPF and CAP_PERFMON (and, before Linux 5.11, a RLIMIT_MEMLOCK \
             of some MiB)."
        } else {
            "oomtrace needs Linux 5.8 or later, with CONFIG_BPF_SYSCALL=y and ring buffers."
        };
        CannotTrace(format!("The eBPF programs cannot be loaded: {chain}. {hint}")).into()
    })
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

/// Attaches all hooks of a choice, or none.
fn take(
    ebpf: &mut Ebpf,
    btf: &Btf,
    trampolines: &mut Trampolines,
    choice: &Choice,
    options: &Options,
) -> Result<(), String> {
    if !choice.allowed(options.tier) {
        let forced = options.tier.map_or("", Tier::name);
        return Err(format!("not in the tier {forced}"));
    }
    choice.check(btf)?;
    for (done, hook) in choice.hooks.iter().enumerate() {
        if let Err(reason) = attach_hook(ebpf, trampolines, hook, btf) {
            for earlier in &choice.hooks[..done] {
                if let Some(program) = ebpf.program_mut(earlier.program) {
                    unload(program);
                }
            }
            return Err(reason);
        }
    }
    Ok(())
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

fn attach_hook(ebpf: &mut Ebpf, trampolines: &mut Trampolines, hook: &Hook, btf: &Btf) -> Result<(), String> {
    let program = ebpf.program_mut(hook.program).ok_or("the eBPF object lacks the program")?;
    attach_program(program, trampolines, hook, btf).map_err(|error| {
        unload(program);
        match error {
            Refused::Program(error) => why(&error),
            Refused::Reason(reason) => reason,
        }
    })
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
            program.load()?;
            program.attach(hook.target)?;
        }
    }
    Ok(())
}

/// An operator's words for a refusal.
fn why(error: &ProgramError) -> String {
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

/// An error and its causes, each said once.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

fn names(choice: &Choice) -> Vec<String> {
    choice.hooks.iter().map(|hook| format!("{}:{}", hook.kind.name(), hook.target)).collect()
}

/// The tier that the role "decision" came to: it is what the tiers differ in most.
fn tier(roles: &[RoleStatus]) -> Tier {
    let hooks = roles.iter().find(|role| role.role == "decision").map_or(&[][..], |role| &role.hooks);
    if hooks.iter().any(|hook| hook.starts_with("fentry:")) {
        Tier::Trampoline
    } else if hooks.iter().any(|hook| hook.starts_with("kprobe:")) {
        Tier::Kprobe
    } else {
        Tier::Tracepoint
    }
}

/// Whether an error means that this machine does not let us trace.
#[must_use]
pub fn cannot_trace(error: &anyhow::Error) -> bool {
    error.chain().any(<dyn std::error::Error>::is::<CannotTrace>)
}
