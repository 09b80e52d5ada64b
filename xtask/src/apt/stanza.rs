//! What apt-cache and dpkg-query print.

use super::{Package, Version};

/// The packages in the output of `apt-cache show`.
pub fn packages(text: &str) -> Vec<Package> {
    text.split("\n\n")
        .filter_map(|stanza| {
            let field = |name: &str| {
                stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
            };
            Some(Package { name: field("Package")?.to_owned(), version: Version::from(field("Version")?) })
        })
        .collect()
}

/// Those of the names that dpkg-query (`name status` lines) does not report as installed.
pub fn not_installed<'a>(report: &str, names: &[&'a str]) -> Vec<&'a str> {
    let installed =
        |name: &&str| report.lines().any(|line| line.split_once(' ') == Some((name, "installed")));
    names.iter().copied().filter(|name| !installed(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that descriptions and other fields do not confuse the parser.
    #[test]
    fn reads_stanzas() {
        let text = "Package: linux-image-6.1.0-50-cloud-amd64\nSource: linux\nVersion: 6.1.176-1\n\
                    Description: Package: not a field\n Version: nor this\n\n\
                    Package: no-version\n\nPackage: b\nVersion: 2\n\n";
        let found = packages(text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].name, "linux-image-6.1.0-50-cloud-amd64");
        assert_eq!(found[0].version.to_string(), "6.1.176-1");
        assert_eq!(found[1].name, "b");
    }

    /// Guards that a package which was removed but left its configuration counts as missing.
    #[test]
    fn only_installed_counts() {
        let report = "cargo-web installed\nllvm-22-dev config-files\n";
        assert_eq!(not_installed(report, &["cargo-web", "llvm-22-dev", "other"]), ["llvm-22-dev", "other"]);
    }
}
