//! What waits to be written: little as long as writing works, and as much as there is room for while it does not.

use std::collections::VecDeque;

use super::entry::Entry;
use crate::output::LineKind;

/// What is held, at the most, bytes: some hundred incidents.
pub(super) const MOST_BYTES: usize = 1 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Held {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Held {
    /// Takes one more, and says how many had to go for it: the oldest of those that are no kills, else the oldest.
    pub fn push(&mut self, entry: Entry) -> u64 {
        self.bytes = self.bytes.saturating_add(entry.bytes());
        self.entries.push_back(entry);
        let mut gone = 0;
        // The newest stays, however large it is.
        while self.bytes > MOST_BYTES && self.entries.len() > 1 {
            let older = self.entries.len() - 1;
            let minor = self
                .entries
                .iter()
                .take(older)
                .position(|entry| !matches!(entry.witness.kind, LineKind::Oom | LineKind::UserspaceKill));
            if let Some(entry) = self.entries.remove(minor.unwrap_or(0)) {
                self.bytes = self.bytes.saturating_sub(entry.bytes());
                gone += 1;
            }
        }
        gone
    }

    /// In the order in which they came.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// They are written.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    pub fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
