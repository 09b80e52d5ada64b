//! The Debian release that this machine runs, as a source of packages.

use anyhow::{Result, bail, ensure};

use super::mirror::Mirrors;
use super::{Archive, Installed, available};
use crate::host::{Distribution, Host};

/// A Debian release, named by its code name.
pub struct Release {
    codename: String,
}

impl Release {
    /// This machine's release; an error if it runs something else than Debian, or apt is missing.
    pub fn of(host: &Host) -> Result<Self> {
        let (Distribution::Debian, Some(codename)) = (host.distribution, &host.codename) else {
            bail!("this machine does not run a Debian release");
        };
        ensure!(available(), "this machine has no apt");
        Ok(Self { codename: codename.clone() })
    }

    /// The code name, such as `bookworm`.
    pub fn codename(&self) -> &str {
        &self.codename
    }

    /// The address of the mirror that it comes from.
    pub fn mirror(&self) -> Result<String> {
        Ok(Mirrors::find()?.of(&self.codename)?.to_owned())
    }

    /// Packages for this machine: what it has installed need not be downloaded.
    pub fn for_host(&self) -> Result<Archive> {
        let mut suites = self.suites();
        suites.extend(self.backports());
        self.open("host", &suites, Installed::Host)
    }

    /// Packages for a guest, which has nothing: one release's own, so that they fit together.
    pub fn for_guest(&self) -> Result<Archive> {
        self.open("guest", &self.suites(), Installed::Nothing)
    }

    /// The suite that newer programs come from, for the one release that needs it: Debian 12's own QEMU is 7.2.
    pub fn backports(&self) -> Option<String> {
        (self.codename == "bookworm").then(|| format!("{}-backports", self.codename))
    }

    fn suites(&self) -> Vec<String> {
        // The rolling release has none of the others.
        let more: &[&str] = if self.codename == "sid" { &[""] } else { &["", "-updates", "-security"] };
        more.iter().map(|more| format!("{}{more}", self.codename)).collect()
    }

    fn open(&self, purpose: &str, suites: &[String], installed: Installed) -> Result<Archive> {
        let suites: Vec<&str> = suites.iter().map(String::as_str).collect();
        Archive::open(&format!("{}-for-{purpose}", self.codename), &suites, installed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that no release is asked for suites that do not exist, which apt takes for a failure.
    #[test]
    fn suites_of_a_release() {
        let release = |codename: &str| Release { codename: codename.into() };
        assert_eq!(release("sid").suites(), ["sid"]);
        assert_eq!(release("trixie").suites(), ["trixie", "trixie-updates", "trixie-security"]);
        assert_eq!(release("trixie").backports(), None);
        assert_eq!(release("bookworm").backports().unwrap(), "bookworm-backports");
    }

    /// Guards that packages for another distribution are not mistaken for this machine's.
    #[test]
    fn only_debian_has_a_release() {
        assert!(Release::of(&Host { distribution: Distribution::Fedora, codename: None }).is_err());
    }
}
