//! stress-ng, which the scenarios of `oomtrace run` put memory under pressure with: the system's own, else Debian's unpacked into the
//! cache, with those of its libraries that this machine lacks.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::apt::Release;
use crate::host::Host;
use crate::vm::libraries;
use crate::{cache, process, progress};

const NAME: &str = "stress-ng";
/// In its tree: what starts it with its libraries.
const LAUNCHERS: &str = "launchers";

/// The program.
#[derive(Clone, Debug)]
pub struct StressNg {
    program: PathBuf,
    /// The folder that has it, or what starts it.
    folder: PathBuf,
}

impl StressNg {
    /// The system's or the cache's, downloaded first where there is neither.
    pub fn get() -> Result<Self> {
        if let Some(program) = process::find(NAME) {
            let folder = program.parent().unwrap_or(Path::new("/")).to_owned();
            return Ok(Self { program, folder });
        }
        let root = cache::path(NAME)?;
        let cached = Self { program: root.join("usr/bin").join(NAME), folder: root.join(LAUNCHERS) };
        if !cached.folder.is_dir() {
            let _lock = cache::lock()?;
            // Another process may have fetched it while we waited.
            if !cached.folder.is_dir() {
                progress::step("Downloading stress-ng", || download(&root))
                    .context("stress-ng cannot be had")?;
            }
        }
        Ok(cached)
    }

    /// The program, for guests, which get its libraries with it.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// A folder for this machine's PATH.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Makes the next use download the newest.
pub fn forget() -> Result<()> {
    let dir = cache::path(NAME)?;
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    Ok(())
}

fn download(place: &Path) -> Result<()> {
    let staging = cache::staging()?;
    let root = staging.path().join("root");
    Release::of(&Host::detect())?.for_host()?.unpack_with_dependencies(&[NAME], None, &root)?;
    let folder = root.join(LAUNCHERS);
    fs::create_dir(&folder).context("cannot create a folder for a launcher")?;
    launcher(&folder, place)?;
    // Proves that nothing is missing before it takes its place.
    let mut version = Command::new(root.join("usr/bin").join(NAME));
    process::output(version.arg("--version").env(libraries::PATH, libraries::path(&root)?))?;
    cache::install(&root, place)
}

/// A script that starts the program of a tree with the tree's libraries. They are not for the scenarios themselves and what else those
/// start, which is why no variable of theirs names them.
fn launcher(folder: &Path, place: &Path) -> Result<()> {
    let quoted = |path: &str| format!("'{}'", path.replace('\'', r"'\''"));
    let libraries = libraries::path(place)?;
    let libraries = libraries.to_str().context("the cache's path is not UTF-8")?;
    let program = place.join("usr/bin").join(NAME);
    let program = program.to_str().context("the cache's path is not UTF-8")?;
    let script =
        format!("#!/bin/sh\n{}={} exec {} \"$@\"\n", libraries::PATH, quoted(libraries), quoted(program));
    let file = folder.join(NAME);
    fs::write(&file, script)
        .and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the launcher: the program gets its arguments and its libraries, wherever the cache lies.
    #[test]
    fn the_launcher_passes_everything_on() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path().join("it's here");
        let programs = place.join("usr/bin");
        fs::create_dir_all(&programs).unwrap();
        let program = programs.join(NAME);
        fs::write(&program, "#!/bin/sh\nprintf '%s|' \"$LD_LIBRARY_PATH\" \"$@\"\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        launcher(&place, &place).unwrap();
        let output = process::output(Command::new(place.join(NAME)).args(["a b", "--vm"])).unwrap();
        assert!(output.ends_with("|a b|--vm|") && output.contains("it's here/usr/lib"), "{output}");
    }
}
