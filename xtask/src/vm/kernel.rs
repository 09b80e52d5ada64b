//! Debian's kernels of a series: which there are, and the cache of those that were downloaded.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::apt::{self, Archive, Installed, Package, Version};
use crate::{cache, progress};

/// The series that are tested unless others are asked for.
pub const DEFAULT: &str = "5.10,6.1,6.12,7.2";
/// The flavour of Debian's kernels that boots fastest: hardly any drivers besides those of virtual machines.
const FLAVOUR: &str = "-cloud-amd64";

/// Where each series is found. A series that has left all its suites is reported as unavailable, never replaced.
const SUITES: [(&str, &[&str]); 4] = [
    ("5.10", &["bullseye", "bullseye-security"]),
    ("6.1", &["bookworm", "bookworm-security"]),
    ("6.12", &["trixie", "trixie-security", "bookworm-backports"]),
    ("7.2", &["forky", "sid"]),
];

/// A kernel that somebody asks for: a series (`6.12`: the newest of it) or an exact version (`5.10.223`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    parts: Vec<u32>,
}

impl Wanted {
    /// Whether an upstream version such as `6.12.94` is what is wanted.
    fn admits(&self, upstream: &str) -> bool {
        let mut parts = upstream.split('.').map(|part| part.parse::<u32>().ok());
        self.parts.iter().all(|part| parts.next() == Some(Some(*part)))
    }

    fn suites(&self) -> Result<&'static [&'static str]> {
        let found = SUITES.iter().find(|(series, _)| {
            series.parse().is_ok_and(|series: Self| self.parts.starts_with(&series.parts))
        });
        match found {
            Some((_, suites)) => Ok(suites),
            None => bail!(
                "no suite of Debian is known to have Linux {self} (known: {DEFAULT}); boot it with --kernel-image FILE"
            ),
        }
    }
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Result<Vec<u32>, _> = text.split('.').map(str::parse).collect();
        match parts {
            Ok(parts) if (2..=3).contains(&parts.len()) => Ok(Self { parts }),
            _ => Err("a kernel is named by its series, such as 6.12, or its version, such as 6.12.94".into()),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.parts.iter().map(ToString::to_string).collect();
        f.write_str(&parts.join("."))
    }
}

/// A kernel that can be booted.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// What it was asked for as: `6.12`, or the name of the user's own file.
    pub name: String,
    /// Debian's version, such as `6.12.94-1`; empty for the user's own file.
    pub version: String,
    /// What `uname -r` says in it; empty for the user's own file.
    pub release: String,
    /// The vmlinuz file.
    pub image: PathBuf,
    /// The folder of its modules (with `kernel/` in it), where there is one.
    pub modules: Option<PathBuf>,
}

impl Kernel {
    /// A kernel of the user's own, without modules.
    pub fn from_image(image: &Path) -> Result<Self> {
        let image =
            image.canonicalize().with_context(|| format!("cannot open the kernel {}", image.display()))?;
        let name = image.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { name, version: String::new(), release: String::new(), image, modules: None })
    }
}

/// What the cache remembers of a download.
#[derive(Serialize, Deserialize)]
struct Entry {
    version: String,
    release: String,
}

fn folder(release: &str) -> Result<PathBuf> {
    Ok(cache::path("kernels")?.join(release))
}

fn entry_file(wanted: &Wanted) -> Result<PathBuf> {
    Ok(cache::path("kernels")?.join(format!("{wanted}.json")))
}

/// The kernel that was downloaded for this wish, if it is still complete. Needs no network.
pub fn cached(wanted: &Wanted) -> Result<Option<Kernel>> {
    let Ok(text) = fs::read_to_string(entry_file(wanted)?) else { return Ok(None) };
    // An entry that cannot be read is as good as none: the download writes a new one.
    let Ok(entry) = serde_json::from_str::<Entry>(&text) else { return Ok(None) };
    let dir = folder(&entry.release)?;
    let image = dir.join("vmlinuz");
    let modules = dir.join("modules");
    Ok(image.is_file().then(|| Kernel {
        name: wanted.to_string(),
        version: entry.version,
        release: entry.release,
        image,
        modules: modules.is_dir().then_some(modules),
    }))
}

/// Downloads the newest kernel that is wanted, unless the cache has that very version.
pub fn download(wanted: &Wanted) -> Result<Kernel> {
    let (archive, found) = progress::step(&format!("Looking for Linux {wanted}"), || newest(wanted))?;
    let dir = folder(&found.release)?;
    if !dir.join("vmlinuz").is_file() {
        progress::step(&format!("Downloading Linux {}", found.release), || unpack(&archive, &found, &dir))?;
    }
    let entry = Entry { version: found.version().to_string(), release: found.release };
    let file = entry_file(wanted)?;
    fs::write(&file, serde_json::to_string(&entry)?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    cached(wanted)?
        .with_context(|| format!("the kernel that was downloaded is missing from {}", dir.display()))
}

/// The packages of one kernel release: the image first, then the modules if they come apart from it.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    release: String,
    image: Package,
    modules: Option<Package>,
}

impl Found {
    fn version(&self) -> &Version {
        &self.image.version
    }
}

fn newest(wanted: &Wanted) -> Result<(Archive, Found)> {
    ensure!(
        apt::available(),
        "Linux {wanted} comes from Debian, and there is no apt here; use --kernel-image FILE"
    );
    let mut best: Option<(Archive, Found)> = None;
    let mut failures = Vec::new();
    for suite in wanted.suites()? {
        let offered = Archive::open(suite, &[suite], Installed::Nothing)
            .and_then(|archive| Ok((archive.packages("linux-")?, archive)));
        match offered {
            Ok((packages, archive)) => {
                if let Some(found) = choose(wanted, &packages)
                    && best.as_ref().is_none_or(|(_, best)| best.version() < found.version())
                {
                    best = Some((archive, found));
                }
            }
            Err(err) => failures.push(format!("{err:#}")),
        }
    }
    match best {
        Some(best) => Ok(best),
        None if failures.is_empty() => {
            bail!("Linux {wanted} is unavailable: {} no longer has it", wanted.suites()?.join(" or "))
        }
        None => bail!("Linux {wanted} is unavailable: {}", failures.join("; ")),
    }
}

/// The newest release of the wanted kernel among a suite's packages.
fn choose(wanted: &Wanted, packages: &[Package]) -> Option<Found> {
    let split = |prefix: &'static str| {
        packages.iter().filter_map(move |package| {
            let release = package.name.strip_prefix(prefix)?;
            // "linux-image-6.12-cloud-amd64" is a mere reference to the newest.
            let abi = release.strip_suffix(FLAVOUR)?;
            let exact = abi.starts_with(|c: char| c.is_ascii_digit()) && abi.split('.').count() >= 3;
            (exact && wanted.admits(package.version.upstream())).then_some((release, package))
        })
    };
    // Where Debian splits the package, linux-image-* holds no file, and has the same version as linux-binary-*.
    let (release, image) = split("linux-image-")
        .chain(split("linux-binary-"))
        .max_by(|(_, a), (_, b)| a.version.cmp(&b.version))?;
    let same = |prefix: &'static str| {
        split(prefix).find(|(other, _)| *other == release).map(|(_, package)| package.clone())
    };
    let image = same("linux-binary-").unwrap_or_else(|| image.clone());
    Some(Found { release: release.to_owned(), image, modules: same("linux-modules-") })
}

fn unpack(archive: &Archive, found: &Found, place: &Path) -> Result<()> {
    let staging = cache::staging()?;
    let root = staging.path().join("root");
    for package in std::iter::once(&found.image).chain(&found.modules) {
        archive.unpack(package, &root)?;
    }
    let release = &found.release;
    let modules = [format!("usr/lib/modules/{release}"), format!("lib/modules/{release}")]
        .map(|dir| root.join(dir))
        .into_iter()
        .find(|dir| dir.is_dir());
    let images =
        modules.iter().map(|dir| dir.join("vmlinuz")).chain([root.join(format!("boot/vmlinuz-{release}"))]);
    let Some(image) = images.into_iter().find(|file| file.is_file()) else {
        bail!("the package {} holds no kernel where one was expected", found.image.name);
    };
    let finished = staging.path().join("finished");
    fs::create_dir(&finished).context("cannot create a folder for the kernel")?;
    fs::rename(&image, finished.join("vmlinuz")).context("cannot move the kernel into the cache")?;
    if let Some(modules) = modules {
        fs::rename(modules, finished.join("modules")).context("cannot move the modules into the cache")?;
    }
    cache::install(&finished, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(list: &[(&str, &str)]) -> Vec<Package> {
        list.iter()
            .map(|(name, version)| Package { name: (*name).into(), version: Version::from(*version) })
            .collect()
    }

    fn wanted(text: &str) -> Wanted {
        text.parse().unwrap()
    }

    /// Guards that the newest release wins by version, not by spelling, and that references and other series do not.
    #[test]
    fn chooses_the_newest_of_the_series() {
        let offered = packages(&[
            ("linux-image-6.12-cloud-amd64", "6.12.117-1~deb12u1"),
            ("linux-image-6.12.94+deb13-cloud-amd64", "6.12.94-1"),
            ("linux-image-6.12.107+deb13-cloud-amd64", "6.12.107-1"),
            ("linux-image-6.12.200+deb13-amd64", "6.12.200-1"),
            ("linux-image-6.12.200+deb13-cloud-amd64-unsigned", "6.12.200-1"),
            ("linux-image-6.1.0-50-cloud-amd64", "6.1.176-1"),
            ("linux-image-cloud-amd64", "6.12.107-1"),
        ]);
        let found = choose(&wanted("6.12"), &offered).unwrap();
        assert_eq!(found.release, "6.12.107+deb13-cloud-amd64");
        assert_eq!(found.modules, None);
        assert_eq!(choose(&wanted("6.1"), &offered).unwrap().release, "6.1.0-50-cloud-amd64");
        assert_eq!(choose(&wanted("6.12.94"), &offered).unwrap().version().to_string(), "6.12.94-1");
        assert_eq!(choose(&wanted("7.2"), &offered), None);
    }

    /// Guards the newer layout, in which the image's package holds nothing but dependencies.
    #[test]
    fn follows_the_package_split() {
        let offered = packages(&[
            ("linux-image-7.2.12+deb14-cloud-amd64", "7.2.12-1"),
            ("linux-binary-7.2.12+deb14-cloud-amd64", "7.2.12-1"),
            ("linux-binary-unsigned-7.2.12+deb14-cloud-amd64", "7.2.12-1"),
            ("linux-modules-7.2.12+deb14-cloud-amd64", "7.2.12-1"),
        ]);
        let found = choose(&wanted("7.2"), &offered).unwrap();
        assert_eq!(found.image.name, "linux-binary-7.2.12+deb14-cloud-amd64");
        assert_eq!(found.modules.unwrap().name, "linux-modules-7.2.12+deb14-cloud-amd64");
    }

    /// Guards that 6.1 never stands for 6.12, and that nonsense is refused.
    #[test]
    fn series_are_numbers_not_text() {
        assert!(wanted("6.1").admits("6.1.176") && !wanted("6.1").admits("6.12.1"));
        assert!(wanted("5.10.223").admits("5.10.223") && !wanted("5.10.223").admits("5.10.22"));
        assert!(wanted("7.2").admits("7.2") && !wanted("7.2.1").admits("7.2"));
        assert_eq!(wanted("5.10.223").suites().unwrap(), ["bullseye", "bullseye-security"]);
        assert!(wanted("4.19").suites().unwrap_err().to_string().contains("--kernel-image"));
        for text in ["", "6", "6.12.1.1", "latest", "6.x", "../6.1"] {
            assert!(text.parse::<Wanted>().is_err(), "{text} passed");
        }
    }
}
