//! The guest's root file system, as an archive that the kernel unpacks at boot.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{cpio, libraries};
use crate::process;

const INIT: &[u8] = include_bytes!("init.sh");
/// Old folders that are links to newer ones, as on any present distribution.
const MERGED: [(&str, &str); 5] = [
    ("bin", "usr/bin"),
    ("sbin", "usr/bin"),
    ("usr/sbin", "usr/bin"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
];
const FOLDERS: [&str; 12] = [
    "artifacts",
    "dev",
    "etc/guest",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "usr/bin",
    "usr/lib",
    "usr/lib64",
    "usr/local/bin",
];
const TEXTS: [(&str, &str); 4] = [
    ("etc/hostname", "guest\n"),
    ("etc/hosts", "127.0.0.1 localhost guest\n"),
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
];

/// A root file system in the making. Paths in it are relative to its root.
pub struct Root {
    entries: BTreeMap<PathBuf, Entry>,
}

enum Entry {
    Folder,
    Link(PathBuf),
    Device {
        number: (u32, u32),
    },
    Text {
        mode: u32,
        content: Vec<u8>,
    },
    /// A file of this machine, read when the archive is written.
    Copy {
        mode: u32,
        from: PathBuf,
    },
}

impl Root {
    /// A root with busybox, all its applets, and our init.
    pub fn new(busybox: &Path) -> Result<Self> {
        let mut root = Self { entries: BTreeMap::new() };
        for (old, new) in MERGED {
            root.entries.insert(old.into(), Entry::Link(Path::new("/").join(new)));
        }
        for folder in FOLDERS {
            root.put(Path::new(folder), Entry::Folder)?;
        }
        root.put(Path::new("dev/console"), Entry::Device { number: (5, 1) })?;
        for (path, text) in TEXTS {
            root.text(path, 0o644, text.as_bytes().to_vec())?;
        }
        root.text("init", 0o755, INIT.to_vec())?;
        root.program(busybox, "usr/bin/busybox")?;
        for applet in
            process::output(Command::new(busybox).arg("--list"))?.lines().filter(|name| *name != "busybox")
        {
            root.put(&Path::new("usr/bin").join(applet), Entry::Link("busybox".into()))?;
        }
        Ok(root)
    }

    /// Adds a file with this content.
    pub fn text(&mut self, path: impl AsRef<Path>, mode: u32, content: Vec<u8>) -> Result<()> {
        self.put(path.as_ref(), Entry::Text { mode, content })
    }

    /// Adds a file or a folder of this machine; programs bring their libraries.
    pub fn program(&mut self, from: &Path, to: impl AsRef<Path>) -> Result<()> {
        let from = from.canonicalize().with_context(|| format!("cannot open {}", from.display()))?;
        let programs = self.tree(&from, to.as_ref(), &|_| true)?;
        for program in programs {
            for library in libraries::of(&program)? {
                self.tree(&library.from.canonicalize()?, &library.to, &|_| true)?;
            }
        }
        Ok(())
    }

    /// Adds a file or a folder of this machine as it is, except what `keep` says no to; returns its regular files.
    pub fn tree(&mut self, from: &Path, to: &Path, keep: &dyn Fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
        let unreadable = || format!("cannot read {}", from.display());
        let meta = from.symlink_metadata().with_context(unreadable)?;
        let mut files = Vec::new();
        if meta.is_dir() {
            self.put(to, Entry::Folder)?;
            for entry in fs::read_dir(from).with_context(unreadable)? {
                let entry = entry.with_context(unreadable)?;
                let to = to.join(entry.file_name());
                if keep(&to) {
                    files.extend(self.tree(&entry.path(), &to, keep)?);
                }
            }
        } else if meta.is_symlink() {
            self.put(to, Entry::Link(fs::read_link(from).with_context(unreadable)?))?;
        } else if meta.is_file() {
            let mode = meta.permissions().mode() & 0o7777;
            self.put(to, Entry::Copy { mode, from: from.into() })?;
            files.push(from.into());
        } else {
            bail!("{} is neither file, folder nor link, and cannot be copied into a guest", from.display());
        }
        Ok(files)
    }

    fn put(&mut self, path: &Path, entry: Entry) -> Result<()> {
        let path = merged(path)?;
        // The links between merged folders stand; so does a folder that is there already.
        if MERGED.iter().any(|(old, _)| path == Path::new(old)) || path.as_os_str().is_empty() {
            return Ok(());
        }
        for parent in path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
            self.entries.entry(parent.into()).or_insert(Entry::Folder);
        }
        let is_folder = matches!(self.entries.get(&path), Some(Entry::Folder));
        if !(is_folder && matches!(entry, Entry::Link(_))) {
            self.entries.insert(path, entry);
        }
        Ok(())
    }

    /// Writes the archive.
    pub fn write(&self, to: &Path) -> Result<()> {
        let unwritable = || format!("cannot write {}", to.display());
        let mut writer = cpio::Writer::new(BufWriter::new(File::create(to).with_context(unwritable)?));
        // A folder sorts before what is in it, which is the order that the kernel needs.
        for (path, entry) in &self.entries {
            let name = path.as_os_str().as_bytes();
            match entry {
                Entry::Folder => {
                    let sticky = if name == b"tmp" { 0o1777 } else { 0o755 };
                    writer.add(name, cpio::DIRECTORY | sticky, b"")
                }
                Entry::Link(target) => writer.add(name, cpio::SYMLINK | 0o777, target.as_os_str().as_bytes()),
                Entry::Device { number } => writer.add_device(name, 0o600, *number),
                Entry::Text { mode, content } => writer.add(name, cpio::REGULAR | mode, content),
                Entry::Copy { mode, from } => {
                    let content =
                        fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
                    writer.add(name, cpio::REGULAR | mode, &content)
                }
            }
            .with_context(unwritable)?;
        }
        writer.finish().and_then(|mut file| file.flush()).with_context(unwritable)
    }
}

/// Where a path lies once the old folders are links.
fn merged(path: &Path) -> Result<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                bail!("{} is no path for a guest's file", path.display())
            }
        }
    }
    for (old, new) in MERGED {
        if let Ok(rest) = clean.strip_prefix(old)
            && !rest.as_os_str().is_empty()
        {
            return Ok(Path::new(new).join(rest));
        }
    }
    Ok(clean)
}

/// A shell script that runs a command with exactly these arguments.
pub fn script(command: &[impl AsRef<OsStr>]) -> Vec<u8> {
    let mut script = b"exec".to_vec();
    for word in command {
        script.extend(b" '");
        for byte in word.as_ref().as_bytes() {
            match byte {
                b'\'' => script.extend(br"'\''"),
                byte => script.push(*byte),
            }
        }
        script.push(b'\'');
    }
    script.push(b'\n');
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that libraries end up in one place, however their path is spelled.
    #[test]
    fn old_folders_are_merged() {
        let of = |path: &str| merged(Path::new(path)).unwrap();
        assert_eq!(of("/lib/x86_64-linux-gnu/libc.so.6"), Path::new("usr/lib/x86_64-linux-gnu/libc.so.6"));
        assert_eq!(of("/lib64/ld-linux-x86-64.so.2"), Path::new("usr/lib64/ld-linux-x86-64.so.2"));
        assert_eq!(of("usr/sbin/tool"), Path::new("usr/bin/tool"));
        assert_eq!(of("./library/x"), Path::new("library/x"));
        assert!(merged(Path::new("a/../../b")).is_err());
    }

    /// Guards that a package's tree cannot replace the links that everything else relies on.
    #[test]
    fn a_tree_keeps_the_merged_links() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("bin")).unwrap();
        fs::create_dir_all(tree.path().join("usr/share/doc")).unwrap();
        fs::write(tree.path().join("bin/tool"), "x").unwrap();
        fs::write(tree.path().join("usr/share/doc/text"), "x").unwrap();
        let mut root = Root { entries: BTreeMap::new() };
        root.entries.insert("bin".into(), Entry::Link("/usr/bin".into()));
        root.tree(tree.path(), Path::new(""), &|path| !path.starts_with("usr/share/doc")).unwrap();
        assert!(matches!(root.entries.get(Path::new("bin")), Some(Entry::Link(_))));
        assert!(matches!(root.entries.get(Path::new("usr/bin/tool")), Some(Entry::Copy { .. })));
        assert!(matches!(root.entries.get(Path::new("usr")), Some(Entry::Folder)));
        assert!(!root.entries.contains_key(Path::new("usr/share/doc/text")));
    }

    /// Guards the quoting: the guest's command gets the same arguments as ours.
    #[test]
    fn arguments_survive_the_shell() {
        let words = ["printf", "%s|", "it's", "a b", "$HOME", "\n", "", "\\"];
        let output = Command::new("sh").arg("-c").arg(OsStr::from_bytes(&script(&words))).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "it's|a b|$HOME|\n||\\|");
    }
}
