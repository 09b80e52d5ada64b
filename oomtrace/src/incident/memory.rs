//! Resident memory from the kernel's counters, and how far it can be off.

use oomtrace_ebpf::{RSS_ANON, RSS_FILE, RSS_SHMEM, RSS_SWAP};

use super::types::{Rss, RssKernel};
use crate::{
    kernel::{layout::RssCounters, text::KernelRss},
    record::Mm,
    session::Session,
};

/// Pages that a thread keeps to itself before it adds them to the process's counters, at most: check_sync_rss_stat()
/// (mm/memory.c, 6.1 and before) hands them in at the first page fault after more than `TASK_RSS_EVENTS_THRESH` (64)
/// were counted, which is after the 66th.
const PAGES_PER_THREAD: u64 = 66;

/// The best figure: exact over per-CPU counters where that was possible, with its bound otherwise.
pub(super) fn best(mm: &Mm, threads: Option<u32>, session: &Session) -> Option<Rss> {
    let (pages, error_pages) = match (mm.rss_sum, session.rss_counters) {
        (Some(sum), _) => (sum, 0),
        (None, Some(RssCounters::PerCpu)) => {
            (mm.rss_count?, per_cpu_bound(session.host.cpus_online).saturating_mul(3))
        }
        (None, _) => (mm.rss_count?, 3 * PAGES_PER_THREAD * u64::from(threads.unwrap_or(1))),
    };
    let part = Parts::new(&pages, session.host.page_bytes);
    Some(Rss {
        anon_bytes: part.anon,
        file_bytes: part.file,
        shmem_bytes: part.shmem,
        total_bytes: part.total(),
        error_bytes: error_pages.saturating_mul(u64::from(session.host.page_bytes)),
    })
}

/// Pages that all CPUs together may hold back of one counter (`percpu_counter_batch`, lib/percpu_counter.c:
/// the larger of 32 and twice the CPUs online).
pub(crate) fn per_cpu_bound(cpus: u32) -> u64 {
    let cpus = u64::from(cpus);
    cpus.saturating_mul(u64::max(32, 2 * cpus) - 1)
}

/// What the kernel itself goes by, or why that is not known.
pub(super) fn as_kernel(mm: &Mm, session: &Session) -> Result<[i64; 4], String> {
    let missing = || "the victim's counters could not be read".to_owned();
    match &session.kernel_rss {
        KernelRss::Count => mm.rss_count.ok_or_else(missing),
        KernelRss::Sum => mm.rss_sum.ok_or_else(|| {
            "this kernel sums its per-CPU counters, and that sum could not be had here".to_owned()
        }),
        KernelRss::Unknown { reason } => match (mm.rss_count, mm.rss_sum) {
            // Both readings agree: it does not matter which one the kernel takes.
            (Some(count), Some(sum)) if count == sum => Ok(sum),
            (None, None) => Err(missing()),
            _ => Err(format!("it is not known whether this kernel sums its per-CPU counters: {reason}")),
        },
    }
}

/// The kernel's own figures in bytes.
pub(super) fn kernel_rss(pages: &[i64; 4], page_bytes: u32) -> RssKernel {
    let part = Parts::new(pages, page_bytes);
    RssKernel {
        anon_bytes: Some(part.anon),
        file_bytes: Some(part.file),
        shmem_bytes: Some(part.shmem),
        total_bytes: part.total(),
    }
}

/// Memory in swap, bytes.
pub(super) fn swap_bytes(mm: &Mm, page_bytes: u32) -> Option<u64> {
    mm.rss_sum.or(mm.rss_count).map(|pages| bytes(pages[RSS_SWAP], page_bytes))
}

struct Parts {
    anon: u64,
    file: u64,
    shmem: u64,
}

impl Parts {
    fn new(pages: &[i64; 4], page_bytes: u32) -> Self {
        Self {
            anon: bytes(pages[RSS_ANON], page_bytes),
            file: bytes(pages[RSS_FILE], page_bytes),
            shmem: bytes(pages[RSS_SHMEM], page_bytes),
        }
    }

    fn total(&self) -> u64 {
        self.anon.saturating_add(self.file).saturating_add(self.shmem)
    }
}

/// A counter may be slightly below 0 while CPUs hold parts of it back; the kernel shows 0 then
/// (get_mm_counter(), percpu_counter_read_positive()).
fn bytes(pages: i64, page_bytes: u32) -> u64 {
    u64::try_from(pages).unwrap_or(0).saturating_mul(u64::from(page_bytes))
}

/// The kernel's badness, pages: `oom_badness()` (mm/oom_kill.c).
pub(crate) fn points(
    pages: &[i64; 4],
    pgtables_bytes: u64,
    oom_score_adj: i32,
    capacity_pages: Option<u64>,
    page_bytes: u32,
) -> Option<i64> {
    let resident = pages.iter().map(|pages| (*pages).max(0)).try_fold(0_i64, i64::checked_add)?;
    let tables = i64::try_from(pgtables_bytes / u64::from(page_bytes)).ok()?;
    let adjustment = match oom_score_adj {
        0 => 0,
        adj => i64::from(adj).checked_mul(i64::try_from(capacity_pages? / 1000).ok()?)?,
    };
    resident.checked_add(tables)?.checked_add(adjustment)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the error bound against the figures of the kernel's formula, 2 to 256 CPUs.
    #[test]
    fn the_bound_follows_the_kernels_batch() {
        let kib = |cpus| per_cpu_bound(cpus) * 4;
        assert_eq!(kib(2), 248);
        assert_eq!(kib(16), 1984);
        assert_eq!(kib(64), 32512);
        assert_eq!(kib(256), 523_264);
    }

    /// Guards the score's arithmetic: the capacity is divided before it is multiplied, as the kernel does it.
    #[test]
    fn points_divide_first() {
        let pages = [10, 1000, 5, 2];
        assert_eq!(points(&pages, 8192, 0, None, 4096), Some(1019));
        assert_eq!(points(&pages, 8192, 800, Some(16_384), 4096), Some(1019 + 800 * 16));
        assert_eq!(points(&pages, 8192, -500, Some(999), 4096), Some(1019));
        assert_eq!(points(&pages, 8192, 1, None, 4096), None);
    }

    /// Guards figures that no memory has: they end at the largest number, and a score beyond it is not known.
    #[test]
    fn impossible_figures_do_not_overflow() {
        let most = [i64::MAX; 4];
        assert_eq!(Parts::new(&most, 4096).total(), u64::MAX);
        assert_eq!(points(&most, 0, 0, None, 4096), None);
        assert_eq!(per_cpu_bound(u32::MAX), u64::MAX);
    }
}
