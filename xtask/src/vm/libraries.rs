//! The shared libraries that a program needs to start.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The variable that names folders of libraries beside the system's.
pub const PATH: &str = "LD_LIBRARY_PATH";
/// Where Debian has them.
const FOLDERS: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];

/// A library, or the interpreter of ELF files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Where it is.
    pub from: PathBuf,
    /// Where a program looks for it.
    pub to: PathBuf,
}

/// The folders of libraries in an unpacked tree, as one variable.
pub fn path(tree: &Path) -> Result<OsString> {
    env::join_paths(FOLDERS.map(|folder| tree.join(folder)))
        .with_context(|| format!("{} cannot stand in a path of libraries", tree.display()))
}

/// The libraries of a program on this machine and its ELF interpreter; none for a static program or another file. Of a program in an
/// unpacked tree, what this machine lacks is that tree's.
pub fn of(program: &Path) -> Result<Vec<Library>> {
    let mut magic = [0; 4];
    let mut file = File::open(program).with_context(|| format!("cannot open {}", program.display()))?;
    if file.read_exact(&mut magic).is_err() || magic != *b"\x7fELF" {
        return Ok(Vec::new());
    }
    // An outer cargo's search path would show libraries that the guest does not look for.
    let mut ldd = Command::new("ldd");
    ldd.arg(program).env_remove(PATH).env("LC_ALL", "C");
    let told = told(&mut ldd)?;
    let found = match (parse(&told, None), tree_of(program)) {
        (Err(_), Some(tree)) => parse(&self::told(ldd.env(PATH, path(tree)?))?, Some(tree)),
        (found, _) => found,
    };
    found.with_context(|| format!("{} cannot be taken into a guest", program.display()))
}

fn told(ldd: &mut Command) -> Result<String> {
    let output = ldd.output().context("cannot run ldd")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The root of the tree that a program lies in, if it is not the system's.
fn tree_of(program: &Path) -> Option<&Path> {
    let usr = program.ancestors().find(|folder| folder.ends_with("usr"))?;
    usr.parent().filter(|root| root.parent().is_some())
}

fn parse(ldd: &str, tree: Option<&Path>) -> Result<Vec<Library>> {
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
            let from = PathBuf::from(path);
            let inside = tree.and_then(|tree| from.strip_prefix(tree).ok());
            let to = inside.map_or_else(|| from.clone(), |inside| Path::new("/").join(inside));
            libraries.push(Library { from, to });
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
        let same = |path: &str| Library { from: path.into(), to: path.into() };
        assert_eq!(parse(text, None).unwrap(), [same("/lib/libc.so.6"), same("/lib64/ld-linux-x86-64.so.2")]);
        assert_eq!(parse("\tstatically linked\n", None).unwrap(), []);
    }

    /// Guards that a missing library is an error here, not a riddle inside the guest.
    #[test]
    fn a_missing_library_is_named() {
        let err = parse("\tlibslirp.so.0 => not found\n", None).unwrap_err();
        assert!(err.to_string().contains("libslirp.so.0"), "{err}");
    }

    /// Guards a program that was unpacked somewhere: a guest looks for its libraries where Debian has them.
    #[test]
    fn libraries_of_a_tree_go_to_their_place() {
        let tree = Path::new("/cache/it");
        let text =
            "\tlibm.so.6 => /lib/libm.so.6 (0x7)\n\tlibJudy.so.1 => /cache/it/usr/lib/libJudy.so.1 (0x7)\n";
        let [system, tree] = <[Library; 2]>::try_from(parse(text, Some(tree)).unwrap()).unwrap();
        assert_eq!(system.to, system.from);
        assert_eq!(tree.from, Path::new("/cache/it/usr/lib/libJudy.so.1"));
        assert_eq!(tree.to, Path::new("/usr/lib/libJudy.so.1"));
        assert_eq!(tree_of(Path::new("/cache/it/usr/bin/tool")), Some(Path::new("/cache/it")));
        assert_eq!(tree_of(Path::new("/usr/bin/tool")), None);
        assert_eq!(tree_of(Path::new("/bin/tool")), None);
    }
}
