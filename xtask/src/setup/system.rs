//! Packages installed into the system itself: only the compiler and LLVM, and only on Debian as root.

use std::process::Command;

use anyhow::{Context, Result};

use crate::host::{self, Distribution, Host};
use crate::{apt, process, progress};

/// Whether we may install packages here.
pub fn can_install(host: &Host) -> bool {
    host.distribution == Distribution::Debian && host::is_root() && apt::available()
}

/// Debian's own Rust with a compiled core for BPF (the newer one that its browser packages need).
pub fn install_compiler() -> Result<()> {
    install(&["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"])
}

/// What bpf-linker links against.
pub fn install_llvm(llvm: u32) -> Result<()> {
    install(&[format!("llvm-{llvm}-dev").as_str(), "zlib1g-dev", "libzstd-dev"])
}

fn install(names: &[&str]) -> Result<()> {
    let missing = apt::missing(names)?;
    if missing.is_empty() {
        return Ok(());
    }
    progress::step(&format!("Installing {}", missing.join(", ")), || {
        let apt_get = || {
            let mut command = Command::new("apt-get");
            command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
            command
        };
        process::output(apt_get().arg("update"))?;
        // Nothing that is installed may have to go for it.
        let options = ["install", "--yes", "--no-install-recommends", "--no-remove"];
        process::output(apt_get().args(options).args(&missing)).map(drop)
    })
    .context("apt-get could not install what the eBPF half is built with")
}
