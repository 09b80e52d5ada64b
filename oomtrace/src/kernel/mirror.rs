//! Whether what the programs read is true: they read this very process as they would read a victim, and that is
//! compared with what /proc says of it.
//!
//! The offsets come from type information, and that can be another kernel's, or damaged. A figure that is read from
//! a wrong place looks like any other; this is where it shows. So that it shows, the process is made unlike any other
//! for that moment: each of its figures differs from what stands beside it in the kernel.

use std::{path::Path, thread};

use anyhow::{Context as _, anyhow, bail};
use aya::{
    Ebpf,
    maps::{Array, RingBuf},
    programs::{RawTracePoint, RawTracePointRunOptions, TestRun},
};
use oomtrace_ebpf::{ABSENT, Layout, MIRROR, RecordKind};
use zerocopy::FromBytes as _;

use super::{disguise::Disguise, layout::Resolved, own::Own};
use crate::record::{Cmdline, Kin, Level, Mm, Record, Task, decode};

/// The program that reports a victim. Run by us, it reports us.
pub const PROGRAM: &str = "victim_raw_tp";

/// /proc counts start times in these, ns (`USER_HZ` is 100 everywhere).
const TICK_NS: u64 = 10_000_000;
/// Pages by which memory may differ: what this thread holds back, and what it touches between the two looks.
const SLACK_PAGES: u64 = 256;
/// The same of page tables, KiB.
const SLACK_TABLES_KB: u64 = 16;
/// Looks until the two agree: a figure may move in between.
const ATTEMPTS: usize = 3;

/// Compares, on a machine that may have `cpus` CPUs: this process's id as the kernel has it. `Err`: the type information does not
/// fit this kernel, and why. What cannot be compared is no difference.
pub fn check(ebpf: &mut Ebpf, resolved: &Resolved, cpus: u32) -> Result<Option<u32>, String> {
    // By the credentials that we have: those of the thread below are others.
    if load(ebpf).is_err() {
        return Ok(None);
    }
    let look_twice = || {
        let mut differences = Vec::new();
        for attempt in 1..=ATTEMPTS {
            let disguise = Disguise::on(attempt);
            let Ok(seen) = look(ebpf) else { return Ok(None) };
            let Some(own) = Own::read(Path::new("/proc")) else { return Ok(seen.task.pid) };
            drop(disguise);
            differences = compare(&own, &seen, resolved, cpus);
            if differences.is_empty() {
                return Ok(seen.task.pid);
            }
        }
        Err(differences.join("; "))
    };
    // In a thread of its own, whose id, name and credentials are not the process's.
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("oomtrace-mirror".to_owned())
            .stack_size(256 * 1024)
            .spawn_scoped(scope, look_twice);
        thread.map_or(Ok(None), |thread| thread.join().unwrap_or(Ok(None)))
    })
}

/// What the programs see of this process.
struct Seen {
    task: Task,
    mm: Mm,
    /// Its memory cgroups, from its own upwards.
    levels: Vec<Level>,
    cmdline: Option<Cmdline>,
    /// Its environment as it came, and how long it is in all.
    environment: Option<(Vec<u8>, u64)>,
    kin: Option<Kin>,
}

/// Leaves the program loaded for whom it may serve later.
fn load(ebpf: &mut Ebpf) -> anyhow::Result<()> {
    let program = ebpf.program_mut(PROGRAM).context("the eBPF object lacks the program")?;
    let program: &mut RawTracePoint = program.try_into()?;
    Ok(program.load()?)
}

/// Has the programs report this process. They send what they see through the ring buffer, like any victim, so that
/// the whole way is tried.
fn look(ebpf: &mut Ebpf) -> anyhow::Result<Seen> {
    let program = ebpf.program_mut(PROGRAM).context("the eBPF object lacks the program")?;
    let program: &mut RawTracePoint = program.try_into()?;
    let mut run = RawTracePointRunOptions::new();
    run.args[0] = MIRROR;
    program.test_run(run)?;
    let ring = ebpf.map_mut("RECORDS").context("the eBPF object lacks the ring buffer")?;
    let mut ring = RingBuf::try_from(ring)?;
    let (mut seen, mut levels, mut cmdline, mut kin, mut environment) = (None, Vec::new(), None, None, None);
    while let Some(bytes) = ring.next() {
        if let Some(own) = as_it_came(&bytes) {
            environment = Some(own);
            continue;
        }
        match decode(&bytes)? {
            Record::Level(_, level) => levels.push(*level),
            Record::Cmdline(_, told) => cmdline = Some(*told),
            Record::Kin(_, told) => kin = Some(*told),
            Record::Mark(_, mark) => seen = Some((mark.victim, mark.mm)),
            Record::Decision(..)
            | Record::Close(..)
            | Record::Candidate(..)
            | Record::Zone(..)
            | Record::Node(..)
            | Record::Allowed(..)
            | Record::ForkFailure(..)
            | Record::PidsLevel(..)
            | Record::Namespaces(..)
            | Record::ForkHost(..)
            | Record::PidsRefused(..)
            | Record::Relief(..)
            | Record::Struck(..)
            | Record::AllocFailure(..)
            | Record::UserKill(..)
            | Record::Environment(..)
            | Record::Settings(..)
            | Record::KernelLog(..) => bail!("nobody decided"),
        }
    }
    drop(ring);
    let Some((task, mm)) = seen else {
        forget_losses(ebpf)?;
        return Err(anyhow!("the ring buffer has no room for it"));
    };
    Ok(Seen { task, mm, levels, cmdline, environment, kin })
}

/// An environment that is not stripped yet: it is compared, and dropped.
fn as_it_came(record: &[u8]) -> Option<(Vec<u8>, u64)> {
    let (head, text) = oomtrace_ebpf::Cmdline::read_from_prefix(record).ok()?;
    let text = text.get(..usize::try_from(head.len).ok()?)?;
    (head.header.kind == RecordKind::Environment as u16).then(|| (text.to_vec(), head.total))
}

/// What found no room was nobody's victim.
fn forget_losses(ebpf: &mut Ebpf) -> anyhow::Result<()> {
    let map = ebpf.map_mut("LOST").context("the eBPF object lacks the loss counters")?;
    let mut lost: Array<_, u64> = map.try_into()?;
    for kind in RecordKind::ALL {
        lost.set(kind as u32, 0, 0)?;
    }
    Ok(())
}

/// What differs, in words.
fn compare(own: &Own, seen: &Seen, resolved: &Resolved, cpus: u32) -> Vec<String> {
    let mut found = Differences(Vec::new());
    tasks(&mut found, own, &seen.task, &resolved.layout);
    memory(&mut found, own, &seen.mm, &resolved.layout, cpus);
    command(&mut found, own, seen);
    environment(&mut found, own, seen);
    kinship(&mut found, own, seen, &resolved.layout);
    cgroups(&mut found, own, &seen.levels, resolved);
    found.0
}

fn tasks(found: &mut Differences, own: &Own, task: &Task, layout: &Layout) {
    let signal = layout.task_signal;
    if own.in_initial_pid_namespace {
        found.unless_equal("task_struct.tgid", &[layout.task_tgid], task.pid, &own.pid);
        found.unless_equal("task_struct.pid", &[layout.task_pid], task.tid, &own.tid);
        let parent = [layout.task_real_parent, layout.task_tgid];
        found.unless_equal("task_struct.real_parent", &parent, task.ppid, &own.ppid);
    }
    if own.in_initial_user_namespace {
        found.unless_equal("cred.uid", &[layout.task_real_cred, layout.cred_uid], task.uid, &own.uid);
    }
    found.unless_equal("task_struct.comm", &[layout.task_comm], task.comm.as_ref(), &&own.comm);
    let threads = [signal, layout.signal_nr_threads];
    found.unless_equal("signal_struct.nr_threads", &threads, task.threads, &own.threads);
    let live = [signal, layout.signal_live];
    found.unless_equal("signal_struct.live", &live, task.live, &own.threads);
    let adj = [signal, layout.signal_oom_score_adj];
    found.unless_equal("signal_struct.oom_score_adj", &adj, task.oom_score_adj, &own.oom_score_adj);
    if own.in_initial_time_namespace {
        let start = [layout.task_group_leader, layout.task_start_boottime];
        let start_ticks = task.start_boot_ns.map(|ns| ns / TICK_NS);
        found.unless_equal("task_struct.start_boottime", &start, start_ticks, &own.start_ticks);
    }
}

fn memory(found: &mut Differences, own: &Own, mm: &Mm, layout: &Layout, cpus: u32) {
    let total_vm = [layout.task_mm, layout.mm_total_vm];
    found.unless_near("mm_struct.total_vm", &total_vm, mm.total_vm_pages, own.total_vm_pages, SLACK_PAGES);
    let tables = mm.pgtables_bytes.map(|bytes| bytes / 1024);
    let places = [layout.task_mm, layout.mm_pgtables_bytes];
    found.unless_near("mm_struct.pgtables_bytes", &places, tables, own.pgtables_kb, SLACK_TABLES_KB);
    // /proc reads the counters exactly or not, by kernel; so each of our two readings may be off by the bound.
    let slack = SLACK_PAGES + 3 * crate::incident::per_cpu_bound(cpus);
    for counters in [mm.rss_count, mm.rss_sum].into_iter().flatten() {
        let resident = [oomtrace_ebpf::RSS_ANON, oomtrace_ebpf::RSS_FILE, oomtrace_ebpf::RSS_SHMEM]
            .into_iter()
            .map(|index| u64::try_from(counters[index]).unwrap_or(0))
            .fold(0, u64::saturating_add);
        found.unless_near("mm_struct.rss_stat", &[], Some(resident), own.resident_pages, slack);
    }
}

/// Of a command line that is too long for a record its beginning is compared. None may come: the ring may be too small.
fn command(found: &mut Differences, own: &Own, seen: &Seen) {
    let Some(cmdline) = &seen.cmdline else { return };
    let len = if cmdline.truncated { own.cmdline.len().min(cmdline.text.len()) } else { own.cmdline.len() };
    let own = own.cmdline.get(..len).unwrap_or_default().escape_ascii().to_string();
    found.unless_equal("mm_struct.arg_start", &[], Some(cmdline.text.escape_ascii().to_string()), &own);
}

/// The same. It has secrets: what differs is not told.
fn environment(found: &mut Differences, own: &Own, seen: &Seen) {
    let (Some((text, total)), Some(own)) = (&seen.environment, &own.environment) else { return };
    let same = own.len() as u64 == *total && own.starts_with(text);
    if !same {
        found.0.push("mm_struct.env_start gives another environment than /proc".to_owned());
    }
}

/// None may be told: the ring may be too small.
fn kinship(found: &mut Differences, own: &Own, seen: &Seen, layout: &Layout) {
    let Some(kin) = &seen.kin else { return };
    let ids = [layout.task_group_leader, layout.task_thread_pid, layout.pid_level, layout.pid_numbers];
    found.unless_equal("pid.numbers", &ids, kin.ns_pid, &own.ns_pid);
    if own.in_initial_pid_namespace {
        // /proc may hide processes, or some may end meanwhile: then these are not compared.
        let told = kin.ancestors.as_ref().map(|ancestors| {
            let told = ancestors.iter().map(|ancestor| (ancestor.pid, ancestor.comm.clone()));
            told.take(own.ancestors.len()).collect::<Vec<_>>()
        });
        let upwards = [layout.task_group_leader, layout.task_real_parent, layout.task_tgid, layout.task_comm];
        found.unless_equal("task_struct.real_parent, upwards", &upwards, told, &own.ancestors);
    }
}

fn cgroups(found: &mut Differences, own: &Own, levels: &[Level], resolved: &Resolved) {
    let Some(cgroup) = &own.cgroup else { return };
    let layout = &resolved.layout;
    let way = [layout.task_cgroups, layout.css_cgroup, layout.cgroup_kn, resolved.params.memory_css];
    if way.contains(&ABSENT) {
        return;
    }
    let level = levels.first();
    let identity = [layout.kernfs_id, layout.cgroup_root, layout.cgroup_root_hierarchy_id];
    let id = level.and_then(|level| level.link.id);
    found.unless_equal("kernfs_node.id", &identity, id.map(|id| id.id), &cgroup.id);
    found.unless_equal("cgroup_root.hierarchy_id", &identity, id.map(|id| id.hierarchy), &cgroup.hierarchy);
    let upwards = [layout.kernfs_name, layout.css_parent];
    let names: Option<Vec<_>> = levels.iter().map(|level| level.link.name.clone()).collect();
    // Longer chains than are sent are cut short.
    if cgroup.names.len() < oomtrace_ebpf::MAX_LEVELS as usize {
        found.unless_equal("kernfs_node.name of each level", &upwards, names.as_ref(), &&cgroup.names);
    } else if let Some(name) = cgroup.names.first() {
        found.unless_equal(
            "kernfs_node.name",
            &[layout.kernfs_name],
            level.and_then(|level| level.link.name.as_ref()),
            &name,
        );
    }
    let Some(level) = level else { return };
    let max = [layout.memcg_css_cgroup, layout.memcg_memory_max];
    found.unless_equal("mem_cgroup.memory.max", &max, level.limit, &cgroup.limit);
    if let (Some(own), Some(seen)) = (cgroup.swap_limit, level.swap_limit) {
        found.unless_equal("mem_cgroup.swap.max", &[], Some(seen), &own);
    }
    let group = [layout.memcg_css_cgroup, layout.memcg_oom_group];
    found.unless_equal("mem_cgroup.oom_group", &group, level.oom_group, &cgroup.oom_group);
}

struct Differences(Vec<String>);

impl Differences {
    /// Nothing is compared where the types have no such place. Where they have, it must be readable.
    fn unless_equal<T: PartialEq + std::fmt::Debug>(
        &mut self,
        field: &str,
        places: &[u64],
        seen: Option<T>,
        own: &T,
    ) {
        if places.contains(&ABSENT) {
            return;
        }
        match seen {
            Some(seen) if seen == *own => {}
            Some(seen) => self.0.push(format!("{field} gives {seen:?} where /proc gives {own:?}")),
            None => self.0.push(format!("{field} cannot be read where /proc gives {own:?}")),
        }
    }

    fn unless_near(&mut self, field: &str, places: &[u64], seen: Option<u64>, own: u64, slack: u64) {
        let near = seen.filter(|seen| seen.abs_diff(own) <= slack).map_or(seen, |_| Some(own));
        self.unless_equal(field, places, near, &own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernel::own::OwnCgroup,
        record::{Ceiling, CgroupId, Link, Whose},
    };

    fn own() -> Own {
        Own {
            in_initial_pid_namespace: true,
            in_initial_user_namespace: true,
            in_initial_time_namespace: true,
            pid: 7,
            tid: 8,
            ppid: 1,
            uid: 0,
            threads: 2,
            oom_score_adj: -999,
            start_ticks: 5,
            comm: "oomtrace-mirror".to_owned(),
            ns_pid: 7,
            ancestors: vec![(3, Some("sh".to_owned())), (1, Some("init".to_owned()))],
            total_vm_pages: 2000,
            resident_pages: 1500,
            pgtables_kb: 64,
            cmdline: b"oomtrace\0--json\0".to_vec(),
            environment: Some(b"HOME=/\0TERM=x\0".to_vec()),
            cgroup: Some(OwnCgroup {
                id: 9,
                hierarchy: 0,
                names: vec!["app".to_owned(), String::new()],
                limit: Ceiling::Pages(10),
                swap_limit: Some(Ceiling::Unlimited),
                oom_group: false,
            }),
        }
    }

    fn cmdline(text: &[u8], truncated: bool) -> Cmdline {
        Cmdline { pid: 7, start_boot_ns: Some(5), text: text.to_vec(), truncated }
    }

    fn level(depth: u32, id: u64, name: &str) -> Level {
        Level {
            whose: Whose::Victim,
            leaf_id: 9,
            link: Link {
                depth,
                id: Some(CgroupId { hierarchy: 0, id }),
                name: Some(name.to_owned()),
                name_truncated: false,
                root: name.is_empty(),
            },
            usage_pages: Some(3),
            limit: Some(Ceiling::Pages(10)),
            swap_usage_pages: Some(0),
            swap_limit: Some(Ceiling::Unlimited),
            oom_group: Some(false),
        }
    }

    fn seen() -> Seen {
        Seen {
            task: Task {
                of_run: None,
                pid: Some(7),
                tid: Some(8),
                ppid: Some(1),
                uid: Some(0),
                flags: Some(0),
                threads: Some(2),
                live: Some(2),
                oom_score_adj: Some(-999),
                start_boot_ns: Some(5 * TICK_NS + 3),
                memcg: None,
                comm: Some("oomtrace-mirror".to_owned()),
            },
            mm: Mm {
                total_vm_pages: Some(2010),
                pgtables_bytes: Some(65536),
                rss_count: Some([1000, 400, 0, 50]),
                rss_sum: None,
            },
            levels: vec![level(0, 9, "app"), level(1, 1, "")],
            cmdline: Some(cmdline(b"oomtrace\0--json\0", false)),
            environment: Some((b"HOME=/\0TERM".to_vec(), 14)),
            kin: Some(kin()),
        }
    }

    fn kin() -> Kin {
        let ancestors = [(3, "sh"), (1, "init")]
            .map(|(pid, comm)| crate::record::Ancestor { pid, comm: Some(comm.to_owned()) });
        Kin { pid: 7, start_boot_ns: Some(5), ns_pid: Some(7), ancestors: Some(ancestors.to_vec()) }
    }

    fn ancestors(seen: &mut Seen) -> &mut [crate::record::Ancestor] {
        seen.kin.as_mut().unwrap().ancestors.as_mut().unwrap()
    }

    /// Types that have every field, at places of no meaning, or none at all.
    fn resolved(there: bool) -> Resolved {
        let place = if there { 0 } else { ABSENT };
        Resolved {
            layout: Layout::from_offsets([place; Layout::FIELDS.len()]),
            params: oomtrace_ebpf::Params { memory_css: place, ..oomtrace_ebpf::Params::UNRESOLVED },
            rss_counters: None,
            missing: std::collections::BTreeMap::new(),
        }
    }

    /// Guards against tracing with offsets that are wrong: every figure that differs, or cannot be read, is noticed,
    /// alone.
    #[test]
    fn every_wrong_figure_is_noticed_by_itself() {
        assert_eq!(compare(&own(), &seen(), &resolved(true), 2), Vec::<String>::new());
        let cut_short = Seen { cmdline: Some(cmdline(b"oomtrace\0--", true)), ..seen() };
        assert_eq!(compare(&own(), &cut_short, &resolved(true), 2), Vec::<String>::new());
        let wrong: [fn(&mut Seen); 32] = [
            |seen| seen.task.pid = Some(8),
            |seen| seen.task.pid = None,
            |seen| seen.task.tid = Some(7),
            |seen| seen.task.ppid = Some(2),
            |seen| seen.task.uid = Some(1),
            |seen| seen.task.threads = Some(1),
            |seen| seen.task.oom_score_adj = Some(0),
            |seen| seen.task.start_boot_ns = Some(0),
            |seen| seen.task.comm = Some("oomtrace".to_owned()),
            |seen| seen.mm.total_vm_pages = Some(0),
            |seen| seen.mm.total_vm_pages = None,
            |seen| seen.mm.pgtables_bytes = Some(37),
            |seen| seen.mm.rss_count = Some([0, 0, 9000, 0]),
            |seen| seen.levels[0].link.id = Some(CgroupId { hierarchy: 0, id: 10 }),
            |seen| seen.levels[0].link.id = Some(CgroupId { hierarchy: 4, id: 9 }),
            |seen| seen.levels[1].link.name = Some("?".to_owned()),
            |seen| seen.levels[1].link.name = None,
            |seen| seen.levels.truncate(1),
            |seen| seen.levels[0].limit = Some(Ceiling::Unlimited),
            |seen| seen.levels[0].swap_limit = Some(Ceiling::Pages(1)),
            |seen| seen.levels[0].oom_group = Some(true),
            |seen| seen.cmdline = Some(cmdline(b"oomtrace\0--json\0HOME=/\0", false)),
            |seen| seen.cmdline = Some(cmdline(b"oomtrace\0--jsom", true)),
            |seen| seen.cmdline = Some(cmdline(b"oomtrace\0", false)),
            |seen| seen.environment = Some((b"HOME=/\0TERN".to_vec(), 14)),
            |seen| seen.environment = Some((b"HOME=/\0TERM".to_vec(), 15)),
            |seen| seen.kin = Some(Kin { ns_pid: Some(8), ..kin() }),
            |seen| seen.kin = Some(Kin { ns_pid: None, ..kin() }),
            |seen| seen.kin = Some(Kin { ancestors: None, ..kin() }),
            |seen| seen.kin = Some(Kin { ancestors: Some(Vec::new()), ..kin() }),
            |seen| ancestors(seen)[1].pid = 2,
            |seen| ancestors(seen)[0].comm = None,
        ];
        for (number, change) in wrong.into_iter().enumerate() {
            let mut seen = seen();
            change(&mut seen);
            let found = compare(&own(), &seen, &resolved(true), 2);
            assert_eq!(found.len(), 1, "change {number}: {found:?}");
        }
    }

    /// Guards against refusing to trace where there is nothing to compare: fields that the types do not have, other
    /// namespaces.
    #[test]
    fn what_cannot_be_compared_is_no_difference() {
        let nothing = Seen {
            task: Task::default(),
            mm: Mm::default(),
            levels: Vec::new(),
            cmdline: None,
            environment: None,
            kin: None,
        };
        assert_eq!(compare(&own(), &nothing, &resolved(false), 2), Vec::<String>::new());
        let contained = Own { in_initial_pid_namespace: false, cgroup: None, pid: 1, tid: 1, ..own() };
        assert_eq!(compare(&contained, &seen(), &resolved(true), 2), Vec::<String>::new());
    }
}
