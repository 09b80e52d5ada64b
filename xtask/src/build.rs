//! `cargo xtask build`: the eBPF object, oomtrace with it inside, and the test scenarios.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::{lines, process, setup, toolchain, workspace};

/// Names a prebuilt eBPF object; also how oomtrace's build script gets the one that we built.
const OBJECT_VARIABLE: &str = "OOMTRACE_EBPF_OBJECT";

/// What `cargo xtask build` can be told.
#[derive(clap::Args)]
pub struct Args {
    /// Compile oomtrace and the scenarios without optimisation (the eBPF half always needs it)
    #[arg(long)]
    debug: bool,
}

/// What a build made.
#[derive(Clone, Debug)]
pub struct Built {
    /// The eBPF object file.
    pub object: PathBuf,
    /// The oomtrace binary.
    pub oomtrace: PathBuf,
    /// The binary that provokes OOM kills for tests.
    pub scenarios: PathBuf,
}

/// Builds, and prints what was built.
pub fn main(args: &Args) -> Result<()> {
    let started = Instant::now();
    let built = build(args.debug)?;
    for file in [&built.object, &built.oomtrace, &built.scenarios] {
        let size = fs::metadata(file).with_context(|| format!("cannot look at {}", file.display()))?.len();
        let shown = file.strip_prefix(workspace::root()).unwrap_or(file);
        println!("{:>7} KiB  {}", size.div_ceil(1024), shown.display());
    }
    println!("built in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Builds everything; quick when nothing has changed.
pub fn build(debug: bool) -> Result<Built> {
    let object = object()?;
    let with_libc = libc_is_at_hand();
    for (package, bin) in [("oomtrace", "oomtrace"), ("oomtrace-tests", "scenarios")] {
        let mut cargo = process::cargo();
        cargo.env(OBJECT_VARIABLE, &object).args(["rustc", "--package", package, "--bin", bin]);
        if !debug {
            cargo.arg("--release");
        }
        if with_libc {
            cargo.args(["--", "--codegen", "target-feature=+crt-static"]);
        }
        process::inherit(&mut cargo).with_context(|| format!("{bin} does not build"))?;
    }
    let built = installed(debug);
    Ok(Built { object, ..built })
}

/// Whether the C library can be linked into a program, which then starts sooner, holds less memory and runs on any
/// distribution. (Not by RUSTFLAGS: those are for procedural macros too, which are libraries themselves.)
fn libc_is_at_hand() -> bool {
    const ARCHIVE: &str = "libc.a";
    // What it does not find, it prints as it was asked for.
    let found = process::output(Command::new("cc").arg(format!("-print-file-name={ARCHIVE}")));
    found.is_ok_and(|place| place.trim() != ARCHIVE)
}

/// Where a build puts its results, whether they are there or not.
pub fn installed(debug: bool) -> Built {
    let target = workspace::target_dir();
    let bin = target.join(if debug { "debug" } else { "release" });
    Built {
        object: target.join("oomtrace-ebpf.o"),
        oomtrace: bin.join("oomtrace"),
        scenarios: bin.join("scenarios"),
    }
}

/// The eBPF object: the one that the user names, or a new one.
fn object() -> Result<PathBuf> {
    if let Some(named) = env::var_os(OBJECT_VARIABLE).filter(|value| !value.is_empty()) {
        let named = Path::new(&named);
        let path = named.canonicalize().with_context(|| {
            format!("{OBJECT_VARIABLE} names {}, which cannot be opened", named.display())
        })?;
        check_object(&path)?;
        return Ok(path);
    }
    let toolchain = setup::bpf_toolchain()?;
    let target = workspace::target_dir();
    // A folder of its own: the two cargos would throw away each other's work.
    let bpf_target = target.join("bpf");
    let mut cargo = toolchain.cargo_build()?;
    cargo.current_dir(workspace::root()).args(["--package", "oomtrace-ebpf", "--bin", "oomtrace-ebpf"]);
    cargo.arg("--target-dir").arg(&bpf_target);
    process::inherit(&mut cargo)
        .with_context(|| format!("the eBPF half does not build with {}", toolchain.describe()))?;
    let made = bpf_target.join(toolchain::TARGET).join("release/oomtrace-ebpf");
    check_object(&made)?;
    let place = installed(false).object;
    match toolchain.strip() {
        // Four fifths of the object are debug info, from which the linker has made the BTF that is needed.
        Some(strip) => {
            let stripped = bpf_target.join("oomtrace-ebpf.stripped");
            process::output(Command::new(strip).arg("--strip-debug").arg(&made).arg("-o").arg(&stripped))?;
            check_object(&stripped)?;
            install(&stripped, &place)?;
        }
        None => install(&made, &place)?,
    }
    Ok(place)
}

/// Refuses what oomtrace could not load: a file that is not a BPF object, or one without type information.
fn check_object(path: &Path) -> Result<()> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    // ELF, 64 bits, little-endian; the machine (EM_BPF) stands at offset 18.
    let bpf = bytes.starts_with(b"\x7fELF\x02\x01") && bytes.get(18..20) == Some(&247u16.to_le_bytes());
    ensure!(bpf, "{} is not an eBPF object", path.display());
    // The names may be tails of longer ones (".rel.BTF") in the table of section names.
    for section in [b".BTF\0".as_slice(), b".BTF.ext\0"] {
        if !bytes.windows(section.len()).any(|window| window == section) {
            bail!(
                "{} lacks BTF: it was built without debug info or without bpf-linker's --btf",
                path.display()
            );
        }
    }
    Ok(())
}

/// Copies what was built, without the lines.
fn install(from: &Path, to: &Path) -> Result<()> {
    let mut object = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    lines::leave_out(&mut object).with_context(|| format!("{} cannot be used", from.display()))?;
    write_if_changed(&object, to)
}

/// Writes in one step, and leaves an equal file alone so that cargo does not rebuild what embeds it.
fn write_if_changed(bytes: &[u8], to: &Path) -> Result<()> {
    if fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let temporary = to.with_extension(format!("o.{}", std::process::id()));
    fs::write(&temporary, bytes).with_context(|| format!("cannot write {}", temporary.display()))?;
    fs::rename(&temporary, to).with_context(|| format!("cannot write {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that an unchanged object keeps its time, on which cargo decides whether to rebuild.
    #[test]
    fn an_equal_copy_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("b.o");
        write_if_changed(b"one", &to).unwrap();
        let before = fs::metadata(&to).unwrap().modified().unwrap();
        write_if_changed(b"one", &to).unwrap();
        assert_eq!(fs::metadata(&to).unwrap().modified().unwrap(), before);
        write_if_changed(b"two", &to).unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), "two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a temporary file stayed behind");
    }

    /// Guards that a native binary or a stripped object is refused before it is embedded.
    #[test]
    fn only_bpf_objects_with_types_pass() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("o");
        let mut object = b"\x7fELF\x02\x01\x01".to_vec();
        object.resize(18, 0);
        object.extend(247u16.to_le_bytes());
        fs::write(&path, &object).unwrap();
        assert!(check_object(&path).unwrap_err().to_string().contains("lacks BTF"));
        object.extend(b".rel.BTF\0.rel.BTF.ext\0");
        fs::write(&path, &object).unwrap();
        check_object(&path).unwrap();
        object[18] = 62;
        fs::write(&path, &object).unwrap();
        assert!(check_object(&path).unwrap_err().to_string().contains("not an eBPF object"));
    }
}
