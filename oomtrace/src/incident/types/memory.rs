//! What there was of memory, and what it was used for.

use schemars::JsonSchema;
use serde::Serialize;

/// A zone of a node's memory (`struct zone`) at the decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Zone {
    /// The node that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<u32>,
    /// `DMA`, `DMA32`, `Normal`, `Movable`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Free memory (`NR_FREE_PAGES`). It lacks what each CPU holds back of the count, at most 125 pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// The watermark below which only few requests are served, and reclaim is waited for; with its boost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_bytes: Option<u64>,
    /// The watermark below which kswapd begins to reclaim; with its boost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low_bytes: Option<u64>,
    /// The watermark at which it ends; with its boost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_bytes: Option<u64>,
    /// What is in these three for a while, so that kswapd undoes fragmentation (`watermark_boost`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boost_bytes: Option<u64>,
    /// Memory that the page allocator manages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_bytes: Option<u64>,
    /// Memory that is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub present_bytes: Option<u64>,
    /// What this request must leave beyond the watermark, since a higher zone could serve it (`lowmem_reserve`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lowmem_reserve_bytes: Option<u64>,
    /// Free blocks of 2^order pages, by order from 0. Pages that CPUs keep ready are in none of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_by_order: Option<Vec<u64>>,
}

/// What memory was used for at the decision: sums over `nodes`. Each CPU holds back a part of each node's count, at most
/// 125 pages, which is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HostMemory {
    /// The nodes that are summed up: those of `zones`.
    pub nodes: Vec<u32>,
    /// All memory of the machine (`MemTotal`), when tracing began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_total_bytes: Option<u64>,
    /// Anonymous memory and tmpfs, not used of late (`NR_INACTIVE_ANON`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inactive_anon_bytes: Option<u64>,
    /// The same, used of late (`NR_ACTIVE_ANON`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_anon_bytes: Option<u64>,
    /// Memory of files, not used of late (`NR_INACTIVE_FILE`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inactive_file_bytes: Option<u64>,
    /// The same, used of late (`NR_ACTIVE_FILE`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_file_bytes: Option<u64>,
    /// Locked memory and the like (`NR_UNEVICTABLE`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unevictable_bytes: Option<u64>,
    /// The kernel's own that it can shrink (`NR_SLAB_RECLAIMABLE_B`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slab_reclaimable_bytes: Option<u64>,
    /// The kernel's own that it cannot (`NR_SLAB_UNRECLAIMABLE_B`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slab_unreclaimable_bytes: Option<u64>,
    /// Anonymous memory that is mapped (`NR_ANON_MAPPED`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anon_mapped_bytes: Option<u64>,
    /// Memory of files that is mapped (`NR_FILE_MAPPED`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_mapped_bytes: Option<u64>,
    /// tmpfs and shared memory (`NR_SHMEM`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shmem_bytes: Option<u64>,
    /// To be written (`NR_FILE_DIRTY`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dirty_bytes: Option<u64>,
    /// Being written (`NR_WRITEBACK`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writeback_bytes: Option<u64>,
    /// Stacks of threads in the kernel (`NR_KERNEL_STACK_KB`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_stack_bytes: Option<u64>,
    /// Page tables (`NR_PAGETABLE`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pagetables_bytes: Option<u64>,
    /// Swap space (`SwapTotal`), read some milliseconds after the kill, or by the kernel log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_total_bytes: Option<u64>,
    /// What of it was free at the decision, by the kernel log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_free_bytes: Option<u64>,
    /// What of it was free after the kill (`SwapFree`): some of the victim's may be back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_free_after_bytes: Option<u64>,
}
