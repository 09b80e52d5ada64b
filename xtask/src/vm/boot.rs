//! One start of QEMU, from its command line to the guest's last word.

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Read};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{self, Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::guest::{Guest, Userland};
use super::relay::{Output, Stream};
use crate::process::last_lines;
use crate::setup::Machine;

/// How long a boot may take: some seconds, and minutes on a machine that is busy with other work.
const BOOT: Duration = Duration::from_mins(5);
/// How long a guest may take to switch itself off.
const SHUTDOWN: Duration = Duration::from_secs(20);
/// How often we look whether QEMU has ended.
const POLL: Duration = Duration::from_millis(20);
/// The artifacts' disk; sparse, so that it takes up what is written to it.
const DISK_BYTES: u64 = 4 << 30;

/// The files in the guest's folder that it starts from: the one or the other.
pub const INITRD: &str = "initrd";
pub const SYSTEM: &str = "system.img";

/// The kernel's arguments. An emulated processor that the host starves fails the check of the timer's interrupt, at
/// which the kernel panics (arch/x86/kernel/apic/io_apic.c, check_timer); a storm of OOM kills needs room in the log.
const APPEND: [&str; 5] = ["console=ttyS0", "panic=-1", "quiet", "no_timer_check", "log_buf_len=1M"];

/// What one boot brought: what the guest told over its third serial port, and what its command wrote.
#[derive(Debug, Default)]
pub struct Booted {
    /// From QEMU's start until init ran; none if it never did.
    pub started: Option<Duration>,
    /// The kernel's taint mask at the end.
    pub tainted: u64,
    /// The status of the program that wrote the artifacts.
    pub artifacts: Option<i32>,
    /// The command's exit status; none if the guest died before.
    pub exit: Option<i32>,
    /// Why we had to stop the guest, if we had to.
    pub stopped: Option<String>,
    /// The command's standard output, if it is captured.
    pub stdout: Vec<u8>,
    /// The command's standard error, if it is captured.
    pub stderr: Vec<u8>,
}

impl Booted {
    fn told(&mut self, line: &str, elapsed: Duration) {
        match line.trim().split_once(' ') {
            Some(("tainted", mask)) => self.tainted = mask.parse().unwrap_or(0),
            Some(("artifacts", status)) => self.artifacts = status.parse().ok(),
            Some(("exit", status)) => self.exit = status.parse().ok(),
            // Again after each reset of a guest that starts from its disk.
            None if line.trim() == "started" => {
                self.started.get_or_insert(elapsed);
            }
            _ => {}
        }
    }
}

/// Boots the guest from what is in that folder, leaving there its `console.log` and its `disk.img`, and waits
/// for its end.
pub fn boot(guest: &Guest, machine: &Machine, output: &Output, dir: &Path) -> Result<Booted> {
    let disk = dir.join("disk.img");
    File::create(&disk)
        .and_then(|file| file.set_len(DISK_BYTES))
        .with_context(|| format!("cannot create {}", disk.display()))?;
    let pipe = || io::pipe().context("cannot create a pipe");
    let ((out, out_end), (err, err_end), (status, status_end)) = (pipe()?, pipe()?, pipe()?);
    let mut command = command(guest, machine, dir, [&out_end, &err_end, &status_end]);
    let name = guest.kernel.name.as_str();
    thread::scope(|scope| {
        let out = scope.spawn(|| output.relay(out, Stream::Out, name));
        let err = scope.spawn(|| output.relay(err, Stream::Err, name));
        let (tell, told) = mpsc::channel();
        scope.spawn(move || listen(status, &tell));
        let watched = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start QEMU")
            .and_then(|child| watch(guest, child, &told));
        // QEMU's ends of the pipes are gone with it; without ours, the relays come to an end.
        drop((out_end, err_end, status_end));
        let (stdout, stderr) = (captured(out)?, captured(err)?);
        Ok(Booted { stdout, stderr, ..watched? })
    })
}

fn listen(status: PipeReader, tell: &mpsc::Sender<String>) {
    for line in BufReader::new(status).split(b'\n').map_while(Result::ok) {
        // Nobody listens any more once the guest was given up.
        let _ = tell.send(String::from_utf8_lossy(&line).into_owned());
    }
}

fn captured(relay: ScopedJoinHandle<'_, io::Result<Vec<u8>>>) -> Result<Vec<u8>> {
    let bytes = relay.join().map_err(|_| anyhow!("the relay of a guest's output panicked"))?;
    bytes.context("cannot read a guest's output")
}

/// Waits for QEMU's end, and brings it about when a time limit is over.
fn watch(guest: &Guest, mut child: Child, lines: &Receiver<String>) -> Result<Booted> {
    let began = Instant::now();
    let mut booted = Booted::default();
    let mut ended = None;
    let status = loop {
        match lines.recv_timeout(POLL) {
            Ok(line) => booted.told(&line, began.elapsed()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => thread::sleep(POLL),
        }
        if let Some(status) = child.try_wait().context("cannot wait for QEMU")? {
            break status;
        }
        if booted.exit.is_some() && ended.is_none() {
            ended = Some(Instant::now());
        }
        booted.stopped = overdue(guest.timeout, began.elapsed(), booted.started.is_some(), ended);
        if booted.stopped.is_some() {
            child.kill().context("cannot stop QEMU")?;
            break child.wait().context("cannot wait for QEMU")?;
        }
    };
    // The last lines may still be in the pipe.
    while let Ok(line) = lines.recv_timeout(POLL) {
        booted.told(&line, began.elapsed());
    }
    if booted.stopped.is_none() && !status.success() {
        let mut words = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            // What QEMU said is a bonus.
            let _ = stderr.read_to_string(&mut words);
        }
        bail!("QEMU failed ({status}): {}", last_lines(&words, 8));
    }
    Ok(booted)
}

/// Which time limit is over, in words.
fn overdue(limit: Duration, elapsed: Duration, started: bool, ended: Option<Instant>) -> Option<String> {
    let boot = BOOT.min(limit);
    match ended {
        Some(at) => (at.elapsed() > SHUTDOWN).then(|| "the guest did not switch itself off".into()),
        None if started => {
            (elapsed > limit).then(|| format!("the command did not end within {} s", limit.as_secs()))
        }
        None => (elapsed > boot).then(|| format!("its init did not start within {} s", boot.as_secs())),
    }
}

fn command(guest: &Guest, machine: &Machine, dir: &Path, ports: [&PipeWriter; 3]) -> Command {
    let mut command = machine.qemu.command(guest.patient);
    let kvm = env::var_os("OOMTRACE_KVM").is_some_and(|value| value == "1");
    let (accelerator, cpu) = match (guest.icount, kvm) {
        (true, _) => ("tcg,thread=single", machine.qemu.cpu()),
        (false, true) => ("kvm", "host"),
        (false, false) => ("tcg,thread=multi", machine.qemu.cpu()),
    };
    command.args(["-M", "q35", "-accel", accelerator, "-cpu", cpu]);
    if guest.icount {
        command.args(["-smp", "1", "-icount", "shift=0,sleep=off"]);
    } else {
        command.args(["-smp", &guest.cpus.to_string()]);
    }
    command.args(["-m", &format!("{}M", guest.memory)]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none"]);
    command.arg("-serial").arg(file_option("file:", &dir.join("console.log")));
    for port in ports {
        // QEMU opens our pipe by its number, which saves it a socket.
        command.arg("-serial").arg(format!("file:/proc/{}/fd/{}", process::id(), port.as_raw_fd()));
    }
    // nvme is built into each of the kernels, virtio is not.
    command.arg("-drive");
    command.arg(file_option("if=none,id=disk,format=raw,cache=unsafe,file=", &dir.join("disk.img")));
    command.arg("-kernel").arg(&guest.kernel.image);
    let mut append = APPEND.to_vec();
    match guest.userland {
        Userland::Busybox => {
            command.args(["-device", "nvme,drive=disk,serial=artifacts", "-no-reboot"]);
            command.arg("-initrd").arg(dir.join(INITRD));
        }
        Userland::Systemd { .. } => {
            command.arg("-drive");
            command.arg(file_option("if=none,id=system,format=raw,cache=unsafe,file=", &dir.join(SYSTEM)));
            // Of one controller: two would be named in the order in which they happen to answer.
            command.args(["-device", "nvme,id=nvme,serial=guest"]);
            command.args(["-device", "nvme-ns,bus=nvme,nsid=1,drive=system"]);
            command.args(["-device", "nvme-ns,bus=nvme,nsid=2,drive=disk"]);
            append.extend(["root=/dev/nvme0n1", "rw"]);
        }
    }
    append.extend(guest.append.iter().map(String::as_str));
    command.arg("-append").arg(append.join(" ")).args(&guest.qemu);
    command
}

/// An option with a file in it, in whose name QEMU wants commas doubled.
fn file_option(before: &str, file: &Path) -> String {
    format!("{before}{}", file.to_string_lossy().replace(',', ",,"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the little language of the third serial port, noise included.
    #[test]
    fn reads_what_the_guest_tells() {
        let mut booted = Booted::default();
        for line in ["\u{0}noise", "started", "tainted 512", "artifacts 0\r", "exit x y"] {
            booted.told(line, Duration::from_secs(2));
        }
        assert_eq!(booted.started, Some(Duration::from_secs(2)));
        assert_eq!((booted.tainted, booted.artifacts), (512, Some(0)));
        assert_eq!(booted.exit, None, "nonsense must not pass for a status");
        booted.told("exit 3", Duration::ZERO);
        assert_eq!(booted.exit, Some(3));
    }

    /// Guards which limit applies when: a slow boot is retried, a slow command is not.
    #[test]
    fn limits() {
        let [short, long] = [Duration::from_secs(10), Duration::from_mins(30)];
        assert_eq!(overdue(long, Duration::from_mins(4), false, None), None);
        assert!(overdue(long, Duration::from_mins(6), false, None).unwrap().contains("init"));
        assert!(overdue(short, Duration::from_secs(11), false, None).unwrap().contains("10 s"));
        assert_eq!(overdue(long, Duration::from_mins(29), true, None), None);
        assert!(overdue(long, Duration::from_mins(31), true, None).unwrap().contains("command"));
        assert_eq!(overdue(long, Duration::from_mins(31), true, Some(Instant::now())), None);
    }
}
