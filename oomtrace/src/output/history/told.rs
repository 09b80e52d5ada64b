//! What was told just now, and may not be written yet.

use std::collections::VecDeque;

use jiff::Timestamp;

use super::{entry::Entry, witness::Witness};
use crate::output::Message;

/// What is remembered, at the most.
const REMEMBERED: usize = 4096;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Told(VecDeque<Witness>);

impl Told {
    /// Whether it was not told before; from now on it was.
    pub fn is_new(&mut self, message: &Message) -> bool {
        let Some(entry) = Entry::of(message, Timestamp::now()) else { return true };
        if self.0.iter().any(|told| told.is(&entry.witness)) {
            return false;
        }
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(entry.witness);
        true
    }
}
