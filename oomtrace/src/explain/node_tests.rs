//! Machines before anything happens: what each rule makes of one that is set up badly, and of one that nearly is.

use std::collections::BTreeMap;

use super::tests::{MIB, node, node_ids, process};
use crate::{
    host::{
        node::{Group, GroupMemory, Node, Pressure, Process, User},
        pids::Room,
    },
    incident::{Command, Place},
};

/// Guards each rule: what of the machine it is about, and that a machine which is nearly so comes to nothing.
fn only(id: &str, change: impl Fn(&mut Node), near: impl Fn(&mut Node)) {
    let with = |change: &dyn Fn(&mut Node)| {
        let mut machine = node();
        change(&mut machine);
        node_ids(&machine)
    };
    assert_eq!(with(&change), [id]);
    assert_eq!(with(&near), [""; 0], "nearly {id}");
}

/// Guards silence: a machine that is set up well comes to nothing, and neither does one of which nothing is known.
#[test]
fn a_sane_machine_is_not_spoken_of() {
    assert_eq!(node_ids(&node()), [""; 0]);
    assert_eq!(node_ids(&Node::default()), [""; 0]);
}

/// Guards settings of the kernel's.
#[test]
fn settings() {
    let min_free = |kbytes| move |node: &mut Node| node.settings.min_free_kbytes = Some(kbytes);
    only("min-free-oversized", min_free(104_858), min_free(45_000));
    only("min-free-tiny", min_free(1000), min_free(1030));
    only(
        "panic-on-oom",
        |node| node.settings.panic_on_oom = Some(1),
        |node| node.settings.panic_on_oom = None,
    );
    only(
        "oom-kill-allocating-task",
        |node| node.settings.oom_kill_allocating_task = Some(1),
        |node| node.settings.oom_kill_allocating_task = None,
    );
    only(
        "huge-pages-reserved",
        |node| {
            (node.settings.huge_pages_bytes, node.settings.huge_pages_free_bytes) =
                (Some(200 * MIB), Some(52 * MIB));
        },
        |node| {
            (node.settings.huge_pages_bytes, node.settings.huge_pages_free_bytes) =
                (Some(200 * MIB), Some(51 * MIB));
        },
    );
}

/// Guards promises: mode 2 where it leaves memory idle or is nearly used up, mode 1 where more is promised than there is.
#[test]
fn overcommit() {
    let with = |mode, limit_mib: u64, committed_mib: u64| {
        move |node: &mut Node| {
            node.settings.overcommit_memory = Some(mode);
            node.settings.commit_limit_bytes = Some(limit_mib * MIB);
            node.settings.committed_bytes = Some(committed_mib * MIB);
        }
    };
    only("overcommit", with(2, 512, 100), with(2, 1200, 900));
    only("overcommit", with(2, 1200, 1080), with(0, 1200, 1300));
    only("overcommit", with(1, 1200, 1537), with(1, 1200, 1536));
}

/// Guards swap: none at all, and nearly full.
#[test]
fn swap() {
    let with = |total: u64, free: u64| {
        move |node: &mut Node| {
            node.settings.swap_total_bytes = Some(total * MIB);
            node.settings.swap_free_bytes = Some(free * MIB);
        }
    };
    only("swap-none", with(0, 0), |node| node.settings.swap_total_bytes = None);
    only("swap-full", with(100, 10), with(100, 11));
}

/// Guards what memory is used for.
#[test]
fn memory() {
    let available = |mib| move |node: &mut Node| node.memory.available = Some(mib * MIB);
    only("node-exhausted", available(102), available(103));
    let slab = |mib| move |node: &mut Node| node.memory.slab_unreclaimable = Some(mib * MIB);
    only("unreclaimable-slab", slab(342), slab(341));
    let shmem = |mib| move |node: &mut Node| node.memory.shmem = Some(mib * MIB);
    only("shmem", shmem(342), shmem(341));
    let locked = |mib| move |node: &mut Node| node.memory.unevictable = Some(mib * MIB);
    only("mlocked", locked(256), locked(255));
    let low = |total, free| {
        move |node: &mut Node| {
            (node.memory.low_total, node.memory.low_free) = (Some(total * MIB), Some(free * MIB));
        }
    };
    only("lowmem-zone", low(800, 40), low(800, 41));
    only("lowmem-zone", low(800, 0), low(1024, 0));
    let waited = |full_minute| {
        move |node: &mut Node| node.pressure = Some(Pressure { full_minute, ..Pressure::default() })
    };
    only("long-stall", waited(1000), waited(999));
}

/// Guards processes and threads: of the machine, of its ids, of a user, of a group.
#[test]
fn processes() {
    let threads = |count| move |node: &mut Node| node.threads = Some(count);
    only("fork-threads-max", threads(7200), threads(7199));
    let ids = |most| move |node: &mut Node| (node.threads, node.settings.pid_max) = (Some(300), Some(most));
    only("fork-pid-max", ids(333), ids(334));
    let user = |threads| {
        move |node: &mut Node| {
            node.users = vec![
                User { uid: 1000, threads, limit: Some(100), limited_pid: Some(7) },
                User { uid: 7, threads: 9, limit: None, limited_pid: None },
            ];
        }
    };
    only("fork-nproc", user(90), user(89));
    let group = |usage| {
        move |node: &mut Node| {
            let pids = Some(Room { limit: Some(100), usage });
            node.groups = vec![Group { path: "/a".to_owned(), pids, ..Group::default() }];
        }
    };
    only("fork-pids-max", group(90), group(89));
}

/// A group at the end of its memory.
fn tight(needed_mib: u64, swap_limit_bytes: Option<u64>, oom_kills: u64) -> impl Fn(&mut Node) {
    move |node| {
        let memory = GroupMemory {
            legacy: false,
            limit_bytes: Some(100 * MIB),
            usage_bytes: Some(100 * MIB),
            needed_bytes: Some(needed_mib * MIB),
            swap_limit_bytes,
            oom_kills,
        };
        node.groups = vec![Group { path: "/a".to_owned(), memory: Some(memory), ..Group::default() }];
    }
}

/// Guards groups: what cannot be dropped counts, and only where it cannot be swapped out; and what was killed before.
#[test]
fn groups() {
    only("memcg-limit", tight(90, Some(0), 0), tight(89, Some(0), 0));
    only("memcg-limit", tight(90, Some(0), 0), tight(90, None, 0));
    only("repeat-offender", tight(10, Some(0), 3), tight(10, Some(0), 2));
}

/// Guards containers: one without a limit, at its own group or above, is told with the others.
#[test]
fn containers() {
    let with =
        |limited: Option<&'static str>| {
            move |node: &mut Node| {
                let path = format!("/docker/{}", "ab".repeat(32));
                let group = |path: &str| Group {
                    path: path.to_owned(),
                    memory: Some(GroupMemory { limit_bytes: Some(100 * MIB), ..GroupMemory::default() }),
                    ..Group::default()
                };
                node.groups = limited.map(group).into_iter().collect();
                node.processes.extend((0..3).map(|nth| Process {
                    place: Place::of(Some(path.clone())),
                    ..process(500 + nth, "app", 5)
                }));
            }
        };
    only("container-unlimited", with(None), with(Some("/docker")));
    let mut machine = node();
    with(None)(&mut machine);
    let summary = &super::of_node(&machine)[0].conclusion.summary;
    assert!(summary.starts_with("a container has no memory limit"), "{summary}");
}

/// Guards whoever is shielded: a giant, and all that there is.
#[test]
fn shields() {
    let shielded = |rss_mib| {
        move |node: &mut Node| {
            node.processes.push(Process { oom_score_adj: Some(-1000), ..process(200, "giant", rss_mib) });
        }
    };
    only("shielded-giant", shielded(256), shielded(255));
    let all = |adj| move |node: &mut Node| node.processes[1].oom_score_adj = Some(adj);
    only("all-shielded", all(-1000), all(-999));
}

/// Guards servers that run: their settings are held against the limit above them and the machine's memory, workers that were forked
/// with the same settings are told once, and who it is stands in the finding.
#[test]
fn servers() {
    let run = |line: &'static str, limit_mib: Option<u64>| {
        move |node: &mut Node| {
            let memory =
                GroupMemory { limit_bytes: limit_mib.map(|mib| mib * MIB), ..GroupMemory::default() };
            node.groups = vec![Group { path: "/a".to_owned(), memory: Some(memory), ..Group::default() }];
            let command = Command {
                cmdline: Some(line.split(' ').map(str::to_owned).collect()),
                cmdline_truncated: false,
            };
            let place = Place::of(Some("/a/b".to_owned()));
            let parent = Process { command, place, ..process(300, "main", 5) };
            let child = Process { pid: 301, ppid: Some(300), ..parent.clone() };
            node.processes.extend([parent, child]);
        }
    };
    only("jvm-heap", run("java -Xmx700m -jar a.jar", Some(512)), run("java -Xmx300m -jar a.jar", Some(512)));
    only("jvm-heap", run("java -Xmx2g -jar a.jar", None), run("java -Xmx700m -jar a.jar", None));
    only("node-heap", run("node --max-old-space-size=900 a.js", Some(512)), run("node a.js", Some(512)));
    only(
        "mysql-buffers",
        run("mysqld --innodb-buffer-pool-size=1G", Some(512)),
        run("mysqld --innodb-buffer-pool-size=200M", Some(512)),
    );
    only(
        "postgres-buffers",
        run("postgres -c shared_buffers=1GB", Some(512)),
        run("postgres -c shared_buffers=128MB", Some(512)),
    );
    only(
        "redis-maxmemory",
        run("redis-server --maxmemory 1gb", Some(512)),
        run("redis-server --maxmemory 100mb", Some(512)),
    );
    let go = |limit: &'static str| {
        move |node: &mut Node| {
            run("/srv/app --listen", Some(512))(node);
            for process in node.processes.iter_mut().filter(|process| process.pid >= 300) {
                process.environment = Some(BTreeMap::from([("GOMEMLIMIT".to_owned(), limit.to_owned())]));
            }
        }
    };
    only("go-memlimit", go("1GiB"), go("256MiB"));
    let pool = |workers: u32| {
        move |node: &mut Node| {
            run("nginx", Some(100))(node);
            node.processes.truncate(2);
            let place = Place::of(Some("/a/b".to_owned()));
            let worker = |pid| Process { place: place.clone(), ..process(400 + pid, "nginx", 13) };
            node.processes.extend((0..workers).map(worker));
        }
    };
    only("nginx-workers", pool(4), pool(3));
    let mut machine = node();
    run("java -Xmx700m -jar a.jar", Some(512))(&mut machine);
    let summary = &super::of_node(&machine)[0].conclusion.summary;
    assert!(summary.starts_with("main (pid 300): the Java heap may grow to 700.0 MiB"), "{summary}");
}

/// Guards precedence: a server's setting says what is behind the shared memory of the machine, and not that of another group.
#[test]
fn a_better_finding_takes_the_place_of_another() {
    let with = |limit: Option<u64>| {
        let mut machine = node();
        machine.memory.shmem = Some(500 * MIB);
        let memory = GroupMemory { limit_bytes: limit, ..GroupMemory::default() };
        machine.groups = vec![Group { path: "/a".to_owned(), memory: Some(memory), ..Group::default() }];
        let line = ["postgres", "-c", "shared_buffers=1GB"].map(str::to_owned).to_vec();
        machine.processes.push(Process {
            command: Command { cmdline: Some(line), cmdline_truncated: false },
            place: Place::of(Some("/a".to_owned())),
            ..process(300, "postgres", 5)
        });
        node_ids(&machine)
    };
    assert_eq!(with(None), ["postgres-buffers"]);
    assert_eq!(with(Some(512 * MIB)), ["postgres-buffers", "shmem"]);
    let mut shielded = node();
    shielded.processes[1].oom_score_adj = Some(-1000);
    shielded.processes[1].rss_bytes = Some(600 * MIB);
    assert_eq!(node_ids(&shielded), ["all-shielded"]);
}

/// Guards the order: what is worst comes first, and what is as bad in the order of the rules.
#[test]
fn the_worst_comes_first() {
    let mut machine = node();
    machine.settings.swap_total_bytes = Some(0);
    machine.settings.panic_on_oom = Some(2);
    machine.settings.min_free_kbytes = Some(200_000);
    machine.memory.available = Some(5 * MIB);
    assert_eq!(node_ids(&machine), ["node-exhausted", "min-free-oversized", "panic-on-oom", "swap-none"]);
}
