//! Debian packages of any suite, without touching the system's own package sources.
//!
//! Each [`Archive`] is a private apt configuration under the cache folder, for one suite or a few. Its mirror is the
//! one that apt is already set up with, and apt itself checks the signatures. The suites of different releases must
//! stay apart: mixing them would pull in another C library.

mod mirror;
mod release;
mod stanza;
mod version;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::{cache, process};
use mirror::Mirrors;
pub use release::Release;
pub use version::Version;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The file whose time says when an archive's package lists were fetched.
const COMPLETE: &str = "complete";
/// How long package lists are good; a mirror drops superseded packages sooner or later.
const FRESH: Duration = Duration::from_hours(24);

/// A package as one of an archive's suites offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// The package's name.
    pub name: String,
    /// Its Debian version, such as `6.12.94-1`.
    pub version: Version,
}

/// Which packages count as installed when dependencies are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// Those of this machine: only what it lacks is downloaded.
    Host,
    /// None: every dependency is downloaded.
    Nothing,
}

/// A private apt configuration.
pub struct Archive {
    dir: PathBuf,
}

impl Archive {
    /// Opens the archive of that name under the cache folder for these suites; fetches the package lists when they
    /// are older than a day. A suite that the mirror does not have is an error that names it.
    pub fn open(name: &str, suites: &[&str], installed: Installed) -> Result<Self> {
        let archive = Self { dir: cache::path("apt")?.join(name) };
        if !archive.is_fresh() {
            archive.create(suites, installed)?;
            archive.update(suites)?;
        }
        Ok(archive)
    }

    /// Makes the next [`Archive::open`] of every archive fetch its package lists anew.
    pub fn expire_all() -> Result<()> {
        let dir = cache::path("apt")?;
        let Ok(entries) = fs::read_dir(&dir) else { return Ok(()) };
        for entry in entries {
            let mark = entry.with_context(|| format!("cannot list {}", dir.display()))?.path().join(COMPLETE);
            if mark.exists() {
                fs::remove_file(&mark).with_context(|| format!("cannot remove {}", mark.display()))?;
            }
        }
        Ok(())
    }

    fn is_fresh(&self) -> bool {
        let updated = fs::metadata(self.dir.join(COMPLETE)).and_then(|meta| meta.modified());
        // A time in the future is no age: the clock was wrong then, or is now.
        updated.is_ok_and(|updated| updated.elapsed().is_ok_and(|age| age < FRESH))
    }

    fn create(&self, suites: &[&str], installed: Installed) -> Result<()> {
        for dir in ["lists/partial", "cache/archives/partial"] {
            let dir = self.dir.join(dir);
            fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        let mirrors = Mirrors::find()?;
        let mut sources = String::new();
        for suite in suites {
            let uri = mirrors.of(suite)?;
            writeln!(
                sources,
                "Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\nTargets: Packages"
            )?;
            if Path::new(KEYRING).exists() {
                writeln!(sources, "Signed-By: {KEYRING}")?;
            }
            writeln!(sources)?;
        }
        fs::write(self.dir.join("list.sources"), sources).context("cannot write a private package source")?;
        let status = self.dir.join("status");
        match installed {
            // A link, so that apt's locks lie beside it in our folder.
            Installed::Host if !status.is_symlink() => {
                std::os::unix::fs::symlink("/var/lib/dpkg/status", &status)
            }
            Installed::Host => Ok(()),
            Installed::Nothing => fs::write(&status, ""),
        }
        .with_context(|| format!("cannot create {}", status.display()))
    }

    fn update(&self, suites: &[&str]) -> Result<()> {
        process::output(&mut self.apt("apt-get", &["update", "--error-on=any"]))
            .with_context(|| format!("the mirror's package list of {} cannot be had", suites.join(", ")))?;
        fs::write(self.dir.join(COMPLETE), "").context("cannot mark a package list as complete")
    }

    fn apt(&self, tool: &str, args: &[&str]) -> Command {
        let mut command = Command::new(tool);
        command.args(args);
        command.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        let dir = self.dir.display();
        for option in [
            format!("Dir::Etc::SourceList={dir}/list.sources"),
            "Dir::Etc::SourceParts=/dev/null".into(),
            "Dir::Etc::Preferences=/dev/null".into(),
            "Dir::Etc::PreferencesParts=/dev/null".into(),
            format!("Dir::State={dir}"),
            format!("Dir::State::Lists={dir}/lists"),
            format!("Dir::State::status={dir}/status"),
            format!("Dir::Cache={dir}/cache"),
            "APT::Default-Release=".into(),
            "APT::Architecture=amd64".into(),
            "APT::Sandbox::User=root".into(),
            "Acquire::Languages=none".into(),
            "Acquire::Retries=2".into(),
        ] {
            command.arg("-o").arg(option);
        }
        command
    }

    /// All packages whose name starts with the prefix, in each version that the suites offer.
    pub fn packages(&self, prefix: &str) -> Result<Vec<Package>> {
        let names = process::output(&mut self.apt("apt-cache", &["pkgnames", prefix]))?;
        let names: Vec<&str> = names.lines().collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let text = process::output(self.apt("apt-cache", &["show"]).args(&names))?;
        Ok(stanza::packages(&text))
    }

    /// Downloads one package and unpacks it into a folder, without what it depends on.
    pub fn unpack(&self, package: &Package, into: &Path) -> Result<()> {
        let staging = cache::staging()?;
        let wanted = format!("{}={}", package.name, package.version);
        process::output(self.apt("apt-get", &["download", &wanted]).current_dir(staging.path()))?;
        ensure!(unpack_all(staging.path(), into)? == 1, "apt-get did not download {}", package.name);
        Ok(())
    }

    /// Downloads packages with all that they depend on and that does not count as installed, preferring the given
    /// suite, and unpacks them into a folder.
    pub fn unpack_with_dependencies(&self, names: &[&str], prefer: Option<&str>, into: &Path) -> Result<()> {
        let staging = cache::staging()?;
        fs::create_dir(staging.path().join("partial")).context("cannot create apt's download folder")?;
        let options = ["install", "--yes", "--download-only", "--no-install-recommends", "--reinstall"];
        let mut apt = self.apt("apt-get", &options);
        apt.arg("-o").arg(format!("Dir::Cache::Archives={}", staging.path().display()));
        if let Some(suite) = prefer {
            apt.arg("--target-release").arg(suite);
        }
        process::output(apt.args(names))?;
        let count = unpack_all(staging.path(), into)?;
        ensure!(count > 0, "apt-get downloaded nothing for {}", names.join(", "));
        Ok(())
    }
}

fn unpack_all(debs: &Path, into: &Path) -> Result<usize> {
    fs::create_dir_all(into).with_context(|| format!("cannot create {}", into.display()))?;
    let mut count = 0;
    for entry in fs::read_dir(debs).with_context(|| format!("cannot list {}", debs.display()))? {
        let path = entry.with_context(|| format!("cannot list {}", debs.display()))?.path();
        if path.extension().is_some_and(|ext| ext == "deb") {
            process::output(Command::new("dpkg-deb").arg("-x").arg(&path).arg(into))?;
            count += 1;
        }
    }
    Ok(count)
}

/// Whether this machine can get Debian packages at all.
pub fn available() -> bool {
    ["apt-get", "apt-cache", "dpkg-deb"].into_iter().all(|tool| process::find(tool).is_some())
}

/// Those of the packages that are not installed on this machine.
pub fn missing<'a>(names: &[&'a str]) -> Result<Vec<&'a str>> {
    // dpkg-query fails when it does not know one of the names, and still prints the others.
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Package} ${db:Status-Status}\n"])
        .args(names)
        .output()
        .map_err(|err| anyhow!("cannot ask dpkg-query what is installed: {err}"))?;
    Ok(stanza::not_installed(&String::from_utf8_lossy(&output.stdout), names))
}
