//! The shared libraries that a program needs to start.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The libraries of a program on this machine and its ELF interpreter; none for a static program or another file.
pub fn of(program: &Path) -> Result<Vec<PathBuf>> {
    let mut magic = [0; 4];
    let mut file = File::open(program).with_context(|| format!("cannot open {}", program.display()))?;
    if file.read_exact(&mut magic).is_err() || magic != *b"\x7fELF" {
        return Ok(Vec::new());
    }
    // An outer cargo's search path would show libraries that the guest does not look for.
    let output = Command::new("ldd")
        .arg(program)
        .env_remove("LD_LIBRARY_PATH")
        .env("LC_ALL", "C")
        .output()
        .context("cannot run ldd")?;
    parse(&String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("{} cannot be taken into a guest", program.display()))
}

fn parse(ldd: &str) -> Result<Vec<PathBuf>> {
    let mut libraries = Vec::new();
    for line in ldd.lines().map(str::trim) {
        if let Some(name) = line.strip_suffix("=> not found") {
            bail!("it needs the library {}, which is not installed", name.trim());
        }
        // "libc.so.6 => /lib/libc.so.6 (0x7f..)", or the interpreter's "/lib64/ld-linux-x86-64.so.2 (0x7f..)"
        let path = line.split_once("=> ").map_or(line, |(_, path)| path);
        if let Some((path, _)) = path.split_once(" (0x")
            && path.starts_with('/')
        {
            libraries.push(path.into());
        }
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that the interpreter is taken along and the kernel's own vdso is not.
    #[test]
    fn reads_ldd() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/libc.so.6 (0x00007f9e)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f9e)\n";
        assert_eq!(
            parse(text).unwrap(),
            [PathBuf::from("/lib/libc.so.6"), "/lib64/ld-linux-x86-64.so.2".into()]
        );
        assert_eq!(parse("\tstatically linked\n").unwrap(), [] as [PathBuf; 0]);
    }

    /// Guards that a missing library is an error here, not a riddle inside the guest.
    #[test]
    fn a_missing_library_is_named() {
        let err = parse("\tlibslirp.so.0 => not found\n").unwrap_err();
        assert!(err.to_string().contains("libslirp.so.0"), "{err}");
    }
}
