//! `oomtrace trace`

use std::{
    collections::BTreeMap,
    fs::File,
    io::ErrorKind,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use aya::maps::{Array, MapData, RingBuf};
use aya_log::EbpfLogger;
use bytes::Bytes;
use oomtrace_ebpf::RecordKind;
use tokio::{
    io::unix::AsyncFd,
    signal::unix::{Signal, SignalKind, signal},
};

use super::shown::{Shown, until};
use crate::{
    cli::TraceArgs,
    host::{self, Host},
    incident::Assembler,
    kernel::{
        limits::LimitsCheck,
        load::{self, Attached, Options},
        text,
    },
    output::Closed,
    record::{FileError, Frame, Writer},
    session::{Session, Source},
};

/// Traces until a signal comes or nobody reads any more.
pub fn run(args: &TraceArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .context("The event loop cannot be started")?;
    runtime.block_on(trace(args))
}

async fn trace(args: &TraceArgs) -> anyhow::Result<()> {
    let begun = Instant::now();
    // Before anything is attached: from here on a signal ends tracing cleanly.
    let mut interrupt = Stop::new()?;
    let host = Host::read(Path::new("/"))?;
    // Found unwritable before anything happens rather than after.
    let record = args.record.as_ref().map(|path| create(path)).transpose()?;
    let options = Options {
        tier: args.kernel.tier.forced(),
        btf: args.kernel.btf.clone(),
        ring_bytes: args.ring_size,
        verbose: args.verbose,
        cpus: host.cpus_possible,
    };
    let kernel = host.kernel.clone();
    let mut attached = load::attach(&options, || {
        let ms = begun.elapsed().as_millis();
        crate::say!("armed in {ms} ms on Linux {kernel}: from here on every kill is reported.");
    })?;
    // Not before: locked memory cannot be given back, and loading takes more than tracing does.
    survive();
    crate::say!(
        "complete in {} ms, tier {}{}. Ctrl-C ends.",
        begun.elapsed().as_millis(),
        attached.tier.name(),
        if attached.roles.iter().all(|role| role.refused.is_empty()) {
            ""
        } else {
            " (see `oomtrace hooks`)"
        }
    );
    let session = session(host, &mut attached);
    let logger =
        args.verbose.then(|| EbpfLogger::init_with_logger(&mut attached.ebpf, KernelLog)).transpose();
    let logger = logger.context("The kernel programs' log cannot be read")?;
    let mut recorder = record.map(|(path, file)| Recorder::start(path, file, &session)).transpose()?;
    let mut assembler = Assembler::new(session, Source::Ebpf);
    let mut shown = Shown::start(args.output, &args.filter, false, LimitsCheck::here())?;
    let hooks = attached.roles.iter().map(|role| (role.role, role.hooks.clone())).collect();
    shown.armed(&mut assembler, hooks, host::boot_ns(), host::wall_clock_offset_ns());

    let mut ring = Ring::new(&mut attached)?;
    let mut logger = logger.map(watch).transpose().context("The kernel programs' log cannot be watched")?;
    let end = loop {
        let deadline = assembler.deadline_ns();
        tokio::select! {
            biased;
            ready = ring.ready() => {
                ready.context("The ring buffer cannot be watched")?;
                ring.drain(&mut assembler, &mut shown, recorder.as_ref());
            }
            () = sleep(deadline.map(until)) => {
                let events = assembler.expire(host::boot_ns());
                shown.events(&mut assembler, events, host::wall_clock_offset_ns());
            }
            () = logged(logger.as_mut()) => {}
            () = interrupt.wait() => break None,
            closed = shown.ended() => break Some(closed),
        }
    };
    // Detach first: what is in the ring then is all that there will be.
    drop(attached);
    ring.drain(&mut assembler, &mut shown, recorder.as_ref());
    let events = assembler.end();
    shown.events(&mut assembler, events, host::wall_clock_offset_ns());
    shown.ended_tracing(&mut assembler, host::boot_ns(), host::wall_clock_offset_ns());
    let broken_pipe = end.as_deref().is_some_and(|end| matches!(end, Closed::BrokenPipe));
    let counts = shown.finish()?;
    if !broken_pipe {
        crate::say!(
            "ended after {} s: {} incidents with {} victims{}{}.",
            begun.elapsed().as_secs(),
            counts.incidents,
            counts.victims,
            if counts.filtered > 0 {
                format!(", {} left out by filters", counts.filtered)
            } else {
                String::new()
            },
            if counts.lost > 0 { format!(", {} records lost", counts.lost) } else { String::new() },
        );
    }
    recorder.as_mut().map_or(Ok(()), Recorder::finish)
}

/// What the kernel tells of itself, for as long as this run lasts.
fn session(host: Host, attached: &mut Attached) -> Session {
    let kernel_rss = text::of(attached);
    let mut missing = BTreeMap::new();
    for role in &attached.roles {
        for (field, reason) in &role.losses {
            missing.insert((*field).to_owned(), (*reason).to_owned());
        }
    }
    Session { host, tier: attached.tier, rss_counters: attached.resolved.rss_counters, kernel_rss, missing }
}

/// Where processes that compute keep every CPU busy, this is what a report waits for: a turn. oomtrace takes few and short
/// ones.
const NICE: libc::c_int = -10;

/// What oomtrace does to live through what it reports, and to report it soon. Each is a help and none a need, so a refusal is no error.
fn survive() {
    // SAFETY: the calls take no pointer. The first only for those whose locked memory has no bound: others would find that
    // memory cannot be mapped any more.
    unsafe {
        if libc::geteuid() == 0 {
            libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT);
        }
        libc::setpriority(libc::PRIO_PROCESS, 0, NICE);
    }
    let _ = std::fs::write("/proc/self/oom_score_adj", "-999");
}

/// The signals that end tracing.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("Signals cannot be caught");
        Ok(Self { interrupt: catch(SignalKind::interrupt())?, terminate: catch(SignalKind::terminate())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Sleeps, or for ever if nothing is due.
async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// The ring buffer and the count of what found no room in it.
struct Ring {
    records: AsyncFd<RingBuf<MapData>>,
    lost: Array<MapData, u64>,
    reported: [u64; RecordKind::ALL.len()],
}

impl Ring {
    fn new(attached: &mut Attached) -> anyhow::Result<Self> {
        let mut take = |name| {
            attached.ebpf.take_map(name).with_context(|| format!("The eBPF object lacks the map {name}"))
        };
        let records = RingBuf::try_from(take("RECORDS")?).context("The ring buffer cannot be mapped")?;
        let lost = Array::try_from(take("LOST")?).context("The loss counters cannot be read")?;
        Ok(Self {
            records: watch(records).context("The ring buffer cannot be watched")?,
            lost,
            reported: [0; _],
        })
    }

    /// Waits until something is in the ring.
    async fn ready(&self) -> std::io::Result<()> {
        self.records.readable().await.map(|mut guard| guard.clear_ready())
    }

    /// Takes everything out of the ring; then asks what found no room, for that happens only while there is
    /// something in it.
    fn drain(&mut self, assembler: &mut Assembler, shown: &mut Shown, recorder: Option<&Recorder>) {
        let wall_clock_offset_ns = host::wall_clock_offset_ns();
        while let Some(item) = self.records.get_mut().next() {
            let bytes = Bytes::copy_from_slice(&item);
            // Room for the next record before anything else is done with this one.
            drop(item);
            if let Some(recorder) = recorder {
                recorder.send(Frame::Record { wall_clock_offset_ns, bytes: bytes.clone() });
            }
            shown.record(assembler, &bytes, host::boot_ns(), wall_clock_offset_ns);
        }
        let lost = self.newly_lost();
        if !lost.is_empty() {
            let boot_ns = host::boot_ns();
            let total: u64 = lost.iter().map(|(_, count)| count).sum();
            crate::say!("{total} records found no room in the ring buffer: use a larger --ring-size.");
            shown.lost(assembler, &lost, boot_ns, wall_clock_offset_ns);
            if let Some(recorder) = recorder {
                recorder.send(Frame::Lost { boot_ns, wall_clock_offset_ns, counts: lost });
            }
        }
    }

    fn newly_lost(&mut self) -> Vec<(u16, u64)> {
        let mut lost = Vec::new();
        for (kind, reported) in RecordKind::ALL.into_iter().zip(&mut self.reported) {
            // The map has an element for every kind, so this cannot fail.
            let count = self.lost.get(&u32::from(kind as u16), 0).unwrap_or(*reported);
            if count > *reported {
                lost.push((kind as u16, count - *reported));
                *reported = count;
            }
        }
        lost
    }
}

/// Watches a file descriptor that is ours for as long as it is watched.
fn watch<T: std::os::fd::AsRawFd>(of: T) -> std::io::Result<AsyncFd<T>> {
    // SAFETY: the descriptor belongs to the value that is moved in, and is closed with it.
    unsafe { AsyncFd::register_with_interest(of, tokio::io::Interest::READABLE) }.map_err(Into::into)
}

/// Writes the stream of records to a file, behind a queue of its own.
struct Recorder {
    frames: Option<SyncSender<Frame>>,
    thread: Option<JoinHandle<Result<(), FileError>>>,
    path: PathBuf,
    refused: std::cell::Cell<u64>,
}

impl Recorder {
    /// Frames that wait at the most, of about 360 bytes each.
    const CAPACITY: usize = 8192;

    fn start(path: PathBuf, file: File, session: &Session) -> anyhow::Result<Self> {
        let mut writer =
            Writer::new(file, session).with_context(|| format!("{} cannot be written to", path.display()))?;
        let (frames, queue): (SyncSender<Frame>, Receiver<Frame>) = sync_channel(Self::CAPACITY);
        let name = path.clone();
        let thread = std::thread::Builder::new()
            .name("record".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || {
                while let Ok(frame) = queue.recv() {
                    if let Err(error) = writer.write(&frame) {
                        let name = name.display();
                        crate::say!(
                            "{name} cannot be written to any more: {error}. Tracing goes on without it."
                        );
                        return Err(error);
                    }
                }
                Ok(())
            })
            .context("The recorder's thread cannot be started")?;
        Ok(Self { frames: Some(frames), thread: Some(thread), path, refused: std::cell::Cell::new(0) })
    }

    fn send(&self, frame: Frame) {
        if let Some(frames) = &self.frames
            && let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = frames.try_send(frame)
        {
            self.refused.set(self.refused.get() + 1);
        }
    }

    /// Writes what waits, and says what went wrong.
    fn finish(&mut self) -> anyhow::Result<()> {
        self.frames = None;
        let path = self.path.display();
        let result = self.thread.take().map(JoinHandle::join);
        match result {
            Some(Ok(Err(error))) => anyhow::bail!(
                "{path} is incomplete: {error}. {} records came after that and are not in it.",
                self.refused.get()
            ),
            Some(Err(_)) => anyhow::bail!("{path} is incomplete: its writer failed"),
            Some(Ok(Ok(()))) | None if self.refused.get() > 0 => {
                anyhow::bail!(
                    "{path} is incomplete: {} records came faster than they could be written",
                    self.refused.get()
                )
            }
            Some(Ok(Ok(()))) | None => Ok(()),
        }
    }
}

fn create(path: &Path) -> anyhow::Result<(PathBuf, File)> {
    // A pipe would be waited for, and no signal would end that.
    let pipe = path.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo());
    anyhow::ensure!(!pipe, "The record file {} is a pipe: name a file", path.display());
    let file = File::create(path)
        .with_context(|| format!("The record file {} cannot be created", path.display()))?;
    Ok((path.to_owned(), file))
}

/// Shows the kernel programs' log on standard error.
struct KernelLog;

impl log::Log for KernelLog {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        crate::say!("kernel: {}", record.args());
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
