//! `oomtrace trace`

use std::{collections::BTreeMap, io::ErrorKind, path::Path, time::Instant};

use anyhow::Context as _;
use aya_log::EbpfLogger;
use tokio::{io::unix::AsyncFd, runtime::Runtime};

use super::{
    alarm, aside,
    escort::{Alone, Ask, Escort},
    follow::{self, Log, Want},
    log_only, pids_events, reconcile,
    ring::{Ring, watch},
    shown::{Counts, Shown},
    witness::Witness,
};
use crate::{
    agent::confine,
    cli::{Kind, TierChoice, TraceArgs},
    host::{self, Host, meminfo::Swap, names::Names},
    incident::{Assembler, LOGGED, TRIGGER_CMDLINE, VICTIMS_CMDLINE, VICTIMS_ENVIRONMENT},
    kernel::{
        limits::LimitsCheck,
        load::{self, Attached, CannotTrace, Options, cannot_trace},
        text, zones,
    },
    output::Closed,
    record::{Recorder, create},
    say::say,
    session::{Session, Source},
};

/// Traces until a signal comes or nobody reads any more.
pub fn run(args: &TraceArgs) -> anyhow::Result<()> {
    // Before anything is attached: from here on a signal ends tracing cleanly.
    event_loop()?.block_on(async { trace_or_follow(args, &mut Alone::new(args.output)?).await })
}

/// The one that everything here runs on.
pub(super) fn event_loop() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .context("The event loop cannot be started")
}

/// Traces by what there is: BPF, or else the kernel log.
pub(super) async fn trace_or_follow(args: &TraceArgs, escort: &mut impl Escort) -> anyhow::Result<()> {
    if args.kernel.tier == TierChoice::Kmsg {
        return log_only::trace(args, escort).await;
    }
    match trace(args, escort).await {
        // Whoever asks for a tier, or gives another kernel's types, wants that and nothing else.
        Err(error) if args.kernel.is_open() && !args.no_kmsg && cannot_trace(&error) => {
            if let Err(reason) = Log::open_whole(None) {
                let both = format!("{error:#} Nor can the kernel log be followed in place of it: {reason}.");
                return Err(CannotTrace(both).into());
            }
            say!("{error:#}");
            say!(
                "So the kernel log is followed in place of it (tier kmsg): it has less of each kill, and may lack some."
            );
            log_only::trace(args, escort).await
        }
        other => other,
    }
}

/// Why the kernel log is not to be read beside the hooks: of what a kill takes of oomtrace it is a third.
fn without_log(args: &TraceArgs, profiling: Option<load::Run>) -> Option<&'static str> {
    let light = profiling.is_some_and(|run| run.light).then_some("--light was given");
    args.no_kmsg.then_some(follow::NO_KMSG).or(light)
}

async fn trace(args: &TraceArgs, escort: &mut impl Escort) -> anyhow::Result<()> {
    let begun = Instant::now();
    let host = Host::read(Path::new("/"))?;
    // Found unwritable before anything happens rather than after.
    let record = args.record.as_ref().map(|path| create(path)).transpose()?;
    let profiling = escort.profiles();
    let options = Options {
        tier: args.kernel.tier.forced(),
        btf: args.kernel.btf.clone(),
        ring_bytes: args.ring_size,
        verbose: args.verbose,
        cpus: host.cpus_possible,
        cmdline: !args.no_cmdline,
        fork_syscalls: args.fork_syscalls,
        run: profiling,
    };
    let kernel = host.kernel.clone();
    let mut witness = Witness::default();
    let mut armed_boot_ns = 0;
    let mut attached = load::attach(&options, || {
        armed_boot_ns = host::boot_ns();
        // Kills are seen from here on, so from here on they are looked for in the log and in the count.
        witness = Witness::begin(without_log(args, profiling));
        if profiling.is_some() {
            return;
        }
        let ms = begun.elapsed().as_millis();
        say!("armed in {ms} ms on Linux {kernel}: from here on every kill is reported.");
    })?;
    // Not before: locked memory cannot be given back, and loading takes more than tracing does.
    survive();
    if !attached.shows_forks() && args.filter.takes(Kind::Fork) {
        witness.watch_pids_events();
    }
    let session = session(host, &mut attached, &witness);
    let logger =
        args.verbose.then(|| EbpfLogger::init_with_logger(&mut attached.ebpf, KernelLog)).transpose();
    let logger = logger.context("The kernel programs' log cannot be read")?;
    let recorder = record.map(|(path, file)| Recorder::start(path, file, &session)).transpose()?;
    // Before whoever goes along gives up the right to open what is looked into.
    let mut ring = Ring::new(&mut attached)?;
    let outputs = escort.outputs(&session, Some(&mut attached))?;
    let mut assembler = Assembler::new(session, Source::Ebpf);
    let mut shown =
        Shown::start(outputs, &args.filter, LimitsCheck::here(), Some(Names::here()), Some(Swap::here()));
    let roles = attached.roles.iter().map(|role| (role.role, role.hooks.clone()));
    let witnesses = [
        witness.log.is_ok().then_some((follow::ROLE, follow::HOOK)),
        witness.pids_events.is_ok().then_some((pids_events::ROLE, pids_events::HOOK)),
    ];
    let witnesses = witnesses.into_iter().flatten().map(|(role, hook)| (role, vec![hook.to_owned()]));
    let hooks = roles.chain(witnesses).collect();
    shown.armed(&mut assembler, hooks, host::boot_ns(), host::wall_clock_offset_ns());
    escort.ready(&mut shown, armed_boot_ns)?;

    if profiling.is_none() {
        // A help and no need: without it, a report may come some milliseconds later.
        let _ = ring.descriptor().and_then(aside::stand);
    }
    let mut logger = logger.map(watch).transpose().context("The kernel programs' log cannot be watched")?;
    if profiling.is_none() {
        say_complete(begun, &attached);
    }
    let end = loop {
        let deadline = assembler.deadline_ns().into_iter().chain(ring.deadline_ns()).min();
        let want = Want { wanted: assembler.wants_log(), urgent: assembler.waits_for_log() };
        tokio::select! {
            biased;
            ready = ring.ready() => {
                ready.context("The ring buffer cannot be watched")?;
                ring.drain(&mut assembler, &mut shown, recorder.as_ref());
                witness.read_if_wanted(&mut assembler, &mut shown, recorder.as_ref());
            }
            () = alarm::at(deadline.map(alarm::since_boot)) => {
                witness.read_all_if_wanted(&mut assembler, &mut shown, recorder.as_ref());
                let events = assembler.expire(host::boot_ns());
                shown.events(&mut assembler, events, host::wall_clock_offset_ns());
                ring.rest(&mut assembler, &mut shown, recorder.as_ref(), host::boot_ns());
            }
            () = follow::ready(&mut witness.log, want) => {
                witness.read(&mut assembler, &mut shown, recorder.as_ref());
            }
            () = pids_events::ready(&witness.pids_events) => {
                witness.refused(&mut assembler, &mut shown, recorder.as_ref());
            }
            () = reconcile::due(witness.count.as_ref()) => {
                witness.look(ring.lost_marks, &mut assembler, &mut shown, recorder.as_ref());
            }
            () = logged(logger.as_mut()) => {}
            ask = escort.next() => match ask {
                Ask::Stop => break None,
                Ask::Errand(errand) => escort.run(errand, &mut assembler, &mut shown),
            },
            closed = shown.ended() => break Some(closed),
        }
        witness.stir(&mut shown);
    };
    escort.stop();
    if end.is_none() {
        witness.last_look(Some(&mut ring), &mut assembler, &mut shown, recorder.as_ref());
    }
    ring.detach(attached);
    ring.drain(&mut assembler, &mut shown, recorder.as_ref());
    ring.rest(&mut assembler, &mut shown, recorder.as_ref(), u64::MAX);
    finish(profiling.is_none().then_some(begun), end.as_deref(), assembler, shown, recorder)
}

/// Says that all hooks are in place that will be.
fn say_complete(begun: Instant, attached: &Attached) {
    let all = attached.roles.iter().all(|role| role.refused.is_empty());
    let ms = begun.elapsed().as_millis();
    let see = if all { "" } else { " (see `oomtrace hooks`)" };
    say!("complete in {ms} ms, tier {}{see}. Ctrl-C ends.", attached.tier.name());
}

/// Tells what is open, and what was seen in all since tracing `begun`, if that is to be said. `end`: how the output ended, if it
/// did so by itself.
pub(super) fn finish(
    begun: Option<Instant>,
    end: Option<&Closed>,
    mut assembler: Assembler,
    mut shown: Shown,
    mut recorder: Option<Recorder>,
) -> anyhow::Result<()> {
    let events = assembler.end();
    shown.events(&mut assembler, events, host::wall_clock_offset_ns());
    shown.ended_tracing(&mut assembler, host::boot_ns(), host::wall_clock_offset_ns());
    let broken_pipe = matches!(end, Some(Closed::BrokenPipe));
    let counts = shown.finish()?;
    if let Some(begun) = begun.filter(|_| !broken_pipe) {
        summary(begun, counts);
    }
    recorder.as_mut().map_or(Ok(()), Recorder::finish)
}

/// Says what was seen in all.
fn summary(begun: Instant, counts: Counts) {
    let some = |count: u64, what: &str| if count > 0 { format!(", {count} {what}") } else { String::new() };
    say!(
        "ended after {} s: {} incidents with {} victims{}{}{}{}.",
        begun.elapsed().as_secs(),
        counts.incidents,
        counts.victims,
        some(counts.user_kills, "processes killed by daemons in user space"),
        some(counts.forks, "forks that failed"),
        some(counts.filtered, "left out by filters"),
        some(counts.lost, "records lost"),
    );
}

/// What the kernel tells of itself, for as long as this run lasts.
fn session(host: Host, attached: &mut Attached, witness: &Witness) -> Session {
    let followed = &witness.log;
    let kernel_rss = text::of(attached);
    let mut missing = BTreeMap::new();
    for role in &attached.roles {
        for (field, reason) in &role.losses {
            missing.insert((*field).to_owned(), (*reason).to_owned());
        }
    }
    missing.extend(zones::missing(attached, host.cpus_possible));
    if let Err(reason) = followed {
        for field in LOGGED {
            if let Some(known) = missing.get_mut(field) {
                known.push_str(", which is not read: ");
                known.push_str(reason);
            }
        }
    }
    if let Some(reason) = attached.resolved.no_cmdline() {
        for field in [TRIGGER_CMDLINE, VICTIMS_CMDLINE] {
            missing.insert(field.to_owned(), reason.to_owned());
        }
    }
    if let Some(reason) = attached.resolved.no_environment() {
        missing.insert(VICTIMS_ENVIRONMENT.to_owned(), reason.to_owned());
    }
    Session {
        host,
        tier: attached.tier,
        rss_counters: attached.resolved.rss_counters,
        kernel_rss,
        missing,
        kmsg: followed.is_ok(),
        pids_events: witness.pids_events.is_ok(),
    }
}

/// Where processes that compute keep every CPU busy, this is what a report waits for: a turn. oomtrace takes few and
/// short ones.
const NICE: libc::c_int = -10;

/// What oomtrace does to live through what it reports, and to report it soon. Each is a help and none a need, so a
/// refusal is no error.
pub(super) fn survive() {
    // SAFETY: the calls take no pointer. The first only for those whose locked memory has no bound: others would find
    // that memory cannot be mapped any more.
    unsafe {
        if confine::may_lock_memory() {
            libc::mlockall(LOCKED);
        }
        libc::setpriority(libc::PRIO_PROCESS, 0, NICE);
    }
    let _ = std::fs::write("/proc/self/oom_score_adj", "-999");
}

/// All that is mapped and will be, each page from its first use on.
const LOCKED: libc::c_int = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;

/// Gives back to the system what was allocated for a while and freed. The kernel takes back nothing of what is locked
/// (`can_madv_dontneed_free()`, mm/madvise.c: EINVAL), so that nothing is for that moment.
pub(super) fn give_back() {
    // SAFETY: the calls take no pointer, and malloc_trim() may be called at any time.
    unsafe {
        let locks = confine::may_lock_memory();
        if locks {
            libc::munlockall();
        }
        libc::malloc_trim(0);
        if locks {
            libc::mlockall(LOCKED);
        }
    }
}

/// Shows the kernel programs' log on standard error.
struct KernelLog;

impl log::Log for KernelLog {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        say!("kernel: {}", record.args());
    }

    fn flush(&self) {}
}

/// Shows what the kernel programs logged; for ever, if they do not.
async fn logged(logger: Option<&mut AsyncFd<EbpfLogger<KernelLog>>>) {
    let Some(logger) = logger else { return std::future::pending().await };
    match logger.readable_mut().await {
        Ok(mut guard) => {
            guard.get_inner_mut().flush();
            guard.clear_ready();
        }
        Err(error) if error.kind() == ErrorKind::Interrupted => {}
        Err(_) => std::future::pending().await,
    }
}
