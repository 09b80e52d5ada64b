//! What kind of machine this is, as far as installing software goes.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// The distributions whose commands we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Debian itself: everything can be had from its own archive.
    Debian,
    /// Ubuntu and others that are made from Debian packages but keep another archive.
    Ubuntu,
    /// Fedora and its enterprise relatives.
    Fedora,
    /// Arch Linux and its relatives.
    Arch,
    /// Anything else.
    Other,
}

/// This machine's distribution.
#[derive(Debug, PartialEq, Eq)]
pub struct Host {
    /// Which family its package manager belongs to.
    pub distribution: Distribution,
    /// The release's code name (`bookworm`), where the distribution has one.
    pub codename: Option<String>,
}

impl Host {
    /// Reads /etc/os-release.
    pub fn detect() -> Self {
        Self::parse(&fs::read_to_string("/etc/os-release").unwrap_or_default())
    }

    fn parse(os_release: &str) -> Self {
        let value = |key: &str| {
            os_release.lines().find_map(|line| {
                let (name, value) = line.split_once('=')?;
                (name == key).then(|| value.trim_matches(['"', '\'']).to_owned())
            })
        };
        let id = value("ID").unwrap_or_default();
        let like = value("ID_LIKE").unwrap_or_default();
        let family = |name: &str| id == name || like.split_whitespace().any(|word| word == name);
        let distribution = if id == "debian" {
            Distribution::Debian
        } else if family("ubuntu") || family("debian") {
            Distribution::Ubuntu
        } else if family("fedora") || family("rhel") {
            Distribution::Fedora
        } else if family("arch") {
            Distribution::Arch
        } else {
            Distribution::Other
        };
        Self { distribution, codename: value("VERSION_CODENAME") }
    }
}

/// Whether we run as root. (/proc/self belongs to the effective user.)
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that derivatives of Debian are not taken for it: they lack its archive.
    #[test]
    fn knows_the_families() {
        let debian =
            Host::parse("PRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_CODENAME=bookworm\nID=debian\n");
        assert_eq!(debian, Host { distribution: Distribution::Debian, codename: Some("bookworm".into()) });
        let of = |text| Host::parse(text).distribution;
        assert_eq!(of("ID=ubuntu\nID_LIKE=debian\n"), Distribution::Ubuntu);
        assert_eq!(of("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"), Distribution::Ubuntu);
        assert_eq!(of("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"), Distribution::Fedora);
        assert_eq!(of("ID=arch\n"), Distribution::Arch);
        assert_eq!(of(""), Distribution::Other);
    }
}
