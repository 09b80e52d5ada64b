//! The process whose allocations fail though nobody is killed: `scenarios fail`. It does so once it gets a line on standard
//! input.

use std::env::current_exe;
use std::ffi::c_void;
use std::fs;
use std::io::{Error, Write, stdin, stdout};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::ptr;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::deadline::Deadline;
use crate::eat::word;
use crate::lines::Lines;
use crate::process::{die_with_us, end, wait_exit};
use crate::size::MIB;
use crate::witness::cgroup::Cgroup;

/// What fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// One huge page more than the pool has ([`POOL`]).
    Hugetlb,
    /// More memory at once than the machine has, which a netlink socket asks for to send that much.
    Vmalloc,
    /// Pieces of memory of 2^[`ORDER`] pages, one after the other until there are none.
    Pages,
}

/// Huge pages in the pool.
pub const POOL: usize = 2;
/// Size of a huge page, bytes.
const HUGE_PAGE: usize = 2 << 20;
/// What a netlink message is to have, bytes.
pub const MESSAGE: usize = 1 << 30;
/// The order of the pieces.
pub const ORDER: u64 = 9;
/// Their size: what goes with a message, bytes.
const PIECE: usize = 4096 << ORDER;
/// Pieces that are asked for at most.
const PIECES: usize = 512;

/// What to do.
#[derive(Debug, Clone, Args)]
pub struct Fail {
    /// What fails.
    what: What,
    /// The cgroup.procs file of the cgroup to join.
    #[arg(long)]
    cgroup_procs: Option<PathBuf>,
}

/// Runs it to its end. An error if what was to fail did not.
pub fn run(fail: &Fail) -> Result<()> {
    if let Some(file) = &fail.cgroup_procs {
        fs::write(file, "0").with_context(|| format!("cannot join the cgroup by {}", file.display()))?;
    }
    writeln!(stdout(), "{}", word::READY).context("nobody listens any more")?;
    stdin().read_line(&mut String::new()).context("cannot read standard input")?;
    match fail.what {
        What::Hugetlb => huge_pages(),
        What::Vmalloc => large_message(),
        What::Pages => pieces(),
    }
}

/// Touches one huge page more than there are, which ends this process.
fn huge_pages() -> Result<()> {
    let length = (POOL + 1) * HUGE_PAGE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB | libc::MAP_NORESERVE;
    let start = reserve(length, libc::PROT_READ | libc::PROT_WRITE, flags)?.cast::<u8>();
    // Rust's runtime has a handler, which returns, so that the access is tried once more.
    // SAFETY: the default needs no handler of ours.
    unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
    for page in 0..=POOL {
        // SAFETY: the mapping has so many pages and is writable; what the kernel cannot give ends the process.
        unsafe { start.add(page * HUGE_PAGE).write_volatile(1) };
    }
    bail!("there were more huge pages than {POOL}")
}

fn reserve(length: usize, access: i32, flags: i32) -> Result<*mut c_void> {
    // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
    let start = unsafe { libc::mmap(ptr::null_mut(), length, access, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(Error::last_os_error()).context("cannot map memory");
    }
    Ok(start)
}

/// Sends a message for which the kernel has no memory (`netlink_alloc_large_skb()`, net/netlink/af_netlink.c).
fn large_message() -> Result<()> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let message = reserve(MESSAGE, libc::PROT_NONE, flags)?;
    let room = i32::MAX / 2;
    // SAFETY: the option is one number, and of the message the kernel reads nothing before it has room for all.
    let sent = unsafe {
        let socket = libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE);
        libc::setsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_SNDBUFFORCE,
            (&raw const room).cast(),
            libc::socklen_t::try_from(size_of_val(&room))?,
        );
        libc::send(socket, message, MESSAGE, 0)
    };
    let error = Error::last_os_error();
    if sent >= 0 || error.raw_os_error() != Some(libc::ENOBUFS) {
        bail!("a message of {MESSAGE} bytes should have failed for want of memory; sent {sent}, {error}")
    }
    Ok(())
}

/// Has as many threads as it takes hold a piece of memory each: what goes with a message that waits for its turn
/// (`____sys_sendmsg()`, net/socket.c).
fn pieces() -> Result<()> {
    fs::write("/proc/sys/net/core/optmem_max", (2 * PIECE).to_string())
        .context("cannot raise net.core.optmem_max")?;
    let (sender, receiver) = channel();
    for _ in 0..PIECES {
        let sender = sender.clone();
        thread::spawn(move || hold(&sender));
        match receiver.recv_timeout(Duration::from_millis(20)) {
            Ok(Some(libc::ENOBUFS)) => return Ok(()),
            Ok(error) => bail!("a message came back with the error {error:?}"),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("the threads have ended"),
        }
    }
    bail!("{PIECES} pieces of memory of {} MiB could be had", PIECE as u64 / MIB)
}

/// Sends a message that nobody takes, with a piece of memory; tells the error with which it comes back.
fn hold(sender: &Sender<Option<i32>>) {
    let mut control = vec![0_u64; PIECE / 8];
    let head = libc::cmsghdr { cmsg_len: PIECE, cmsg_level: libc::SOL_IP, cmsg_type: 0 };
    let mut sockets = [0; 2];
    let letters = [0_u8; 4096];
    let mut part = libc::iovec { iov_base: letters.as_ptr().cast_mut().cast(), iov_len: letters.len() };
    // SAFETY: the header is smaller than the memory that it is written to, and numbers and pointers may be zeroes; all that
    // the message refers to lives until it has come back.
    unsafe {
        control.as_mut_ptr().cast::<libc::cmsghdr>().write(head);
        libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0, sockets.as_mut_ptr());
        while libc::send(sockets[0], letters.as_ptr().cast(), letters.len(), libc::MSG_DONTWAIT) > 0 {}
        let mut message = std::mem::zeroed::<libc::msghdr>();
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), PIECE);
        libc::sendmsg(sockets[0], &raw const message, 0);
    }
    let _the_first_has_been_heard = sender.send(Error::last_os_error().raw_os_error());
}

/// Such a process, as the scenario that started it sees it. Dropping it kills it.
#[derive(Debug)]
pub struct Failing {
    child: Child,
    orders: Option<ChildStdin>,
}

impl Failing {
    /// Starts it in `cgroup` and waits until it is ready.
    pub fn start(what: What, cgroup: &Cgroup, deadline: Deadline) -> Result<Self> {
        let mut command = Command::new(current_exe().context("cannot find the scenarios' own binary")?);
        let name = what.to_possible_value().context("nothing to fail")?;
        command.args(["fail", name.get_name()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.arg("--cgroup-procs").arg(cgroup.procs_file()?);
        die_with_us(&mut command);
        let mut child = command.spawn().context("cannot start a process that fails")?;
        let words = Lines::follow(child.stdout.take().context("it has no standard output")?);
        let failing = Self { orders: child.stdin.take(), child };
        match words.next(deadline, "a process that fails to be ready")? {
            Some(_) => Ok(failing),
            None => bail!("a process that is to fail ended before it was ready"),
        }
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u64 {
        u64::from(self.child.id())
    }

    /// Has it fail, and waits for its end.
    pub fn fail(&mut self, deadline: Deadline) -> Result<ExitStatus> {
        let mut orders = self.orders.take().context("it has failed already")?;
        writeln!(orders, "{}", word::FILL).context("a process that is to fail does not listen")?;
        wait_exit(&mut self.child, deadline, "a process that fails to end")
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}
