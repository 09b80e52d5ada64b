//! Bytes to records.

use oomtrace_ebpf::{
    self as abi, CMDLINE_WORDS, Header, MmFacts, NAME_LEN, NO_LIMIT_PAGES, RecordKind, TaskFacts, chain,
    decision, failure, kin, level, mm, reclaim, relief, struck, task, whose, zone,
};
use zerocopy::FromBytes;

use super::types::{
    After, AllocFailure, Allowed, Ancestor, Candidate, Ceiling, CgroupId, Close, Cmdline, Decision, Failing,
    Key, Kin, Level, Link, Mark, Mm, Node, Reclaim, Record, Relief, Stall, Struck, Task, Tie, UserKill,
    Whose, Zone,
};
use super::{environment, fork, kernel_log, pids_refused, settings};
use crate::text;

/// No process has a higher id (include/linux/threads.h).
const PID_MAX_LIMIT: u32 = 4 << 20;

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than a record's header.
    #[error("a record has {size} bytes, fewer than the {} of its header", size_of::<Header>())]
    Short {
        /// Its size, bytes.
        size: usize,
    },
    /// This version knows no such record.
    #[error("a record is of kind {kind}, which this version of oomtrace does not know")]
    UnknownKind {
        /// What its header says.
        kind: u16,
    },
    /// The size is not that of its kind.
    #[error("a record of kind {kind:?} has {size} bytes instead of {expected}")]
    Size {
        /// Its kind.
        kind: RecordKind,
        /// Its size, bytes.
        size: usize,
        /// What the kind has, bytes.
        expected: usize,
    },
    /// This version knows no such event.
    #[error("a record tells of an event {what}, which this version of oomtrace does not know")]
    UnknownEvent {
        /// Its number.
        what: u32,
    },
    /// What should be JSON is none.
    #[error("a record of settings is damaged")]
    Settings,
}

/// Decodes a record.
pub fn decode(bytes: &[u8]) -> Result<Record, DecodeError> {
    let (header, _) =
        Header::read_from_prefix(bytes).map_err(|_| DecodeError::Short { size: bytes.len() })?;
    let kind = RecordKind::from_raw(header.kind).ok_or(DecodeError::UnknownKind { kind: header.kind })?;
    Ok(match kind {
        RecordKind::Decision => {
            let raw: abi::Decision = exactly(kind, bytes)?;
            Record::Decision(key(&raw.header), Box::new(decision(&raw)))
        }
        RecordKind::Level => {
            let raw: abi::Level = exactly(kind, bytes)?;
            Record::Level(key(&raw.header), Box::new(level(&raw)))
        }
        RecordKind::Mark => {
            let raw: abi::Mark = exactly(kind, bytes)?;
            Record::Mark(key(&raw.header), Box::new(mark(&raw)))
        }
        RecordKind::Close => {
            let raw: abi::Close = exactly(kind, bytes)?;
            Record::Close(key(&raw.header), close(&raw))
        }
        RecordKind::Candidate => {
            let raw: abi::Candidate = exactly(kind, bytes)?;
            Record::Candidate(key(&raw.header), Box::new(candidate(&raw)))
        }
        RecordKind::Struck => {
            let raw: abi::Struck = exactly(kind, bytes)?;
            Record::Struck(key(&raw.header), Box::new(struck(&raw)?))
        }
        RecordKind::Zone => {
            let raw: abi::Zone = exactly(kind, bytes)?;
            Record::Zone(key(&raw.header), Box::new(zone(&raw)))
        }
        RecordKind::Node => {
            let raw: abi::Node = exactly(kind, bytes)?;
            Record::Node(key(&raw.header), Box::new(node(&raw)))
        }
        RecordKind::Allowed => {
            let raw: abi::Allowed = exactly(kind, bytes)?;
            Record::Allowed(key(&raw.header), allowed(&raw))
        }
        RecordKind::AllocFailure => {
            let raw: abi::AllocFailure = exactly(kind, bytes)?;
            Record::AllocFailure(key(&raw.header), Box::new(alloc_failure(&raw)?))
        }
        RecordKind::ForkFailure => {
            let raw: abi::ForkFailure = exactly(kind, bytes)?;
            Record::ForkFailure(key(&raw.header), Box::new(fork::failure(&raw)?))
        }
        RecordKind::PidsLevel => {
            let raw: abi::PidsLevel = exactly(kind, bytes)?;
            Record::PidsLevel(key(&raw.header), Box::new(fork::level(&raw)))
        }
        RecordKind::Namespaces => {
            let raw: abi::Namespaces = exactly(kind, bytes)?;
            Record::Namespaces(key(&raw.header), Box::new(fork::namespaces(&raw)))
        }
        RecordKind::ForkHost => {
            let raw: abi::ForkHost = exactly(kind, bytes)?;
            Record::ForkHost(key(&raw.header), Box::new(fork::host(&raw)))
        }
        RecordKind::UserKill => {
            let raw: abi::UserKill = exactly(kind, bytes)?;
            Record::UserKill(key(&raw.header), Box::new(user_kill(&raw)))
        }
        RecordKind::Cmdline => Record::Cmdline(key(&header), Box::new(cmdline(bytes)?)),
        RecordKind::Environment => Record::Environment(key(&header), Box::new(environment::decode(bytes)?)),
        RecordKind::Kin => {
            let raw: abi::Kin = exactly(kind, bytes)?;
            Record::Kin(key(&raw.header), Box::new(kin(&raw)))
        }
        RecordKind::PidsRefused => Record::PidsRefused(key(&header), Box::new(pids_refused::decode(bytes)?)),
        RecordKind::Settings => Record::Settings(key(&header), Box::new(settings::decode(bytes)?)),
        RecordKind::KernelLog => Record::KernelLog(key(&header), Box::new(kernel_log::decode(bytes)?)),
        RecordKind::Relief => {
            let raw: abi::Relief = exactly(kind, bytes)?;
            Record::Relief(key(&raw.header), relief(&raw)?)
        }
    })
}

/// The ring pads records to 8 bytes, and so are they made: the size is exact.
fn exactly<T: FromBytes>(kind: RecordKind, bytes: &[u8]) -> Result<T, DecodeError> {
    T::read_from_bytes(bytes).map_err(|_| DecodeError::Size {
        kind,
        size: bytes.len(),
        expected: size_of::<T>(),
    })
}

fn key(header: &Header) -> Key {
    Key {
        trigger_tid: header.trigger_tid,
        opened_ns: header.opened_ns,
        boot_ns: header.boot_ns,
        index: header.index,
        lost: header.lost,
    }
}

/// A value, if its bit says that it was read.
pub(super) fn known<T>(present: u32, bit: u32, value: T) -> Option<T> {
    (present & bit != 0).then_some(value)
}

fn limit(present: u32, bit: u32, pages: u64) -> Option<Ceiling> {
    known(present, bit, if pages < NO_LIMIT_PAGES { Ceiling::Pages(pages) } else { Ceiling::Unlimited })
}

pub(super) fn task(raw: &TaskFacts) -> Task {
    Task {
        pid: known(raw.present, task::PID, raw.pid),
        tid: known(raw.present, task::TID, raw.tid),
        ppid: known(raw.present, task::PPID, raw.ppid),
        uid: known(raw.present, task::UID, raw.uid),
        flags: known(raw.present, task::FLAGS, raw.flags),
        // A thread counts until it cannot be found any more (__exit_signal(), kernel/exit.c): 0 is another field's.
        threads: known(raw.present, task::THREADS, raw.threads).filter(|threads| *threads > 0),
        live: known(raw.present, task::LIVE, raw.live),
        oom_score_adj: known(raw.present, task::ADJ, i32::from(raw.oom_score_adj)),
        start_boot_ns: known(raw.present, task::START, raw.start_boot_ns),
        memcg: known(raw.present, task::MEMCG, CgroupId { hierarchy: raw.memcg_hierarchy, id: raw.memcg_id }),
        comm: known(raw.present, task::COMM, text::from_kernel(&raw.comm)),
        of_run: of_run(raw.present >> task::WHOSE),
    }
}

/// Whether a task is one of the command's own that oomtrace runs, by its lowest bits.
#[must_use]
pub fn of_run(bits: u32) -> Option<bool> {
    match bits & whose::MASK {
        whose::OWN => Some(true),
        whose::BYSTANDER => Some(false),
        _ => None,
    }
}

fn mm(raw: &MmFacts) -> Mm {
    Mm {
        total_vm_pages: known(raw.present, mm::TOTAL_VM, raw.total_vm_pages),
        pgtables_bytes: known(raw.present, mm::PGTABLES, raw.pgtables_bytes),
        rss_count: known(raw.present, mm::COUNT, raw.rss_count),
        rss_sum: known(raw.present, mm::SUM, raw.rss_sum),
    }
}

fn candidate(raw: &abi::Candidate) -> Candidate {
    let task = task(&raw.task);
    // Another process may have its place in memory by now.
    let same = task.pid == Some(raw.pid);
    Candidate {
        pid: raw.pid,
        points: raw.points,
        task: same.then_some(task),
        mm: if same { mm(&raw.mm) } else { Mm::default() },
        examined: raw.examined,
        unkillable: raw.unkillable,
        computed: raw.computed != 0,
    }
}

fn close(raw: &abi::Close) -> Close {
    Close {
        kills: raw.kills,
        marks: raw.marks,
        verdict: raw.verdict == abi::close::TRUE,
        examined: raw.examined,
        unkillable: raw.unkillable,
        undecided: raw.undecided,
        entered_ns: (raw.entered_ns != 0).then_some(raw.entered_ns),
    }
}

fn struck(raw: &abi::Struck) -> Result<Struck, DecodeError> {
    let tie = match raw.how {
        struck::SHARED => Tie::Memory,
        struck::NAMESPACE => Tie::Namespace,
        what => return Err(DecodeError::UnknownEvent { what }),
    };
    let start_boot_ns = (raw.victim_start_boot_ns != 0).then_some(raw.victim_start_boot_ns);
    Ok(Struck { tie, victim: (raw.victim_pid, start_boot_ns), task: task(&raw.task), mm: mm(&raw.mm) })
}

fn decision(raw: &abi::Decision) -> Decision {
    let identity = known(
        raw.present,
        decision::MEMCG_IDENTITY,
        CgroupId { hierarchy: raw.memcg_hierarchy, id: raw.memcg_id },
    );
    Decision {
        trigger: task(&raw.trigger),
        chosen: task(&raw.chosen),
        gfp_mask: known(raw.present, decision::GFP, raw.gfp_mask),
        order: known(raw.present, decision::ORDER, raw.order),
        constraint: known(raw.present, decision::CONSTRAINT, raw.constraint),
        capacity_pages: known(raw.present, decision::CAPACITY, raw.capacity_pages),
        chosen_points: known(raw.present, decision::POINTS, raw.chosen_points),
        memcg: match known(raw.present, decision::MEMCG, raw.memcg) {
            Some(0) => Some(None),
            Some(_) => identity.map(Some),
            None => None,
        },
        zonelist: known(raw.present, decision::ZONELIST, raw.zonelist != 0),
    }
}

/// What records of cgroups have in common: bits of [`level`], and a name with the length that the kernel gave it.
pub(super) fn link(
    present: u32,
    depth: u32,
    id: CgroupId,
    parent: u64,
    (name, name_len): (&[u8; NAME_LEN], i32),
) -> Link {
    let name_len = usize::try_from(name_len).ok().filter(|len| *len > 0);
    Link {
        depth,
        id: known(present, level::ID, id),
        name: name_len.map(|_| text::from_kernel(name)),
        // A full buffer may hold a name that goes on.
        name_truncated: name_len.is_some_and(|len| len >= NAME_LEN),
        root: known(present, level::PARENT, parent == 0) == Some(true),
    }
}

fn level(raw: &abi::Level) -> Level {
    let link = link(
        raw.present,
        raw.depth,
        CgroupId { hierarchy: raw.hierarchy, id: raw.id },
        raw.parent,
        (&raw.name, raw.name_len),
    );
    let unified = link.id.is_some_and(|id| id.hierarchy == 0);
    let (usage_bit, usage, limit_bit, swap_limit) = if unified {
        (level::SWAP_USAGE, raw.swap_usage_pages, level::SWAP_LIMIT, raw.swap_limit_pages)
    } else {
        (level::MEMSW_USAGE, raw.memsw_usage_pages, level::MEMSW_LIMIT, raw.memsw_limit_pages)
    };
    // A counter may be seen below 0 for an instant (page_counter_cancel(), mm/page_counter.c).
    let pages = |pages: i64| u64::try_from(pages).unwrap_or(0);
    Level {
        whose: if raw.chain == chain::TRIGGER { Whose::Trigger } else { Whose::Victim },
        leaf_id: raw.leaf_id,
        link,
        usage_pages: known(raw.present, level::USAGE, pages(raw.usage_pages)),
        limit: limit(raw.present, level::LIMIT, raw.limit_pages),
        swap_usage_pages: known(raw.present, usage_bit, pages(usage)),
        swap_limit: limit(raw.present, limit_bit, swap_limit),
        oom_group: known(raw.present, level::OOM_GROUP, raw.oom_group != 0),
    }
}

fn zone(raw: &abi::Zone) -> Zone {
    let blocks = usize::try_from(raw.orders).ok().and_then(|orders| raw.blocks.get(..orders));
    Zone {
        node: known(raw.present, zone::NODE, raw.node),
        name: known(raw.present, zone::NAME, text::from_kernel(&raw.name)),
        // Without what CPUs hold back it may be below 0: zone_page_state().
        free_pages: known(raw.present, zone::FREE, u64::try_from(raw.free_pages).unwrap_or(0)),
        watermark_pages: known(raw.present, zone::WATERMARKS, raw.watermark_pages),
        boost_pages: known(raw.present, zone::BOOST, raw.boost_pages),
        managed_pages: known(raw.present, zone::MANAGED, raw.managed_pages),
        present_pages: known(raw.present, zone::PRESENT, raw.present_pages),
        reserve_pages: known(raw.present, zone::RESERVE, raw.reserve_pages),
        blocks: blocks.and_then(|blocks| known(raw.present, zone::BLOCKS, blocks.to_vec())),
    }
}

fn node(raw: &abi::Node) -> Node {
    let counter = |index: usize| known(raw.present, 1 << index, *raw.counters.get(index)?);
    Node {
        node: known(raw.present, abi::NODE_ID, raw.node),
        // As above: node_page_state().
        counters: std::array::from_fn(|index| Some(u64::try_from(counter(index)?).unwrap_or(0))),
    }
}

fn allowed(raw: &abi::Allowed) -> Allowed {
    let words = usize::try_from(raw.words).ok().and_then(|words| raw.nodes.get(..words)).unwrap_or(&[]);
    let numbers = (0_u32..).step_by(64).zip(words).flat_map(|(first, word)| {
        (0..64).filter(move |bit| word >> bit & 1 != 0).map(move |bit| first + bit)
    });
    // Nobody is confined to nothing.
    let nodes = known(raw.present, 1, numbers.collect::<Vec<_>>()).filter(|nodes| !nodes.is_empty());
    Allowed { nodes }
}

/// Of three sizes, so that a short one takes little of the ring.
fn cmdline(bytes: &[u8]) -> Result<Cmdline, DecodeError> {
    let wrong = DecodeError::Size {
        kind: RecordKind::Cmdline,
        size: bytes.len(),
        expected: CMDLINE_WORDS[0] * size_of::<u64>(),
    };
    if !CMDLINE_WORDS.iter().any(|words| words * size_of::<u64>() == bytes.len()) {
        return Err(wrong);
    }
    let (raw, text) = abi::Cmdline::read_from_prefix(bytes).map_err(|_| wrong.clone())?;
    let text = usize::try_from(raw.len).ok().and_then(|len| text.get(..len)).ok_or(wrong)?;
    Ok(Cmdline {
        pid: raw.pid,
        start_boot_ns: (raw.start_boot_ns != 0).then_some(raw.start_boot_ns),
        text: text.to_vec(),
        truncated: raw.total > u64::from(raw.len),
    })
}

fn kin(raw: &abi::Kin) -> Kin {
    let its_own = raw.present & kin::INITIAL != 0 && raw.pid_in_initial == raw.pid;
    let ns_pid = known(raw.present, kin::NS_PID, raw.ns_pid);
    let pid = |ancestor: &abi::Ancestor| known(ancestor.present, kin::PID, ancestor.pid);
    // Nobody is above the idle task; and nobody is known above one that could not be read.
    let above = raw.ancestors.iter().map_while(|ancestor| {
        let comm = known(ancestor.present, kin::COMM, text::from_kernel(&ancestor.comm));
        pid(ancestor).filter(|pid| *pid != 0).map(|pid| Ancestor { pid, comm })
    });
    Kin {
        pid: raw.pid,
        start_boot_ns: (raw.start_boot_ns != 0).then_some(raw.start_boot_ns),
        ns_pid: ns_pid.filter(|ns_pid| its_own && (1..=PID_MAX_LIMIT).contains(ns_pid)),
        ancestors: pid(&raw.ancestors[0]).map(|_| above.collect()),
    }
}

fn relief(raw: &abi::Relief) -> Result<Relief, DecodeError> {
    let what = match raw.what {
        relief::EXITED => After::Exited,
        relief::FREED => After::Freed,
        relief::REAPED => After::Reaped,
        what => return Err(DecodeError::UnknownEvent { what }),
    };
    // No process has the id 0.
    let id = |id: u32| (id != 0).then_some(id);
    let start_boot_ns = (raw.start_boot_ns != 0).then_some(raw.start_boot_ns);
    Ok(Relief { what, pid: id(raw.pid), start_boot_ns, tid: id(raw.tid) })
}

/// No allocator of the kernel's is asked for more (`MAX_PAGE_ORDER`, at most 13 on arm64 with pages of 64 KiB): then it is
/// not the order that was passed.
const MORE_THAN_ANY_ORDER: u32 = 20;

fn alloc_failure(raw: &abi::AllocFailure) -> Result<AllocFailure, DecodeError> {
    let what = match raw.what {
        failure::PAGE_FAULT => Failing::PageFault,
        failure::HUGETLB => Failing::Hugetlb,
        failure::PAGES => Failing::Pages,
        failure::VMALLOC => Failing::Vmalloc,
        what => return Err(DecodeError::UnknownEvent { what }),
    };
    let waits = CgroupId { hierarchy: raw.waits_hierarchy, id: raw.waits_id };
    Ok(AllocFailure {
        what,
        task: task(&raw.task),
        gfp_mask: matches!(what, Failing::Pages | Failing::Vmalloc).then_some(raw.gfp_mask),
        order: (what == Failing::Pages && raw.order < MORE_THAN_ANY_ORDER).then_some(raw.order),
        errno: (what == Failing::Hugetlb).then_some(raw.errno),
        first_ns: raw.first_ns,
        total: raw.total,
        waits: (raw.waits_id != 0).then_some(waits),
        // Time since boot is never 0.
        remainder: raw.header.opened_ns == 0,
    })
}

fn user_kill(raw: &abi::UserKill) -> UserKill {
    UserKill {
        killer: task(&raw.killer),
        victim: task(&raw.victim),
        mm: mm(&raw.mm),
        signal: raw.signal,
        without_sender: raw.without_sender != 0,
    }
}

fn mark(raw: &abi::Mark) -> Mark {
    Mark {
        trigger: task(&raw.trigger),
        victim: task(&raw.victim),
        mm: mm(&raw.mm),
        killed: raw.killed != 0,
        reclaim: match raw.reclaim {
            reclaim::DIRECT => Some(Reclaim::Direct),
            reclaim::MEMCG => {
                Some(Reclaim::Memcg((raw.reclaim_memcg_id != 0).then_some(raw.reclaim_memcg_id)))
            }
            _ => None,
        },
        stall: (raw.stall_rounds > 0 || raw.stall_unseen > 0).then_some(Stall {
            spent_ns: raw.stall_ns,
            rounds: raw.stall_rounds,
            unseen: raw.stall_unseen,
        }),
    }
}

#[cfg(test)]
mod tests {
    use oomtrace_ebpf::Close as RawClose;
    use zerocopy::{FromZeros as _, IntoBytes as _};

    use super::*;

    fn raw_close() -> RawClose {
        let mut close = RawClose::new_zeroed();
        close.header.kind = RecordKind::Close as u16;
        close.header.trigger_tid = 7;
        close.kills = 2;
        close.verdict = 1;
        close
    }

    /// Guards the edge: a record is taken only in the size of its kind, and never beyond its end.
    #[test]
    fn only_whole_records_of_known_kinds_are_taken() {
        let record = raw_close();
        let bytes = record.as_bytes();
        let Ok(Record::Close(key, close)) = decode(bytes) else { panic!("{:?}", decode(bytes)) };
        assert_eq!((key.trigger_tid, close.kills, close.verdict), (7, 2, true));
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "{len} bytes");
        }
        assert!(decode(&[bytes, &[0]].concat()).is_err());
        let mut unknown = record;
        unknown.header.kind = 99;
        assert_eq!(decode(unknown.as_bytes()), Err(DecodeError::UnknownKind { kind: 99 }));
    }

    /// Guards absence: what was not read is no value, least of all 0.
    #[test]
    fn what_was_not_read_is_absent() {
        let mut mark = abi::Mark::new_zeroed();
        mark.header.kind = RecordKind::Mark as u16;
        mark.victim.present = task::TID | task::ADJ;
        mark.victim.tid = 42;
        mark.victim.oom_score_adj = -1000;
        let Ok(Record::Mark(_, mark)) = decode(mark.as_bytes()) else { panic!("no mark") };
        assert_eq!(mark.victim, Task { tid: Some(42), oom_score_adj: Some(-1000), ..Task::default() });
        assert_eq!(mark.mm, Mm::default());
        assert_eq!(mark.reclaim, None);
    }

    /// Guards whose a task is: of the command's own, another one's, or not known, whatever else is known of it.
    #[test]
    fn whose_a_task_is_stands_beside_what_is_known() {
        let told = |whose: u32| {
            let mut raw = TaskFacts::new_zeroed();
            raw.present = task::PID | whose << task::WHOSE;
            let told = task(&raw);
            assert_eq!((told.pid, told.live), (Some(0), None));
            told.of_run
        };
        assert_eq!([whose::UNKNOWN, whose::OWN, whose::BYSTANDER].map(told), [None, Some(true), Some(false)]);
        assert_eq!(told(whose::MASK), None, "it cannot be both");
        assert_eq!(of_run(u32::MAX << 2), None, "other bits are others'");
    }

    /// Guards the nodes that a request was confined to: each bit is one, and what was not read, or has none, is not known.
    #[test]
    fn allowed_nodes_are_counted_by_bits() {
        let mut raw = abi::Allowed::new_zeroed();
        raw.header.kind = RecordKind::Allowed as u16;
        (raw.present, raw.words) = (1, 2);
        (raw.nodes[0], raw.nodes[1], raw.nodes[2]) = (1 << 63 | 0b10, 1, 1);
        let told = |raw: &abi::Allowed| {
            let Ok(Record::Allowed(_, allowed)) = decode(raw.as_bytes()) else { panic!("no nodes") };
            allowed.nodes
        };
        assert_eq!(told(&raw), Some(vec![1, 63, 64]));
        assert_eq!(told(&abi::Allowed { present: 0, ..raw }), None);
        assert_eq!(told(&abi::Allowed { words: 17, ..raw }), None);
        assert_eq!(told(&abi::Allowed { nodes: [0; 16], ..raw }), None);
    }

    /// Guards kin: ids that cannot be, or are another's, are none; nobody is above the idle task, nor above one unread.
    #[test]
    fn kin_is_told_as_far_as_it_was_read() {
        let mut raw = abi::Kin::new_zeroed();
        raw.header.kind = RecordKind::Kin as u16;
        (raw.present, raw.pid, raw.pid_in_initial, raw.ns_pid) = (kin::INITIAL | kin::NS_PID, 42, 42, 7);
        let told = |raw: &abi::Kin| {
            let Ok(Record::Kin(_, kin)) = decode(raw.as_bytes()) else { panic!("no kin") };
            let ancestors = kin.ancestors.map(|all| all.iter().map(|one| one.pid).collect::<Vec<_>>());
            (kin.ns_pid, ancestors)
        };
        assert_eq!(told(&raw), (Some(7), None));
        for (ancestor, pid) in raw.ancestors.iter_mut().zip([9, 1, 0, 5]) {
            (ancestor.present, ancestor.pid) = (kin::PID, pid);
        }
        assert_eq!(told(&raw), (Some(7), Some(vec![9, 1])));
        raw.ancestors[1].present = 0;
        assert_eq!(told(&raw).1, Some(vec![9]));
        raw.ancestors[0].pid = 0;
        assert_eq!(told(&raw).1, Some(Vec::new()), "a child of the kernel's");
        for wrong in [
            abi::Kin { present: kin::INITIAL, ..raw },
            abi::Kin { pid_in_initial: 41, ..raw },
            abi::Kin { ns_pid: 0, ..raw },
            abi::Kin { ns_pid: u32::MAX, ..raw },
        ] {
            assert_eq!(told(&wrong).0, None);
        }
    }

    /// Guards limits: "max" is no limit, an unread limit is no limit either and told apart, v1 and v2 share memory.
    #[test]
    fn limits_are_told_from_their_absence() {
        let mut raw = abi::Level::new_zeroed();
        raw.header.kind = RecordKind::Level as u16;
        raw.present = level::ID | level::LIMIT | level::MEMSW_LIMIT | level::MEMSW_USAGE | level::USAGE;
        raw.hierarchy = 4;
        raw.limit_pages = i64::MAX.cast_unsigned() / 4096;
        raw.memsw_limit_pages = 10;
        raw.memsw_usage_pages = -3;
        raw.name_len = 4;
        raw.name[..4].copy_from_slice(b"app\0");
        let Ok(Record::Level(_, level)) = decode(raw.as_bytes()) else { panic!("no level") };
        assert_eq!(level.limit, Some(Ceiling::Unlimited));
        assert_eq!(level.swap_limit, Some(Ceiling::Pages(10)));
        assert_eq!(level.swap_usage_pages, Some(0));
        assert_eq!(level.link.name.as_deref(), Some("app"));
        assert!(!level.link.root, "the parent was not read");
        raw.hierarchy = 0;
        let Ok(Record::Level(_, level)) = decode(raw.as_bytes()) else { panic!("no level") };
        assert_eq!(level.swap_limit, None, "v2 has another counter");
    }
}
