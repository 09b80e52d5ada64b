//! What oomtrace adds to paths of the kernel that everyone takes.
//!
//! To be run on one processor whose clock counts instructions (QEMU's `-icount shift=0`): there a nanosecond
//! is an instruction, and the figures repeat. Each round measures without and with oomtrace in the same boot.

use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};
use rustix::process::{Signal, getpid, getppid, kill_process};
use rustix::time::{ClockId, clock_gettime};

use super::child::{Forked, Killer, join, open_procs, region, touch};
use super::{Bench, runs, sample, tool, value};
use crate::machine::Machine;
use crate::size::MIB;
use crate::stage::Scratch;
use crate::witness::counters::keyed;
use crate::witness::tree::Tree;

/// How many batches each path is measured in; their median leaves out those that the timer interrupted.
const BATCHES: usize = 101;
/// How long the kernel gets to settle after programs were attached or detached. Costs nothing: time jumps.
const SETTLE: Duration = Duration::from_millis(500);
/// The limit under which pages are reclaimed.
const LIMIT: u64 = 8 * MIB;
/// The memory that a reclaim run passes through that limit.
const PASSED: usize = 32 << 20;
/// How much of it is given up at a time.
const CHUNK: usize = 128 << 10;

/// A path that takes all of a workload's time: one that fills memory under a limit, and is never killed.
const RECLAIM: &str = "reclaim round";

/// A path whose every turn is a fork that succeeds.
const FORK: &str = "fork, exit, wait";

/// One path: its name, and what measures its cost in ns (instructions) each.
type Path<'a> = (&'static str, Box<dyn Fn() -> Result<f64> + 'a>);

/// Measures each tier, without and with oomtrace in turns: A B A B ... A. What oomtrace adds is a B less the
/// mean of the two A around it.
pub fn measure(bench: &Bench, tiers: &[String]) -> Result<()> {
    let scratch = Scratch::new("bench")?;
    let tiny = tiny_program(&scratch)?;
    handle();
    let limited = Limited::new()?;
    let killer = Killer::new()?;
    let paths: Vec<Path<'_>> = vec![
        (
            "getppid",
            Box::new(|| {
                batches(100, || {
                    ask_parent();
                    Ok(())
                })
            }),
        ),
        ("signal", Box::new(|| batches(100, || Ok(kill_process(getpid(), Signal::URG)?)))),
        ("signal, handled", Box::new(|| batches(100, handled))),
        ("thread", Box::new(|| batches(20, threaded))),
        (FORK, Box::new(|| batches(1, forked))),
        ("spawn, exit, wait", Box::new(|| batches(1, || spawned(&tiny)))),
        (RECLAIM, Box::new(|| reclaim(&limited))),
    ];
    let all = || -> Result<Vec<f64>> {
        sleep(SETTLE);
        paths.iter().map(|(name, cost)| cost().with_context(|| format!("cannot measure: {name}"))).collect()
    };
    sample("instruction", "clock", "ns", Some(instruction()?))?;
    for tier in tiers {
        // Warms up this process and the kernel's caches; does not count.
        tool::oomtrace(&bench.oomtrace, &["--tier", tier]).start(Stdio::null())?.stop()?;
        all()?;
        let mut before = all()?;
        for _ in 0..bench.runs {
            let armed = tool::oomtrace(&bench.oomtrace, &["--tier", tier]).start(Stdio::null())?;
            let with = all()?;
            runs::measure(&armed, tier, &tiny, &killer)?;
            armed.stop()?;
            let after = all()?;
            for ((((name, _), with), before), after) in paths.iter().zip(&with).zip(&before).zip(&after) {
                let without = f64::midpoint(*before, *after);
                sample(name, "without oomtrace", "instructions", Some(without))?;
                sample(&format!("added to {name}"), tier, "instructions", Some(with - without))?;
                let workload = match *name {
                    RECLAIM => "added to a workload that reclaims",
                    FORK => "added to a workload that forks",
                    _ => continue,
                };
                sample(workload, tier, "%", Some(100.0 * (with - without) / without))?;
            }
            before = after;
        }
    }
    let by_syscalls =
        tool::oomtrace(&bench.oomtrace, &["--tier", "tracepoint", "--fork-syscalls"]).named(SYSCALLS);
    beside(bench, &by_syscalls)?;
    if bench.alone { Ok(()) } else { switched(bench, &tool::fork_peer()) }
}

/// The tracepoint tier with the ends of system calls.
const SYSCALLS: &str = "tracepoint --fork-syscalls";

/// Measures what another way to see forks adds to them, and to a system call that is none.
fn beside(bench: &Bench, tool: &tool::Tool) -> Result<()> {
    tool.start(Stdio::null())?.stop()?;
    let mut before = asked_and_forked()?;
    for _ in 0..bench.runs {
        let armed = tool.start(Stdio::null())?;
        let with = asked_and_forked()?;
        runs::of_forks(&armed, tool.name)?;
        armed.stop()?;
        let after = asked_and_forked()?;
        added(tool, before, with, after)?;
        before = after;
    }
    Ok(())
}

/// The same of a tool that has kprobes and nothing else. It is there all the time, and its probes are switched off and on: with
/// the hundred megabytes that bpftrace takes and gives back, the kernel's lists of free pages change, and so a fork by more
/// than the probe.
fn switched(bench: &Bench, tool: &tool::Tool) -> Result<()> {
    let armed = tool.start(Stdio::null())?;
    asked_and_forked()?;
    runs::of_forks(&armed, tool.name)?;
    let mut before = without_kprobes(asked_and_forked)?;
    for _ in 0..bench.runs {
        let with = asked_and_forked()?;
        let after = without_kprobes(asked_and_forked)?;
        added(tool, before, with, after)?;
        before = after;
    }
    // bpftrace (0.17) loses a signal that comes before it waits for events, and then never ends
    // (BPFtrace::poll_perf_events(), src/bpftrace.cpp): by now it does.
    armed.stop()
}

/// What a system call that is no fork costs, and what one costs that is.
fn asked_and_forked() -> Result<[f64; 2]> {
    sleep(SETTLE);
    let asked = batches(100, || {
        ask_parent();
        Ok(())
    })?;
    Ok([asked, batches(1, forked)?])
}

fn added(tool: &tool::Tool, before: [f64; 2], with: [f64; 2], after: [f64; 2]) -> Result<()> {
    let without = [0, 1].map(|path| f64::midpoint(before[path], after[path]));
    sample("added to getppid", tool.name, "instructions", Some(with[0] - without[0]))?;
    sample(&format!("added to {FORK}"), tool.name, "instructions", Some(with[1] - without[1]))?;
    let share = 100.0 * (with[1] - without[1]) / without[1];
    sample("added to a workload that forks", tool.name, "%", Some(share))
}

/// Does so with all kprobes out of the kernel's code, and puts them back.
fn without_kprobes<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    // Documentation/trace/kprobes.rst
    const SWITCH: &str = "/sys/kernel/debug/kprobes/enabled";
    let switch = |to: &str| fs::write(SWITCH, to).with_context(|| format!("cannot write to {SWITCH}"));
    switch("0")?;
    let done = work();
    switch("1")?;
    done
}

/// The cheapest system call.
pub fn ask_parent() {
    std::hint::black_box(getppid());
}

/// Has a signal come to a handler, which does nothing.
fn handle() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: the handler may be called at any time: it does nothing. Nobody else has one for this signal.
    unsafe { libc::signal(libc::SIGUSR1, nothing as *const () as libc::sighandler_t) };
}

/// Sends that signal, which is taken on the way back from the system call.
pub fn handled() -> Result<()> {
    Ok(kill_process(getpid(), Signal::USR1)?)
}

/// The median cost of `work` in ns, over batches of so many.
fn batches(size: u32, work: impl Fn() -> Result<()>) -> Result<f64> {
    let mut costs = Vec::with_capacity(BATCHES);
    for _ in 0..BATCHES {
        let began = now();
        for _ in 0..size {
            work()?;
        }
        costs.push(value(now() - began) / f64::from(size));
    }
    Ok(median(costs))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Starts a thread that ends, and waits for it.
pub fn threaded() -> Result<()> {
    let Ok(()) = std::thread::Builder::new().spawn(|| ()).context("cannot start a thread")?.join() else {
        bail!("a thread that should only end panicked")
    };
    Ok(())
}

/// Forks a child that exits, and waits for it.
pub fn forked() -> Result<()> {
    // SAFETY: it does nothing.
    exited(unsafe { Forked::start(|| ()) }?)
}

/// Has a child execute the program, and waits for its end. posix_spawn copies no page tables, unlike fork,
/// whose cost wanders by more than what an exec could gain.
pub fn spawned(program: &CString) -> Result<()> {
    let arguments = [program.as_ptr().cast_mut(), std::ptr::null_mut()];
    let (mut pid, null) = (0, std::ptr::null());
    let environment = &arguments[1..];
    // SAFETY: both lists end in a null pointer, what they point to outlives the call, and the rest may be
    // null.
    let error = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            program.as_ptr(),
            null,
            null.cast(),
            arguments.as_ptr(),
            environment.as_ptr(),
        )
    };
    if error != 0 {
        return Err(std::io::Error::from_raw_os_error(error)).context("cannot start a program");
    }
    exited(Forked::known(pid)?)
}

/// Waits for a child, which must exit with status 0.
fn exited(child: Forked) -> Result<()> {
    let status = child.wait()?;
    ensure!(status.exit_status() == Some(0), "a child that should only exit ended with {status:?}");
    Ok(())
}

/// The cost of a round of memcg reclaim with the page faults that it makes room for, on average.
///
/// A child fills memory and gives it up (MADV_FREE), so that at the limit each round finds clean pages, which
/// need neither swap nor a disk. The kernel counts the rounds: `max` in memory.events.
fn reclaim(under: &Limited) -> Result<f64> {
    let before = under.rounds()?;
    let work = || {
        if !join(&under.procs) {
            return;
        }
        let began = now();
        for chunk in under.memory.chunks(CHUNK) {
            touch(chunk);
            // SAFETY: the chunk is a part of a private mapping, and what it held is needed no more.
            let _kept = unsafe { madvise(chunk.as_ptr().cast_mut().cast(), chunk.len(), Advice::LinuxFree) };
        }
        under.took.store(now() - began, Ordering::Relaxed);
    };
    under.took.store(0, Ordering::Relaxed);
    // SAFETY: system calls, and stores to memory that is mapped.
    let status = unsafe { Forked::start(work) }?.wait()?;
    let (took, rounds) = (under.took.load(Ordering::Relaxed), under.rounds()? - before);
    ensure!(status.exit_status() == Some(0), "the child under a limit ended with {status:?}");
    ensure!(took > 0 && rounds > 0, "no memory was reclaimed");
    Ok(value(took) / value(rounds))
}

/// What reclaim is measured with. Made once: each mapping makes every later fork dearer.
struct Limited {
    _tree: Tree,
    procs: File,
    events: PathBuf,
    memory: &'static [AtomicU8],
    took: &'static AtomicU64,
}

impl Limited {
    fn new() -> Result<Self> {
        let hierarchy = Machine::look(false)?.hierarchy.context("this machine has no memory controller")?;
        let tree = Tree::new(&hierarchy, "paths")?;
        let group = tree.group("reclaim")?;
        group.set_limit(LIMIT)?;
        let events = group.dir().context("the cgroup cannot be reached")?.join("memory.events");
        let (procs, memory, took) = (open_procs(&group)?, region(PASSED)?, shared_counter()?);
        Ok(Self { _tree: tree, procs, events, memory, took })
    }

    /// How often the limit was hit so far.
    fn rounds(&self) -> Result<u64> {
        let text = fs::read_to_string(&self.events).with_context(|| {
            format!("cannot read {}; reclaim is measured in cgroup v2", self.events.display())
        })?;
        keyed(&text, "max").context("memory.events has no line max")
    }
}

/// A number that parent and child share.
fn shared_counter() -> Result<&'static AtomicU64> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
    let start = unsafe { mmap_anonymous(std::ptr::null_mut(), 4096, access, MapFlags::SHARED) }
        .context("cannot map shared memory")?;
    // SAFETY: the mapping is page-aligned, zeroed, large enough and never unmapped.
    Ok(unsafe { &*start.cast::<AtomicU64>() })
}

/// What one instruction takes by the clock in ns: 1 if it counts instructions.
fn instruction() -> Result<f64> {
    const TURNS: u64 = 100_000;
    let began = now();
    let mut left = TURNS;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: counts a register down; touches neither memory nor stack.
    unsafe {
        std::arch::asm!("2: dec {left}", "jnz 2b", left = inout(reg) left, options(nomem, nostack));
    }
    ensure!(left == 0, "instructions cannot be counted on this architecture");
    Ok(value(now() - began) / value(2 * TURNS))
}

/// CLOCK_MONOTONIC_RAW in ns.
fn now() -> u64 {
    let now = clock_gettime(ClockId::MonotonicRaw);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// The smallest program: it exits with status 0. What an exec costs is then the kernel's part of it.
fn tiny_program(scratch: &Scratch) -> Result<CString> {
    const BASE: u64 = 0x40_0000;
    // xor edi, edi; mov eax, 60 (exit); syscall
    const CODE: [u8; 9] = [0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05];
    let start = 64 + 56;
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]); // an executable for x86-64
    for number in [BASE + start, 64, 0] {
        elf.extend(number.to_le_bytes()); // entry, program headers, no section headers
    }
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]); // sizes; one program header
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]); // PT_LOAD, readable and executable
    let length = start + CODE.len() as u64;
    for number in [0, BASE, BASE, length, length, 4096] {
        elf.extend(number.to_le_bytes());
    }
    elf.extend(CODE);
    let path = scratch.file("tiny");
    fs::write(&path, elf)
        .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", path.display()))?;
    CString::new(path.into_os_string().into_vec()).context("the temporary folder's name holds a NUL")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::start_new;

    /// Guards the program that is made by hand: the kernel must take it, and it must exit with 0.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_tiny_program_runs() {
        let scratch = Scratch::new("tiny-program").unwrap();
        let program = tiny_program(&scratch).unwrap();
        start_new(|| spawned(&program)).unwrap();
        forked().unwrap();
        spawned(&CString::new("/no/such/program").unwrap()).unwrap_err();
    }

    /// Guards the choice of the batch.
    #[test]
    fn the_median_ignores_outliers() {
        assert!((median(vec![5.0, 900.0, 4.0]) - 5.0).abs() < 1e-9);
    }
}
