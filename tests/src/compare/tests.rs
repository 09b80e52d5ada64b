//! Guards the comparison itself: what agrees passes, and each wrong figure fails. The incident is the hand-made one
//! of `fixtures/incident/memcg.json`; the witnesses here say the same.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::incident::tests::LINE;
use crate::machine::tests::machine;
use crate::tracer::Output;
use crate::watch::{Clocks, Traced, read};
use crate::witness::cgroup::Hierarchy;
use crate::witness::klog::Assembler;
use crate::witness::procfs::{Process, Walked};

/// The log of that kill.
pub(crate) const LOG: &str = "\
eater invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=100
CPU: 1 UID: 1234 PID: 4121 Comm: eater Not tainted 6.12.1 #1
memory: usage 49152kB, limit 49152kB, failcnt 3
[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name
[   4121]  1234  4121    32768    13047    11511     1280      256   163840        0           100 eater
[   4130]  1235  4130     4096     2000     1500      500        0    81920       10            -5 bystander
[   4131]     0  4131     1024      300      100      200        0    40960        0         -1000 never
oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/t,task_memcg=/t/leaf,task=eater,pid=4121,uid=1234
Memory cgroup out of memory: Killed process 4121 (eater) total-vm:131072kB, anon-rss:46044kB, file-rss:5120kB, shmem-rss:1024kB, UID:1234 pgtables:160kB oom_score_adj:100
";

/// A hierarchy in a folder of ordinary files, removed at the end.
pub(crate) struct Scene {
    folder: PathBuf,
    pub(crate) machine: Machine,
    pub(crate) eater: Facts,
    pub(crate) limited: Cgroup,
    pub(crate) log: String,
}

impl Scene {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("oomtrace-compare-{}-{number}", std::process::id()));
        fs::create_dir_all(folder.join("t/leaf")).unwrap();
        for (file, text) in [
            ("cgroup.procs", ""),
            ("t/memory.max", "50331648\n"),
            ("t/memory.swap.max", "0\n"),
            ("t/leaf/memory.max", "max\n"),
            ("t/leaf/memory.swap.max", "max\n"),
            ("t/leaf/memory.events", "oom 1\noom_kill 1\n"),
        ] {
            fs::write(folder.join(file), text).unwrap();
        }
        let hierarchy = Hierarchy::at(folder.clone());
        let wall = humantime::parse_rfc3339("2026-01-02T03:04:05Z").unwrap();
        let eater = Facts {
            name: b"eater".to_vec(),
            cgroup: Some(hierarchy.cgroup("/t/leaf")),
            before: Process {
                pid: 4121,
                ppid: 7,
                ns_pid: 1,
                ancestors: vec![(7, "shim".to_owned()), (1, "init".to_owned())],
                tids: vec![4121],
                uid: 1234,
                cmdline: vec!["eat".to_owned(), "--much".to_owned()],
                oom_score_adj: 100,
                total_vm_bytes: 128 << 20,
                start_ticks: 0,
            },
            held: Some(Walked { rss_bytes: 53_440_512, anon_bytes: 47_149_056 }),
            started: (wall, wall),
        };
        let limited = hierarchy.cgroup("/t");
        let machine = Machine { hierarchy: Some(hierarchy), ..machine() };
        Self { folder, machine, eater, limited, log: LOG.to_owned() }
    }

    /// The incident, with the id that the cgroup's folder happens to have.
    pub(crate) fn incident(&self) -> Value {
        let mut json: Value = serde_json::from_str(LINE).unwrap();
        json["scope"]["memcg"]["id"] = self.limited.id().unwrap().into();
        json
    }

    /// What was seen: the log, and `incident`.
    pub(crate) fn seen(&self, incident: &Value) -> Seen {
        let mut assembler = Assembler::default();
        self.log.lines().for_each(|line| assembler.line(line));
        let clocks = |seconds: u64| Clocks {
            boot_ns: seconds * 1_000_000_000,
            wall: self.eater.started.0 + Duration::from_secs(seconds),
        };
        Seen {
            log: assembler.ooms().to_vec(),
            log_text: Vec::new(),
            log_overrun: false,
            oom_kills: 1,
            window: (clocks(0), clocks(9)),
            traced: Some(traced(&[incident])),
        }
    }

    /// Compares `incident` in all ways, for a victim that may have moved `moving_bytes`.
    fn failures(&self, incident: &Value, moving_bytes: u64) -> Vec<String> {
        let expected = Expected { moving_bytes, ..Expected::kill(&self.eater, &self.eater, &self.limited) };
        self.failures_of(&expected, incident)
    }

    /// Compares `incident` in all ways with what was `expected`.
    fn failures_of(&self, expected: &Expected<'_>, incident: &Value) -> Vec<String> {
        let seen = self.seen(incident);
        let mut checks = Checks::default();
        counts(&mut checks, &seen, &[&self.eater]);
        let logged = seen.log.first().unwrap();
        expected.check_provoked(&mut checks, logged, &self.machine);
        let incident = seen.traced.as_ref().and_then(|traced| traced.incidents.first()).unwrap();
        expected.check_reported(&mut checks, incident, logged, &seen, (&self.machine, Some("trampoline")));
        checks.failures().to_vec()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

fn traced(incidents: &[&Value]) -> Traced {
    let stdout = incidents.iter().map(|incident| incident.to_string().into_bytes()).collect();
    read(Output { stdout, stderr: Vec::new(), status: ExitStatus::from_raw(0) }).unwrap()
}

/// Guards that agreement passes: otherwise the other tests here would prove nothing.
#[test]
fn agreement_passes() {
    let scene = Scene::new();
    assert_eq!(scene.failures(&scene.incident(), 0), [""; 0]);
}

/// Guards every shared field: changing it, or leaving it out, fails.
#[test]
fn each_wrong_or_absent_field_fails() {
    let scene = Scene::new();
    let wrong = [
        ("/schema", json!("oomtrace/2")),
        ("/time", json!("2026-01-02T03:05:05Z")),
        ("/boot_ns", json!(9_000_000_001_u64)),
        ("/host", json!("other")),
        ("/boot_id", json!("c")),
        ("/kernel", json!("6.12.2")),
        ("/tier", json!("kprobe")),
        ("/source", json!("replay")),
        ("/outcome", json!("no_victim")),
        ("/lost_records", json!(1)),
        ("/scope/kind", json!("global")),
        ("/scope/cause", json!("sysrq")),
        ("/scope/capacity_bytes", json!(50_331_649)),
        ("/scope/memcg/path", json!("/t/leaf")),
        ("/scope/memcg/id", json!(1)),
        ("/scope/memcg/hierarchy", json!(4)),
        ("/scope/limits/0/path", json!("/t")),
        ("/scope/limits/1/usage_bytes", json!(49_000_000)),
        ("/scope/limits/1/limit_bytes", json!(50_331_647)),
        ("/scope/limits/1/swap_limit_bytes", json!(1)),
        ("/trigger/pid", json!(4120)),
        ("/trigger/tid", json!(4122)),
        ("/trigger/comm", json!("eaten")),
        ("/trigger/uid", json!(0)),
        ("/trigger/cmdline", json!(["eat"])),
        ("/trigger/cgroup", json!("/")),
        ("/victims/0/pid", json!(4120)),
        ("/victims/0/tid", json!(4122)),
        ("/victims/0/ppid", json!(1)),
        ("/victims/0/ns_pid", json!(4121)),
        ("/victims/0/ancestors/1/comm", json!("sh")),
        ("/trigger/ns_pid", json!(4121)),
        ("/trigger/ancestors", json!([])),
        ("/victims/0/comm", json!("eaten")),
        ("/victims/0/uid", json!(0)),
        ("/victims/0/cmdline", json!(["eat", "--little"])),
        ("/victims/0/threads", json!(2)),
        ("/victims/0/verdict", json!("group_killed")),
        ("/victims/0/oom_score_adj", json!(0)),
        ("/victims/0/points", json!(14_286)),
        ("/victims/0/total_vm_bytes", json!(131_072)),
        ("/victims/0/rss/anon_bytes", json!(47_149_057)),
        ("/victims/0/rss/total_bytes", json!(53_440_513)),
        ("/victims/0/rss_kernel/anon_bytes", json!(46_044)),
        ("/victims/0/rss_kernel/file_bytes", json!(5_242_881)),
        ("/victims/0/rss_kernel/shmem_bytes", json!(0)),
        ("/victims/0/rss_kernel/total_bytes", json!(53_440_511)),
        ("/victims/0/swap_bytes", json!(4096)),
        ("/victims/0/pgtables_bytes", json!(167_936)),
        ("/victims/0/cgroup", json!("/t")),
        ("/victims/0/start_time", json!("2026-01-02T03:04:01Z")),
        ("/candidates/0/pid", json!(4130)),
        ("/candidates/0/points", json!(14_288)),
        ("/candidates/1/pid", json!(4131)),
        ("/candidates/1/points", json!(1969)),
        ("/candidates", json!([])),
        ("/ballot/examined", json!(4)),
        ("/ballot/unkillable", json!(0)),
    ];
    for (pointer, value) in wrong {
        let mut incident = scene.incident();
        *incident.pointer_mut(pointer).unwrap() = value;
        assert_ne!(scene.failures(&incident, 0), [""; 0], "{pointer} may be wrong");

        let mut incident = scene.incident();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        incident.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
        // The tier is compared only when it was asked for on the command line, which it is here.
        assert_ne!(scene.failures(&incident, 0), [""; 0], "{pointer} may be absent");
    }
}

/// Guards fields that a tier may leave out: absent passes here (the floor decides), wrong does not.
#[test]
fn optional_fields_may_be_absent_and_not_wrong() {
    let scene = Scene::new();
    for (parent, key, wrong) in [
        ("/scope", "constraint", json!("CONSTRAINT_NONE")),
        ("/trigger", "gfp_mask", json!(0xcc1)),
        ("/trigger", "gfp_flags", json!(["GFP_NOFS"])),
        ("/trigger", "order", json!(1)),
    ] {
        let mut incident = scene.incident();
        let object = incident.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        object.insert(key.to_owned(), wrong);
        assert_eq!(scene.failures(&incident, 0).len(), 1, "{key} may be wrong");
        let object = incident.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        object.remove(key).unwrap();
        assert_eq!(scene.failures(&incident, 0), [""; 0], "{key} may not be absent");
    }
}

/// Guards an unlimited level against a limit that was made up, and the chain against a level that is left out.
#[test]
fn the_chain_of_limits_is_checked_level_by_level() {
    let scene = Scene::new();
    let mut incident = scene.incident();
    incident["scope"]["limits"][0]["limit_bytes"] = json!(0);
    assert_eq!(scene.failures(&incident, 0).len(), 1);
    let mut incident = scene.incident();
    incident["scope"]["limits"].as_array_mut().unwrap().pop();
    assert_eq!(scene.failures(&incident, 0).len(), 1);
    let mut incident = scene.incident();
    incident["scope"]["limits"][0]["usage_bytes"] = json!(60_000_000);
    assert_eq!(scene.failures(&incident, 0).len(), 1);
}

/// Guards the allowance for other threads: it excuses what they may have moved, and not a page more.
#[test]
fn moving_memory_is_excused_to_its_bound() {
    let scene = Scene::new();
    let mut incident = scene.incident();
    for rss in ["rss", "rss_kernel"] {
        incident["victims"][0][rss]["anon_bytes"] = json!(47_149_056 - 8192);
        incident["victims"][0][rss]["total_bytes"] = json!(53_440_512 - 8192);
    }
    incident["victims"][0]["rss"]["error_bytes"] = json!(3 * 8192);
    assert_eq!(scene.failures(&incident, 8192), [""; 0]);
    assert_eq!(scene.failures(&incident, 4096).len(), 2, "anon and total of rss_kernel");
    incident["victims"][0]["rss"]["error_bytes"] = json!(4096);
    assert_eq!(scene.failures(&incident, 8192).len(), 2, "anon and total of rss, against the page tables");
}

/// Guards the allowance for swap that the kernel leaves out of its own figure: to its bound, where there is swap, and on
/// the kernels that do.
#[test]
fn swap_that_a_kernel_leaves_out_is_excused_to_its_bound() {
    let mut scene = Scene::new();
    let bound = scene.machine.counter_error_bytes(1);
    let failures = |scene: &Scene, swap_bytes: u64, more: u64| {
        let mut incident = scene.incident();
        incident["kernel"] = json!(scene.machine.kernel);
        incident["scope"]["capacity_bytes"] = json!(50_331_648 + swap_bytes);
        incident["victims"][0]["swap_bytes"] = json!(more);
        for (at, listed) in [(0, 0), (1, 40_960)] {
            incident["candidates"][at]["swap_bytes"] = json!(listed + more);
        }
        let expected = Expected { swap_bytes, ..Expected::kill(&scene.eater, &scene.eater, &scene.limited) };
        scene.failures_of(&expected, &incident)
    };
    assert_eq!(failures(&scene, 4096, bound), [""; 0]);
    // The victim's, and each candidate's with the score that it is part of.
    assert_eq!(failures(&scene, 4096, bound + 4096).len(), 5, "more than CPUs can hold back");
    assert_eq!(failures(&scene, 0, 4096).len(), 5, "nothing can be swapped");
    for kernel in ["6.1.0", "7.2.13"] {
        scene.machine.kernel = kernel.to_owned();
        assert_eq!(failures(&scene, 4096, 4096).len(), 5, "{kernel} leaves nothing out");
    }
}

/// Guards the counts: a kill that the log or the counters know of and oomtrace does not, or the other way about.
#[test]
fn counts_that_differ_fail() {
    let mut scene = Scene::new();
    let incident = scene.incident();
    scene.log.push_str(
        "Memory cgroup out of memory: Killed process 9 (x) total-vm:1kB, anon-rss:1kB, file-rss:1kB, shmem-rss:1kB, \
         UID:0 pgtables:1kB oom_score_adj:0\n",
    );
    assert_eq!(scene.failures(&incident, 0).len(), 2, "the machine's counter, and the incidents");

    let scene = Scene::new();
    fs::write(scene.folder.join("t/leaf/memory.events"), "oom_kill 2\n").unwrap();
    assert_eq!(scene.failures(&scene.incident(), 0).len(), 1, "the cgroup's counter");
}

/// Guards a scenario that provoked something else than it meant to: that is a failure of its own.
#[test]
fn another_kill_than_meant_fails() {
    let mut scene = Scene::new();
    scene.log = scene.log.replace("oom_memcg=/t,", "oom_memcg=/other,").replace("PID: 4121", "PID: 1");
    let failures = scene.failures(&scene.incident(), 0);
    assert!(failures.iter().any(|failure| failure.starts_with("the log's oom_memcg")), "{failures:?}");
    assert!(failures.iter().any(|failure| failure.starts_with("the log has the trigger")), "{failures:?}");
}

/// Guards against incidents that cannot be told apart or are out of order.
#[test]
fn ids_are_distinct_and_numbers_rise() {
    let scene = Scene::new();
    let (first, mut second) = (scene.incident(), scene.incident());
    let failures = |second: &Value| {
        let mut checks = Checks::default();
        sequence(&mut checks, &traced(&[&first, second]).incidents);
        checks.failures().len()
    };
    assert_eq!(failures(&second), 2);
    second["id"] = json!("b-2");
    second["seq"] = json!(2);
    assert_eq!(failures(&second), 0);
}
