//! Finds a Rust toolchain that compiles for the kernel's BPF machine, and the linker that goes with it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{cache, process};

/// rustc's name of the target.
pub const TARGET: &str = "bpfel-unknown-none";
/// The version of bpf-linker that setup builds.
pub const LINKER_VERSION: &str = "0.13.0";

/// Variables of an outer `cargo run` or rustup that would make an inner cargo use the wrong compiler or flags.
const OUTER: [&str; 11] = [
    "CARGO",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_MANIFEST_DIR",
    "LD_LIBRARY_PATH",
    "RUSTC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

/// A toolchain that compiles for [`TARGET`].
#[derive(Debug)]
pub struct Toolchain {
    rustc: PathBuf,
    cargo: PathBuf,
    core: Core,
    linker: PathBuf,
    llvm: u32,
}

/// Where the BPF target's `core` comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Core {
    /// It lies compiled in the toolchain's sysroot.
    Prebuilt,
    /// Cargo compiles it from the toolchain's rust-src component (nightly only).
    FromSource,
}

/// What is still missing to compile for [`TARGET`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No compiler has the target.
    Compiler,
    /// There is a compiler with this version of LLVM, and no bpf-linker for it.
    Linker {
        /// LLVM's major version.
        llvm: u32,
    },
}

impl Toolchain {
    /// The first that is complete of: the compiler that `OOMTRACE_BPF_RUSTC` (and `OOMTRACE_BPF_CARGO`) names; one
    /// whose sysroot has the target; a nightly of rustup with its rust-src component.
    pub fn find() -> Result<Result<Self, Missing>> {
        let Some((rustc, cargo, core)) = find_compiler()? else { return Ok(Err(Missing::Compiler)) };
        let llvm = llvm_major(&rustc)?;
        Ok(match find_linker(llvm)? {
            Some(linker) => Ok(Self { rustc, cargo, core, linker, llvm }),
            None => Err(Missing::Linker { llvm }),
        })
    }

    /// A `cargo build --release` for the target, with the flags that eBPF needs; the caller adds what to build.
    pub fn cargo_build(&self) -> Result<Command> {
        let mut command = clean(&self.cargo);
        command.args(["build", "--release", "--target", TARGET]);
        // bpf-linker makes BTF out of the debug info; aya-ebpf asks for the architecture whose registers it reads.
        let flags = ["--cfg=bpf_target_arch=\"x86_64\"", "-Cdebuginfo=2", "-Clink-arg=--btf"];
        command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        command.env("RUSTC", &self.rustc);
        match self.core {
            // A stable compiler, and inline assembly for BPF is unstable: allowed in the crates that have some.
            Core::Prebuilt => command.env("RUSTC_BOOTSTRAP", "aya_ebpf,oomtrace_ebpf"),
            Core::FromSource => command.args(["-Z", "build-std=core"]),
        };
        if let Some(dir) = self.linker.parent() {
            command.env("PATH", process::path_with(dir)?);
        }
        Ok(command)
    }

    /// LLVM's own strip, if it is installed: it knows that BTF is not debug info.
    pub fn strip(&self) -> Option<PathBuf> {
        let ours = PathBuf::from(format!("/usr/lib/llvm-{}/bin/llvm-strip", self.llvm));
        if ours.is_file() { Some(ours) } else { process::find("llvm-strip") }
    }

    /// The compiler, for people to read.
    pub fn describe(&self) -> String {
        let how = match self.core {
            Core::Prebuilt => "",
            Core::FromSource => ", core built from source",
        };
        format!("{}{how}", self.rustc.display())
    }
}

fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for name in OUTER {
        command.env_remove(name);
    }
    command
}

fn find_compiler() -> Result<Option<(PathBuf, PathBuf, Core)>> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(rustc) = set("OOMTRACE_BPF_RUSTC") {
        let cargo = set("OOMTRACE_BPF_CARGO").unwrap_or_else(|| rustc.with_file_name("cargo"));
        let sysroot = sysroot(&rustc).context("OOMTRACE_BPF_RUSTC does not name a working rustc")?;
        let Some(core) = core_in(&sysroot, true) else {
            bail!(
                "OOMTRACE_BPF_RUSTC names {}, whose sysroot {} has neither {TARGET} nor the rust-src component",
                rustc.display(),
                sysroot.display()
            );
        };
        return Ok(Some((rustc, cargo, core)));
    }
    let mut found: Vec<(PathBuf, PathBuf, Core)> = Vec::new();
    let system = Path::new("/usr/bin/rustc");
    if system.is_file() && Path::new("/usr/bin/cargo").is_file() {
        found.extend(
            core_in(&sysroot(system)?, false).map(|core| (system.into(), "/usr/bin/cargo".into(), core)),
        );
    }
    if process::find("rustup").is_some() {
        let list = process::output(clean(Path::new("rustup")).args(["toolchain", "list", "-v"]))?;
        for (dir, nightly) in rustup_toolchains(&list) {
            let bin = dir.join("bin");
            found.extend(core_in(&dir, nightly).map(|core| (bin.join("rustc"), bin.join("cargo"), core)));
        }
    }
    // A compiled core first: it needs no nightly and no compilation.
    found.sort_by_key(|(_, _, core)| *core == Core::FromSource);
    Ok(found.into_iter().next())
}

fn sysroot(rustc: &Path) -> Result<PathBuf> {
    Ok(process::output(clean(rustc).args(["--print", "sysroot"]))?.trim().into())
}

fn core_in(sysroot: &Path, unstable: bool) -> Option<Core> {
    let rustlib = sysroot.join("lib/rustlib");
    if rustlib.join(TARGET).is_dir() {
        Some(Core::Prebuilt)
    } else if unstable && rustlib.join("src/rust/library/core").is_dir() {
        Some(Core::FromSource)
    } else {
        None
    }
}

/// The folders in the output of `rustup toolchain list -v`, and whether each is a nightly.
fn rustup_toolchains(list: &str) -> Vec<(PathBuf, bool)> {
    let line = |line: &str| {
        // "nightly-x86_64-unknown-linux-gnu (active, default) /path/to/it"
        let (name, rest) = line.split_once(char::is_whitespace)?;
        let path = rest.get(rest.find('/')?..)?.trim();
        Some((PathBuf::from(path), name.starts_with("nightly")))
    };
    list.lines().filter_map(line).collect()
}

fn llvm_major(rustc: &Path) -> Result<u32> {
    let version = process::output(clean(rustc).arg("-vV"))?;
    parse_llvm_major(&version).with_context(|| format!("{} does not say which LLVM it uses", rustc.display()))
}

fn parse_llvm_major(version: &str) -> Option<u32> {
    let version = version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()?.trim().parse().ok()
}

/// Where setup puts the bpf-linker for that LLVM.
pub fn linker_root(llvm: u32) -> Result<PathBuf> {
    cache::path(format!("bpf-linker-{LINKER_VERSION}-llvm{llvm}"))
}

fn find_linker(llvm: u32) -> Result<Option<PathBuf>> {
    let ours = linker_root(llvm)?.join("bin/bpf-linker");
    // The user's own comes second, since it may be built for another LLVM.
    Ok(if ours.is_file() { Some(ours) } else { process::find("bpf-linker") })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that rustup's table is understood, with and without a remark between name and path.
    #[test]
    fn reads_rustups_list() {
        let list =
            "stable-x86_64-unknown-linux-gnu (active, default) /r/stable\nnightly-2026-01-02-x86_64 /r/n\n";
        assert_eq!(rustup_toolchains(list), [("/r/stable".into(), false), ("/r/n".into(), true)]);
        assert_eq!(rustup_toolchains("no installed toolchains\n"), []);
    }

    /// Guards that the linker is matched to the compiler's LLVM.
    #[test]
    fn reads_the_llvm_version() {
        assert_eq!(parse_llvm_major("rustc 1.96.0\nrelease: 1.96.0\nLLVM version: 22.1.8\n"), Some(22));
        assert_eq!(parse_llvm_major("rustc 1.96.0\n"), None);
    }

    /// Guards the choice between a compiled core and rust-src, which a stable compiler cannot use.
    #[test]
    fn a_compiled_core_wins() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(core_in(dir.path(), true), None);
        std::fs::create_dir_all(dir.path().join("lib/rustlib/src/rust/library/core")).unwrap();
        assert_eq!(core_in(dir.path(), false), None);
        assert_eq!(core_in(dir.path(), true), Some(Core::FromSource));
        std::fs::create_dir_all(dir.path().join("lib/rustlib").join(TARGET)).unwrap();
        assert_eq!(core_in(dir.path(), true), Some(Core::Prebuilt));
    }
}
