//! A file that fills up, goes away, is moved, cut and rotated.

use std::{
    fs::{read, read_to_string, remove_dir_all, rename, write},
    os::unix::fs::symlink,
};

use rustix::{
    mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, mount_remount, unmount},
    thread::{UnshareFlags, unshare_unsafe},
};
use serde_json::Value;

use super::*;
use crate::output::samples::{HOSTILE, incident, opened};

/// A folder of its own for each test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("oomtrace-file-{name}-{}", std::process::id()));
        let _ = remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn log(&self) -> PathBuf {
        self.0.join("out.ndjson")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = remove_dir_all(&self.0);
    }
}

fn file(path: PathBuf, max_bytes: u64, keep: u32) -> (File, Arc<Health>) {
    let health = Health::new("file");
    (File::new(FileSettings { path, max_bytes, keep }, Arc::clone(&health)).unwrap(), health)
}

/// Tries at once, though it failed just now.
fn again(file: &mut File) {
    file.reopener().store(true, Relaxed);
    assert!(file.rest().is_none(), "it works again");
}

fn give(file: &mut File, seqs: impl IntoIterator<Item = u64>) {
    for seq in seqs {
        file.take(&incident(seq, "app")).unwrap();
        file.flush().unwrap();
    }
}

/// The numbers of the incidents in a file, of which every line is whole.
fn seqs(path: &Path) -> Vec<u64> {
    let text = read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is whole");
    let value = |line| serde_json::from_str::<Value>(line).expect(line);
    text.lines().map(|line| value(line)["seq"].as_u64().unwrap()).collect()
}

fn line_bytes() -> u64 {
    let line = Json::line(&incident(1, "app"));
    line.len() as u64
}

/// Guards what a file has: complete incidents, each on a line of its own, whatever their names try.
#[test]
fn lines_are_whole_whatever_they_are_about() {
    let folder = Folder::new("whole");
    let (mut file, health) = file(folder.log(), 1 << 20, 1);
    assert!(!file.wants()(&opened()), "an incident is written once");
    file.take(&incident(7, HOSTILE)).unwrap();
    file.flush().unwrap();
    give(&mut file, [8]);
    assert_eq!(seqs(&folder.log()), [7, 8]);
    let first = read_to_string(folder.log()).unwrap();
    assert!(!first.contains('\u{1b}') && !first.contains('\0'));
    let value: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    assert_eq!(value["victims"][0]["comm"], HOSTILE);
    assert_eq!((health.messages_written(), health.messages_lost(), file.rest()), (2, 0, None));
}

/// Guards the disk: no file gets larger than it may, no more stay than may, and what stays is the newest, without a gap.
#[test]
fn it_is_rotated_by_size() {
    let folder = Folder::new("rotated");
    let max = line_bytes() * 5 / 2;
    let (mut file, health) = file(folder.log(), max, 2);
    give(&mut file, 1..=9);
    let numbered = |number| numbered(&folder.log(), number);
    assert_eq!(seqs(&folder.log()), [9]);
    assert_eq!((seqs(&numbered(1)), seqs(&numbered(2))), (vec![7, 8], vec![5, 6]));
    assert!(!numbered(3).exists());
    assert!(numbered(1).metadata().unwrap().len() <= max);
    assert_eq!((health.messages_written(), health.messages_lost()), (9, 0));
}

/// Guards rotation of many lines at once, lines that are longer than a file may be, and the setting that keeps none.
#[test]
fn lines_that_are_too_long_have_a_file_each() {
    let folder = Folder::new("long");
    let (mut long, health) = file(folder.log(), 10, 3);
    (1..=3).for_each(|seq| long.take(&incident(seq, "app")).unwrap());
    long.flush().unwrap();
    assert_eq!(seqs(&folder.log()), [3]);
    assert_eq!([2, 1].map(|number| seqs(&numbered(&folder.log(), number))), [[1], [2]]);
    assert_eq!(health.messages_written(), 3);
    let (mut none, _) = file(folder.0.join("none"), 10, 0);
    give(&mut none, 1..=3);
    assert_eq!(
        (seqs(&folder.0.join("none")), numbered(&folder.0.join("none"), 1).exists()),
        (vec![3], false)
    );
}

/// Guards what follows a crash: the line that it cut is ended, and none is glued to it; a gap in the old files is closed.
#[test]
fn a_torn_line_is_ended() {
    let folder = Folder::new("torn");
    write(folder.log(), "{\"seq\":1}\n{\"seq\":2").unwrap();
    write(numbered(&folder.log(), 2), "old").unwrap();
    let (mut torn, _) = file(folder.log(), 1 << 20, 3);
    give(&mut torn, [3]);
    let text = read_to_string(folder.log()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines.len(), lines[1]), (3, "{\"seq\":2"));
    assert!(lines[2].starts_with('{') && text.ends_with('\n'));
    rotate(&folder.log(), 3).unwrap();
    assert_eq!(read(numbered(&folder.log(), 3)).unwrap(), b"old");
    assert!(numbered(&folder.log(), 1).exists() && !numbered(&folder.log(), 2).exists());
}

/// Guards against writing on into a file that logrotate has moved away, or cut, and after a reload.
#[test]
fn logrotate_may_move_it_or_cut_it() {
    let folder = Folder::new("moved");
    let (mut file, _) = file(folder.log(), 1 << 20, 3);
    give(&mut file, [1]);
    rename(folder.log(), folder.0.join("moved")).unwrap();
    give(&mut file, [2]);
    assert_eq!((seqs(&folder.0.join("moved")), seqs(&folder.log())), (vec![1], vec![2]));
    // copytruncate
    write(folder.log(), "").unwrap();
    give(&mut file, [3]);
    assert_eq!(seqs(&folder.log()), [3]);
    fs::remove_file(folder.log()).unwrap();
    file.reopener().store(true, Relaxed);
    give(&mut file, [4]);
    assert_eq!(seqs(&folder.log()), [4]);
}

/// Guards a folder that is not there yet (a file system that is mounted later), or goes away for a while: nothing is lost.
#[test]
fn a_missing_folder_is_waited_for() {
    let folder = Folder::new("missing");
    let path = folder.0.join("later/out.ndjson");
    let (mut file, health) = file(path.clone(), 1 << 20, 3);
    give(&mut file, 1..=3);
    assert!(health.failing().is_some_and(|why| why.contains("later/out.ndjson cannot be written to")));
    assert!(file.rest().is_some_and(|rest| rest > Duration::ZERO && rest <= Duration::from_secs(1)));
    assert_eq!((health.messages_written(), health.messages_lost()), (0, 0));
    fs::create_dir(folder.0.join("later")).unwrap();
    again(&mut file);
    assert_eq!((seqs(&path), health.failing()), (vec![1, 2, 3], None));
    rename(folder.0.join("later"), folder.0.join("away")).unwrap();
    give(&mut file, [4]);
    rename(folder.0.join("away"), folder.0.join("later")).unwrap();
    again(&mut file);
    assert_eq!((seqs(&path), health.messages_lost()), (vec![1, 2, 3, 4], 0));
}

/// Guards memory: it is bounded, what finds no room is counted, and written and lost come to all that was given.
#[test]
fn what_finds_no_room_is_counted() {
    let folder = Folder::new("bounded");
    let path = folder.0.join("never/out.ndjson");
    let (mut file, health) = file(path, 1 << 20, 3);
    let all = 3 * WAITING_BYTES as u64 / line_bytes();
    let began = Instant::now();
    give(&mut file, 1..=all);
    let seconds = began.elapsed().as_secs();
    let waiting = file.backlog.len() as u64;
    assert!(waiting * line_bytes() <= WAITING_BYTES as u64 && health.messages_lost() + waiting == all);
    // Once, and after each second of rest.
    assert!(health.failures() <= 2 + seconds, "it is tried {} times in {seconds} s", health.failures());
    file.end();
    assert_eq!((health.messages_written(), health.messages_lost()), (0, all));
}

/// Guards against waiting at what is no file, and against settings that cannot work.
#[test]
fn what_is_no_file_is_refused() {
    let folder = Folder::new("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.0.join("pipe"), rustix::fs::Mode::RUSR).unwrap();
    symlink(folder.0.join("pipe"), folder.log()).unwrap();
    let (mut pipe, health) = file(folder.log(), 1 << 20, 3);
    give(&mut pipe, [1]);
    assert!(health.failing().is_some(), "{:?}", health.failing());
    let settings = |path: &Path, max_bytes, keep| FileSettings { path: path.to_owned(), max_bytes, keep };
    for wrong in [
        settings(&folder.0, 1, 1),
        settings(Path::new("out.ndjson"), 1, 1),
        settings(Path::new("/"), 1, 1),
        settings(&folder.0.join("x"), 0, 1),
        settings(&folder.0.join("x"), 1, 1001),
    ] {
        assert!(File::new(wrong.clone(), Health::new("file")).is_err(), "{wrong:?}");
    }
}

/// A file system in memory of that size, which only this thread sees. `None`: this user may not mount.
fn small_file_system(at: &Path, size: &std::ffi::CStr) -> Option<()> {
    // SAFETY: this thread of the test alone has its own view of the mounts then. It shares no folder or root with others.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }.ok()?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).ok()?;
    mount("none", at, "tmpfs", MountFlags::empty(), size).ok()
}

/// Guards a full disk: lines are whole whatever was cut, all come once there is room, in order, and none twice.
#[test]
fn a_full_disk_cuts_no_line_and_loses_none() {
    let folder = Folder::new("full");
    if small_file_system(&folder.0, c"size=64k").is_none() {
        return eprintln!("not as root: skipped");
    }
    let ballast = folder.0.join("ballast");
    write(&ballast, vec![0; 40 * 1024]).unwrap();
    let (mut file, health) = file(folder.log(), 1 << 20, 3);
    let all = 48 * 1024 / line_bytes();
    give(&mut file, 1..=all);
    assert!(health.failing().is_some_and(|why| why.contains("No space left")), "{:?}", health.failing());
    let written = health.messages_written();
    assert_eq!(seqs(&folder.log()), (1..=written).collect::<Vec<_>>());
    assert!(written > 0 && written < all);
    // With more at once than there is room for, too.
    file.reopener().store(true, Relaxed);
    assert!(file.rest().is_some());
    assert_eq!(seqs(&folder.log()).len() as u64, health.messages_written());
    fs::remove_file(ballast).unwrap();
    again(&mut file);
    assert_eq!(seqs(&folder.log()), (1..=all).collect::<Vec<_>>());
    assert_eq!((health.messages_written(), health.messages_lost(), health.failing()), (all, 0, None));
    unmount(&folder.0, UnmountFlags::DETACH).unwrap();
}

/// Guards a file system that becomes read-only, as one does with errors on its disk, and recovers.
#[test]
fn a_read_only_file_system_is_waited_for() {
    let folder = Folder::new("read-only");
    if small_file_system(&folder.0, c"size=256k").is_none() {
        return eprintln!("not as root: skipped");
    }
    let (mut file, health) = file(folder.log(), line_bytes() * 3 / 2, 9);
    give(&mut file, 1..=2);
    file.open = None;
    mount_remount(&folder.0, MountFlags::RDONLY, "").unwrap();
    give(&mut file, 3..=4);
    assert!(health.failing().is_some_and(|why| why.contains("Read-only")), "{:?}", health.failing());
    mount_remount(&folder.0, MountFlags::empty(), "").unwrap();
    again(&mut file);
    let old = [3, 2, 1].map(|number| seqs(&numbered(&folder.log(), number)));
    assert_eq!((old, seqs(&folder.log())), ([vec![1], vec![2], vec![3]], vec![4]));
    assert_eq!((health.messages_written(), health.messages_lost()), (4, 0));
    unmount(&folder.0, UnmountFlags::DETACH).unwrap();
}
