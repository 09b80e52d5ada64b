//! How long threads wait while memory is freed for them: what the kernel half counts by itself, and userspace reads in the end.

use crate::histogram::BUCKETS;

/// What waits are counted together: the name of the thread in the first 16 bytes; [`crate::reclaim`] or [`COMPACTION`] in the
/// lower half of the last word, and [`crate::whose`] in the upper.
pub type WaitKey = [u64; 3];
/// The waits of one key: at [`TOTAL_NS`], [`MAX_NS`] and [`RECLAIMED_PAGES`], and from [`FIRST_BUCKET`] on how many are in each
/// bucket of [`crate::histogram`].
pub type Waits = [u64; FIRST_BUCKET + BUCKETS];

/// All of them together.
pub const TOTAL_NS: usize = 0;
/// The longest. Of two that end at the same moment the longer one may be missed.
pub const MAX_NS: usize = 1;
/// Pages that they freed, where the kernel says so.
pub const RECLAIMED_PAGES: usize = 2;
/// The first of the buckets.
pub const FIRST_BUCKET: usize = 3;

/// Beside [`crate::reclaim`]: `compact_zone()`.
pub const COMPACTION: u32 = 3;
/// Above every kind.
pub const KINDS: u32 = 4;
/// In place of a kind: how many were not counted, since their beginning or their end went unseen.
pub const UNSEEN: u32 = crate::reclaim::NONE;

/// Keys that are counted at once, at most: those that have a name, and the rest of each kind and of each [`crate::whose`].
pub const KEYS: u32 = 256;
/// In place of a name: those for whose names there is no room. No name is so, since each has a NUL.
pub const REST: [u64; 2] = [u64::MAX; 2];

/// What names the waits of so many kinds, of these tasks.
#[inline(always)]
#[must_use]
#[expect(clippy::inline_always, reason = "a function of its own would be one more for the verifier")]
pub const fn key(name: [u64; 2], kind: u32, whose: u32) -> WaitKey {
    [name[0], name[1], kind as u64 | (whose as u64) << 32]
}
