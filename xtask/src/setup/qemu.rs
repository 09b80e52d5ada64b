//! QEMU for the guests: unpacked into the cache, or the system's own.
//!
//! QEMU 10 or newer is wanted: under TCG, 7.2 panics guests at random in their early boot.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::apt::Release;
use crate::host::Host;
use crate::{apt, cache, process, progress};

const PROGRAM: &str = "qemu-system-x86_64";
/// The first major version that boots guests reliably under TCG.
const RELIABLE: u32 = 10;

/// An emulator and how to start it.
#[derive(Clone, Debug)]
pub struct Qemu {
    program: PathBuf,
    /// The tree that it was unpacked into, when it is not installed.
    root: Option<PathBuf>,
    version: String,
}

impl Qemu {
    /// A command that starts it; the caller adds the machine. It is killed when the thread that starts it ends, so
    /// that no guest outlives us. A patient one takes what time others leave.
    pub fn command(&self, patient: bool) -> Command {
        let mut words: Vec<OsString> = Vec::new();
        if patient {
            words.extend(["nice", "-n", "19"].map(Into::into));
        }
        if let Some(setpriv) = process::find("setpriv") {
            words.push(setpriv.into());
            words.extend(["--pdeathsig", "KILL", "--"].map(Into::into));
        }
        words.push((&self.program).into());
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        if let Some(root) = &self.root {
            let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|dir| root.join(dir));
            // Our cache's path cannot contain a colon that separates two folders: apt would have refused it.
            command.env("LD_LIBRARY_PATH", env::join_paths(libraries).unwrap_or_default());
            command.arg("-L").arg(root.join("usr/share/qemu"));
            command.arg("-L").arg(root.join("usr/share/seabios"));
        } else {
            command.env_remove("LD_LIBRARY_PATH");
        }
        command
    }

    /// The value of `-cpu` under TCG.
    pub fn cpu(&self) -> &'static str {
        // 7.2 miscompiles the guest's cmpxchg16b.
        if major(&self.version) < RELIABLE { "max,-cx16" } else { "max" }
    }

    /// Version and place, for people to read.
    pub fn describe(&self) -> String {
        format!("{} ({})", self.version, self.program.display())
    }

    fn probe(program: PathBuf, root: Option<PathBuf>) -> Result<Self> {
        let mut qemu = Self { program, root, version: String::new() };
        let text = process::output(qemu.command(false).arg("--version"))?;
        let Some(version) = parse_version(&text) else {
            bail!("{} does not tell its version", qemu.program.display());
        };
        version.clone_into(&mut qemu.version);
        Ok(qemu)
    }
}

fn parse_version(text: &str) -> Option<&str> {
    text.lines().next()?.strip_prefix("QEMU emulator version ")?.split(' ').next()
}

fn major(version: &str) -> u32 {
    version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0)
}

/// The cache's QEMU, else the system's if it is new enough, else the system's if we could not download another.
pub fn find() -> Result<Option<Qemu>> {
    let root = cache::path("qemu")?;
    let program = root.join("usr/bin").join(PROGRAM);
    if program.is_file() {
        return Qemu::probe(program, Some(root)).map(Some);
    }
    let Some(program) = process::find(PROGRAM) else { return Ok(None) };
    let qemu = Qemu::probe(program, None)?;
    Ok((major(&qemu.version) >= RELIABLE || !apt::available()).then_some(qemu))
}

/// Replaces the cache's QEMU, if it has one.
pub fn update(host: &Host) -> Result<()> {
    if cache::path("qemu")?.exists() { download(host).map(drop) } else { Ok(()) }
}

/// Unpacks the newest QEMU that this Debian release has (backports included) into the cache.
pub fn download(host: &Host) -> Result<Qemu> {
    let unpacked = progress::step("Downloading QEMU", || {
        let release = Release::of(host)?;
        let staging = cache::staging()?;
        let root = staging.path().join("root");
        let prefer = release.backports();
        release.for_host()?.unpack_with_dependencies(&["qemu-system-x86"], prefer.as_deref(), &root)?;
        // Proves that nothing is missing before it takes its place.
        Qemu::probe(root.join("usr/bin").join(PROGRAM), Some(root.clone()))?;
        let place = cache::path("qemu")?;
        cache::install(&root, &place)?;
        Qemu::probe(place.join("usr/bin").join(PROGRAM), Some(place))
    });
    match (unpacked, process::find(PROGRAM)) {
        (Ok(qemu), _) => Ok(qemu),
        (Err(err), Some(program)) => {
            let qemu = Qemu::probe(program, None)?;
            eprintln!(
                "note: using the system's QEMU {}, since a newer one could not be had: {err:#}",
                qemu.version
            );
            Ok(qemu)
        }
        (Err(err), None) => Err(err),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the choice of `-cpu`, which decides whether old emulators boot at all.
    #[test]
    fn old_versions_are_told_apart() {
        let text = "QEMU emulator version 7.2.19 (Debian 1:7.2+dfsg-7)\nCopyright\n";
        assert_eq!(parse_version(text), Some("7.2.19"));
        let qemu = |version: &str| Qemu { program: "q".into(), root: None, version: version.into() };
        assert_eq!(qemu("7.2.19").cpu(), "max,-cx16");
        assert_eq!(qemu("10.0.2").cpu(), "max");
    }
}
