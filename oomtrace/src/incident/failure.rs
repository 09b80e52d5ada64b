//! Allocations that failed though nobody was killed: their lines, and how often each happened.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    chain::Chain,
    missing::{self, NO_CHAIN, UNREAD, lacking, note},
    repeats::{Repeats, Series},
    types::{Cgroup, Command, Common, Limit, Place, SchemaName},
};
use crate::record::{self, Failing};

/// Processes whose failures are remembered, at most: those in the kernel half's map on a machine of eight processors.
const REMEMBERED: usize = 1280;

/// Marks a line as an allocation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum AllocFailureTag {
    /// `alloc_failure`.
    #[serde(rename = "alloc_failure")]
    AllocFailure,
}

/// An allocation failed, and nobody was killed for it. What happens to a process again and again is told once a second, with
/// a count.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct AllocFailure {
    /// `oomtrace/1`.
    pub schema: SchemaName,
    /// `alloc_failure`.
    pub r#type: AllocFailureTag,
    /// What every line tells.
    #[serde(flatten)]
    pub common: Common,
    /// What failed.
    pub what: FailureKind,
    /// Whose it was.
    pub task: FailedTask,
    /// Of `memcg_oom_disabled`: the memory cgroup at its limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memcg: Option<Cgroup>,
    /// Every memory cgroup from the task's own up to the root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
    /// Of `page_allocation` and `vmalloc`: flags of the request, as the kernel encodes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gfp_mask: Option<u32>,
    /// The same by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gfp_flags: Option<Vec<String>>,
    /// Of `page_allocation`: the request was for 2^order pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<u32>,
    /// Of `hugetlb`: the error within the kernel, of which the process sees SIGBUS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<u32>,
    /// How often this has happened to the process since the line before about it. If more than once, the rest of the line is
    /// about the last one.
    pub count: u64,
    /// Fields that could not be had, by path, with the reason.
    pub missing: BTreeMap<String, String>,
    /// Records of this failure that were lost on the way.
    pub lost_records: u64,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// A page fault, for want of memory. It is tried again at once, for ever, unless something becomes free.
    PageFault,
    /// The same in a memory cgroup (v1) whose OOM killer is disabled: the task sleeps until something becomes free.
    MemcgOomDisabled,
    /// A page of hugetlbfs: the pool has none for the process, which gets SIGBUS.
    Hugetlb,
    /// Pages that the kernel asked for: whatever it was doing for the task failed, or went another way.
    PageAllocation,
    /// The same of memory that is mapped page by page.
    Vmalloc,
}

/// The task in whose context it failed. A request that cannot sleep (without `__GFP_DIRECT_RECLAIM`) may be that of an
/// interrupt that came meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct FailedTask {
    /// Process id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Thread id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tid: Option<u32>,
    /// Name of the thread; bytes that are not UTF-8 as `\xNN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// Real user id in the initial user namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// -1000 (never) to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// Whether it is one of the command's own that `oomtrace run` runs. Absent outside of that, and where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of_run: Option<bool>,
    /// What it was started with.
    #[serde(flatten)]
    pub command: Command,
    /// Where it ran.
    #[serde(flatten)]
    pub place: Place,
}

/// What has been told, so that each failure is counted once.
#[derive(Debug, Default)]
pub(super) struct Failures {
    told: Repeats<Name, Said, REMEMBERED>,
}

/// What failed, and whose it was: the process id, and when the process began.
type Name = (Failing, Option<u32>, Option<u64>);

/// What a line said, for one that comes later without the cgroups.
#[derive(Debug)]
struct Said {
    kind: FailureKind,
    place: Place,
    memcg: Option<Cgroup>,
}

impl Failures {
    /// The line of a failure; `None` if another one has counted it. `chain` is that of its task's cgroups, if it came.
    pub fn line(
        &mut self,
        failure: &record::AllocFailure,
        chain: Option<&Chain>,
        page_bytes: u32,
        common: Common,
        command: Command,
        mut missing: BTreeMap<String, String>,
    ) -> Option<AllocFailure> {
        let task = &failure.task;
        let name = (failure.what, task.pid, task.start_boot_ns);
        let series = Series { first_ns: failure.first_ns, total: failure.total };
        let news = self.told.news(&name, series)?;
        let chain = chain.filter(|_| !failure.remainder);
        let (kind, memcg, place, limits) = match (news.before.filter(|_| failure.remainder), chain) {
            (Some(said), _) => (said.kind, said.memcg, said.place, Err(AFTERWARDS.to_owned())),
            (None, Some(chain)) => {
                let (kind, memcg) = kind(failure, chain, &mut missing);
                let path = chain.path(0);
                note(&mut missing, "task.cgroup", &path);
                (kind, memcg, Place::of(path.ok()), chain.limits(page_bytes))
            }
            (None, None) => {
                let reason = if failure.remainder { AFTERWARDS } else { NO_CHAIN };
                missing.insert("task.cgroup".to_owned(), reason.to_owned());
                let (kind, memcg) = kind(failure, &Chain::EMPTY, &mut missing);
                (kind, memcg, Place::default(), Err(reason.to_owned()))
            }
        };
        note(&mut missing, "limits", &limits);
        let unread = [
            ("task.pid", task.pid.is_none()),
            ("task.tid", task.tid.is_none()),
            ("task.comm", task.comm.is_none()),
            ("task.uid", task.uid.is_none()),
            ("task.oom_score_adj", task.oom_score_adj.is_none()),
        ];
        missing::all(&mut missing, lacking(unread), UNREAD);
        if failure.what == Failing::Pages && failure.order.is_none() {
            missing.insert("order".to_owned(), "the kernel told something else in its place".to_owned());
        }
        self.told.keep(name, series, Said { kind, place: place.clone(), memcg: memcg.clone() });
        Some(AllocFailure {
            schema: SchemaName::V1,
            r#type: AllocFailureTag::AllocFailure,
            common,
            what: kind,
            task: FailedTask {
                pid: task.pid,
                tid: task.tid,
                comm: task.comm.clone(),
                uid: task.uid,
                oom_score_adj: task.oom_score_adj,
                of_run: task.of_run,
                command,
                place,
            },
            memcg,
            limits: limits.unwrap_or_default(),
            gfp_mask: failure.gfp_mask,
            gfp_flags: failure.gfp_mask.map(super::gfp::flag_names),
            order: failure.order,
            errno: failure.errno,
            count: news.count,
            missing,
            lost_records: 0,
        })
    }
}

const AFTERWARDS: &str = "these were counted, and told once they had ceased";

/// What failed, and the memory cgroup whose OOM killer is disabled. That one is among the task's own: what is not was not read
/// where this kernel has it.
fn kind(
    failure: &record::AllocFailure,
    chain: &Chain,
    missing: &mut BTreeMap<String, String>,
) -> (FailureKind, Option<Cgroup>) {
    let kind = match failure.what {
        Failing::Hugetlb => FailureKind::Hugetlb,
        Failing::Pages => FailureKind::PageAllocation,
        Failing::Vmalloc => FailureKind::Vmalloc,
        Failing::PageFault => FailureKind::PageFault,
    };
    let Some(waits) = failure.waits.filter(|_| failure.what == Failing::PageFault) else {
        return (kind, None);
    };
    let Some(depth) = chain.depth_of(waits) else {
        let reason =
            format!("the task is said to wait for the memory cgroup {}, which it is not in", waits.id);
        missing.insert("memcg".to_owned(), reason);
        return (kind, None);
    };
    let memcg = Cgroup { path: chain.path(depth).ok(), id: Some(waits.id), hierarchy: Some(waits.hierarchy) };
    (FailureKind::MemcgOomDisabled, Some(memcg))
}
