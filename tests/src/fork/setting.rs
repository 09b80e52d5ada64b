//! A setting of the kernel's that is changed for a while.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// Such a setting. Dropping it sets it back.
#[derive(Debug)]
pub struct Setting {
    file: PathBuf,
    before: String,
}

impl Setting {
    /// Looks at a file of /proc/sys.
    pub fn keep(name: &str) -> Result<Self> {
        let file = PathBuf::from("/proc/sys").join(name);
        let before = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Self { file, before: before.trim().to_owned() })
    }

    /// Changes it.
    pub fn set(&self, value: u64) -> Result<()> {
        fs::write(&self.file, value.to_string())
            .with_context(|| format!("cannot write {value} to {}", self.file.display()))
    }

    /// Sets it back.
    pub fn restore(&self) -> Result<()> {
        fs::write(&self.file, &self.before)
            .with_context(|| format!("cannot write {} to {}", self.before, self.file.display()))
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        if let Err(error) = self.restore() {
            eprintln!("{error:#}");
        }
    }
}
