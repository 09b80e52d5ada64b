//! The file that is written to.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::{
    error::{Fault, HistoryError},
    schema::{CURRENT, Is, migrate},
};

/// How long whoever looks into the file may hold it locked.
const BUSY: Duration = Duration::from_secs(2);
/// How long another agent, or this one's history with other settings, has to end. And between two looks.
const ENDING: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(10);
/// Damaged files that are kept, at the most.
const ASIDE: usize = 2;

/// Set at every opening.
///
/// `synchronous=FULL`: a commit waits for the disk. Against the end of this process WAL alone would do: what it wrote is in the
/// kernel's hands. But machines that run out of memory are reset, and panic (`vm.panic_on_oom`), within seconds of what the history is for;
/// and commits are few: those of a storm are put together.
const SETTINGS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON;
    PRAGMA trusted_schema = OFF;
    PRAGMA temp_store = MEMORY;
    PRAGMA mmap_size = 0;
    PRAGMA cache_size = -512;
    PRAGMA soft_heap_limit = 2097152;
    PRAGMA wal_autocheckpoint = 128;
    PRAGMA journal_size_limit = 524288;
";

/// See the module.
#[derive(Debug)]
pub(super) struct Database {
    pub connection: Connection,
    path: PathBuf,
    /// Device and inode of the file that is open.
    identity: (u64, u64),
}

impl Database {
    /// Opens the file, makes it if there is none, and brings it to the current version.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        make(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        match Is::of(&connection)? {
            Is::Foreign => return Err(HistoryError::Foreign(path.to_owned()).into()),
            Is::History(found) if found > CURRENT => {
                return Err(HistoryError::Newer { path: path.to_owned(), found, known: CURRENT }.into());
            }
            // Before anything is in it: later it would take a copy of all.
            Is::Empty => connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL")?,
            Is::History(_) => {}
        }
        connection.execute_batch(SETTINGS)?;
        migrate(&mut connection)?;
        // A file system that became read-only shows at the first write.
        let identity = identity(path)?.ok_or(Fault::Gone)?;
        Ok(Self { connection, path: path.to_owned(), identity })
    }

    /// An error if the path is no more that of the file that is open: what is written would be seen by nobody.
    pub fn is_there(&self) -> Result<(), Fault> {
        if identity(&self.path)? == Some(self.identity) { Ok(()) } else { Err(Fault::Gone) }
    }

    /// Reads all of it, and says what is wrong, if anything is.
    pub fn check(&self) -> Result<Option<String>, Fault> {
        let said: String = self.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        Ok((said != "ok").then_some(said))
    }
}

/// The file with its folder, for its owner and its group. Whatever is there stays as it is.
fn make(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o640).open(path) {
        // Whatever the umask is: what reads it may be of the group. WAL and index get the same of SQLite.
        Ok(file) => file.set_permissions(Permissions::from_mode(0o640)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        // Whether it is there already does not show on every read-only file system.
        Err(_) if path.exists() => Ok(()),
        Err(error) => Err(error),
    }
}

fn identity(path: &Path) -> io::Result<Option<(u64, u64)>> {
    match fs::metadata(path) {
        Ok(file) => Ok(Some((file.dev(), file.ino()))),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Keeps other agents out for as long as it is open. It is a file of its own: to close any other opening of the database itself would give up
/// SQLite's locks (POSIX: fcntl(2)), and a damaged one makes room for another.
pub(super) fn lock(path: &Path) -> Result<File, Fault> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
    }
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o640).open(with(path, ".lock"))?;
    let until = Instant::now() + ENDING;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK) if Instant::now() < until => thread::sleep(LOOK),
            Err(Errno::WOULDBLOCK) => return Err(HistoryError::InUse(path.to_owned()).into()),
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
}

/// Renames a damaged file, with what belongs to it, and says how it is called now. Of earlier ones the oldest go.
pub(super) fn put_aside(path: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let aside = with(path, &format!(".corrupt-{}", now.strftime("%Y%m%dT%H%M%S%.6fZ")));
    fs::rename(path, &aside)?;
    // The log holds what was not yet in the file, and goes by the file's name. The index is made of it.
    for (end, kept) in [("-wal", true), ("-shm", false)] {
        let beside = with(path, end);
        let done = if kept { fs::rename(&beside, with(&aside, end)) } else { fs::remove_file(&beside) };
        match done {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    forget_older(path);
    Ok(aside)
}

/// They are as large as histories are. What cannot be removed stays.
fn forget_older(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
    let begin = format!("{}.corrupt-", name.to_string_lossy());
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut kept: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(&begin) && !name.ends_with("-wal"))
        .collect();
    kept.sort();
    for old in kept.iter().rev().skip(ASIDE) {
        let old = folder.join(old);
        let _ = fs::remove_file(with(&old, "-wal"));
        let _ = fs::remove_file(old);
    }
}

/// The path with something behind its name.
pub(super) fn with(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}
