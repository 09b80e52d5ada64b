//! Loads the programs for the running kernel, and has them attached.

use std::path::PathBuf;

use anyhow::bail;
use aya::{Ebpf, EbpfLoader, GlobalData, Pod, VerifierLogLevel};
use oomtrace_ebpf::{ABSENT, Layout, Params, recent};

use super::{
    btf::Btf,
    hooks::{FORK_FAILURE, Role, Tier},
    layout::{self, Resolved},
    mirror, own, pressure,
    roles::{self, RoleStatus},
    tasks,
};

/// The programs, where this build has them.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/oomtrace.bpf.o"));

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
    /// Whether command lines are read.
    pub cmdline: bool,
    /// Whether every system call may get slower so that forks that fail are seen where nothing else shows them.
    pub fork_syscalls: bool,
    /// What `oomtrace run` needs beyond that.
    pub run: Option<Run>,
}

/// While this process runs a command, whatever has to do with memory is told to be the command's own or others'.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    /// Whether waits for memory are left uncounted ([`super::pressure`]), which takes a little time from each.
    pub light: bool,
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
    /// The id of what stands for the iterator over tasks, where there is one.
    pub(super) task_iterator: Option<u32>,
}

impl Attached {
    /// Whether a hook shows forks that fail.
    #[must_use]
    pub fn shows_forks(&self) -> bool {
        self.shows(&FORK_FAILURE)
    }

    /// Whether a role has a hook.
    pub(super) fn shows(&self, role: &Role) -> bool {
        self.roles.iter().any(|status| status.role == role.name && !status.hooks.is_empty())
    }

    /// Why it is not told what is of the command's own, if so, where a command is run.
    #[must_use]
    pub fn knows_no_run(&self) -> Option<&'static str> {
        let layout = &self.resolved.layout;
        let parents = [layout.task_real_parent, layout.task_group_leader, layout.task_tgid];
        if self.resolved.params.run_tgid == 0 {
            Some("oomtrace's own process id outside of its PID namespace is not known")
        } else if parents.contains(&ABSENT) {
            Some("this kernel's types do not say where a task's parent is")
        } else {
            None
        }
    }
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

/// The eBPF programs that are built in: how many bytes, and their CRC-32, by which one build is told from another. `None`:
/// there are none.
#[must_use]
pub fn object() -> Option<(usize, u32)> {
    (!OBJECT.is_empty()).then(|| (OBJECT.len(), crc32fast::hash(OBJECT)))
}

/// Loads and attaches. `armed` is called as soon as every kill is reported. The rest may take longer: a first
/// trampoline waits for a grace period of RCU tasks (`register_ftrace_direct()`, up to 6.10). Kills that come before
/// all hooks are in place lack what those tell, and say so.
///
/// Errors are [`CannotTrace`] where the machine does not let us.
pub fn attach(options: &Options, armed: impl FnOnce()) -> anyhow::Result<Attached> {
    // What loading takes is large and short-lived: mapped by itself it goes back to the system at once. (glibc would
    // raise this bound with the first such piece that is freed.)
    // Threads that allocate little need no arena of their own.
    // SAFETY: mallopt() takes no pointer, and there is one thread.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 64 * 1024);
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
    if OBJECT.is_empty() {
        bail!(CannotTrace(
            "This oomtrace was built without its eBPF programs, so it can replay but not trace. Build it with \
             `cargo xtask build`, or set OOMTRACE_EBPF_OBJECT to a prebuilt object."
                .to_owned()
        ));
    }
    let btf = Btf::of(&options.btf).map_err(|error| {
        CannotTrace(format!(
            "{error} oomtrace needs a kernel built with CONFIG_DEBUG_INFO_BTF=y (5.8 or later), or that \
             kernel's type information by --btf FILE."
        ))
    })?;
    let mut resolved = layout::resolve(&btf, options.cpus);
    if !options.cmdline {
        resolved.leave_out_cmdline("--no-cmdline was given");
    }
    // A victim without a process id is nobody.
    if let Some(reason) = resolved.missing.get("task_tgid") {
        bail!(CannotTrace(format!(
            "The type information in {} lacks what no report can do without: {reason}. Leave out --btf, or give the \
             file that belongs to the running kernel.",
            options.btf.display()
        )));
    }
    if let Some(run) = options.run {
        resolved.params.run_tgid = own::initial_pid().unwrap_or(0);
        resolved.params.pressure = u32::from(!run.light);
    }
    let mut ebpf = load(options, &resolved)?;
    let seen = mirror::check(&mut ebpf, &resolved, options.cpus).map_err(|differences| {
        CannotTrace(format!(
            "The type information in {} is not this kernel's: read by it, {differences}. Leave out --btf, or give \
             the file that belongs to the running kernel.",
            options.btf.display()
        ))
    })?;
    // In a PID namespace of its own a process does not know its id outside of it, and the mirror tells it.
    if options.run.is_some()
        && resolved.params.run_tgid == 0
        && let Some(pid) = seen
    {
        resolved.params.run_tgid = pid;
        ebpf = load(options, &resolved)?;
    }
    let roles = roles::fill(&mut ebpf, &btf, options, armed)?;
    let task_iterator = btf.function_id(tasks::FUNCTION).ok();
    // Parsing types leaves many small free blocks: give them back.
    drop(btf);
    // SAFETY: malloc_trim() takes no pointer and may be called at any time.
    unsafe { libc::malloc_trim(0) };
    Ok(Attached { ebpf, tier: roles::tier(&roles), roles, resolved, task_iterator })
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
    for map in recent::ALL {
        loader = loader.map_max_entries(map.name, map.max_entries(options.cpus));
    }
    if resolved.params.pressure == 0 {
        // Nobody counts.
        loader = loader.map_max_entries(pressure::MAP, 1).map_max_entries(recent::COMPACTING.name, 1);
    }
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

/// An error and its causes, each said once.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
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

/// Whether an error means that this machine does not let us trace.
#[must_use]
pub fn cannot_trace(error: &anyhow::Error) -> bool {
    error.chain().any(<dyn std::error::Error>::is::<CannotTrace>)
}
