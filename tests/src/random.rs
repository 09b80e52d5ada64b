//! Numbers without a pattern.

/// The same for the same seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Begins with a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }

    /// One of these; None if there are none.
    pub fn one<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        usize::try_from(self.below(of.len() as u64)).ok().and_then(|nth| of.get(nth).copied())
    }

    /// True so often of four times.
    pub fn quarters(&mut self, so_many: u64) -> bool {
        self.below(4) < so_many
    }
}
