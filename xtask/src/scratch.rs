//! Temporary folders, which go when they are dropped, or a day later if we were killed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

const PREFIX: &str = ".scratch-";
/// Nothing that we do takes this long.
const ABANDONED: Duration = Duration::from_hours(24);

/// A new folder inside the given one, which is created if need be.
pub fn folder_in(parent: &Path) -> Result<TempDir> {
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    sweep(parent);
    tempfile::Builder::new()
        .prefix(PREFIX)
        .tempdir_in(parent)
        .with_context(|| format!("cannot create a temporary folder in {}", parent.display()))
}

fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|time| time.elapsed().ok());
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && age.is_some_and(|age| age > ABANDONED) {
            // If it cannot be removed now, it can be later.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::time::SystemTime;

    /// Guards that only our own abandoned folders are swept away.
    #[test]
    fn sweeps_what_was_abandoned() {
        let parent = tempfile::tempdir().unwrap();
        for name in [".scratch-old", ".scratch-new", "other-old"] {
            let dir = parent.path().join(name);
            fs::create_dir(&dir).unwrap();
            if name.ends_with("old") {
                let before = SystemTime::now() - 2 * ABANDONED;
                File::open(&dir).unwrap().set_modified(before).unwrap();
            }
        }
        let folder = folder_in(parent.path()).unwrap();
        assert!(folder.path().is_dir());
        let left = |name| parent.path().join(name).exists();
        assert!(!left(".scratch-old") && left(".scratch-new") && left("other-old"));
    }
}
