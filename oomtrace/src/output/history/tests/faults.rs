//! Files and file systems that fail.

use std::{ffi::CString, os::unix::fs::FileExt as _};

use super::*;

/// Runs something in a thread that sees a small file system of its own, if this may be done at all.
fn with_tmpfs(scratch: &Scratch, options: &str, work: impl FnOnce() + Send) {
    // SAFETY: geteuid() takes nothing.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("SKIPPED: file systems can be mounted by root alone");
        return;
    }
    let folder = scratch.file().parent().unwrap().to_owned();
    fs::create_dir_all(&folder).unwrap();
    thread::scope(|scope| {
        let mounted = scope.spawn(|| {
            // SAFETY: it concerns this thread alone, which has its own root and folder from here on.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
            mount("none", Path::new("/"), "", libc::MS_REC | libc::MS_PRIVATE, "");
            mount("tmpfs", &folder, "tmpfs", 0, options);
            work();
        });
        mounted.join().unwrap();
    });
}

fn mount(what: &str, at: &Path, kind: &str, flags: libc::c_ulong, options: &str) {
    let [what, at, kind, options] =
        [what.as_bytes(), at.as_os_str().as_encoded_bytes(), kind.as_bytes(), options.as_bytes()]
            .map(|text| CString::new(text).unwrap());
    let (kind, data) = (kind.as_ptr(), options.as_ptr().cast());
    // SAFETY: all are strings that outlive the call.
    let done = unsafe { libc::mount(what.as_ptr(), at.as_ptr(), kind, flags, data) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// Guards what a full disk must not do: what was committed stays, what comes meanwhile is held and written once there is room, and what the
/// bound drops is counted.
#[test]
fn a_full_disk_is_waited_for() {
    let scratch = Scratch::new("full");
    let path = scratch.file();
    with_tmpfs(&scratch, "size=1536k", || {
        let (mut history, health) = open(&path);
        tell(&mut history, [incident(0)]);
        let ballast = path.with_file_name("ballast");
        let full = fs::write(&ballast, vec![1; 4 << 20]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        let mut told = 1;
        while health.failing().is_none() {
            tell(&mut history, [incident(told)]);
            told += 1;
            assert!(told < 1000, "the disk is full");
        }
        let committed = ids(&path);
        assert_eq!(committed, expected(0..told - 1));
        // More than the bound holds: kills stay longer than others.
        for number in told..told + 1000 {
            history.take(&message(incident(number))).unwrap();
        }
        history.flush().unwrap();
        assert!(history.held.bytes() <= held::MOST_BYTES);
        let lost = health.messages_lost();
        assert!(lost > 0);
        assert_eq!(ids(&path), committed, "what was committed is there");
        fs::remove_file(&ballast).unwrap();
        mount("tmpfs", path.parent().unwrap(), "tmpfs", libc::MS_REMOUNT, "size=16m");
        history.retry.hurry();
        history.rest();
        assert_eq!(health.failing(), None);
        let lost = u32::try_from(lost).unwrap();
        let all: Vec<_> = expected((0..told - 1).chain(told - 1 + lost..told + 1000));
        assert_eq!(ids(&path), all);
        assert_eq!(health.messages_written(), all.len() as u64);
    });
}

/// Guards an agent that starts while its file system is read-only, as after an error: it starts, holds, and recovers.
#[test]
fn a_read_only_file_system_is_waited_for() {
    let scratch = Scratch::new("readonly");
    let path = scratch.file();
    with_tmpfs(&scratch, "size=4m", || {
        let (mut history, _) = open(&path);
        tell(&mut history, [incident(0)]);
        history.end();
        drop(history);
        let folder = path.parent().unwrap();
        mount("tmpfs", folder, "tmpfs", libc::MS_REMOUNT | libc::MS_RDONLY, "");
        let (mut history, health) = open(&path);
        tell(&mut history, [incident(1)]);
        let why = health.failing().unwrap();
        assert!(why.contains("ead-only file system") || why.contains("read-only"), "{why}");
        assert_eq!(ids(&path), expected([0]), "it is read without a right to write");
        mount("tmpfs", folder, "tmpfs", libc::MS_REMOUNT, "");
        history.retry.hurry();
        history.rest();
        assert_eq!(health.failing(), None);
        assert_eq!(ids(&path), expected([0, 1]));
        assert_eq!(health.messages_lost(), 0);
    });
}

/// Guards what is told while somebody holds the file locked, as `sqlite3` does in a transaction.
#[test]
fn a_locked_file_is_waited_for() {
    let scratch = Scratch::new("locked");
    let (mut history, health) = open(&scratch.file());
    let other = rusqlite::Connection::open(scratch.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    tell(&mut history, [incident(1)]);
    assert!(health.failing().unwrap().contains("another program holds it locked"));
    other.execute_batch("ROLLBACK").unwrap();
    history.retry.hurry();
    history.rest();
    assert_eq!((ids(&scratch.file()), health.failing()), (expected([1]), None));
}

/// Guards the history of an agent whose folder is taken away and comes back (a file system that is mounted again): nothing is written
/// elsewhere meanwhile. If it does not come back, a new one is begun.
#[test]
fn a_folder_that_vanished_is_waited_for_and_made_anew() {
    let scratch = Scratch::new("vanished");
    let path = scratch.file();
    let folder = path.parent().unwrap();
    let away = scratch.0.join("away");
    let (mut history, health) = open(&path);
    tell(&mut history, [incident(0)]);
    fs::rename(folder, &away).unwrap();
    tell(&mut history, [incident(1)]);
    assert!(health.failing().unwrap().contains("taken away"));
    assert!(!folder.exists());
    fs::rename(&away, folder).unwrap();
    history.retry.hurry();
    history.rest();
    assert_eq!((ids(&path), health.failing()), (expected([0, 1]), None));
    fs::rename(folder, &away).unwrap();
    tell(&mut history, [incident(2)]);
    history.awaited = Duration::ZERO;
    history.retry.hurry();
    history.rest();
    assert_eq!((ids(&path), health.failing()), (expected([2]), None));
    assert_eq!(ids(&away.join("history.db")), expected([0, 1]), "what was taken away is whole");
}

/// Names of damaged files that were kept.
fn aside(path: &Path) -> Vec<PathBuf> {
    let mut kept: Vec<_> = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains(".corrupt-"))
        .collect();
    kept.sort();
    kept
}

/// Guards an agent against a file of garbage, and the disk against many of these.
#[test]
fn a_file_of_garbage_is_put_aside() {
    let scratch = Scratch::new("garbage");
    let path = scratch.file();
    for number in 0..4 {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("garbage {number}").repeat(1000)).unwrap();
        assert!(Reader::open(&path).unwrap_err().to_string().contains("damaged"));
        let (mut history, health) = open(&path);
        tell(&mut history, [incident(number)]);
        assert_eq!((ids(&path), health.failing()), (expected([number]), None));
        drop(history);
    }
    let kept = aside(&path);
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(fs::read_to_string(&kept[1]).unwrap().starts_with("garbage 3"));
}

/// Guards against damage within: it is found by the look at the whole file, or whenever something is written there, and
/// what comes then is kept.
#[test]
fn damage_within_is_found_and_put_aside() {
    let scratch = Scratch::new("damage");
    let path = scratch.file();
    for found_by_look in [true, false] {
        let (mut history, _) = open(&path);
        tell(&mut history, (0..200).map(incident));
        history.end();
        drop(history);
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        // One page somewhere, which nothing that is written later needs; or all but the first.
        let pages = file.metadata().unwrap().size() / 4096;
        for page in if found_by_look { pages / 2..pages / 2 + 1 } else { 1..pages } {
            file.write_all_at(&[0xff; 64], page * 4096).unwrap();
        }
        drop(file);
        let (mut history, health) = open(&path);
        if found_by_look {
            history.rest();
            history.rest();
        }
        tell(&mut history, [incident(1000)]);
        assert_eq!((ids(&path), health.failing()), (expected([1000]), None));
        assert_eq!(health.messages_lost(), 0);
        drop(history);
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(aside(&path).iter().filter(|path| !path.to_string_lossy().ends_with("-wal")).count(), 2);
}
