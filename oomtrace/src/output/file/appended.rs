//! A file that lines are added to, and never half of one.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

/// Command lines may be in it: others than its owner and group do not read it.
const MODE: u32 = 0o640;

/// See the module.
pub struct Appended {
    file: File,
    bytes: u64,
    /// Which file it is: device and inode.
    identity: (u64, u64),
}

impl Appended {
    /// Opens a file, or makes it, and ends the line that a crash cut.
    pub fn open(path: &Path) -> io::Result<Self> {
        // What is no file must not make us wait.
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(MODE).custom_flags(libc::O_NONBLOCK);
        let mut file = options.open(path)?;
        let data = file.metadata()?;
        if !data.is_file() {
            return Err(io::Error::other("it is something else than a file"));
        }
        let mut appended =
            Self { bytes: data.len(), identity: (data.dev(), data.ino()), file: file.try_clone()? };
        if data.len() > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                appended.append(b"\n")?;
            }
        }
        Ok(appended)
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the path still names this file, and nobody else changed its size: one that was cut (`copytruncate`) has to be
    /// looked at anew.
    pub fn is_still(&self, path: &Path) -> bool {
        path.metadata()
            .is_ok_and(|data| (data.dev(), data.ino()) == self.identity && data.len() == self.bytes)
    }

    /// Adds whole lines, or nothing. After an error it is to be opened anew.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        match self.file.write_all(lines) {
            Ok(()) => {
                self.bytes = self.bytes.saturating_add(lines.len() as u64);
                Ok(())
            }
            Err(error) => {
                // A part may be there. If it cannot be taken back, it is ended when the file is opened again.
                let _ = self.file.set_len(self.bytes);
                Err(error)
            }
        }
    }
}
