//! Puts the eBPF object into the program, where one was built: `cargo xtask build` does, and names it in
//! `OOMTRACE_EBPF_OBJECT`, as a packager may. Without one the program still builds and replays, so that
//! `cargo check` and the unit tests need no BPF toolchain; asked to trace, it says what is missing.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=OOMTRACE_EBPF_OBJECT");
    let Some(out) = env::var_os("OUT_DIR") else { panic!("cargo sets OUT_DIR for build scripts") };
    let embedded = PathBuf::from(out).join("oomtrace.bpf.o");
    let object = match env::var_os("OOMTRACE_EBPF_OBJECT") {
        Some(object) => {
            println!("cargo::rerun-if-changed={}", PathBuf::from(&object).display());
            fs::read(&object).unwrap_or_else(|error| {
                panic!("OOMTRACE_EBPF_OBJECT names {}: {error}", PathBuf::from(&object).display())
            })
        }
        None => Vec::new(),
    };
    if let Err(error) = fs::write(&embedded, object) {
        panic!("{}: {error}", embedded.display());
    }
}
