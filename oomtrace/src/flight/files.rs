//! Small files of /proc and of cgroups, read without allocating.

use std::{
    ffi::CStr,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, RawDir, openat},
    io::Errno,
};

/// Longer ones are read in part: all that is looked for stands in front of that.
pub type Text = [u8; 4096];

/// A folder, kept open.
#[derive(Debug)]
pub struct Folder(OwnedFd);

impl Folder {
    /// Opens it.
    pub fn open(path: &Path) -> Result<Self, Errno> {
        Self::within(CWD, path)
    }

    fn within(folder: BorrowedFd<'_>, path: impl rustix::path::Arg) -> Result<Self, Errno> {
        // A name that somebody else made may have been made a link meanwhile.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(folder, path, flags, Mode::empty()).map(Self)
    }

    /// One that is in it.
    pub fn folder(&self, path: impl rustix::path::Arg) -> Result<Self, Errno> {
        Self::within(self.0.as_fd(), path)
    }

    /// The beginning of a file in it.
    pub fn read<'a>(&self, path: impl rustix::path::Arg, into: &'a mut Text) -> Result<&'a [u8], Errno> {
        let file = openat(&self.0, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let length = rustix::io::read(&file, &mut into[..])?;
        Ok(into.get(..length).unwrap_or_default())
    }

    /// The beginning of a file in it that the kernel tells in several pieces, as it does above a page (`seq_read_iter()`, fs/seq_file.c).
    pub fn read_whole<'a>(
        &self,
        path: impl rustix::path::Arg,
        into: &'a mut [u8],
    ) -> Result<&'a [u8], Errno> {
        let file = openat(&self.0, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut length = 0;
        while let Some(room) = into.get_mut(length..).filter(|room| !room.is_empty()) {
            match rustix::io::read(&file, room)? {
                0 => break,
                more => length += more,
            }
        }
        Ok(into.get(..length).unwrap_or_default())
    }

    /// Inode number of a folder in it, and whether that may have folders of its own: each counts as a link of the folder that it is
    /// in (`kernfs_refresh_inode()`, fs/kernfs/inode.c), but not on every file system, where there is 1.
    pub fn links(&self, path: impl rustix::path::Arg) -> Result<(u64, bool), Errno> {
        let stat = rustix::fs::statat(&self.0, path, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
        Ok((stat.st_ino, stat.st_nlink != 2))
    }

    /// Calls `each` with the inode number and the name of everything in it, until that wants no more.
    pub fn list(&self, mut each: impl FnMut(u64, &CStr, bool) -> bool) -> Result<(), Errno> {
        // Anew, since its place in the list belongs to who opened it.
        let again = self.folder(".")?;
        let mut room = [MaybeUninit::uninit(); 8192];
        let mut entries = RawDir::new(&again.0, &mut room);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let folder = entry.file_type() == rustix::fs::FileType::Directory;
            if !each(entry.ino(), entry.file_name(), folder) {
                break;
            }
        }
        Ok(())
    }
}

/// A decimal number at the beginning of a text, behind any blanks.
pub fn number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii_start();
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let digits = str::from_utf8(text.get(..digits)?).ok()?;
    digits.parse().ok()
}

/// The `nth` of the words of a text, as a number.
pub fn nth_number(text: &[u8], nth: usize) -> Option<u64> {
    number(text.split(u8::is_ascii_whitespace).nth(nth)?)
}

/// The number of kB that stands behind `name` and a colon, in bytes.
pub fn kilobytes(text: &[u8], name: &str) -> Option<u64> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let rest = lines.find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))?;
    number(rest)?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards numbers: none is made of what is none, too large, or another's.
    #[test]
    fn numbers_are_numbers() {
        assert_eq!(number(b" \t12 kB"), Some(12));
        assert_eq!((number(b""), number(b"-1"), number(b"99999999999999999999")), (None, None, None));
        assert_eq!((nth_number(b"7 42 9\n", 1), nth_number(b"7", 1)), (Some(42), None));
        let text = b"ShmemHugePages: 1 kB\nShmem:   2 kB\nBig: 18446744073709551615 kB\n";
        assert_eq!((kilobytes(text, "Shmem"), kilobytes(text, "Big")), (Some(2048), None));
    }
}
