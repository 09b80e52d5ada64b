//! Incidents to change, and what holds for all rules.

use std::{collections::BTreeMap, fs, path::Path};

use super::*;
use crate::{
    host::node::{Memory, Node, Pressure, Process},
    incident::{
        Ballot, Candidate, Cause, Cgroup, Command, Common, ForkCause, ForkFailureTag, ForkingTask,
        HostMemory, Killer, Limit, OomTag, Outcome, Place, Proof, Rss, SchemaName, Scope, ScopeKind,
        SentSignal, SentVia, Trigger, UserKillTag, Verdict, Victim, WallTime, Zone,
    },
    kernel::hooks::Tier,
    session::Source,
};

pub const MIB: u64 = 1 << 20;

/// Ids of what an incident comes to on a machine that is set up well.
pub fn ids(incident: &Incident) -> Vec<&'static str> {
    ids_with(incident, &settings())
}

/// The same on another machine.
pub fn ids_with(incident: &Incident, settings: &Settings) -> Vec<&'static str> {
    of_incident(incident, Some(settings)).iter().map(|finding| finding.id).collect()
}

/// What one rule says of an incident.
pub fn told(id: &str, incident: &Incident) -> Finding {
    let mut told = of_incident(incident, Some(&settings()));
    told.retain(|finding| finding.id == id);
    let [finding] = &told[..] else { panic!("{id} is not found once") };
    finding.clone()
}

/// A machine of 1 GiB with as much swap, and nothing amiss.
pub fn settings() -> Settings {
    Settings {
        min_free_kbytes: Some(4096),
        watermark_scale_factor: Some(10),
        compact_unevictable_allowed: Some(1),
        panic_on_oom: Some(0),
        oom_kill_allocating_task: Some(0),
        overcommit_memory: Some(0),
        overcommit_ratio: Some(50),
        overcommit_kbytes: Some(0),
        admin_reserve_kbytes: Some(8192),
        user_reserve_kbytes: Some(30_000),
        swappiness: Some(60),
        pid_max: Some(4_194_304),
        threads_max: Some(8000),
        memory_bytes: Some(1024 * MIB),
        swap_total_bytes: Some(1024 * MIB),
        swap_free_bytes: Some(512 * MIB),
        commit_limit_bytes: Some(1536 * MIB),
        committed_bytes: Some(900 * MIB),
        huge_pages_bytes: Some(0),
        huge_pages_free_bytes: Some(0),
    }
}

fn rss(anon_mib: u64) -> Rss {
    Rss {
        anon_bytes: anon_mib * MIB,
        file_bytes: MIB,
        shmem_bytes: 0,
        total_bytes: (anon_mib + 1) * MIB,
        error_bytes: 0,
    }
}

/// A victim, and its own line in the ballot.
pub fn victim(comm: &str, pid: u32, anon_mib: u64, cgroup: &str) -> Victim {
    Victim {
        pid: Some(pid),
        tid: Some(pid),
        comm: Some(comm.to_owned()),
        verdict: Some(Verdict::Killed),
        oom_score_adj: Some(0),
        rss: Some(rss(anon_mib)),
        swap_bytes: Some(0),
        place: Place::of(Some(cgroup.to_owned())),
        ..Victim::default()
    }
}

/// A task that could have been chosen.
pub fn candidate(comm: &str, pid: u32, mib: u64, adj: i32) -> Candidate {
    Candidate {
        pid,
        comm: Some(comm.to_owned()),
        points: i64::try_from(mib * 256).unwrap(),
        rss_bytes: Some(mib * MIB),
        swap_bytes: Some(0),
        oom_score_adj: Some(adj),
    }
}

/// A level at or below its limit, which may swap.
pub fn level(path: &str, usage_mib: u64, limit_mib: Option<u64>) -> Limit {
    Limit {
        path: path.to_owned(),
        usage_bytes: Some(usage_mib * MIB),
        limit_bytes: limit_mib.map(|limit| limit * MIB),
        swap_usage_bytes: Some(0),
        oom_group: Some(false),
        ..Limit::default()
    }
}

fn incident(scope: Scope, victim: Victim) -> Incident {
    let mib = victim.rss.map_or(0, |rss| rss.total_bytes / MIB);
    Incident {
        schema: SchemaName::V1,
        r#type: OomTag::Oom,
        id: "x-1-2".to_owned(),
        common: Common {
            seq: 1,
            time: Some(WallTime::from_ns(0)),
            boot_ns: Some(1),
            host: Some("host".to_owned()),
            boot_id: None,
            kernel: Some("6.12".to_owned()),
            tier: Tier::Trampoline,
            source: Source::Ebpf,
        },
        scope,
        trigger: Trigger {
            pid: victim.pid,
            tid: victim.pid,
            comm: victim.comm.clone(),
            place: victim.place.clone(),
            gfp_mask: Some(0xcc0),
            order: Some(0),
            ..Trigger::default()
        },
        outcome: Some(Outcome::Killed),
        panic: None,
        candidates: vec![candidate("app", 10, mib, 0), candidate("other", 11, 2, 0)],
        victims: vec![victim],
        zones: Vec::new(),
        host_memory: None,
        stall: None,
        ballot: Some(Ballot { examined: 2, unkillable: 0, computed: false }),
        decision_ns: None,
        calls_without_decision: None,
        before: None,
        from_log: Vec::new(),
        kmsg_seq: None,
        findings: Vec::new(),
        missing: BTreeMap::new(),
        lost_records: 0,
    }
}

/// An application in `/web` that reached the limit of 32 MiB there by itself.
pub fn memcg() -> Incident {
    let scope = Scope {
        kind: Some(ScopeKind::Memcg),
        cause: Some(Cause::Allocation),
        memcg: Some(Cgroup { path: Some("/web".to_owned()), id: Some(7), hierarchy: Some(0) }),
        capacity_bytes: Some(32 * MIB),
        limits: vec![level("/web", 32, Some(32)), level("/", 0, None)],
        ..Scope::default()
    };
    incident(scope, victim("app", 10, 30, "/web"))
}

/// The same in another cgroup.
pub fn memcg_in(path: &str) -> Incident {
    let mut incident = memcg();
    path.clone_into(&mut incident.scope.limits[0].path);
    incident.scope.memcg.as_mut().unwrap().path = Some(path.to_owned());
    incident.victims[0].place = Place::of(Some(path.to_owned()));
    incident
}

/// The same for a program that was started like this, with a limit of `limit_mib`.
pub fn server(line: &str, limit_mib: u64) -> Incident {
    let mut incident = memcg();
    incident.scope.limits[0] = level("/web", limit_mib, Some(limit_mib));
    incident.victims[0].rss = Some(rss(limit_mib - 2));
    incident.victims[0].command =
        Command { cmdline: Some(line.split(' ').map(str::to_owned).collect()), cmdline_truncated: false };
    incident
}

/// The same with a variable in the victim's environment.
pub fn with_environment(mut incident: Incident, name: &str, value: &str) -> Incident {
    let environment = incident.victims[0].environment.get_or_insert_default();
    environment.insert(name.to_owned(), value.to_owned());
    incident
}

/// A zone.
pub fn zone(name: &str, managed_mib: u64, free_kib: u64, min_kib: u64, blocks: &[u64]) -> Zone {
    Zone {
        node: Some(0),
        name: Some(name.to_owned()),
        free_bytes: Some(free_kib * 1024),
        min_bytes: Some(min_kib * 1024),
        low_bytes: Some(min_kib * 1280),
        high_bytes: Some(min_kib * 1536),
        boost_bytes: Some(0),
        managed_bytes: Some(managed_mib * MIB),
        present_bytes: Some(managed_mib * MIB),
        lowmem_reserve_bytes: Some(0),
        free_by_order: Some(blocks.to_vec()),
    }
}

/// A machine of 1 GiB that applications have filled, the largest with 600 MiB.
pub fn global() -> Incident {
    let scope = Scope {
        kind: Some(ScopeKind::Global),
        cause: Some(Cause::Allocation),
        capacity_bytes: Some(2048 * MIB),
        limits: vec![level("/web", 600, None), level("/", 0, None)],
        ..Scope::default()
    };
    let mut incident = incident(scope, victim("app", 10, 600, "/web"));
    incident.zones =
        vec![zone("DMA32", 1008, 3900, 4000, &[900, 37, 0, 0, 0]), zone("DMA", 16, 60, 96, &[5, 5, 0, 0, 0])];
    incident.host_memory = Some(HostMemory {
        nodes: vec![0],
        mem_total_bytes: Some(1024 * MIB),
        inactive_anon_bytes: Some(500 * MIB),
        active_anon_bytes: Some(400 * MIB),
        inactive_file_bytes: Some(MIB),
        active_file_bytes: Some(MIB),
        unevictable_bytes: Some(10 * MIB),
        slab_reclaimable_bytes: Some(10 * MIB),
        slab_unreclaimable_bytes: Some(20 * MIB),
        anon_mapped_bytes: Some(890 * MIB),
        file_mapped_bytes: Some(MIB),
        shmem_bytes: Some(10 * MIB),
        dirty_bytes: Some(0),
        writeback_bytes: Some(0),
        kernel_stack_bytes: Some(MIB),
        pagetables_bytes: Some(4 * MIB),
        swap_total_bytes: None,
        swap_free_bytes: None,
        swap_free_after_bytes: None,
    });
    incident.candidates = vec![candidate("app", 10, 601, 0), candidate("other", 11, 290, 0)];
    incident
}

/// Guards quiet incidents: what is plain has one finding, with and without the settings.
#[test]
fn a_plain_incident_has_one_finding() {
    for (incident, expected) in [(memcg(), "memcg-limit"), (global(), "node-exhausted")] {
        assert_eq!(ids(&incident), [expected]);
        let without: Vec<_> = of_incident(&incident, None).iter().map(|finding| finding.id).collect();
        assert_eq!(without, [expected]);
    }
}

/// Guards the reference: each rule has a page that is about it, each page a rule, and no id is there twice.
#[test]
fn every_rule_has_a_page_and_every_page_a_rule() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/findings");
    let mut pages: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    pages.sort_unstable();
    let mut ids: Vec<_> = RULES.iter().map(|rule| rule.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, pages);
    for rule in RULES {
        let file = fs::read_to_string(folder.join(format!("{}.md", rule.id))).unwrap();
        assert_eq!(rule.page, file, "{} has another one's page", rule.id);
        assert_eq!(rule.page.lines().next(), Some(format!("# {}", rule.id).as_str()));
        assert!(rule.title().ends_with('.') && rule.title().len() <= 130, "{}: {}", rule.id, rule.title());
        for heading in ["## How oomtrace knows", "## What to do", "## What it is not"] {
            assert!(rule.page.contains(heading), "{} lacks {heading}", rule.id);
        }
        let lines = rule.page.lines().count();
        assert!((15..=40).contains(&lines), "{} has {lines} lines", rule.id);
        assert!(rule.page.lines().all(|line| line.chars().count() <= 130), "{} has long lines", rule.id);
        assert!(
            rule.incident.is_some()
                || rule.fork.is_some()
                || rule.user_kill.is_some()
                || rule.relief.is_some()
                || rule.server.is_some()
                || rule.node.is_some(),
            "{} says nothing",
            rule.id
        );
    }
}

/// Guards precedence: rules yield to rules that there are, and to none that yields to them.
#[test]
fn rules_yield_to_better_ones() {
    for one in RULES {
        for better in one.yields_to {
            let better = rule(better).unwrap_or_else(|| panic!("{} yields to {better}", one.id));
            assert!(
                !better.yields_to.contains(&one.id) && better.id != one.id,
                "{} and {}",
                one.id,
                better.id
            );
        }
    }
}

/// A fork that failed of this.
pub fn fork_failure(cause: ForkCause) -> ForkFailure {
    ForkFailure {
        schema: SchemaName::V1,
        r#type: ForkFailureTag::ForkFailure,
        common: memcg().common,
        errno: Some(11),
        errno_name: Some("EAGAIN"),
        cause,
        proof: Proof::Hook,
        making: None,
        clone_flags: None,
        limit: None,
        usage: None,
        limit_bytes: None,
        usage_bytes: None,
        limit_at: None,
        namespace: None,
        nested: None,
        limit_depth: None,
        limit_hierarchy: None,
        limit_level: None,
        needed_bytes: None,
        task: ForkingTask::default(),
        count: 1,
        window_ns: 0,
        findings: Vec::new(),
        missing: BTreeMap::new(),
        lost_records: 0,
    }
}

/// Ids of what a failed fork comes to.
pub fn fork_ids(failure: &ForkFailure) -> Vec<&'static str> {
    of_fork(failure, Some(&settings())).iter().map(|finding| finding.id).collect()
}

/// What the one rule that holds says of it.
pub fn of_fork_failure(failure: &ForkFailure) -> Conclusion {
    let mut told = of_fork(failure, Some(&settings()));
    assert_eq!(told.len(), 1);
    told.remove(0).conclusion
}

/// A process with this much memory, which may be killed.
pub fn process(pid: u32, comm: &str, rss_mib: u64) -> Process {
    Process {
        pid,
        ppid: Some(100),
        uid: Some(0),
        comm: comm.to_owned(),
        threads: 1,
        oom_score_adj: Some(0),
        rss_bytes: Some(rss_mib * MIB),
        ..Process::default()
    }
}

/// A machine of 1 GiB with some swap, on which nothing is to be mended.
pub fn node() -> Node {
    Node {
        settings: Settings {
            pid_max: Some(32_768),
            threads_max: Some(8000),
            memory_bytes: Some(1024 * MIB),
            swap_total_bytes: Some(512 * MIB),
            swap_free_bytes: Some(500 * MIB),
            commit_limit_bytes: Some(1024 * MIB),
            committed_bytes: Some(300 * MIB),
            ..settings()
        },
        memory: Memory {
            available: Some(700 * MIB),
            shmem: Some(10 * MIB),
            unevictable: Some(4 * MIB),
            slab_unreclaimable: Some(20 * MIB),
            low_total: None,
            low_free: None,
        },
        pressure: Some(Pressure::default()),
        processes: vec![process(1, "systemd", 10), process(100, "app", 190)],
        threads: Some(150),
        whole: true,
        ..Node::default()
    }
}

/// Ids of what a machine comes to.
pub fn node_ids(node: &Node) -> Vec<&'static str> {
    of_node(node).iter().map(|finding| finding.id).collect()
}

/// Guards each cause against all the others, whatever else is known: one rule holds, and it is the one about that cause.
#[test]
fn each_cause_of_failed_forks_has_one_finding() {
    const CAUSES: [(ForkCause, &str); 13] = [
        (ForkCause::PidsMax, "fork-pids-max"),
        (ForkCause::PidMax, "fork-pid-max"),
        (ForkCause::ThreadsMax, "fork-threads-max"),
        (ForkCause::RlimitNproc, "fork-nproc"),
        (ForkCause::PidnsDead, "fork-pidns-dead"),
        (ForkCause::Overcommit, "fork-overcommit"),
        (ForkCause::Memory, "fork-memory"),
        (ForkCause::MemcgKmem, "fork-memcg-kmem"),
        (ForkCause::NamespaceLimit, "fork-namespace-limit"),
        (ForkCause::FatalSignal, "fork-fatal-signal"),
        (ForkCause::FdLimit, "fork-fd-limit"),
        (ForkCause::DeadlinePolicy, "fork-deadline-policy"),
        (ForkCause::ExecInProgress, "fork-exec-in-progress"),
    ];
    for (cause, id) in CAUSES {
        for errno_name in ["EAGAIN", "ENOMEM", "EMFILE", "ENOSPC"] {
            let mut failure = fork_failure(cause);
            failure.errno_name = Some(errno_name);
            (failure.limit, failure.usage, failure.limit_at) = (Some(9), Some(9), Some("/a".to_owned()));
            (failure.limit_bytes, failure.usage_bytes, failure.needed_bytes) = (Some(9), Some(9), Some(9));
            (failure.limit_hierarchy, failure.limit_depth, failure.task.pid) = (Some(0), Some(0), Some(7));
            assert_eq!(fork_ids(&failure), [id]);
            assert_eq!(of_fork(&failure, None).len(), 1, "{id} without the settings");
        }
    }
}

/// Guards causes that nobody knows: nothing is said of them.
#[test]
fn an_unknown_cause_has_no_finding() {
    assert_eq!(fork_ids(&fork_failure(ForkCause::Other)), [""; 0]);
}

/// Guards what is told again and again: only the first line has findings.
#[test]
fn a_repeated_failure_is_explained_once() {
    for (window_ns, findings) in [(0, 1), (1_000_000_000, 0)] {
        let failure = ForkFailure { window_ns, ..fork_failure(ForkCause::PidsMax) };
        let mut event = Event::ForkFailure(Box::new(failure));
        Explainer::default().complete(&mut event, None);
        let Event::ForkFailure(failure) = event else { panic!("another event") };
        assert_eq!(failure.findings.len(), findings);
    }
}

/// Guards against figures that no machine has, as a record file of somebody else's may: no rule overflows on them.
#[test]
fn extreme_figures_harm_no_rule() {
    const EXTREMES: [u64; 4] = [0, 1, 1 << 40, u64::MAX];
    let text =
        |value: u64| format!("java -Xmx{value} -XX:MaxRAMPercentage={value} --max-old-space-size={value}");
    for one in EXTREMES {
        for other in EXTREMES {
            let machine = Settings {
                min_free_kbytes: Some(one),
                memory_bytes: Some(other),
                swap_total_bytes: Some(other),
                swap_free_bytes: Some(one),
                commit_limit_bytes: Some(one),
                committed_bytes: Some(other),
                overcommit_memory: Some(2),
                overcommit_ratio: Some(u32::MAX),
                huge_pages_bytes: Some(one),
                huge_pages_free_bytes: Some(other),
                ..settings()
            };
            for mut incident in [memcg(), global(), server(&text(one), 512)] {
                for level in &mut incident.scope.limits {
                    (level.usage_bytes, level.limit_bytes) = (Some(one), Some(other));
                    (level.memsw_usage_bytes, level.memsw_limit_bytes) = (Some(other), Some(one));
                }
                for zone in &mut incident.zones {
                    (zone.free_bytes, zone.min_bytes, zone.managed_bytes) =
                        (Some(one), Some(other), Some(one));
                    (zone.boost_bytes, zone.lowmem_reserve_bytes) = (Some(one), Some(other));
                    zone.free_by_order = Some(vec![one; 3]);
                }
                for candidate in &mut incident.candidates {
                    (candidate.rss_bytes, candidate.swap_bytes) = (Some(one), Some(other));
                }
                if let Some(memory) = &mut incident.host_memory {
                    (memory.mem_total_bytes, memory.shmem_bytes) = (Some(one), Some(other));
                    (memory.anon_mapped_bytes, memory.unevictable_bytes) = (Some(other), Some(one));
                }
                incident.ballot =
                    Some(Ballot { examined: u32::MAX, unkillable: u32::MAX - 1, computed: false });
                for order in [-1, 0, 40, i32::MAX] {
                    incident.trigger.order = Some(order);
                    assert!(of_incident(&incident, Some(&machine)).len() <= RULES.len());
                }
            }
            for cause in
                [ForkCause::PidsMax, ForkCause::Overcommit, ForkCause::MemcgKmem, ForkCause::ThreadsMax]
            {
                let mut failure = fork_failure(cause);
                (failure.limit, failure.limit_bytes) = (Some(one), Some(other));
                failure.limit_at = Some("/a".to_owned());
                assert_eq!(of_fork(&failure, Some(&machine)).len(), 1);
            }
        }
    }
}

/// Guards the price of very many forks that fail, each for the first time: ten of a second are explained, and what happens again
/// is not.
#[test]
fn a_storm_is_not_explained_fork_by_fork() {
    let mut explainer = Explainer::default();
    let mut has_findings = |boot_ns, window_ns| {
        let mut failure = fork_failure(ForkCause::PidsMax);
        (failure.common.boot_ns, failure.window_ns) = (Some(boot_ns), window_ns);
        let mut event = Event::ForkFailure(Box::new(failure));
        explainer.complete(&mut event, None);
        let Event::ForkFailure(failure) = event else { panic!("another event") };
        !failure.findings.is_empty()
    };
    assert_eq!((0..100).filter(|nth| has_findings(5_000_000_000 + nth, 0)).count(), 10);
    assert!(has_findings(6_000_000_000, 0));
    assert!(!has_findings(6_000_000_001, 1_000_000_000));
}

/// A kill by a daemon of that name, of so many processes of 30 MiB.
pub fn user_kill(killer: &str, victims: u32) -> UserKill {
    let sent = SentSignal { number: 9, name: Some("SIGKILL"), via: SentVia::Kill, after_ns: 0 };
    let one = |pid| Victim { verdict: None, signals: vec![sent], ..victim("app", pid, 30, "/web") };
    UserKill {
        schema: SchemaName::V1,
        r#type: UserKillTag::UserspaceKill,
        common: memcg().common,
        killer: Killer { pid: Some(5), comm: Some(killer.to_owned()), uid: Some(0) },
        victims: (10..10 + victims).map(one).collect(),
        limits: Vec::new(),
        findings: Vec::new(),
        missing: BTreeMap::new(),
        lost_records: 0,
    }
}
