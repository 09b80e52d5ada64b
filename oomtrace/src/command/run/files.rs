//! The files that reports are written to: found out to be writable before anything runs.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// A file that is to be written.
pub struct Target {
    path: PathBuf,
    /// `None`: standard output.
    file: Option<File>,
    /// Whether it was made for this: then it does not outlive a run that comes to nothing.
    new: bool,
    written: bool,
}

impl Target {
    /// Opens it, and changes nothing in it yet. `-` is standard output.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self { path: path.to_owned(), file: None, new: false, written: false });
        }
        let new = !path.exists();
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file =
            file.with_context(|| format!("{} cannot be written to, so nothing was run", path.display()))?;
        Ok(Self { path: path.to_owned(), file: Some(file), new, written: false })
    }

    /// Writes it, in place of what was in it.
    pub fn write(mut self, text: &str) -> anyhow::Result<()> {
        let written = match &mut self.file {
            Some(file) => replace(file, text),
            // Whoever read it has seen enough.
            None => match io::stdout().write_all(text.as_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                other => other,
            },
        };
        self.written = written.is_ok();
        written.with_context(|| format!("The report cannot be written to {}", self.path.display()))
    }
}

fn replace(file: &mut File, text: &str) -> io::Result<()> {
    // A pipe or a terminal has no length.
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(text.as_bytes())?;
    file.flush()
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.new && !self.written {
            // It has nothing in it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards reports that are there from before: they stay until there is a new one, and are replaced whole.
    #[test]
    fn nothing_is_lost_before_there_is_something_new() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        drop(Target::open(&path).unwrap());
        assert!(!path.exists(), "a run that came to nothing leaves no file behind");
        std::fs::write(&path, "the long one from before").unwrap();
        drop(Target::open(&path).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "the long one from before");
        Target::open(&path).unwrap().write("new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        let error = Target::open(&folder.path().join("nowhere/report.json")).err().unwrap();
        assert!(format!("{error:#}").contains("so nothing was run"), "{error:#}");
    }
}
