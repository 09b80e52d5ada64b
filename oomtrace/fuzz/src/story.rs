//! Stories: sequences of records as a kernel might send them, and as none should.

use arbitrary::{Arbitrary, Result, Unstructured};
use oomtrace::record::{
    After, Candidate, Ceiling, CgroupId, Close, Cmdline, Decision, Key, Level, Link, Mark, Mm, Reclaim, Record, Relief, Stall, Struck, Task, Tie, UserKill, Whose, Node, Zone, AllocFailure, Failing, ForkFailure, ForkHost, NamespaceLevel, Namespaces, PidNamespace, PidsLevel, PidsRefused, Promises, Site, UserLevel,
};

use oomtrace::host::settings::Settings;

use crate::session::{AnySession, figure, name};

/// A session and what happens in it.
#[derive(Arbitrary, Debug)]
pub struct Story {
    /// Where it happens.
    pub session: AnySession,
    /// What happens.
    pub steps: Vec<Step>,
}

/// One thing that happens.
#[derive(Arbitrary, Debug)]
pub enum Step {
    /// A record comes in.
    Record {
        /// Whose, and when.
        stamp: Stamp,
        /// Of which kind.
        what: What,
    },
    /// A task's whole chain of cgroups comes in.
    Chain {
        /// Whose, and when.
        stamp: Stamp,
        /// How many levels below the root.
        depth: u8,
        /// What all its levels have in common.
        level: AnyLevel,
    },
    /// Many runs begin, each with a trigger of its own.
    Storm {
        /// How many.
        #[arbitrary(with = crowd)]
        runs: u8,
        /// Whether each has a decision.
        decided: bool,
        /// Whether each mark comes from a kill.
        killed: bool,
        /// Whether each ends.
        ends: bool,
    },
    /// Many tasks of one run are marked.
    Group {
        /// Whose, and when.
        stamp: Stamp,
        /// How many.
        #[arbitrary(with = crowd)]
        victims: u8,
    },
    /// Time passes and nothing comes in.
    Expire(Elapsed),
}

/// What a record says.
#[derive(Arbitrary, Debug)]
pub enum What {
    /// A decision.
    Decision(Box<AnyDecision>),
    /// A cgroup.
    Level(Box<AnyLevel>),
    /// A mark.
    Mark(Box<AnyMark>),
    /// An end.
    Close(AnyClose),
    /// A task that could have been chosen.
    Candidate(Box<AnyCandidate>),
    /// A zone.
    Zone(Box<AnyZone>),
    /// A node.
    Node(Box<AnyNode>),
    /// Something that happened to a victim.
    Relief(AnyRelief),
    /// A command line.
    Cmdline(AnyCmdline),
    /// A task that was killed with a victim.
    Struck(Box<AnyStruck>),
    /// An allocation that failed.
    AllocFailure(Box<AnyFailure>),
    /// A signal of a daemon's.
    UserKill(Box<AnyUserKill>),
    ForkFailure(Box<AnyFork>),
    PidsLevel(Box<AnyPids>),
    Namespaces(Box<AnyNamespaces>),
    ForkHost(AnyForkHost),
    PidsRefused(AnyPidsRefused),
    Settings(Box<AnySettings>),
}

/// Which run of the OOM killer a record belongs to, and when it was made.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Stamp {
    /// The trigger.
    #[arbitrary(with = tid)]
    pub tid: u32,
    /// Since the record before.
    pub elapsed: Elapsed,
    /// When its run began.
    pub run: Beginning,
    /// Records that went missing just before.
    #[arbitrary(with = gap)]
    pub gap: u32,
    /// What to add to get wall-clock time, ns.
    #[arbitrary(with = offset)]
    pub offset_ns: i64,
}

/// How a record's run relates to those before.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Beginning {
    /// It is the one that its trigger has.
    Known,
    /// It begins with this record.
    Now,
    /// It began at this time.
    At(u64),
}

/// How time goes on.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Elapsed {
    /// It does not.
    Nothing,
    /// Nanoseconds.
    Ns(u8),
    /// Milliseconds: a group is complete after 50.
    Ms(u8),
    /// Seconds: a run is given up after 60.
    Seconds(u8),
    /// Backwards, nanoseconds.
    Back(u32),
    /// To a moment.
    To(u64),
}

impl Elapsed {
    /// The time after it.
    #[must_use]
    pub fn after(self, now_ns: u64) -> u64 {
        match self {
            Self::Nothing => now_ns,
            Self::Ns(ns) => now_ns.saturating_add(u64::from(ns)),
            Self::Ms(ms) => now_ns.saturating_add(u64::from(ms) * 1_000_000),
            Self::Seconds(seconds) => now_ns.saturating_add(u64::from(seconds) * 1_000_000_000),
            Self::Back(ns) => now_ns.saturating_sub(u64::from(ns)),
            Self::To(ns) => ns,
        }
    }
}

/// A task, from a set that is small enough for stories to meet the same one again.
#[derive(Arbitrary, Clone, Debug)]
pub struct AnyTask {
    #[arbitrary(with = |u: &mut Unstructured| u.int_in_range(0..=7))]
    pid: u32,
    known: [bool; 4],
    #[arbitrary(with = |u: &mut Unstructured| u.int_in_range(0..=3))]
    memcg: u64,
    adj: Option<i16>,
    flags: Option<u32>,
    threads: Option<u32>,
    #[arbitrary(with = name)]
    comm: String,
    start: Option<u64>,
}

impl AnyTask {
    /// `serial` names the record that it came with: see [`crate::ledger`].
    #[must_use]
    pub fn task(&self, ppid: Option<u32>, uid: Option<u32>) -> Task {
        let [has_pid, has_thread, has_memcg, has_comm] = self.known;
        Task {
            pid: has_pid.then_some(self.pid),
            tid: has_thread.then_some(self.pid),
            ppid,
            uid,
            flags: self.flags,
            threads: self.threads,
            live: self.threads,
            oom_score_adj: self.adj.map(i32::from),
            // Mostly the process's own, so that it is known again.
            start_boot_ns: self
                .start
                .map(|start| if start.is_multiple_of(4) { start } else { u64::from(self.pid) }),
            memcg: has_memcg.then(|| cgroup(self.memcg)),
            comm: has_comm.then(|| self.comm.clone()),
        }
    }
}

fn cgroup(id: u64) -> CgroupId {
    // Odd ones are of a v1 hierarchy.
    CgroupId { hierarchy: if id % 2 == 1 { 4 } else { 0 }, id }
}

/// A decision.
#[derive(Arbitrary, Debug)]
pub struct AnyDecision {
    trigger: AnyTask,
    chosen: AnyTask,
    gfp_mask: Option<u32>,
    order: Option<i8>,
    constraint: Option<u8>,
    #[arbitrary(with = figure)]
    capacity_pages: Option<u64>,
    chosen_points: Option<i64>,
    memcg: Option<Option<u8>>,
    zonelist: Option<bool>,
}

impl AnyDecision {
    /// The record's content. Its trigger's uid is `serial`.
    #[must_use]
    pub fn decision(&self, serial: u32) -> Decision {
        Decision {
            trigger: self.trigger.task(None, Some(serial)),
            chosen: self.chosen.task(None, None),
            gfp_mask: self.gfp_mask,
            order: self.order.map(i32::from),
            constraint: self.constraint.map(|constraint| u32::from(constraint % 6)),
            capacity_pages: self.capacity_pages,
            chosen_points: self.chosen_points,
            memcg: self.memcg.map(|memcg| memcg.map(|id| cgroup(u64::from(id % 4)))),
            zonelist: self.zonelist,
        }
    }
}

/// A cgroup of a chain.
#[derive(Arbitrary, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one bit of the record")]
pub struct AnyLevel {
    trigger: bool,
    #[arbitrary(with = |u: &mut Unstructured| u.int_in_range(0..=3))]
    leaf: u64,
    #[arbitrary(with = depth)]
    depth: u32,
    id: Option<u8>,
    #[arbitrary(with = name)]
    name: String,
    named: bool,
    truncated: bool,
    root: bool,
    #[arbitrary(with = figures)]
    figures: [Option<u64>; 4],
    oom_group: Option<bool>,
}

impl AnyLevel {
    /// The record's content.
    #[must_use]
    pub fn level(&self) -> Level {
        let [usage_pages, limit, swap_usage_pages, swap_limit] = self.figures;
        let ceiling = |pages: u64| if pages == u64::MAX { Ceiling::Unlimited } else { Ceiling::Pages(pages) };
        Level {
            whose: if self.trigger { Whose::Trigger } else { Whose::Victim },
            leaf_id: self.leaf,
            link: Link {
                depth: self.depth,
                id: self.id.map(|id| cgroup(if self.depth == 0 { self.leaf } else { u64::from(id) })),
                name: self.named.then(|| self.name.clone()),
                name_truncated: self.truncated,
                root: self.root,
            },
            usage_pages,
            limit: limit.map(ceiling),
            swap_usage_pages,
            swap_limit: swap_limit.map(ceiling),
            oom_group: self.oom_group,
        }
    }

    /// The levels of a whole chain.
    pub fn chain(&self, levels: u8) -> impl Iterator<Item = Level> {
        (0..=levels).map(move |depth| {
            let mut level = self.level();
            let link = &mut level.link;
            link.depth = u32::from(depth);
            link.id = Some(cgroup(if depth == 0 { self.leaf } else { 100 + u64::from(depth) }));
            link.root = depth == levels;
            if link.root {
                link.name = Some(String::new());
            }
            level
        })
    }
}

/// A mark.
#[derive(Arbitrary, Debug)]
pub struct AnyMark {
    trigger: AnyTask,
    victim: AnyTask,
    #[arbitrary(with = figure)]
    total_vm_pages: Option<u64>,
    #[arbitrary(with = figure)]
    pgtables_bytes: Option<u64>,
    rss_count: Option<[Pages; 4]>,
    rss_sum: Option<[Pages; 4]>,
    killed: bool,
    reclaim: Option<Option<Option<u8>>>,
    stall: Option<AnyStall>,
}

impl AnyMark {
    /// The record's content. Its victim's ppid is `serial`.
    #[must_use]
    pub fn mark(&self, serial: u32) -> Mark {
        Mark {
            trigger: self.trigger.task(None, None),
            victim: self.victim.task(Some(serial), None),
            mm: Mm {
                total_vm_pages: self.total_vm_pages,
                pgtables_bytes: self.pgtables_bytes,
                rss_count: self.rss_count.map(|pages| pages.map(|pages| pages.0)),
                rss_sum: self.rss_sum.map(|pages| pages.map(|pages| pages.0)),
            },
            killed: self.killed,
            reclaim: self.reclaim.map(|reclaim| match reclaim {
                None => Reclaim::Direct,
                Some(id) => Reclaim::Memcg(id.map(|id| u64::from(id % 4))),
            }),
            stall: self.stall.map(AnyStall::stall),
        }
    }
}

/// A mark of another process, with nothing else known.
#[must_use]
pub fn bare_mark(pid: u32, serial: u32, killed: bool) -> Mark {
    let victim =
        Task { pid: Some(pid), ppid: Some(serial), start_boot_ns: Some(u64::from(pid)), ..Task::default() };
    Mark { trigger: Task::default(), victim, mm: Mm::default(), killed, reclaim: None, stall: None }
}

/// A decision with nothing known.
#[must_use]
pub fn bare_decision(serial: u32) -> Decision {
    Decision { trigger: Task { uid: Some(serial), ..Task::default() }, ..Decision::default() }
}

/// A counter of pages; it may be seen below 0.
#[derive(Clone, Copy, Debug)]
struct Pages(i64);

impl<'a> Arbitrary<'a> for Pages {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self(if u.ratio(7, 8)? { i64::from(u.arbitrary::<i16>()?) } else { u.arbitrary()? }))
    }
}

/// A task that could have been chosen.
#[derive(Arbitrary, Debug)]
pub struct AnyCandidate {
    pid: u32,
    points: i64,
    task: Option<AnyTask>,
    rss_count: Option<[Pages; 4]>,
    rss_sum: Option<[Pages; 4]>,
    examined: u32,
    unkillable: u32,
}

impl AnyCandidate {
    /// The record's content.
    #[must_use]
    pub fn candidate(&self) -> Candidate {
        Candidate {
            pid: self.pid,
            points: self.points,
            task: self.task.as_ref().map(|task| task.task(None, None)),
            mm: Mm {
                total_vm_pages: None,
                pgtables_bytes: None,
                rss_count: self.rss_count.map(|pages| pages.map(|pages| pages.0)),
                rss_sum: self.rss_sum.map(|pages| pages.map(|pages| pages.0)),
            },
            examined: self.examined,
            unkillable: self.unkillable,
            computed: self.points % 2 == 0,
        }
    }
}

/// A task that dies with a victim, of the set of [`AnyTask`].
#[derive(Arbitrary, Debug)]
pub struct AnyStruck {
    memory: bool,
    victim: u8,
    start: Option<u8>,
    task: AnyTask,
}

impl AnyStruck {
    /// The record's content.
    #[must_use]
    pub fn struck(&self) -> Struck {
        Struck {
            tie: if self.memory { Tie::Memory } else { Tie::Namespace },
            victim: (u32::from(self.victim % 8), self.start.map(u64::from)),
            task: self.task.task(None, None),
            mm: Mm::default(),
        }
    }
}

/// A zone of the memory that was asked for.
#[derive(Arbitrary, Debug)]
pub struct AnyZone {
    node: Option<u8>,
    /// Whether it is called as zones are.
    ordinary: bool,
    #[arbitrary(with = name)]
    name: String,
    #[arbitrary(with = figure)]
    free: Option<u64>,
    #[arbitrary(with = figure)]
    managed: Option<u64>,
    watermarks: Option<[u16; 3]>,
    #[arbitrary(with = figure)]
    boost: Option<u64>,
    #[arbitrary(with = figure)]
    reserve: Option<u64>,
    blocks: Option<[u64; 11]>,
}

impl AnyZone {
    /// The record's content.
    #[must_use]
    pub fn zone(&self) -> Zone {
        Zone {
            node: self.node.map(u32::from),
            name: Some(if self.ordinary { "Normal".to_owned() } else { self.name.clone() }),
            free_pages: self.free,
            watermark_pages: self.watermarks.map(|pages| pages.map(u64::from)),
            boost_pages: self.boost,
            managed_pages: self.managed,
            present_pages: self.managed,
            reserve_pages: self.reserve,
            blocks: self.blocks.map(|blocks| blocks.to_vec()),
        }
    }
}

/// An allocation that failed, of the set of [`AnyTask`].
#[derive(Arbitrary, Debug)]
pub struct AnyFailure {
    what: u8,
    task: AnyTask,
    gfp_mask: Option<u32>,
    order: Option<u32>,
    first: u8,
    total: u64,
    waits: Option<u8>,
    remainder: bool,
}

impl AnyFailure {
    /// The record's content.
    #[must_use]
    pub fn failure(&self) -> AllocFailure {
        AllocFailure {
            what: match self.what % 4 {
                0 => Failing::PageFault,
                1 => Failing::Hugetlb,
                2 => Failing::Pages,
                _ => Failing::Vmalloc,
            },
            task: self.task.task(None, None),
            gfp_mask: self.gfp_mask,
            order: self.order,
            errno: self.order,
            // Mostly the same series.
            first_ns: u64::from(self.first % 2),
            total: self.total,
            waits: self.waits.map(|id| cgroup(u64::from(id % 4))),
            remainder: self.remainder,
        }
    }
}

/// A signal of a daemon's to a process, of the set of [`AnyTask`].
#[derive(Arbitrary, Debug)]
pub struct AnyUserKill {
    killer: AnyTask,
    victim: AnyTask,
    kill: bool,
    without_sender: bool,
}

impl AnyUserKill {
    /// The record's content.
    #[must_use]
    pub fn kill(&self) -> UserKill {
        UserKill {
            killer: self.killer.task(None, None),
            victim: self.victim.task(None, None),
            mm: Mm::default(),
            signal: if self.kill { 9 } else { 15 },
            without_sender: self.without_sender,
        }
    }
}

/// A fork that failed, of the set of [`AnyTask`].
#[derive(Arbitrary, Debug)]
pub struct AnyFork {
    task: AnyTask,
    errno: u8,
    site: u8,
    state: [bool; 5],
    clone_flags: Option<u64>,
    capabilities: Option<u64>,
    nproc_limit: Option<u64>,
    user_processes: Option<u32>,
    data_pages: Option<u64>,
    threads: Option<(u64, u64)>,
    pid_max: Option<u64>,
    promises: Option<[u64; 4]>,
    cgroup: u8,
    first: u8,
    total: u64,
    namespaces: [(Option<u8>, Option<u32>, Option<u32>); 2],
    users: [(Option<u8>, Option<u64>, Option<u64>); 2],
    levels: u8,
    remainder: bool,
}

impl AnyFork {
    /// The record's content.
    #[must_use]
    pub fn failure(&self) -> ForkFailure {
        let levels = usize::from(self.levels % 3);
        let [fatal, namespace_dead, deadline, in_exec, crowded] = self.state;
        ForkFailure {
            task: self.task.task(None, None),
            errno: [4, 11, 12, 24, 28, u32::from(self.errno)][usize::from(self.errno % 6)],
            site: match self.site % 4 {
                0 => Site::CopyProcess,
                1 => Site::AllocPid,
                2 => Site::PidsCanFork,
                _ => Site::Syscall,
            },
            fatal,
            namespace_dead,
            deadline,
            in_exec,
            crowded,
            clone_flags: self.clone_flags,
            capabilities: self.capabilities,
            nproc_limit: self.nproc_limit,
            user_processes: self.user_processes,
            user_namespace: self.user_processes,
            data_pages: self.data_pages,
            children: self.user_processes,
            threads: self.threads,
            pid_max: self.pid_max,
            promises: self.promises.map(|[mode, ratio, kbytes, rest]| Promises {
                mode: (mode % 3) as i32,
                ratio: ratio as u32,
                kbytes,
                swap_pages: rest,
                committed_pages: kbytes,
                user_reserve_kbytes: ratio,
                admin_reserve_kbytes: rest,
                total_vm_pages: ratio,
            }),
            cgroup_id: u64::from(self.cgroup % 4),
            // Mostly the same series.
            first_ns: u64::from(self.first % 2),
            total: self.total,
            pid_namespaces: self.namespaces[..levels]
                .iter()
                .map(|(inum, allocated, pid_max)| PidNamespace {
                    inum: inum.map(u32::from),
                    allocated: *allocated,
                    pid_max: *pid_max,
                })
                .collect(),
            users: self.users[..levels]
                .iter()
                .map(|(inum, count, max)| UserLevel {
                    inum: inum.map(u32::from),
                    uid: 7,
                    count: *count,
                    max: *max,
                })
                .collect(),
            remainder: self.remainder,
        }
    }
}

/// How many namespaces there are and may be.
#[derive(Arbitrary, Debug)]
pub struct AnyNamespaces {
    euid: Option<u8>,
    pid_depth: Option<u8>,
    levels: [AnyNamespaceLevel; 4],
    read: u8,
}

#[derive(Arbitrary, Debug)]
struct AnyNamespaceLevel {
    inum: Option<u8>,
    depth: Option<u8>,
    uid: Option<u8>,
    counts: [Option<u8>; 8],
    max: [Option<u8>; 8],
}

impl AnyNamespaces {
    /// The record's content.
    #[must_use]
    pub fn namespaces(&self) -> Namespaces {
        // Mostly the same user.
        let user = |uid: u8| u32::from(uid % 2);
        let level = |level: &AnyNamespaceLevel| NamespaceLevel {
            inum: level.inum.map(u32::from),
            depth: level.depth.map(u32::from),
            uid: level.uid.map(user),
            counts: level.counts.map(|count| count.map(u64::from)),
            max: level.max.map(|max| max.map(u64::from)),
        };
        Namespaces {
            euid: self.euid.map(user),
            pid_depth: self.pid_depth.map(u32::from),
            levels: self.levels.iter().take(usize::from(self.read % 5)).map(level).collect(),
        }
    }
}

/// A cgroup of the pids controller.
#[derive(Arbitrary, Debug)]
pub struct AnyPids {
    depth: u8,
    id: Option<u8>,
    name: Option<String>,
    root: bool,
    usage: Option<u64>,
    limit: Option<Option<u64>>,
}

impl AnyPids {
    /// The record's content.
    #[must_use]
    pub fn level(&self) -> PidsLevel {
        PidsLevel {
            link: Link {
                depth: u32::from(self.depth % 18),
                id: self.id.map(|id| cgroup(u64::from(id % 4))),
                name: self.name.clone(),
                name_truncated: self.depth > 200,
                root: self.root,
            },
            usage: self.usage,
            limit: self.limit,
        }
    }
}

/// What the machine has of what forks take.
#[derive(Arbitrary, Debug)]
pub struct AnyForkHost {
    threads: Option<u64>,
    threads_max: Option<u64>,
    pid_max: Option<u64>,
    overcommit_memory: Option<u8>,
    commit: Option<(u64, u64)>,
    memory_bytes: Option<u64>,
}

impl AnyForkHost {
    /// The record's content.
    #[must_use]
    pub fn host(&self) -> ForkHost {
        ForkHost {
            threads: self.threads,
            threads_max: self.threads_max,
            pid_max: self.pid_max,
            overcommit_memory: self.overcommit_memory.map(u32::from),
            commit: self.commit,
            memory_bytes: self.memory_bytes,
        }
    }
}

/// What a cgroup refused.
#[derive(Arbitrary, Debug)]
pub struct AnyPidsRefused {
    cgroup: Option<bool>,
    above: Option<bool>,
    limit: Option<u64>,
    usage: Option<u64>,
    count: u64,
    window_ns: u64,
    counted: bool,
}

impl AnyPidsRefused {
    /// The record's content.
    #[must_use]
    pub fn refused(&self) -> PidsRefused {
        let path = |deep: bool| if deep { "/a/b" } else { "/a" }.to_owned();
        PidsRefused {
            cgroup: self.cgroup.map(path),
            limit_at: self.above.map(path),
            limit: self.limit,
            usage: self.usage,
            count: self.count,
            window_ns: self.window_ns,
            counted: self.counted,
        }
    }
}

/// How the machine is set up.
#[derive(Arbitrary, Debug)]
pub struct AnySettings {
    modes: [Option<u8>; 3],
    sizes: [Option<u64>; 9],
}

impl AnySettings {
    /// The record's content.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let [panic_on_oom, oom_kill_allocating_task, overcommit_memory] = self.modes.map(|mode| mode.map(|mode| u32::from(mode % 3)));
        let [min_free_kbytes, memory_bytes, swap_total_bytes, swap_free_bytes, commit_limit_bytes, committed_bytes, huge_pages_bytes, huge_pages_free_bytes, overcommit_kbytes] =
            self.sizes;
        Settings {
            min_free_kbytes,
            panic_on_oom,
            oom_kill_allocating_task,
            overcommit_memory,
            overcommit_kbytes,
            memory_bytes,
            swap_total_bytes,
            swap_free_bytes,
            commit_limit_bytes,
            committed_bytes,
            huge_pages_bytes,
            huge_pages_free_bytes,
            ..Settings::default()
        }
    }
}

/// What a node's memory is used for.
#[derive(Arbitrary, Debug)]
pub struct AnyNode {
    node: Option<u8>,
    counters: [Option<u32>; 14],
    /// One of them may be anything.
    #[arbitrary(with = figure)]
    first: Option<u64>,
}

impl AnyNode {
    /// The record's content.
    #[must_use]
    pub fn node(&self) -> Node {
        let mut counters = self.counters.map(|count| count.map(u64::from));
        counters[0] = self.first;
        Node { node: self.node.map(u32::from), counters }
    }
}

/// Something that happened to a victim, from the set of [`AnyTask`].
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct AnyRelief {
    what: u8,
    start: Option<u8>,
    pid: Option<u8>,
    tid: Option<u8>,
}

impl AnyRelief {
    /// The record's content.
    #[must_use]
    pub fn relief(self) -> Relief {
        let what = match self.what % 3 {
            0 => After::Exited,
            1 => After::Freed,
            _ => After::Reaped,
        };
        let id = |id: Option<u8>| id.map(|id| u32::from(id % 8));
        // Mostly the process's own, as its mark tells it.
        let start_boot_ns = self.start.map(|start| if start.is_multiple_of(4) { start } else { self.pid.unwrap_or(0) % 8 });
        Relief { what, pid: id(self.pid), start_boot_ns: start_boot_ns.map(u64::from), tid: id(self.tid) }
    }
}

/// A command line.
#[derive(Arbitrary, Clone, Debug)]
pub struct AnyCmdline {
    pid: u8,
    start: Option<u8>,
    text: Vec<u8>,
    truncated: bool,
}

impl AnyCmdline {
    /// The record's content.
    #[must_use]
    pub fn cmdline(&self) -> Cmdline {
        let pid = self.pid % 8;
        // Mostly the process's own, as its mark tells it.
        let start_boot_ns = self.start.map(|start| if start.is_multiple_of(4) { start } else { pid });
        Cmdline {
            pid: u32::from(pid),
            start_boot_ns: start_boot_ns.map(u64::from),
            text: self.text.clone(),
            truncated: self.truncated,
        }
    }
}

/// What a trigger went through.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct AnyStall {
    spent_ns: u64,
    rounds: u32,
    unseen: u32,
}

impl AnyStall {
    /// The record's content.
    #[must_use]
    pub fn stall(self) -> Stall {
        Stall { spent_ns: self.spent_ns, rounds: self.rounds, unseen: self.unseen }
    }
}

/// An end.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct AnyClose {
    kills: u8,
    marks: u8,
    verdict: bool,
}

impl AnyClose {
    /// The record's content.
    #[must_use]
    pub fn close(self) -> Close {
        Close {
            kills: u32::from(self.kills),
            marks: u32::from(self.marks),
            verdict: self.verdict,
            examined: u32::from(self.kills),
            unkillable: u32::from(self.marks),
            undecided: u32::from(self.kills),
            entered_ns: self.verdict.then_some(1),
        }
    }
}

/// A stream of records as it is told: the clock and each trigger's run.
#[derive(Debug, Default)]
pub struct Clock {
    now_ns: u64,
    runs: std::collections::HashMap<u32, (u64, u32)>,
}

impl Clock {
    /// Time goes on.
    pub fn pass(&mut self, elapsed: Elapsed) -> u64 {
        self.now_ns = elapsed.after(self.now_ns);
        self.now_ns
    }

    /// The key of the next record.
    pub fn key(&mut self, stamp: Stamp) -> Key {
        let now_ns = self.pass(stamp.elapsed);
        let (opened_ns, next) = match (stamp.run, self.runs.get(&stamp.tid)) {
            (Beginning::Known, Some(run)) => *run,
            (Beginning::Known, None) | (Beginning::Now, _) => (now_ns, 0),
            (Beginning::At(ns), _) => (ns, 0),
        };
        let index = next.saturating_add(stamp.gap);
        self.runs.insert(stamp.tid, (opened_ns, index.saturating_add(1)));
        Key { trigger_tid: stamp.tid, opened_ns, boot_ns: now_ns, index, lost: stamp.gap }
    }
}

impl Stamp {
    /// The next record of the same run, at once.
    #[must_use]
    pub fn next(self) -> Self {
        Self { elapsed: Elapsed::Nothing, run: Beginning::Known, gap: 0, ..self }
    }

    /// The first record of a run that begins now.
    #[must_use]
    pub fn first(tid: u32) -> Self {
        Self { tid, elapsed: Elapsed::Ns(1), run: Beginning::Now, gap: 0, offset_ns: 0 }
    }
}

/// A record of a level.
#[must_use]
pub fn level_record(key: Key, level: Level) -> Record {
    Record::Level(key, Box::new(level))
}

fn tid(u: &mut Unstructured<'_>) -> Result<u32> {
    if u.ratio(7, 8)? { u.int_in_range(0..=3) } else { u.int_in_range(0..=255) }
}

/// Mostly few: a crowd takes a thousand times as long as a record.
fn crowd(u: &mut Unstructured<'_>) -> Result<u8> {
    if u.ratio(31, 32)? { u.int_in_range(0..=3) } else { u.arbitrary() }
}

fn gap(u: &mut Unstructured<'_>) -> Result<u32> {
    Ok(match u.int_in_range(0..=15)? {
        0 => u.arbitrary()?,
        1 => 1,
        _ => 0,
    })
}

fn offset(u: &mut Unstructured<'_>) -> Result<i64> {
    if u.ratio(3, 4)? { Ok(1_700_000_000_000_000_000) } else { u.arbitrary() }
}

fn depth(u: &mut Unstructured<'_>) -> Result<u32> {
    if u.ratio(7, 8)? { u.int_in_range(0..=3) } else { u.arbitrary() }
}

fn figures(u: &mut Unstructured<'_>) -> Result<[Option<u64>; 4]> {
    Ok([figure(u)?, figure(u)?, figure(u)?, figure(u)?])
}
