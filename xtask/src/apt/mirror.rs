//! Which mirror this machine's apt is set up with.

use std::env;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{host, process};

/// What apt is asked to print of each of its package lists.
const FORMAT: &str = "$(CREATED_BY)|$(ORIGIN)|$(LABEL)|$(REPO_URI)";

/// The addresses of Debian's archive and of its security archive.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mirrors {
    main: Option<String>,
    security: Option<String>,
}

impl Mirrors {
    /// The mirrors that apt already uses; `OOMTRACE_DEBIAN_MIRROR` and `OOMTRACE_DEBIAN_SECURITY_MIRROR` name others
    /// (for machines that run something else than Debian).
    pub fn find() -> Result<Self> {
        let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let mut used = Self::used()?;
        if used.main.is_none() && host::is_root() {
            // Container images come without package lists, which are all that tells Debian's archive from others.
            process::output(Command::new("apt-get").arg("update").env("LC_ALL", "C"))?;
            used = Self::used()?;
        }
        Ok(Self {
            main: set("OOMTRACE_DEBIAN_MIRROR").or(used.main),
            security: set("OOMTRACE_DEBIAN_SECURITY_MIRROR").or(used.security),
        })
    }

    fn used() -> Result<Self> {
        let targets = process::output(Command::new("apt-get").args(["indextargets", "--format", FORMAT]))
            .context("cannot find out which mirror apt uses")?;
        Ok(Self::parse(&targets))
    }

    fn parse(targets: &str) -> Self {
        let uri_of = |wanted: &str| {
            targets.lines().find_map(|line| {
                let fields: Vec<&str> = line.split('|').collect();
                match fields.as_slice() {
                    ["Packages", "Debian", label, uri] if *label == wanted => Some((*uri).to_owned()),
                    _ => None,
                }
            })
        };
        Self { main: uri_of("Debian"), security: uri_of("Debian-Security") }
    }

    /// The address under which the suite of that name is found.
    pub fn of(&self, suite: &str) -> Result<&str> {
        let (kind, uri, variable) = if suite.ends_with("-security") {
            ("security archive", &self.security, "OOMTRACE_DEBIAN_SECURITY_MIRROR")
        } else {
            ("archive", &self.main, "OOMTRACE_DEBIAN_MIRROR")
        };
        match uri {
            Some(uri) => Ok(uri),
            None => bail!(
                "apt on this machine has no package list of Debian's {kind}, which {suite} would come from: on Debian \
                 run `apt-get update` as root; elsewhere set {variable} to the address of a mirror"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: &str = "\
Packages|Other|Other|http://mirror.example/other/
DEP-11|Debian|Debian|http://mirror.example/wrong/
Packages|Debian|Debian|http://mirror.example/debian/
Packages|Debian|Debian|http://second.example/debian/
Packages|Debian|Debian-Security|http://mirror.example/security/
";

    /// Guards that third parties' archives are never taken for Debian's.
    #[test]
    fn chooses_debians_own_archives() {
        let mirrors = Mirrors::parse(TARGETS);
        assert_eq!(mirrors.of("trixie").unwrap(), "http://mirror.example/debian/");
        assert_eq!(mirrors.of("trixie-security").unwrap(), "http://mirror.example/security/");
    }

    /// Guards that a machine without Debian's archive is told what to do.
    #[test]
    fn says_what_is_missing() {
        let err = Mirrors::parse("Packages|Ubuntu|Ubuntu|http://mirror.example/\n").of("sid").unwrap_err();
        assert!(err.to_string().contains("OOMTRACE_DEBIAN_MIRROR"), "{err}");
    }
}
