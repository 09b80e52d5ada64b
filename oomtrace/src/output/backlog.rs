//! Lines that wait for an output that cannot take them just now: so many bytes, and no more.
//!
//! What comes first stays: it is how a trouble began. What finds no room is its owner's to count.

use std::collections::VecDeque;

/// What a line costs beside its bytes.
const OVERHEAD: usize = size_of::<Vec<u8>>();

/// See the module.
#[derive(Debug)]
pub(super) struct Backlog {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    most_bytes: usize,
}

impl Backlog {
    /// Of so many bytes at the most.
    pub fn new(most_bytes: usize) -> Self {
        Self { lines: VecDeque::new(), bytes: 0, most_bytes }
    }

    /// Adds a line. `false`: there is no room.
    pub fn push(&mut self, mut line: Vec<u8>) -> bool {
        line.shrink_to_fit();
        let bytes = self.bytes.saturating_add(line.len()).saturating_add(OVERHEAD);
        if bytes > self.most_bytes {
            return false;
        }
        self.bytes = bytes;
        self.lines.push_back(line);
        true
    }

    /// The lines, the first first.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().map(Vec::as_slice)
    }

    /// Takes the first line away.
    pub fn pop(&mut self) -> Option<Vec<u8>> {
        let line = self.lines.pop_front()?;
        self.bytes = self.bytes.saturating_sub(line.len().saturating_add(OVERHEAD));
        if self.lines.is_empty() {
            // What a trouble took is given back.
            self.lines = VecDeque::new();
        }
        Some(line)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the bound of memory, and that room comes back with each line that goes.
    #[test]
    fn it_holds_so_many_bytes() {
        let mut backlog = Backlog::new(3 * (10 + OVERHEAD));
        assert!((0..3).all(|line| backlog.push(vec![line; 10])));
        assert!(!backlog.push(vec![3; 1]), "there is no room");
        assert_eq!(backlog.pop(), Some(vec![0; 10]), "what came first goes first");
        assert!(backlog.push(vec![4; 10]));
        assert_eq!(backlog.lines().map(|line| line[0]).collect::<Vec<_>>(), [1, 2, 4]);
        while backlog.pop().is_some() {}
        assert!(backlog.is_empty() && backlog.bytes == 0);
    }
}
