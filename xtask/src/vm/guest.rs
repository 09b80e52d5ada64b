//! One guest: what it is made of, and its run.

use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::boot::{self, Booted};
use super::debian::{self, Image};
use super::initramfs::{self, Root};
use super::kernel::Kernel;
use super::relay::Output;
use super::report::{self, End, Panic, Report};
use super::{module, package};
use crate::setup::Machine;
use crate::{process, scratch, workspace};

/// How often a guest is booted that dies before its init has started.
const ATTEMPTS: u32 = 3;

/// What to boot, and what to run in it.
#[derive(Clone, Debug)]
pub struct Guest {
    /// The kernel.
    pub kernel: Kernel,
    /// Its memory in MiB.
    pub memory: u32,
    /// How many processors it has.
    pub cpus: u32,
    /// Whether time passes by executed instructions (one processor): for measurements that repeat.
    pub icount: bool,
    /// Whether it takes what others leave of the processors.
    pub patient: bool,
    /// Further arguments of the kernel.
    pub append: Vec<String>,
    /// Further arguments of QEMU.
    pub qemu: Vec<String>,
    /// How long the whole run may take.
    pub timeout: Duration,
    /// Files and folders of this machine to copy, and where to; programs bring their libraries.
    pub copies: Vec<(PathBuf, PathBuf)>,
    /// Debian packages to unpack.
    pub packages: Vec<String>,
    /// Kernel modules to insert before the command runs, each with its parameters.
    pub modules: Vec<String>,
    /// Where to put what the command leaves in /artifacts.
    pub artifacts: Option<PathBuf>,
    /// Whether the kernel has to panic: instead of the command having to end, or before it where the guest starts again.
    pub expect_panic: bool,
    /// What the command finds there.
    pub userland: Userland,
    /// The command and its arguments.
    pub command: Vec<OsString>,
}

/// What a guest is besides its kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Userland {
    /// busybox and our own init, in memory: a guest that resets itself has ended.
    Busybox,
    /// A Debian with systemd, on a disk: a guest that resets itself starts again, and its command with it.
    Systemd {
        /// Units among the copies that are enabled.
        enabled: Vec<String>,
    },
}

impl Guest {
    /// Boots the guest, as often as it takes to get its init started, and waits for its end.
    pub fn run(&self, machine: &Machine, output: &Output) -> Result<Report> {
        let began = Instant::now();
        let logs = workspace::target_dir().join("vm");
        let work = scratch::folder_in(&logs)?;
        let dir = work.path();
        match &self.userland {
            Userland::Busybox => self.root(machine)?.write(&dir.join(boot::INITRD))?,
            Userland::Systemd { enabled } => self.image(enabled)?.write(&dir.join(boot::SYSTEM))?,
        }
        let mut attempt = 0;
        loop {
            attempt += 1;
            let booted = boot::boot(self, machine, output, dir)?;
            let console = read_log(&dir.join("console.log"));
            keep_log(&logs, &self.kernel.name, "console.log", &console);
            if let Some(boot) = booted.started {
                let (end, kernel_log) = self.conclude(&booted, &console, dir);
                keep_log(&logs, &self.kernel.name, "kernel.log", &kernel_log);
                return Ok(Report {
                    end,
                    splats: report::splats(&console, &kernel_log, booted.tainted, self.expect_panic),
                    stdout: booted.stdout,
                    stderr: booted.stderr,
                    console,
                    kernel_log,
                    attempts: attempt,
                    boot,
                    elapsed: began.elapsed(),
                });
            }
            let why = booted.stopped.as_deref().unwrap_or("it reset itself");
            let name = &self.kernel.name;
            keep_log(&logs, name, &format!("failed-boot-{attempt}.log"), &console);
            eprintln!("[{name}] died before its init started (boot {attempt} of {ATTEMPTS}): {why}");
            if attempt == ATTEMPTS {
                let console = process::last_lines(&console, 25);
                bail!("the guest never got as far as its init; its console ended so:\n{console}");
            }
        }
    }

    /// How the guest ended, and its kernel's log if it could still save it.
    fn conclude(&self, booted: &Booted, console: &str, dir: &Path) -> (End, String) {
        let end = report::end(booted, console, self.panic());
        if booted.exit.is_none() {
            return (end, String::new());
        }
        match self.collect(booted, dir) {
            Ok(kernel_log) => (end, kernel_log),
            Err(err) => (End::Failed(format!("{err:#}")), String::new()),
        }
    }

    /// Unpacks the disk that the guest wrote its log and its artifacts to; returns the log.
    fn collect(&self, booted: &Booted, dir: &Path) -> Result<String> {
        ensure!(booted.artifacts == Some(0), "the guest could not save what is in its /artifacts");
        let unpacked = dir.join("disk");
        fs::create_dir_all(&unpacked).with_context(|| format!("cannot create {}", unpacked.display()))?;
        let mut tar = Command::new("tar");
        tar.arg("-xf").arg(dir.join("disk.img")).arg("--no-same-owner").arg("-C").arg(&unpacked);
        process::output(&mut tar).context("what the guest left in /artifacts cannot be unpacked")?;
        if let Some(artifacts) = &self.artifacts {
            fs::create_dir_all(artifacts)
                .with_context(|| format!("cannot create {}", artifacts.display()))?;
            let mut copy = Command::new("cp");
            copy.args(["-a", "--"]).arg(unpacked.join("artifacts/.")).arg(artifacts);
            process::output(&mut copy).with_context(|| format!("cannot fill {}", artifacts.display()))?;
        }
        Ok(read_log(&unpacked.join("kernel.log")))
    }

    fn panic(&self) -> Panic {
        match (&self.userland, self.expect_panic) {
            (_, false) => Panic::Unwanted,
            (Userland::Busybox, true) => Panic::Ends,
            (Userland::Systemd { .. }, true) => Panic::Restarts,
        }
    }

    /// The disk of a guest with systemd.
    fn image(&self, enabled: &[String]) -> Result<Image> {
        ensure!(self.packages.is_empty(), "a guest with systemd takes no further packages");
        let image = Image::new(&debian::tree()?, &initramfs::script(&self.command))?;
        for (from, to) in &self.copies {
            image.program(from, to)?;
        }
        image.modules(&self.kernel.release, &self.resolve_modules()?)?;
        let enabled: Vec<&str> = enabled.iter().map(String::as_str).collect();
        if !enabled.is_empty() {
            image.enable(&enabled)?;
        }
        Ok(image)
    }

    fn root(&self, machine: &Machine) -> Result<Root> {
        let mut root = Root::new(&machine.busybox)?;
        for (from, to) in &self.copies {
            root.program(from, to)?;
        }
        // After the copies: a package brings its C library whole, which must not be mixed with this machine's.
        for name in &self.packages {
            let keep = |path: &Path| !package::is_ballast(path);
            root.tree(&package::tree(name)?, Path::new(""), &keep)?;
        }
        let mut list = String::new();
        for module in self.resolve_modules()? {
            writeln!(list, "{}.ko {}", module.name, module.parameters)?;
            root.text(format!("etc/guest/modules/{}.ko", module.name), 0o644, module.content)?;
        }
        root.text("etc/guest/modules.list", 0o644, list.into_bytes())?;
        root.text("etc/guest/command", 0o644, initramfs::script(&self.command))?;
        Ok(root)
    }

    fn resolve_modules(&self) -> Result<Vec<module::Module>> {
        if self.modules.is_empty() {
            return Ok(Vec::new());
        }
        let Some(tree) = &self.kernel.modules else {
            bail!("the kernel {} has no modules", self.kernel.name)
        };
        module::resolve(tree, &self.modules)
    }
}

fn read_log(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// Leaves a log where people can look at it: `target/vm/6.12.console.log`.
fn keep_log(logs: &Path, name: &str, kind: &str, text: &str) {
    // A log that cannot be kept is in the report all the same.
    let _ = fs::write(logs.join(format!("{name}.{kind}")), text);
}
