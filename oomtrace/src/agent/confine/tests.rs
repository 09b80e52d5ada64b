//! In a process of its own: what is given up is given up for good.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, ToSocketAddrs as _},
    sync::Arc,
    thread,
};

use super::*;
use crate::output::{
    self, FileSettings, Health, LineKind, LossCounts, Message, Outputs, TellLoss,
    samples::incident,
    webhook::{Batch, Webhook, WebhookSettings},
};

/// Does this in a child process with one thread, and hands over what it says: every failure is a line of it.
fn apart(confined: fn(&mut Failures)) -> String {
    let (from_child, to_parent) = rustix::pipe::pipe().unwrap();
    // SAFETY: the child has a copy of this thread alone. It takes no lock but the allocator's, which the C library keeps
    // usable across a fork, and ends without returning.
    match unsafe { libc::fork() } {
        0 => {
            let mut failures = Failures(String::new());
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| confined(&mut failures)));
            failures.check("no panic", done.is_ok());
            let mut to_parent = File::from(to_parent);
            let _ = to_parent.write_all(failures.0.as_bytes()).and_then(|()| to_parent.write_all(b"end"));
            // SAFETY: the call takes no pointer.
            unsafe { libc::_exit(0) }
        }
        child => {
            assert!(child > 0);
            drop(to_parent);
            let mut said = String::new();
            File::from(from_child).read_to_string(&mut said).unwrap();
            // SAFETY: a null status is allowed.
            unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
            said
        }
    }
}

struct Failures(String);

impl Failures {
    fn check(&mut self, what: &str, is_so: bool) {
        if !is_so {
            self.0.push_str(what);
            self.0.push('\n');
        }
    }

    /// The last call failed with this.
    fn refused(&mut self, what: &str, result: libc::c_long, errno: i32) {
        let error = io::Error::last_os_error();
        self.check(
            &format!("{what} gives {result}, {error}"),
            result == -1 && error.raw_os_error() == Some(errno),
        );
    }
}

/// The lines of a thread's status that matter.
fn status(task: &str) -> Vec<String> {
    let status = fs::read_to_string(format!("/proc/self/task/{task}/status")).unwrap_or_default();
    let named = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp:"];
    let line = |line: &&str| named.iter().any(|name| line.starts_with(name));
    status.lines().filter(line).map(|line| line.replace('\t', "")).collect()
}

/// Guards every thread's state, those that are started later included: no capability in any set, and both filters.
#[test]
fn no_thread_keeps_anything() {
    let said = apart(|failures| {
        let confined = apply(&Plan::default());
        failures.check(&format!("{confined:?}"), confined.is_ok_and(|confined| confined.failed.is_empty()));
        let others: Vec<_> =
            (0..3).map(|_| thread::spawn(|| thread::sleep(std::time::Duration::from_millis(300)))).collect();
        let threads = host::own_threads().unwrap_or_default();
        failures.check("four threads", threads.len() == 4);
        for thread in threads {
            let none = "0000000000000000";
            let caps = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|set| format!("{set}:{none}"));
            let filtered = ["NoNewPrivs:1".to_owned(), "Seccomp:2".to_owned()];
            let expected: Vec<_> = caps.into_iter().chain(filtered).collect();
            let found = status(&thread.to_string());
            failures.check(&format!("{found:?}"), found == expected || !is_root());
        }
        failures.check("threads end", others.into_iter().all(|other| other.join().is_ok()));
        // SAFETY: the call takes no pointer.
        failures.check("not dumpable", unsafe { libc::prctl(libc::PR_GET_DUMPABLE) } == 0);
    });
    assert_eq!(said, "end");
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Guards the machine against an agent that somebody else has got hold of.
#[test]
fn what_is_not_needed_is_refused() {
    let said = apart(|failures| {
        let prepared = File::open("/bin/true").map(std::os::fd::OwnedFd::from).ok();
        failures.check("/bin/true", prepared.is_some());
        failures.check("confined", apply(&Plan { programs: true, keep: Vec::new() }).is_ok());
        let path = c"/bin/true".as_ptr();
        let null = std::ptr::null::<libc::c_char>();
        let arguments = [path, null];
        let attr = [0_u64; 16];
        // SAFETY: all pointers are to strings and arrays of ours, and every call is refused before it looks at them.
        unsafe {
            let results: [(&str, libc::c_long); 22] = [
                ("execve", libc::syscall(libc::SYS_execve, path, arguments.as_ptr(), null)),
                ("execveat", libc::syscall(libc::SYS_execveat, -1, path, arguments.as_ptr(), null, 0)),
                ("fork", libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0)),
                ("clone3", libc::syscall(libc::SYS_clone3, attr.as_ptr(), 64)),
                ("ptrace", libc::syscall(libc::SYS_ptrace, libc::PTRACE_TRACEME, 0, 0, 0)),
                ("process_vm_readv", libc::syscall(libc::SYS_process_vm_readv, 1, 0, 0, 0, 0, 0)),
                ("kill", libc::syscall(libc::SYS_kill, libc::getppid(), 0)),
                ("pidfd_open", libc::syscall(libc::SYS_pidfd_open, libc::getppid(), 0)),
                ("mount", libc::syscall(libc::SYS_mount, path, path, path, 0, null)),
                ("unshare", libc::syscall(libc::SYS_unshare, libc::CLONE_NEWUSER)),
                ("setns", libc::syscall(libc::SYS_setns, 0, 0)),
                ("setuid", libc::syscall(libc::SYS_setuid, 0)),
                ("capset", libc::syscall(libc::SYS_capset, 0, 0)),
                ("bpf(PROG_LOAD)", libc::syscall(libc::SYS_bpf, 5, attr.as_ptr(), 128)),
                ("bpf(MAP_CREATE)", libc::syscall(libc::SYS_bpf, 0, attr.as_ptr(), 128)),
                ("bpf(LINK_CREATE)", libc::syscall(libc::SYS_bpf, 28, attr.as_ptr(), 128)),
                ("perf_event_open", libc::syscall(libc::SYS_perf_event_open, attr.as_ptr(), 0, -1, -1, 0)),
                ("init_module", libc::syscall(libc::SYS_init_module, attr.as_ptr(), 1, path)),
                ("socket(AF_PACKET)", libc::syscall(libc::SYS_socket, libc::AF_PACKET, libc::SOCK_RAW, 0)),
                ("prctl(PR_SET_DUMPABLE)", libc::syscall(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0)),
                ("ioctl(TIOCSTI)", libc::syscall(libc::SYS_ioctl, 0, libc::TIOCSTI, path)),
                ("io_uring_setup", libc::syscall(libc::SYS_io_uring_setup, 1, attr.as_ptr())),
            ];
            for (what, result) in results {
                failures.check(&format!("{what} gives {result}"), result == -1);
            }
            failures.refused(
                "execve",
                libc::syscall(libc::SYS_execve, path, arguments.as_ptr(), null),
                libc::ENOSYS,
            );
        }
        failures.check("a program starts", std::process::Command::new("/bin/true").status().is_err());
    });
    assert_eq!(said, "end");
}

/// Guards the agent: what it does with all of its outputs on goes on as before.
#[test]
fn what_is_needed_works() {
    let said = apart(|failures| {
        let folder = std::env::temp_dir().join(format!("oomtrace-confined-{}", std::process::id()));
        let child = std::process::Command::new("/bin/sleep").arg("1000").spawn().ok();
        let pidfd = child.as_ref().and_then(|child| {
            let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).ok()?)?;
            rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
        });
        failures.check("confined", apply(&Plan { programs: true, keep: Vec::new() }).is_ok());
        let mut ok = |what: &str, result: io::Result<()>| {
            failures.check(&format!("{what}: {result:?}"), result.is_ok());
        };
        // A child from before, such as journalctl.
        let ended = pidfd.zip(child).map(|(pidfd, mut child)| {
            rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL)?;
            child.wait().map(drop)
        });
        ok("a child ends", ended.unwrap_or(Err(io::ErrorKind::NotFound.into())));
        // Files, as the history and the rotated log have them.
        let file = folder.join("file");
        ok("mkdir", fs::create_dir(&folder));
        ok("write", fs::write(&file, "x"));
        ok("rename", fs::rename(&file, folder.join("file.1")));
        ok("sync", File::open(folder.join("file.1")).and_then(|file| file.sync_all()));
        ok(
            "list",
            fs::read_dir(&folder).and_then(|mut entries| entries.try_for_each(|entry| entry.map(drop))),
        );
        ok("remove", fs::remove_dir_all(&folder));
        for path in [
            "/proc/meminfo",
            "/proc/self/status",
            "/proc/1/stat",
            "/proc/swaps",
            "/proc/vmstat",
            "/proc/zoneinfo",
        ] {
            ok(path, fs::read(path).map(drop));
        }
        // Threads, with names; a loop of events with signals and timers, as the agent's; listener and connections.
        ok(
            "thread",
            thread::Builder::new()
                .name("one".to_owned())
                .spawn(|| ())
                .and_then(|one| one.join().map_err(|_| io::ErrorKind::Other.into())),
        );
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        ok(
            "runtime",
            runtime.and_then(|runtime| {
                runtime.block_on(async {
                    let _hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
                    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
                    let address = listener.local_addr()?;
                    let (accepted, connected) =
                        tokio::join!(listener.accept(), tokio::net::TcpStream::connect(address));
                    accepted.and(connected).map(drop)
                })
            }),
        );
        ok(
            "listen",
            TcpListener::bind("127.0.0.1:0").and_then(|listener| {
                let address = listener.local_addr()?;
                TcpStream::connect_timeout(&address, std::time::Duration::from_secs(1)).map(drop)
            }),
        );
        ok("look up", ("localhost", 80).to_socket_addrs().map(drop));
        ok("notify", std::os::unix::net::UnixDatagram::unbound().map(drop));
        ok(
            "random",
            rustix::rand::getrandom(&mut [0; 8], rustix::rand::GetRandomFlags::empty())
                .map(drop)
                .map_err(Into::into),
        );
        // SAFETY: the call takes no pointer with this.
        let size = unsafe { libc::klogctl(10, std::ptr::null_mut(), 0) };
        let restricted = io::Error::last_os_error().kind() == io::ErrorKind::PermissionDenied;
        // With kernel.dmesg_restrict it takes CAP_SYSLOG.
        ok(
            "size of the kernel log",
            if size > 0 || restricted { Ok(()) } else { Err(io::ErrorKind::Other.into()) },
        );
        // A map that is not there, and not a look that is forbidden.
        let attr = [u64::from(u32::MAX), 0, 0, 0];
        // SAFETY: the pointer is to an attr of ours and its size.
        let looked = unsafe { libc::syscall(libc::SYS_bpf, 1, attr.as_ptr(), 32) };
        failures.refused("a look into a map", looked, libc::EBADF);
    });
    assert_eq!(said, "end");
}

/// Guards the outputs: file and webhook, each on its thread, with a host that has to be looked up.
#[test]
fn outputs_work_confined() {
    let said = apart(|failures| {
        let folder = std::env::temp_dir().join(format!("oomtrace-confined-outputs-{}", std::process::id()));
        let made = fs::create_dir(&folder);
        failures.check(&format!("{made:?}"), made.is_ok());
        failures.check("confined", apply(&Plan { programs: true, keep: Vec::new() }).is_ok());
        if let Err(error) = send_through_outputs(&folder) {
            failures.check(&format!("{error:#}"), false);
        }
        let _ = fs::remove_dir_all(&folder);
    });
    assert_eq!(said, "end");
}

/// Has a file that is rotated, and an endpoint, take two incidents.
fn send_through_outputs(folder: &std::path::Path) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://localhost:{}/", listener.local_addr()?.port());
    let asked = thread::spawn(move || {
        listener.incoming().take(2).filter_map(Result::ok).fold(0, |asked, mut stream| {
            let read = stream.read(&mut vec![0; 64 * 1024]);
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
            asked + u32::from(read.is_ok_and(|bytes| bytes > 0))
        })
    });
    let minute = std::time::Duration::from_mins(1);
    let settings = FileSettings { path: folder.join("out.ndjson"), max_bytes: 10, keep: 3 };
    let webhook = WebhookSettings {
        url,
        kinds: LineKind::OF_INCIDENTS.to_vec(),
        batch: Batch::One,
        timeout: minute,
        give_up_after: minute,
        authorization_file: None,
        ca_file: None,
    };
    let [of_file, of_webhook] = ["file", "webhook"].map(Health::new);
    let mut outputs = Outputs::new(true);
    outputs.add(Arc::clone(&of_file), Box::new(output::File::new(settings, Arc::clone(&of_file))?))?;
    outputs.add(Arc::clone(&of_webhook), Box::new(Webhook::new(&webhook, Arc::clone(&of_webhook))?))?;
    for seq in 1..=2 {
        outputs.send(Message::clone(&incident(seq, "app")), &mut NoLoss);
    }
    let asked = asked.join().map_err(|_| anyhow::anyhow!("the endpoint's thread"))?;
    drop(outputs.finish());
    let written = (asked, of_file.messages_written(), of_webhook.messages_written());
    anyhow::ensure!(written == (2, 2, 2), "{written:?}: {:?} {:?}", of_file.failing(), of_webhook.failing());
    anyhow::ensure!(folder.join("out.ndjson.1").exists(), "it is not rotated");
    Ok(())
}

struct NoLoss;

impl TellLoss for NoLoss {
    fn message(&self, _: &'static str, _: LossCounts) -> Message {
        Message::clone(&incident(0, "loss"))
    }

    fn told(&mut self) {}
}

/// Guards what is kept: what the plan says, as far as it was there, and no more; with what it is for, in the status.
#[test]
fn the_plan_is_kept_and_said() {
    if !is_root() {
        return eprintln!("not as root: skipped");
    }
    let said = apart(|failures| {
        let why = "to be tested";
        let kept = vec![Kept { capability: CapabilitySet::SYSLOG, why }];
        let Ok(confined) = apply(&Plan { programs: false, keep: kept }) else {
            return failures.check("confined", false);
        };
        let said = confined.to_string();
        let so = said.starts_with("kept: CAP_SYSLOG (to be tested); ")
            && said.ends_with(" system calls are allowed");
        failures.check(&said, so);
        let status = status(&std::process::id().to_string());
        failures.check(&format!("{status:?}"), status.contains(&format!("CapEff:{:016x}", 1_u64 << 34)));
    });
    assert_eq!(said, "end");
}

/// Guards against memory that runs out: with locked memory and a bound to it, either the bound goes, or the right stays.
#[test]
fn locked_memory_stays_usable() {
    if !is_root() {
        return eprintln!("not as root: skipped");
    }
    let said = apart(|failures| {
        // SAFETY: the call takes no pointer.
        let locked = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) };
        failures.check("locked", locked == 0);
        failures.check("confined", apply(&Plan::default()).is_ok());
        let much = vec![1_u8; 256 << 20];
        failures.check("much", much.iter().rev().take(10).all(|byte| *byte == 1));
        failures.check("a thread", thread::Builder::new().stack_size(64 << 20).spawn(|| ()).is_ok());
    });
    assert_eq!(said, "end");
}

/// Guards the order of the agent's start: with threads, some would keep what the others give up.
#[test]
fn it_is_applied_before_there_are_threads() {
    // The harness has some.
    assert!(matches!(apply(&Plan::default()), Err(ConfineError::Threads(2..))));
}
