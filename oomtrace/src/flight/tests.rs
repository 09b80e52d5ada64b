//! The sampler on trees that are made up, and on this machine.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use oomtrace_ebpf::TaskSize;

use super::{
    CGROUPS, FlightSettings, Handle, PROCESSES,
    processes::{self, LOOKED_AT},
    sample::{Cgroup, Key, Machine, Moment, Process, Reading, Sample, Size},
    sampler::Sampler,
};
use crate::host::page_bytes;

/// A tree that goes when the test ends.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("oomtrace-flight-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let tree = Self(root);
        tree.write("proc/meminfo", "MemFree: 1 kB\nMemAvailable: 5 kB\nSwapTotal: 9 kB\nSwapFree: 9 kB\n");
        tree
    }

    fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        let path = self.0.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn process(&self, pid: u32, comm: &str, began: u64, pages: u64, cgroup: &str) {
        let flags = if pages == 0 { 0x0020_8040 } else { 0x0040_0100 };
        let zeros = "0 ".repeat(12);
        self.write(
            &format!("proc/{pid}/stat"),
            format!("{pid} ({comm}) S 1 1 1 0 -1 {flags} {zeros}{began} 9 9\n"),
        );
        self.write(&format!("proc/{pid}/statm"), format!("99 {pages} 1 1 0 1 0\n"));
        self.write(&format!("proc/{pid}/cgroup"), cgroup);
    }

    fn ends(&self, pid: u32) {
        fs::remove_dir_all(self.0.join(format!("proc/{pid}"))).unwrap();
    }

    fn sampler(&self) -> Sampler {
        Sampler::new(&self.0, None).unwrap()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn take(sampler: &mut Sampler) -> Reading {
    sampler.take(Moment::default())
}

fn told(reading: &Reading) -> Vec<(u32, &str)> {
    reading.processes.iter().map(|(_, process)| (process.pid, &*process.comm)).collect()
}

fn pages(reading: &Reading) -> Vec<u64> {
    reading.sample.processes.iter().map(|size| size.blocks.bytes() / u64::from(page_bytes())).collect()
}

fn key_of(reading: &Reading, pid: u32) -> Key {
    let of = |(_, process): &&(Key, Process)| process.pid == pid;
    reading.processes.iter().find(of).unwrap().0
}

/// Guards what is read of processes: size, name whatever is in it, begin and cgroup; threads of the kernel are none, and what is read
/// once is not read again while it does not change.
#[test]
fn processes_are_read_once() {
    let tree = Tree::new("once");
    tree.write("sys/fs/cgroup/cgroup.controllers", "memory\n");
    tree.write("sys/fs/cgroup/a/memory.current", "4096\n");
    tree.process(40, "x) S 1 (\u{1b}[2J\n", 500, 1000, "0::/a\n");
    tree.process(7, "kswapd0", 2, 0, "0::/\n");
    let mut sampler = tree.sampler();
    let first = take(&mut sampler);
    let [(key, process)] = &first.processes[..] else { panic!("{:?}", first.processes) };
    assert_eq!((process.pid, &*process.comm, process.began_ns), (40, "x) S 1 (\u{1b}[2J\n", 5_000_000_000));
    assert_eq!(process.cgroup, Some(first.cgroups[0].0));
    assert!(first.sample.whole && pages(&first) == [1000] && first.sample.processes[0].key == *key);
    assert_eq!(first.sample.machine.swap_used, Some(0));
    tree.process(40, "x", 500, 1100, "0::/a\n");
    let second = take(&mut sampler);
    assert_eq!((told(&second), pages(&second)), (vec![], vec![1100]));
    // It has grown much: it may be another program by now.
    tree.process(40, "java", 500, 2000, "0::/a\n");
    let third = take(&mut sampler);
    assert_eq!((told(&third), third.processes[0].0), (vec![(40, "java")], *key));
}

/// Guards identity: another process of the same pid has another key, and the same one in a folder that was made anew keeps its own.
#[test]
fn a_pid_is_no_identity() {
    let tree = Tree::new("reuse");
    tree.process(40, "first", 500, 1000, "");
    // Whatever has its number keeps it from the next folder.
    let mut sampler = tree.sampler();
    let key = key_of(&take(&mut sampler), 40);
    let again = |comm, began| {
        fs::rename(tree.0.join("proc/40"), tree.0.join("proc/held")).unwrap();
        tree.process(40, comm, began, 1000, "");
        fs::remove_dir_all(tree.0.join("proc/held")).unwrap();
    };
    again("first", 500);
    assert_eq!(key_of(&take(&mut sampler), 40), key);
    again("second", 900);
    let reading = take(&mut sampler);
    assert_ne!(key_of(&reading, 40), key);
    assert_eq!(told(&reading), [(40, "second")]);
}

/// Guards against processes that end while they are looked at, at each of the files, and what is no process.
#[test]
fn whoever_ends_meanwhile_is_left_out() {
    let tree = Tree::new("vanish");
    tree.process(1, "stays", 1, 10, "");
    for (pid, file) in [(2, "stat"), (3, "statm")] {
        tree.process(pid, "ends", 1, 10, "");
        fs::remove_file(tree.0.join(format!("proc/{pid}/{file}"))).unwrap();
    }
    tree.process(4, "half", 1, 10, "");
    tree.write("proc/4/stat", "4 (half");
    tree.process(5, "empty", 1, 10, "");
    tree.write("proc/5/statm", "");
    tree.write("proc/4294967296/statm", "1 1");
    tree.write("proc/self/statm", "1 1");
    let mut sampler = tree.sampler();
    assert_eq!(told(&take(&mut sampler)), [(1, "stays")]);
    tree.ends(1);
    assert_eq!(pages(&take(&mut sampler)), [0; 0]);
}

/// Guards swap: where any is in use, the larger ones are asked for theirs, and it counts.
#[test]
fn swapped_memory_counts() {
    let tree = Tree::new("swap");
    tree.write("proc/meminfo", "SwapTotal: 9 kB\nSwapFree: 5 kB\n");
    tree.process(1, "large", 1, 10, "");
    tree.write("proc/1/status", "Name:\tlarge\nVmSwap:\t 16384 kB\nVmRSS:\t  4096 kB\n");
    let mut sampler = tree.sampler();
    for _ in 0..2 {
        let reading = take(&mut sampler);
        assert_eq!(reading.sample.processes[0].blocks.bytes(), 20 << 20);
        assert_eq!(reading.sample.machine.swap_used, Some(4096));
    }
}

/// Guards cgroups of both versions: all levels but the root, hostile names as they are shown, and none below one without the
/// controller; one that was made again is another.
#[test]
fn cgroups_are_walked() {
    for (version, mount, file) in
        [("v2", "sys/fs/cgroup", "memory.current"), ("v1", "sys/fs/cgroup/memory", "memory.usage_in_bytes")]
    {
        let tree = Tree::new(version);
        if version == "v2" {
            tree.write("sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
        }
        for (path, bytes) in
            [("a", "8192\n"), ("a/b c", "4096\n"), ("\u{1b}[2J", "4096\n"), ("no/number", "x\n")]
        {
            tree.write(&format!("{mount}/{path}/{file}"), bytes);
        }
        fs::create_dir_all(tree.0.join(mount).join("without/below")).unwrap();
        let mut sampler = tree.sampler();
        let first = take(&mut sampler);
        let mut paths: Vec<_> = first.cgroups.iter().map(|(_, cgroup)| &*cgroup.path).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["/\u{1b}[2J", "/a", "/a/b c"], "{version}");
        let sizes: u64 = first.sample.cgroups.iter().map(|size| size.blocks.bytes()).sum();
        assert_eq!(sizes, 16_384);
        let again = take(&mut sampler);
        assert!(again.cgroups.is_empty() && again.sample.cgroups == first.sample.cgroups);
        let folder = tree.0.join(mount).join("a/b c");
        fs::rename(&folder, tree.0.join("held")).unwrap();
        tree.write(&format!("{mount}/a/b c/{file}"), "4096\n");
        let third = take(&mut sampler);
        assert_eq!(third.cgroups.iter().map(|(_, cgroup)| &*cgroup.path).collect::<Vec<_>>(), ["/a/b c"]);
    }
}

/// Guards the bounds of what is kept, on a machine with more than that: the largest, and that this is not all.
#[test]
fn very_many_are_bounded() {
    let tree = Tree::new("many");
    for pid in 1..=900 {
        tree.process(pid, "one", 1, u64::from(pid), "");
    }
    let mut sampler = tree.sampler();
    let reading = take(&mut sampler);
    assert!(!reading.sample.whole && reading.processes.len() == PROCESSES);
    assert_eq!(pages(&reading).iter().min(), Some(&(900 - PROCESSES as u64 + 1)));
    // One that was not among them is told of as soon as it is.
    tree.process(1, "grown", 1, 1 << 20, "");
    assert_eq!(told(&take(&mut sampler)), [(1, "grown")]);
}

/// Guards the memory that all of it takes at the most, by default: below 1 MiB.
#[test]
fn memory_is_less_than_a_mebibyte() {
    use std::mem::size_of;
    let samples = FlightSettings::default().samples();
    let kept = samples * (PROCESSES + CGROUPS) * size_of::<Size>() + samples * size_of::<Sample>();
    // A key, links of the tree, and the name's own bytes; in two samples others may be.
    let facts =
        2 * PROCESSES * (size_of::<Process>() + 8 + 16) + 2 * CGROUPS * (size_of::<Cgroup>() + 8 + 200);
    let known = LOOKED_AT * processes::KNOWN_BYTES;
    assert_eq!((samples, size_of::<Size>()), (61, 8));
    assert!(kept + facts + known < 1 << 20, "{kept} + {facts} + {known}");
}

/// Records as the kernel's iterator tells them: pid, begin in ns, pages in memory and in swap, id of the cgroup, name.
fn records(tasks: &[(u32, u64, i64, i64, u64, &str)]) -> Vec<u8> {
    use zerocopy::IntoBytes as _;
    let record =
        |(pid, start_boot_ns, rss_pages, swap_pages, memcg_id, name): &(u32, u64, i64, i64, u64, &str)| {
            let mut comm = [0; 16];
            comm[..name.len()].copy_from_slice(name.as_bytes());
            let (pid, start_boot_ns, memcg_id) = (*pid, *start_boot_ns, *memcg_id);
            let (rss_pages, swap_pages, present) = (*rss_pages, *swap_pages, u32::MAX);
            let told = TaskSize {
                present,
                pid,
                start_boot_ns,
                rss_pages,
                swap_pages,
                memcg_id,
                comm,
                ..TaskSize::EMPTY
            };
            told.as_bytes().to_vec()
        };
    tasks.iter().flat_map(record).collect()
}

/// A sampler of that tree whose processes the kernel tells: what is in a file of it.
fn told_by_kernel(tree: &Tree) -> Sampler {
    let file = tree.0.join("tasks");
    Sampler::new(&tree.0, Some(Box::new(move || fs::File::open(&file)))).unwrap()
}

/// Guards the kernel's own list: sizes with swap, cgroups by number, who is told again only when something of it has changed, and that a
/// later process of that pid is another.
#[test]
fn the_kernel_tells_processes() {
    let tree = Tree::new("tasks");
    tree.write("sys/fs/cgroup/cgroup.controllers", "memory\n");
    tree.write("sys/fs/cgroup/a/memory.current", "4096\n");
    tree.process(40, "of /proc", 500, 9, "0::/a\n");
    let inode = |path: &str| std::os::unix::fs::MetadataExt::ino(&fs::metadata(tree.0.join(path)).unwrap());
    let (a, root) = (inode("sys/fs/cgroup/a"), inode("sys/fs/cgroup"));
    let mut sampler = told_by_kernel(&tree);
    tree.write(
        "tasks",
        records(&[(40, 5_001_234_567, 1000, 24, a, "x\u{1b}"), (41, 7, 10, -3, root, "small")]),
    );
    let first = take(&mut sampler);
    assert_eq!((told(&first), pages(&first)), (vec![(40, "x\u{1b}"), (41, "small")], vec![1024, 10]));
    assert_eq!((first.processes[0].1.began_ns, first.sample.whole), (5_001_234_567, true));
    assert_eq!(first.processes[0].1.cgroup, Some(first.cgroups[0].0));
    assert_eq!(first.processes[1].1.cgroup, None);
    tree.write("tasks", records(&[(40, 5_001_234_567, 9000, 0, a, "x\u{1b}"), (41, 7, 10, 0, root, "exec")]));
    let second = take(&mut sampler);
    assert_eq!((told(&second), pages(&second)), (vec![(41, "exec")], vec![9000, 10]));
    assert_eq!(key_of(&second, 41), key_of(&first, 41));
    tree.write("tasks", records(&[(40, 6_001_234_567, 9000, 0, a, "x\u{1b}")]));
    assert_ne!(key_of(&take(&mut sampler), 40), key_of(&first, 40));
}

/// Guards against a kernel that tells it no more, or something else: /proc is read from then on, and who was known stays known.
#[test]
fn without_the_kernel_there_is_proc() {
    for broken in [&b"half a record"[..], &[0; 64]] {
        let tree = Tree::new(&format!("broken-{}", broken.len()));
        tree.process(40, "app", 500, 1000, "");
        let mut sampler = told_by_kernel(&tree);
        tree.write("tasks", records(&[(40, 5_001_234_567, 900, 0, 0, "app")]));
        let key = key_of(&take(&mut sampler), 40);
        tree.write("tasks", broken);
        let reading = take(&mut sampler);
        assert_eq!((key_of(&reading, 40), pages(&reading)), (key, vec![1000]));
        tree.write("tasks", records(&[(40, 5_001_234_567, 900, 0, 0, "app")]));
        assert_eq!(pages(&take(&mut sampler)), [1000]);
    }
}

/// Guards the bound of what is read of a kernel that tells ever more.
#[test]
fn a_list_without_end_is_cut() {
    let tree = Tree::new("endless");
    let one = (1..=6000).map(|pid| (pid, u64::from(pid), 1, 0, 0, "one")).collect::<Vec<_>>();
    tree.write("tasks", records(&one));
    let reading = take(&mut told_by_kernel(&tree));
    assert!(!reading.sample.whole && reading.sample.processes.len() == PROCESSES);
}

/// Guards settings that nobody should give: a second is the shortest interval, two samples are the least, and [`FlightSettings::MOST`]
/// the most.
#[test]
fn settings_are_bounded() {
    let samples = |interval: f64, keep| {
        FlightSettings { interval: Duration::from_secs_f64(interval), keep: Duration::from_secs(keep) }
            .samples()
    };
    assert_eq!((samples(10.0, 600), samples(0.0, 60), samples(10.0, 0)), (61, 61, 2));
    assert_eq!((samples(1.0, u64::MAX), samples(1e9, 1)), (FlightSettings::MOST, 2));
}

/// Guards the thread: it takes samples by itself, tells of them, and ends with its handle.
#[test]
fn the_recorder_runs_until_it_is_dropped() {
    let tree = Tree::new("thread");
    tree.process(10, "app", 1, 1000, "");
    let settings = FlightSettings { interval: Duration::from_secs(1), keep: Duration::from_mins(1) };
    let recorder = Handle::start(&tree.0, settings, None).unwrap();
    while recorder.cost().samples < 2 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut incident = crate::explain::tests::global();
    incident.common.boot_ns = Some(crate::host::boot_ns());
    recorder.complete(&mut incident);
    assert!(
        incident.before.is_some() && incident.missing.contains_key("before.course[].some_hundredths_percent")
    );
    let memory = std::sync::Arc::downgrade(&recorder.memory);
    drop(recorder);
    let deadline = Instant::now() + Duration::from_secs(10);
    while memory.strong_count() > 0 {
        assert!(Instant::now() < deadline, "the thread runs on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Guards whoever reports: it gets its answer while a file of /proc is not to be read, as of a process whose memory is locked for long.
#[test]
fn nobody_waits_for_files() {
    let tree = Tree::new("blocked");
    tree.process(10, "app", 1, 1000, "");
    let file = tree.0.join("proc/10/statm");
    fs::remove_file(&file).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    // Who opens it waits until somebody writes.
    rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let recorder = Handle::start(&tree.0, FlightSettings::default(), None).unwrap();
    let begun = Instant::now();
    let mut incident = crate::explain::tests::global();
    recorder.complete(&mut incident);
    assert!(incident.missing["before"].contains("too few samples") && recorder.cost().samples == 0);
    assert!(begun.elapsed() < Duration::from_secs(5));
    fs::write(&file, "99 1000 1\n").unwrap();
}

/// Guards machines that show nothing: without /proc there is no recorder, and without anything in it an empty sample.
#[test]
fn an_empty_machine_is_no_error() {
    assert!(Sampler::new(Path::new("/nonexistent"), None).is_err());
    let tree = Tree::new("empty");
    fs::remove_file(tree.0.join("proc/meminfo")).unwrap();
    let reading = take(&mut tree.sampler());
    assert!(reading.sample.processes.is_empty() && reading.sample.machine == Machine::default());
}

/// Guards what is read here and now: this very process is seen, with what it has.
#[test]
fn this_process_is_seen() {
    let mut sampler = Sampler::new(Path::new("/"), None).unwrap();
    let reading = sampler.timed().0;
    let own = std::process::id();
    let Some((key, process)) = reading.processes.iter().find(|(_, process)| process.pid == own) else {
        // The tests run in a PID namespace of their own.
        assert!(reading.processes.is_empty());
        return;
    };
    let of = |key: Key| super::sample::size_of(&reading.sample.processes, key).unwrap();
    assert!(of(*key) > 1 << 20 && process.began_ns <= crate::host::boot_ns());
    assert!(reading.sample.machine.available.is_some());
}

/// Measures a sample on this machine: `cargo test -p oomtrace flight::tests::cost -- --ignored --nocapture`.
#[test]
#[ignore = "it measures and guards nothing"]
fn cost() {
    let mut sampler = Sampler::new(Path::new("/"), None).unwrap();
    for _ in 0..7 {
        let begun = Instant::now();
        let (reading, cpu_ns) = sampler.timed();
        println!(
            "{} processes told of {}, {} cgroups: {} µs of CPU, {} µs in all",
            reading.processes.len(),
            reading.sample.processes.len(),
            reading.sample.cgroups.len(),
            cpu_ns / 1000,
            begun.elapsed().as_micros()
        );
        std::thread::sleep(Duration::from_secs(10));
    }
}
