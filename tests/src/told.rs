//! What the oomtraces of a scenario have told live, whichever part of it ran them.

use std::mem::take;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::incident::object;

/// Lines of one oomtrace's JSON output, for each that has ended since they were last taken. Copies share them.
#[derive(Debug, Clone, Default)]
pub struct Told(Arc<Mutex<Vec<Vec<Value>>>>);

impl Told {
    /// Whether what an oomtrace with these options says is to be held to: it writes JSON, tells of kills, and has the kernel's own
    /// types.
    #[must_use]
    pub fn is_owed(options: &[&str]) -> bool {
        let forks_alone = options.windows(2).any(|pair| pair == ["--kind", "fork"]);
        options.contains(&"--json") && !options.contains(&"--btf") && !forks_alone
    }

    /// Adds what one has said. Lines that are no objects are a failure elsewhere.
    pub fn add(&self, lines: &[Vec<u8>]) {
        let objects = lines.iter().filter_map(|line| object(line).ok()).collect();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(objects);
    }

    /// Takes what there is.
    #[must_use]
    pub fn take(&self) -> Vec<Vec<Value>> {
        take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that what a copy has heard is not lost to the others, and that it is taken once.
    #[test]
    fn copies_share_what_was_told() {
        let told = Told::default();
        told.clone().add(&[b"{\"type\":\"oom\"}".to_vec(), b"no object".to_vec()]);
        assert_eq!(told.take(), [[serde_json::json!({"type": "oom"})]]);
        assert!(told.take().is_empty());
    }

    /// Guards which traces are held to the kernel's log: not those for people, nor with types that are not this kernel's.
    #[test]
    fn traces_by_other_types_are_not_held_to() {
        assert!(Told::is_owed(&["--json", "--no-kmsg"]));
        assert!(Told::is_owed(&["--json", "--kind", "oom"]) && !Told::is_owed(&["--json", "--kind", "fork"]));
        assert!(!Told::is_owed(&["-o", "human"]) && !Told::is_owed(&["--json", "--btf", "/x"]));
    }
}
