//! `cargo xtask setup`: finds or installs what the build and the virtual machines need. The other subcommands call
//! the same functions for just what they need, so setup itself is never required.

mod busybox;
mod debootstrap;
mod instructions;
mod linker;
mod qemu;
mod stress_ng;
mod system;

use anyhow::{Result, bail};

use crate::host::Host;
use crate::toolchain::{Missing, Toolchain};
use crate::vm::kernel::{self, Kernel, Wanted};
use crate::vm::{debian, package};
use crate::{apt, cache};
pub use debootstrap::Debootstrap;
pub use qemu::Qemu;
pub use stress_ng::StressNg;

/// What `cargo xtask setup` can be told.
#[derive(clap::Args)]
pub struct Args {
    /// Replace the kernels, QEMU and guest packages in the cache where there are newer ones
    #[arg(long)]
    update: bool,
    /// The kernels to have at hand: series (6.12) or exact versions (5.10.223)
    #[arg(long, value_delimiter = ',', default_value = kernel::DEFAULT)]
    kernel: Vec<Wanted>,
}

/// Makes sure that everything is there, and says where.
pub fn main(args: &Args) -> Result<()> {
    let toolchain = bpf_toolchain()?;
    println!("BPF compiler  {}", toolchain.describe());
    if args.update {
        let _lock = cache::lock()?;
        apt::Archive::expire_all()?;
        let host = Host::detect();
        qemu::update(&host)?;
        busybox::update(&host)?;
        package::forget_all()?;
        debootstrap::forget()?;
        stress_ng::forget()?;
        debian::forget_all()?;
    }
    let machine = virtual_machine()?;
    println!("QEMU          {}", machine.qemu.describe());
    println!("busybox       {}", machine.busybox.display());
    match package::runc() {
        Ok(runc) => println!("runc          {}", runc.display()),
        Err(err) => println!("runc          none, so one scenario is skipped: {err:#}"),
    }
    match package::earlyoom() {
        Ok(earlyoom) => println!("earlyoom      {}", earlyoom.display()),
        Err(err) => println!("earlyoom      none, so one scenario does without: {err:#}"),
    }
    match package::prometheus() {
        Ok(folder) => println!("prometheus    {}", folder.join("prometheus").display()),
        Err(err) => {
            println!("prometheus    none, so one scenario and the check of rules are skipped: {err:#}");
        }
    }
    match StressNg::get() {
        Ok(stress_ng) => println!("stress-ng     {}", stress_ng.program().display()),
        Err(err) => println!(
            "stress-ng     none, so scenarios of `oomtrace run` do not run here, and are skipped in guests: {err:#}"
        ),
    }
    match debian::tree() {
        Ok(tree) => println!("systemd       {}", tree.display()),
        Err(err) => println!("systemd       none, so the test of the service is skipped: {err:#}"),
    }
    let mut unavailable = Vec::new();
    for wanted in &args.kernel {
        match kernel(wanted, args.update) {
            Ok(kernel) => println!("Linux {:<7} {} ({})", wanted.to_string(), kernel.version, kernel.release),
            Err(err) => unavailable.push(format!("{err:#}")),
        }
    }
    if unavailable.is_empty() { Ok(()) } else { bail!("{}", unavailable.join("\n")) }
}

/// The BPF toolchain, installed first where it is missing and we may.
pub fn bpf_toolchain() -> Result<Toolchain> {
    if let Ok(toolchain) = Toolchain::find()? {
        return Ok(toolchain);
    }
    let _lock = cache::lock()?;
    let host = Host::detect();
    // Two steps at most: the compiler, and then the linker for the LLVM that this compiler brought.
    for _ in 0..2 {
        match Toolchain::find()? {
            Ok(toolchain) => return Ok(toolchain),
            Err(Missing::Compiler) if system::can_install(&host) => system::install_compiler()?,
            Err(Missing::Linker { llvm }) if system::can_install(&host) => {
                system::install_llvm(llvm)?;
                linker::build(llvm)?;
            }
            // LLVM's development files are all that takes a privilege.
            Err(Missing::Linker { llvm }) if linker::possible(llvm) => linker::build(llvm)?,
            Err(missing) => bail!("{}", instructions::bpf(&host, missing)),
        }
    }
    match Toolchain::find()? {
        Ok(toolchain) => Ok(toolchain),
        Err(missing) => bail!("{}", instructions::bpf(&host, missing)),
    }
}

/// What a guest needs besides a kernel.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The emulator.
    pub qemu: Qemu,
    /// The busybox that becomes the guest's whole userland.
    pub busybox: std::path::PathBuf,
}

/// QEMU and busybox, downloaded first where they are missing.
pub fn virtual_machine() -> Result<Machine> {
    let found = (qemu::find()?, busybox::find()?);
    if let (Some(qemu), Some(busybox)) = found {
        return Ok(Machine { qemu, busybox });
    }
    let _lock = cache::lock()?;
    let host = Host::detect();
    let qemu = qemu::find()?.map_or_else(|| qemu::download(&host), Ok);
    let busybox = busybox::find()?.map_or_else(|| busybox::download(&host), Ok);
    match (qemu, busybox) {
        (Ok(qemu), Ok(busybox)) => Ok(Machine { qemu, busybox }),
        (Err(err), _) | (_, Err(err)) => bail!("{err:#}; {}", instructions::machine(&host)),
    }
}

/// A kernel, downloaded first where it is missing, or a newer one of its series when `update` is set.
pub fn kernel(wanted: &Wanted, update: bool) -> Result<Kernel> {
    if !update && let Some(kernel) = kernel::cached(wanted)? {
        return Ok(kernel);
    }
    let _lock = cache::lock()?;
    // Another process may have fetched it while we waited.
    match kernel::cached(wanted)? {
        Some(kernel) if !update => Ok(kernel),
        _ => kernel::download(wanted),
    }
}
