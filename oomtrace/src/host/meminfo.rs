//! Swap space, from `/proc/meminfo`, for incidents as they are reported.

use std::{fs, path::PathBuf};

use super::meminfo_bytes;
use crate::incident::{HOST_MEMORY, Incident};

/// Fills in what no record has.
pub struct Swap {
    proc: PathBuf,
}

impl Swap {
    /// From the files below `proc` (`/proc`).
    #[must_use]
    pub fn new(proc: PathBuf) -> Self {
        Self { proc }
    }

    /// Of this machine.
    #[must_use]
    pub fn here() -> Self {
        Self::new("/proc".into())
    }

    /// Adds to an incident how much swap space there is now, right after it.
    pub fn add(&self, incident: &mut Incident) {
        let Some(memory) = &mut incident.host_memory else { return };
        let text = fs::read_to_string(self.proc.join("meminfo"));
        for (field, key, value) in [
            ("swap_total_bytes", "SwapTotal", &mut memory.swap_total_bytes),
            ("swap_free_after_bytes", "SwapFree", &mut memory.swap_free_after_bytes),
        ] {
            let path = format!("{HOST_MEMORY}.{field}");
            match &text {
                Ok(text) => *value = meminfo_bytes(text, key),
                Err(error) => {
                    incident.missing.insert(path, format!("/proc/meminfo cannot be read: {error}"));
                    continue;
                }
            }
            if value.is_some() {
                incident.missing.remove(&path);
            } else {
                incident.missing.insert(path, format!("/proc/meminfo has no {key}"));
            }
        }
    }
}
