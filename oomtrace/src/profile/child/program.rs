//! The program that a command names.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, ErrorKind, Read as _},
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{Access, AtFlags, CWD, StatVfsMountFlags, accessat, statvfs};

use super::error::{StartError, listed, shown, shown_path};

/// Where programs are looked for without a PATH: what `execvp()` of the GNU C library does then.
const WITHOUT_PATH: &str = "/bin:/usr/bin";
/// The kernel looks at so much of a file for its interpreter (`BINPRM_BUF_SIZE`, include/uapi/linux/binfmts.h).
const HEAD: usize = 256;

/// A program that can be run, as far as its file tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its file.
    pub path: PathBuf,
    /// What it is called by.
    pub arg0: OsString,
}

/// What a file has against it.
enum Unfit {
    /// There is none.
    Missing,
    /// The rest of a sentence that begins with its path.
    Refused(String),
}

impl Program {
    /// Finds it as a shell does: below the folders of `search` (PATH), unless it has a slash.
    pub fn find(name: &OsStr, search: Option<&OsStr>) -> Result<Self, StartError> {
        if name.is_empty() {
            return Err(StartError::NotFound(
                "The command has an empty name: write it behind `--`.".to_owned(),
            ));
        }
        if name.as_bytes().contains(&b'/') { Self::at(name) } else { Self::search(name, search) }
    }

    fn at(name: &OsStr) -> Result<Self, StartError> {
        let path = PathBuf::from(name);
        match unfit(&path) {
            None => Ok(Self { path, arg0: name.to_owned() }),
            Some(Unfit::Refused(why)) => {
                Err(StartError::NotExecutable(format!("{} cannot be run: {why}.", shown(name))))
            }
            Some(Unfit::Missing) => {
                let link = fs::symlink_metadata(&path).is_ok();
                let what = if link { "it is a link to what is not there" } else { "there is no such file" };
                let here = std::env::current_dir().ok().filter(|_| path.is_relative());
                let below = here.map_or_else(String::new, |here| format!(" below {}", shown_path(&here)));
                Err(StartError::NotFound(format!("{} is not found: {what}{below}.", shown(name))))
            }
        }
    }

    fn search(name: &OsStr, search: Option<&OsStr>) -> Result<Self, StartError> {
        let search = search.unwrap_or(OsStr::new(WITHOUT_PATH));
        let mut refused = None;
        let folders: Vec<_> = std::env::split_paths(search).collect();
        for folder in &folders {
            // An empty one is the current folder (POSIX, 8.3).
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let path = folder.join(name);
            match unfit(&path) {
                None => return Ok(Self { path, arg0: name.to_owned() }),
                Some(Unfit::Refused(why)) => refused = refused.or(Some((path, why))),
                Some(Unfit::Missing) => {}
            }
        }
        let name = shown(name);
        if let Some((path, why)) = refused {
            let path = shown_path(&path);
            return Err(StartError::NotExecutable(format!(
                "{name} cannot be run: {path} is no program, {why}."
            )));
        }
        let is_here = unfit(&Path::new(".").join(&name)).is_none();
        let hint = if is_here {
            format!(" There is one in the current folder: write ./{name}.")
        } else {
            String::new()
        };
        let mut told = BTreeSet::new();
        let folders: Vec<_> = folders.into_iter().filter(|folder| told.insert(folder.clone())).collect();
        let folders = listed(&folders);
        Err(StartError::NotFound(format!(
            "{name} is not found: it is in none of the folders of PATH ({folders}).{hint}"
        )))
    }

    /// Why `execve()` refused it, as a part of a sentence.
    pub fn why_not(&self, error: &io::Error) -> String {
        let head = head(&self.path).unwrap_or_default();
        match (error.raw_os_error(), interpreter(&head)) {
            (Some(libc::ENOENT), Some(line)) => {
                let hint = if line.ends_with(b"\r") {
                    ": its first line ends in a carriage return, as on Windows"
                } else {
                    ""
                };
                let line = shown(OsStr::from_bytes(line));
                format!("the interpreter that its first line names, {line}, is not there{hint}")
            }
            (Some(libc::ENOENT), None) => {
                "the loader that it asks for is not there (`file` tells what it is made for)".to_owned()
            }
            (Some(libc::EACCES), Some(line)) => {
                format!(
                    "the interpreter that its first line names, {}, may not be run",
                    shown(OsStr::from_bytes(line))
                )
            }
            _ => error.to_string(),
        }
    }

    /// Whether its file says that the kernel loads it itself, which it may all the same not be able to.
    pub fn is_binary(&self) -> bool {
        head(&self.path).is_ok_and(|head| head.starts_with(b"\x7fELF"))
    }
}

/// What a file has against being run; `None`: nothing that is to be seen from here.
fn unfit(path: &Path) -> Option<Unfit> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            return Some(match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => Unfit::Missing,
                ErrorKind::PermissionDenied => {
                    Unfit::Refused("a folder of its path may not be looked into".to_owned())
                }
                _ => Unfit::Refused(error.to_string()),
            });
        }
    };
    if metadata.is_dir() {
        return Some(Unfit::Refused("it is a folder".to_owned()));
    }
    if !metadata.is_file() {
        return Some(Unfit::Refused("it is not a file".to_owned()));
    }
    // The one that the kernel asks for, too, and with the same ids.
    if accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).is_ok() {
        return None;
    }
    let noexec = statvfs(path).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::NOEXEC));
    Some(Unfit::Refused(if metadata.permissions().mode() & 0o111 == 0 {
        "it is not executable (chmod +x makes it so)".to_owned()
    } else if noexec {
        "its file system is mounted noexec".to_owned()
    } else {
        "this user may not execute it".to_owned()
    }))
}

fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD);
    File::open(path)?.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// The path in a first line that begins with `#!` (`load_script()`, fs/binfmt_script.c).
fn interpreter(head: &[u8]) -> Option<&[u8]> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    line.split(|byte| matches!(byte, b' ' | b'\t')).find(|word| !word.is_empty())
}
