//! `cargo xtask vm`: runs a command under other kernels, in virtual machines that live for this command only.

mod boot;
mod console;
mod cpio;
pub mod debian;
mod guest;
mod initramfs;
pub mod kernel;
pub mod libraries;
mod module;
pub mod package;
mod relay;
mod report;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::{build, setup};
pub use guest::{Guest, Userland};
use kernel::{Kernel, Wanted};
pub use relay::Output;
pub use report::{End, Report};

/// What `cargo xtask vm` can be told.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own on the command line")]
pub struct Args {
    /// The kernels: series (6.12: the newest of it) or exact versions (5.10.223)
    #[arg(long, value_delimiter = ',', default_value = kernel::DEFAULT)]
    kernel: Vec<Wanted>,
    /// A kernel of your own (a vmlinuz file), in place of those
    #[arg(long, value_name = "FILE", conflicts_with = "kernel")]
    kernel_image: Option<PathBuf>,
    /// The memory of each guest in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    memory: u32,
    /// The processors of each guest
    #[arg(long, value_name = "N", default_value_t = 2)]
    cpus: u32,
    /// Let time pass by executed instructions (one processor), for measurements that repeat
    #[arg(long)]
    icount: bool,
    /// Copy a file or folder into the guest, programs with their libraries
    #[arg(long, value_name = "HOST:GUEST", value_parser = parse_copy)]
    copy: Vec<(PathBuf, PathBuf)>,
    /// Unpack a Debian package in the guest, with all that it depends on
    #[arg(long, value_name = "DEBIAN_PACKAGE")]
    package: Vec<String>,
    /// Insert a kernel module first, with those that it needs (`zram`, or `zram num_devices=2`)
    #[arg(long, value_name = "NAME")]
    module: Vec<String>,
    /// Bring back what the command leaves in /artifacts, to DIR/KERNEL/
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
    /// How long each guest may take
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
    /// A further argument of the kernel
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    append: Vec<String>,
    /// A further argument of QEMU
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    qemu: Vec<String>,
    /// The kernel has to panic; the exit status is then 0. With --systemd it starts again, and the command with it
    #[arg(long)]
    expect_panic: bool,
    /// A Debian with systemd in place of busybox: a unit runs the command
    #[arg(long, conflicts_with_all = ["icount", "package"])]
    systemd: bool,
    /// Enable a unit in it (`--copy` brings the file)
    #[arg(long, value_name = "UNIT", requires = "systemd")]
    enable: Vec<String>,
    /// How many guests run at a time [default: one for every two processors, two at least]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Do not build; take oomtrace and the scenarios along as they are, if they are there
    #[arg(long)]
    no_build: bool,
    /// The command, run as root by a shell, with oomtrace, scenarios and all of busybox on its PATH
    #[arg(required = true, trailing_var_arg = true)]
    command: Vec<OsString>,
}

fn parse_copy(text: &str) -> Result<(PathBuf, PathBuf), String> {
    match text.rsplit_once(':') {
        Some((host, guest)) if !host.is_empty() && guest.starts_with('/') => Ok((host.into(), guest.into())),
        _ => Err("expected HOST:GUEST, the latter from the root on, such as ./tool:/usr/bin/tool".into()),
    }
}

/// Runs the command under each kernel. The exit status is the first in the order of the kernels that is not 0.
pub fn main(args: &Args) -> Result<ExitCode> {
    let mut copies = args.copy.clone();
    copies.extend(binaries(args.no_build)?);
    let machine = setup::virtual_machine()?;
    let kernels = match &args.kernel_image {
        Some(image) => vec![Kernel::from_image(image)?],
        None => args.kernel.iter().map(|wanted| setup::kernel(wanted, false)).collect::<Result<_>>()?,
    };
    let guests: Vec<Guest> = kernels.into_iter().map(|kernel| guest(args, kernel, &copies)).collect();
    let output = if guests.len() > 1 { Output::Prefix } else { Output::Forward };
    let reports = for_each(&guests, args.jobs.unwrap_or_else(jobs), |guest| {
        let report = guest.run(&machine, &output);
        summarise(guest, &report, guests.len() > 1);
        report
    });
    let mut code = 0;
    for (guest, report) in guests.iter().zip(reports) {
        let status = report.and_then(|report| report.status()).unwrap_or_else(|err| {
            eprintln!("error: [{}] {err:#}", guest.kernel.name);
            1
        });
        if code == 0 {
            code = u8::try_from(status).unwrap_or(1);
        }
    }
    Ok(ExitCode::from(code))
}

fn guest(args: &Args, kernel: Kernel, copies: &[(PathBuf, PathBuf)]) -> Guest {
    Guest {
        memory: args.memory,
        cpus: args.cpus,
        icount: args.icount,
        patient: false,
        append: args.append.clone(),
        qemu: args.qemu.clone(),
        timeout: Duration::from_secs(args.timeout),
        copies: copies.to_vec(),
        packages: args.package.clone(),
        modules: args.module.clone(),
        artifacts: args.artifacts.as_ref().map(|dir| dir.join(&kernel.name)),
        expect_panic: args.expect_panic,
        userland: if args.systemd {
            Userland::Systemd { enabled: args.enable.clone() }
        } else {
            Userland::Busybox
        },
        command: args.command.clone(),
        kernel,
    }
}

/// oomtrace and the scenarios, and their places in a guest.
fn binaries(no_build: bool) -> Result<Vec<(PathBuf, PathBuf)>> {
    let built = if no_build { build::installed(false) } else { build::build(false)? };
    let both = [(built.oomtrace, "/usr/bin/oomtrace"), (built.scenarios, "/usr/bin/scenarios")];
    Ok(both.into_iter().filter(|(file, _)| file.is_file()).map(|(file, to)| (file, to.into())).collect())
}

fn summarise(guest: &Guest, report: &Result<Report>, always: bool) {
    if let Ok(report) = report
        && (always || report.attempts > 1)
    {
        let end = match &report.end {
            End::Exited(status) => format!("exit status {status}"),
            End::Panicked => "panicked as expected".into(),
            End::Failed(_) => "failed".into(),
        };
        let Kernel { name, version, .. } = &guest.kernel;
        let (boot, whole) = (report.boot.as_secs_f64(), report.elapsed.as_secs_f64());
        eprintln!("[{name}] Linux {version}: {end}; init after {boot:.1} s, {whole:.1} s in all");
    }
}

/// How many guests of two processors this machine can run side by side; two guests even on two processors, since
/// half of a boot is spent waiting.
pub fn jobs() -> usize {
    thread::available_parallelism().map_or(2, |cpus| (cpus.get() / 2).max(2))
}

/// Does the work for each item, some side by side; the results are in the order of the items.
pub fn for_each<T: Sync, R: Send>(
    items: &[T],
    jobs: usize,
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Vec<Result<R>> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<Result<R>>>> = items.iter().map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                while let Some((item, result)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    items.get(at).zip(results.get(at))
                } {
                    let done = work(item);
                    *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
                }
            });
        }
    });
    let unwrap = |slot: Mutex<Option<Result<R>>>| {
        let result = slot.into_inner().unwrap_or_else(PoisonError::into_inner);
        result.context("the work was never done").and_then(|result| result)
    };
    results.into_iter().map(unwrap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    /// Guards the order of results, and that an error stays with its item.
    #[test]
    fn results_keep_the_order_of_the_items() {
        let results = for_each(&[30u64, 0, 10], 2, |wait| {
            thread::sleep(Duration::from_millis(*wait));
            if *wait == 0 {
                bail!("zero")
            }
            Ok(*wait)
        });
        let texts: Vec<String> =
            results.into_iter().map(|r| r.map_or_else(|e| e.to_string(), |n| n.to_string())).collect();
        assert_eq!(texts, ["30", "zero", "10"]);
    }

    /// Guards the split of --copy, whose host part may hold a colon itself.
    #[test]
    fn copies_are_split_at_the_last_colon() {
        assert_eq!(parse_copy("a:b:/c").unwrap(), (PathBuf::from("a:b"), PathBuf::from("/c")));
        assert!(parse_copy("a").is_err() && parse_copy("a:b").is_err() && parse_copy(":/b").is_err());
    }
}
