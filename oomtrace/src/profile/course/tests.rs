use std::{
    fs,
    io::Write as _,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use oomtrace_ebpf::{TaskSize, size};
use zerocopy::IntoBytes as _;

use super::{
    processes::{Comm, Own, Share},
    sample::Sample,
    vmstat::Vmstat,
    *,
};
use crate::profile::report::{CgroupMemory, Course, Mark, Point, Run};

const SECOND: u64 = 1_000_000_000;
/// oomtrace's own process in these trees.
const ABOVE: u32 = 50;

/// A machine in a folder.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        tree.write("proc/meminfo", "MemAvailable: 1000 kB\nSwapTotal: 100 kB\nSwapFree: 60 kB\n");
        tree.write("proc/pressure/memory", psi(0, 0));
        tree.write(
            "proc/vmstat",
            "pgmajfault 100\npswpin 1\npswpout 2\npgscan_kswapd 10\npgsteal_kswapd 5\n",
        );
        tree.process(2, "kswapd", 0, 0x0020_0000, [900, 900, 0]);
        tree.process(40, "kswapd0", 2, 0x0020_0040, [7, 3, 0]);
        tree.process(41, "kswapd0", 1, 0, [100, 100, 9]);
        tree.process(ABOVE, "oomtrace", 1, 0, [0, 0, 5000]);
        tree
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        let path = self.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A process with its CPU times in user space and in the kernel, in ticks, and its resident pages.
    fn process(&self, pid: u32, comm: &str, parent: u32, flags: u32, [user, system, pages]: [u64; 3]) {
        let text = format!(
            "{pid} ({comm}) S {parent} 1 1 0 -1 {flags} 0 0 0 0 {user} {system} 0 0 20 0 1 0 500 9 {pages} 1 1 1\n"
        );
        self.write(&format!("proc/{pid}/stat"), text);
    }

    fn wanted(&self) -> Wanted {
        Wanted {
            root: self.path().to_owned(),
            above: ABOVE,
            began_ns: 0,
            interval: SHORTEST,
            tasks: None,
            cgroup: None,
            waited_ns: None,
        }
    }

    fn sample(&self) -> Sample {
        Reader::new(self.wanted()).unwrap().timed()
    }
}

fn psi(some_us: u64, full_us: u64) -> String {
    format!(
        "some avg10=0.00 avg60=0.00 avg300=0.00 total={some_us}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total={full_us}\n"
    )
}

fn comm(name: &str) -> Comm {
    let mut comm = [0; 16];
    comm[..name.len()].copy_from_slice(name.as_bytes());
    comm
}

fn of_name<'a>(own: &'a Own, name: &str) -> &'a Share {
    &own.names.iter().find(|(other, _)| *other == comm(name)).unwrap().1
}

const fn share(processes: u64, rss_bytes: u64, swap_bytes: u64) -> Share {
    Share { processes, rss_bytes, swap_bytes }
}

/// Guards what /proc tells: all below oomtrace's process whatever they call themselves, and nobody else.
#[test]
fn own_processes_are_found_in_proc() {
    let tree = Tree::new();
    tree.process(60, "stress-ng", ABOVE, 0, [0, 0, 10]);
    tree.process(61, "stress-ng-vm", 60, 0, [0, 0, 1000]);
    tree.process(62, "stress-ng-vm", 60, 0, [0, 0, 500]);
    tree.process(63, "x) S 1 (\u{1b}[2J\n", 62, 0, [0, 0, 1]);
    tree.process(70, "sshd", 1, 0, [0, 0, 9000]);
    tree.write("proc/62/status", "Name:\tx\nVmRSS:\t 1 kB\nVmSwap:\t 30 kB\n");
    tree.write("proc/64/stat", "64 (half");
    fs::create_dir_all(tree.path().join("proc/65")).unwrap();
    tree.write("proc/self/stat", "1 (self) S 50");
    let own = tree.sample().own.unwrap();
    let page = u64::from(crate::host::page_bytes());
    assert_eq!(own.all, share(4, 1511 * page, 30 << 10));
    assert_eq!(*of_name(&own, "stress-ng-vm"), share(2, 1500 * page, 30 << 10));
    assert_eq!(*of_name(&own, "x) S 1 (\u{1b}[2J\n"), share(1, page, 0));
    assert_eq!((own.names.len(), own.rest), (3, Share::default()));
}

/// Guards kswapd: the kernel's own threads, and neither the likes of them nor who calls itself so; none at all is none.
#[test]
fn only_the_kernels_kswapd_counts() {
    let tree = Tree::new();
    assert_eq!(tree.sample().kswapd_ns, Some(10 * 10_000_000));
    fs::remove_dir_all(tree.path().join("proc/40")).unwrap();
    assert_eq!(tree.sample().kswapd_ns, None);
}

/// Records as the kernel's iterator tells them: bits of whose they are, pages in memory and in swap, name.
fn records(tasks: &[(u32, i64, i64, &str)]) -> Vec<u8> {
    let record = |(whose, rss_pages, swap_pages, name): &(u32, i64, i64, &str)| {
        let present = size::PID | size::START | size::COMM | size::PAGES | whose << size::WHOSE;
        let (rss_pages, swap_pages) = (*rss_pages, *swap_pages);
        let task = TaskSize { present, rss_pages, swap_pages, comm: comm(name), ..TaskSize::EMPTY };
        task.as_bytes().to_vec()
    };
    tasks.iter().flat_map(record).collect()
}

fn told_by_kernel(tree: &Tree) -> Reader {
    let file = tree.path().join("tasks");
    Reader::new(Wanted { tasks: Some(Box::new(move || fs::File::open(&file))), ..tree.wanted() }).unwrap()
}

/// Guards the kernel's own list: the command's own by name, with swap, and sizes that are slightly negative as none.
#[test]
fn own_processes_are_told_by_the_kernel() {
    let tree = Tree::new();
    tree.process(60, "of /proc", ABOVE, 0, [0, 0, 9]);
    tree.write(
        "tasks",
        records(&[
            (2, 9000, 0, "sshd"),
            (1, 10, 4, "vm"),
            (1, 5, -1, "vm"),
            (1, -3, 0, "brk"),
            (0, 7, 0, "deep"),
        ]),
    );
    let mut reader = told_by_kernel(&tree);
    let page = u64::from(crate::host::page_bytes());
    let own = reader.timed().own.unwrap();
    assert_eq!(
        (own.all, *of_name(&own, "vm")),
        (share(3, 15 * page, 4 * page), share(2, 15 * page, 4 * page))
    );
    assert_eq!(*of_name(&own, "brk"), share(1, 0, 0));
    tree.write("tasks", records(&[(2, 9000, 0, "sshd")]));
    assert_eq!(reader.timed().own, Some(Own::default()));
}

/// Guards against a kernel that does not say whose they are, tells something else, or tells no more: /proc is read from then on.
#[test]
fn without_the_kernel_there_is_proc() {
    for broken in [records(&[(0, 10, 0, "vm")]), b"half a record".to_vec(), vec![]] {
        let tree = Tree::new();
        tree.process(60, "of /proc", ABOVE, 0, [0, 0, 9]);
        tree.write("tasks", broken);
        let mut reader = told_by_kernel(&tree);
        assert_eq!(of_name(&reader.timed().own.unwrap(), "of /proc").processes, 1);
        tree.write("tasks", records(&[(1, 10, 0, "vm")]));
        assert_eq!(of_name(&reader.timed().own.unwrap(), "of /proc").processes, 1);
    }
}

/// A sample at that second, with so many major faults so far, so much available, and own processes.
fn at(second: f64, faults: u64, available: u64, names: &[(&str, u64)]) -> Sample {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
    let boot_ns = 5 * SECOND + (second * 1e9) as u64;
    let mut own = Own::default();
    for (name, rss) in names {
        own.names.push((comm(name), share(1, *rss, 0)));
        own.all.rss_bytes += rss;
        own.all.processes += 1;
    }
    own.names.sort_by_key(|(name, _)| *name);
    let mut sample = Sample { boot_ns, cpu_ns: 1000, own: Some(own), ..Sample::default() };
    sample.machine.available = Some(available);
    sample.vmstat = Vmstat::of(format!("pgmajfault {faults}\n").as_bytes());
    sample
}

fn recorder(interval: Duration) -> Recorder {
    Recorder::new(5 * SECOND, interval)
}

/// Guards a run that is over at once: two points, differences, and no rate of no time.
#[test]
fn the_shortest_run_has_two_points() {
    let mut recorder = recorder(Duration::from_secs(1));
    recorder.push(at(0.0, 10, 9000, &[]));
    recorder.push(at(0.0, 12, 8000, &[("vm", 4096)]));
    let gathered = recorder.gathered();
    let times: Vec<_> =
        gathered.points.iter().map(|point| (point.at_ns, point.major_faults_per_second)).collect();
    assert_eq!(times, [(0, None), (0, None)]);
    assert_eq!(gathered.counters.0["pgmajfault"], 2);
    assert_eq!((gathered.curves.len(), &gathered.curves[0].rss_bytes[..]), (1, &[0, 4096][..]));
    assert_eq!((gathered.psi, gathered.kswapd, gathered.samples, gathered.cpu_ns), (None, None, 2, 2000));
}

/// Guards rates: of the time since the sample before, whatever that is.
#[test]
fn rates_are_of_the_time_between() {
    let mut recorder = recorder(Duration::from_secs(1));
    recorder.push(at(0.0, 0, 1, &[]));
    recorder.push(at(1.0, 50, 1, &[]));
    recorder.push(at(3.0, 150, 1, &[]));
    recorder.push(at(3.5, 151, 1, &[]));
    let rates: Vec<_> =
        recorder.gathered().points.iter().map(|point| point.major_faults_per_second).collect();
    assert_eq!(rates, [None, Some(50.0), Some(50.0), Some(2.0)]);
}

/// Guards the bound of a long run: points, with an interval that doubles; peaks of single samples stay, rates come to the same
/// total, and samples become rarer.
#[test]
fn a_long_run_is_bounded() {
    let mut recorder = recorder(Duration::from_secs(1));
    let (mut second, mut faults, mut samples) = (0_u32, 0, 0);
    while second <= 36_000 {
        faults += u64::from(second % 7);
        let peak = if second == 0 || samples == 3001 { 1 << 30 } else { 1 << 20 };
        let available = if samples == 2002 { 77 } else { 1 << 20 };
        recorder.push(at(f64::from(second), faults, available, &[("vm", peak), ("brk", 8192)]));
        samples += 1;
        second += u32::try_from(recorder.interval().as_secs()).unwrap();
        assert!(recorder.interval() >= Duration::from_secs(1) && recorder.interval() <= LONGEST);
    }
    assert!((4000..7000).contains(&samples), "{samples}");
    let gathered = recorder.gathered();
    let points = &gathered.points;
    assert!((Course::MOST / 2..=Course::MOST).contains(&points.len()), "{}", points.len());
    assert!(gathered.interval_ns == 64 * SECOND && points.is_sorted_by_key(|point| point.at_ns));
    let gaps: Vec<_> = points.windows(2).map(|pair| pair[1].at_ns - pair[0].at_ns).collect();
    assert!(gaps.iter().all(|gap| *gap >= 56 * SECOND && *gap <= 72 * SECOND), "{gaps:?}");
    // What there was for one sample alone is there still.
    assert_eq!(points.iter().filter(|point| point.available_bytes == Some(77)).count(), 1);
    let vm = &gathered.curves[0];
    assert_eq!((vm.comm.as_deref(), vm.rss_bytes.len()), (Some("vm"), points.len()));
    assert_eq!(vm.rss_bytes.iter().filter(|rss| **rss == 1 << 30).count(), 2);
    // All faults are under the curve.
    let mut before = 0;
    let mut under = 0.0;
    for point in points {
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let seconds = (point.at_ns - before) as f64 / 1e9;
        under += point.major_faults_per_second.unwrap_or(0.0) * seconds;
        before = point.at_ns;
    }
    #[expect(clippy::cast_precision_loss, reason = "small")]
    let all = gathered.counters.0["pgmajfault"] as f64;
    assert!((under - all).abs() < all / 100.0, "{under} of {all}");
}

/// Guards names: more than are followed, the largest of which are told by name, and all together are what there was.
#[test]
fn the_largest_names_are_told() {
    let names: Vec<String> = (0..200).map(|n| format!("n{n:03}")).collect();
    let mut recorder = recorder(Duration::from_secs(1));
    for second in 0..10_u32 {
        // In each second others have much; the last of all have the most.
        let sizes = |n: usize| if n % 10 == second as usize { (n as u64 + 1) << 20 } else { 4096 };
        let all: Vec<_> = names.iter().enumerate().map(|(n, name)| (name.as_str(), sizes(n))).collect();
        recorder.push(at(f64::from(second), 0, 0, &all));
    }
    let gathered = recorder.gathered();
    assert_eq!(gathered.stressors.len(), 64);
    let first: Vec<_> =
        gathered.stressors.iter().take(3).map(|one| (one.comm.as_str(), one.peak_rss_bytes)).collect();
    assert_eq!(first, [("n199", 200 << 20), ("n198", 199 << 20), ("n197", 198 << 20)]);
    assert!(gathered.curves.len() == 9 && gathered.curves.iter().all(|curve| curve.rss_bytes.len() == 10));
    assert_eq!(
        (gathered.curves[0].comm.as_deref(), gathered.curves[8].comm.as_deref()),
        (Some("n199"), None)
    );
    for (index, point) in gathered.points.iter().enumerate() {
        let sum: u64 = gathered.curves.iter().map(|curve| curve.rss_bytes[index]).sum();
        assert_eq!(Some(sum), point.own_rss_bytes);
    }
}

/// Guards the report: all is put where it belongs, marks stay, and what samples found stands in for a peak that the kernel does
/// not tell, but for no other.
#[test]
fn all_is_told_to_the_report() {
    let gathered = || {
        let mut recorder = recorder(Duration::from_secs(1));
        for (second, usage, pids) in [(0.0, 100, 3), (1.0, 300, 2), (2.0, 200, 1)] {
            let mut sample = at(second, 0, 1, &[("vm", 4096)]);
            sample.cgroup = InCgroup { usage_bytes: Some(usage), pids: Some(pids) };
            recorder.push(sample);
        }
        recorder.gathered()
    };
    let mark = Mark { at_ns: 1, ..Mark::default() };
    let mut run = Run { cgroup: Some(CgroupMemory::default()), ..Run::default() };
    run.course.marks.push(mark.clone());
    gathered().tell(&mut run);
    let cgroup = run.cgroup.clone().unwrap();
    assert_eq!(
        (cgroup.peak_bytes, cgroup.peak_from.as_deref(), cgroup.most_pids),
        (Some(300), Some("samples"), Some(3))
    );
    assert_eq!(
        (&run.course.marks[..], run.course.points.len(), run.course.interval_ns),
        (&[mark][..], 3, SECOND)
    );
    assert_eq!((run.stressors[0].comm.as_str(), run.cost.sampling_cpu_ns), ("vm", 3000));
    let told = CgroupMemory {
        peak_bytes: Some(999),
        peak_from: Some("memory.peak".into()),
        ..CgroupMemory::default()
    };
    run.cgroup = Some(told);
    gathered().tell(&mut run);
    assert_eq!(run.cgroup.unwrap().peak_from.as_deref(), Some("memory.peak"));
    run = Run::default();
    gathered().tell(&mut run);
    assert_eq!(run.cgroup, None);
}

/// Guards the thread: the first sample is there when it has started, others follow, the last is taken at the end, and all of them
/// see what the caller lets them look at.
#[test]
fn the_thread_samples_until_the_end() {
    static LOOKS: AtomicU64 = AtomicU64::new(0);
    let tree = Tree::new();
    tree.process(60, "vm", ABOVE, 0, [0, 0, 10]);
    let look = || InCgroup { usage_bytes: Some(LOOKS.fetch_add(1, Ordering::Relaxed) * 1000), pids: Some(7) };
    let wanted = Wanted {
        began_ns: crate::host::boot_ns(),
        cgroup: Some(Box::new(look)),
        waited_ns: Some(Box::new(|| LOOKS.load(Ordering::Relaxed) * SECOND)),
        ..tree.wanted()
    };
    let sampler = Sampler::start(wanted).unwrap();
    let first = sampler.now();
    assert_eq!(
        (first.own_processes, first.point.cgroup_bytes, first.point.available_bytes),
        (Some(1), Some(0), Some(1_024_000))
    );
    let deadline = Instant::now() + Duration::from_secs(20);
    while sampler.now().point.cgroup_bytes < Some(3000) {
        assert!(Instant::now() < deadline, "no samples are taken");
        thread::sleep(Duration::from_millis(10));
    }
    tree.write("proc/vmstat", "pgmajfault 140\npswpin 1\npswpout 2\npgscan_kswapd 30\npgsteal_kswapd 15\n");
    tree.write("proc/pressure/memory", psi(2000, 500));
    tree.process(40, "kswapd0", 2, 0x0020_0040, [7, 5, 0]);
    let gathered = sampler.end();
    let page = u64::from(crate::host::page_bytes());
    assert_eq!(gathered.counters.0["pgmajfault"], 40);
    assert_eq!(gathered.psi.map(|psi| (psi.some_ns, psi.full_ns)), Some((2_000_000, 500_000)));
    let kswapd = gathered.kswapd.unwrap();
    assert_eq!(
        (kswapd.cpu_ns, kswapd.scanned_bytes, kswapd.reclaimed_bytes),
        (20_000_000, 20 * page, 10 * page)
    );
    assert!(gathered.samples >= 5 && gathered.points.len() >= 4 && gathered.cpu_ns > 0);
    assert!(gathered.points[1..].iter().any(|point| point.waiting.is_some_and(|waiting| waiting > 0.0)));
    assert_eq!(gathered.most_pids, Some(7));
}

/// Guards whoever waits for the end: it gets what there is while a file is not to be read, as of a process that is being freed.
#[test]
fn nobody_waits_for_files() {
    let tree = Tree::new();
    let sampler = Sampler::start(tree.wanted()).unwrap();
    let file = tree.path().join("proc/vmstat");
    fs::remove_file(&file).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    // Who opens it waits until somebody writes.
    rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let begun = Instant::now();
    let gathered = sampler.end();
    assert!(gathered.samples >= 1 && begun.elapsed() < PATIENCE * 4);
    fs::OpenOptions::new().write(true).open(&file).unwrap().write_all(b"x 1\n").unwrap();
}

/// Guards machines that show nothing: without /proc there is no sampler, and with an empty one empty samples.
#[test]
fn an_empty_machine_is_no_error() {
    let tree = Tree::new();
    let nowhere = Wanted { root: "/nonexistent".into(), ..tree.wanted() };
    assert!(Sampler::start(nowhere).is_err());
    fs::remove_dir_all(tree.path().join("proc")).unwrap();
    fs::create_dir(tree.path().join("proc")).unwrap();
    let gathered = Sampler::start(tree.wanted()).unwrap().end();
    assert_eq!((gathered.samples, gathered.counters.0.len(), gathered.psi), (2, 0, None));
    let expected = Point { at_ns: gathered.points[0].at_ns, own_rss_bytes: Some(0), ..Point::default() };
    assert_eq!(gathered.points[0], expected);
}

/// Guards what is read here and now: this very process's child is seen, and this process is not.
#[test]
fn a_child_of_this_process_is_seen() {
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let wanted = Wanted { root: "/".into(), above: std::process::id(), ..Tree::new().wanted() };
    let sample = Reader::new(wanted).unwrap().timed();
    child.kill().unwrap();
    child.wait().unwrap();
    let own = sample.own.unwrap();
    assert!(own.names.iter().any(|(name, share)| *name == comm("sleep") && share.rss_bytes > 0), "{own:?}");
    assert!(
        sample.machine.available.is_some() && sample.vmstat.get("pgmajfault").is_some() && sample.cpu_ns > 0
    );
}

/// Measures a sample on this machine: `cargo test -p oomtrace course::tests::cost -- --ignored --nocapture`.
#[test]
#[ignore = "it measures and guards nothing"]
fn cost() {
    let wanted = Wanted { root: "/".into(), above: std::process::id(), ..Tree::new().wanted() };
    let mut reader = Reader::new(wanted).unwrap();
    for _ in 0..7 {
        let begun = Instant::now();
        let sample = reader.timed();
        println!("{} µs of CPU, {} µs in all", sample.cpu_ns / 1000, begun.elapsed().as_micros());
        thread::sleep(Duration::from_millis(500));
    }
}

/// Guards the budget: samples that take long become rarer, as much as they do on average, and never rarer than [`LONGEST`].
#[test]
fn what_takes_long_is_done_less_often() {
    let tree = Tree::new();
    let mut reader = Reader::new(tree.wanted()).unwrap();
    let pause = |costs: &[u64], reader: &mut Reader| {
        let recorder = Mutex::new(recorder(Duration::from_millis(100)));
        for cpu_ns in costs {
            lock(&recorder).push(Sample { cpu_ns: *cpu_ns, ..at(0.0, 0, 0, &[]) });
        }
        take(reader, &recorder)
    };
    assert_eq!(pause(&[1; 99], &mut reader), Duration::from_millis(100));
    // 10 ms once in a hundred samples are a tenth on average; each time they are 2 s.
    let once = pause(&[&[10_000_000][..], &[1; 98]].concat(), &mut reader);
    assert!(once < Duration::from_millis(200), "{once:?}");
    let each = pause(&[10_000_000; 99], &mut reader);
    assert!(each > Duration::from_millis(1900) && each < Duration::from_millis(2100), "{each:?}");
    assert_eq!(pause(&[1_000_000_000; 99], &mut reader), LONGEST);
}
