//! A setting of the kernel's that is changed for a while.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const SETTINGS: &str = "/proc/sys";

/// Such a setting. Dropping it sets it back.
#[derive(Debug)]
pub struct Setting {
    file: PathBuf,
    before: String,
    /// Whether it is not what it was.
    changed: Cell<bool>,
}

impl Setting {
    /// Looks at a file of /proc/sys.
    pub fn keep(name: &str) -> Result<Self> {
        let file = Path::new(SETTINGS).join(name);
        let before = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Self { file, before: before.trim().to_owned(), changed: Cell::new(false) })
    }

    /// Changes it.
    pub fn set(&self, value: u64) -> Result<()> {
        self.set_by(&self.file, value)
    }

    /// Changes it through another file of /proc/sys: what that says takes its place.
    pub fn set_by(&self, file: &Path, value: u64) -> Result<()> {
        self.changed.set(true);
        let file = Path::new(SETTINGS).join(file);
        fs::write(&file, value.to_string())
            .with_context(|| format!("cannot write {value} to {}", file.display()))
    }

    /// Sets it back, if it was changed.
    pub fn restore(&self) -> Result<()> {
        if self.changed.get() {
            fs::write(&self.file, &self.before)
                .with_context(|| format!("cannot write {} to {}", self.before, self.file.display()))?;
            self.changed.set(false);
        }
        Ok(())
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        if let Err(error) = self.restore() {
            eprintln!("{error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards machines that others live on: what was not changed is not written, and what was is set back, at the
    /// latest at the end.
    #[test]
    fn only_what_was_changed_is_set_back() {
        let file = std::env::temp_dir().join(format!("oomtrace-{}-setting", std::process::id()));
        fs::write(&file, "7\n").unwrap();
        let read = || fs::read_to_string(&file).unwrap();
        // An absolute path takes the place of the one that it is added to.
        let setting = || Setting::keep(file.to_str().unwrap()).unwrap();
        drop(setting());
        assert_eq!(read(), "7\n");
        let changed = setting();
        changed.set(9).unwrap();
        assert_eq!(read(), "9");
        drop(changed);
        assert_eq!(read(), "7");
        fs::remove_file(&file).unwrap();
    }
}
