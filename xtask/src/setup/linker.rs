//! bpf-linker, built once for the compiler's LLVM.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::toolchain::{LINKER_VERSION, linker_root};
use crate::{cache, process, progress};

/// Whether LLVM's development files are installed.
pub fn possible(llvm: u32) -> bool {
    prefix(llvm).join("include/llvm-c").exists() || prefix(llvm).join("bin/llvm-config").exists()
}

fn prefix(llvm: u32) -> PathBuf {
    format!("/usr/lib/llvm-{llvm}").into()
}

/// Builds bpf-linker into the cache.
pub fn build(llvm: u32) -> Result<()> {
    let staging = cache::staging()?;
    let features = format!("llvm-{llvm}");
    progress::step(&format!("Building bpf-linker {LINKER_VERSION} for LLVM {llvm}"), || {
        let mut cargo = Command::new("cargo");
        cargo.args(["install", "bpf-linker", "--version", LINKER_VERSION, "--locked"]);
        cargo.args(["--no-default-features", "--features", &features]);
        cargo.arg("--root").arg(staging.path().join("root"));
        cargo.arg("--target-dir").arg(staging.path().join("target"));
        // Without it, the linker is not told where libLLVM lies.
        cargo.env("LLVM_PREFIX", prefix(llvm));
        for name in ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "CARGO_BUILD_TARGET"] {
            cargo.env_remove(name);
        }
        process::output(&mut cargo).map(drop)
    })
    .with_context(|| format!("bpf-linker {LINKER_VERSION} does not build against LLVM {llvm}"))?;
    cache::install(&staging.path().join("root"), &linker_root(llvm)?)
}
