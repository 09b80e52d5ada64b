//! What the kernel keeps free for itself, if nobody tells it how much.

/// `calculate_min_free_kbytes()` (mm/page_alloc.c): the square root of 16 times the memory, in KiB, between 128 and 262,144.
pub fn by_default(memory_bytes: u64) -> u64 {
    let kbytes = (memory_bytes >> 10).saturating_mul(16).isqrt();
    kbytes.clamp(128, 262_144) << 10
}

/// The most that it keeps without being told: khugepaged asks for some huge pages of each zone, but for no more than a twentieth
/// of memory (`set_recommended_min_free_kbytes()`, mm/khugepaged.c: 11 blocks a zone, of which a node has three).
pub fn most_by_default(memory_bytes: u64) -> u64 {
    const HUGE_PAGE: u64 = 2 << 20;
    // With larger pages a block is so large that the bound is reached.
    if crate::host::page_bytes() > 4096 {
        return by_default(memory_bytes).max(memory_bytes / 20);
    }
    // Machines with several nodes have much memory: there it is more, and still below one percent.
    by_default(memory_bytes).max((memory_bytes / 20).min(3 * 11 * HUGE_PAGE + HUGE_PAGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the kernel's formulas against what machines show: 16 GiB, a small guest, and one of 1 GiB with huge pages.
    #[test]
    fn the_kernels_own_choice() {
        assert_eq!(by_default(16 << 30) >> 10, 16_384);
        assert_eq!(by_default(1 << 20) >> 10, 128);
        assert_eq!(by_default(1 << 50) >> 10, 262_144);
        assert!(most_by_default(16 << 30) >> 10 >= 67_584);
        assert!(most_by_default(1 << 30) >> 10 >= 51_000);
        assert_eq!(by_default(u64::MAX) >> 10, 262_144);
    }
}
