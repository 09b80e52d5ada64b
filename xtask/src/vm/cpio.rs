//! Writes the archive format that the kernel unpacks as its first root (cpio "newc";
//! Documentation/driver-api/early-userspace/buffer-format.rst).

use std::io::{self, Write};

/// The bits of a mode that say what kind of file it is.
pub const DIRECTORY: u32 = 0o040_000;
/// A regular file.
pub const REGULAR: u32 = 0o100_000;
/// A symbolic link, whose target is its content.
pub const SYMLINK: u32 = 0o120_000;
/// A character device.
pub const CHARACTER: u32 = 0o020_000;

/// An archive that is being written.
pub struct Writer<W> {
    to: W,
    entries: u32,
}

impl<W: Write> Writer<W> {
    /// Starts an archive.
    pub fn new(to: W) -> Self {
        Self { to, entries: 0 }
    }

    /// Adds a file of any kind but a device, owned by root; the name has no leading slash.
    pub fn add(&mut self, name: &[u8], mode: u32, content: &[u8]) -> io::Result<()> {
        self.entry(name, mode, (0, 0), content)
    }

    /// Adds a character device with this major and minor number.
    pub fn add_device(&mut self, name: &[u8], mode: u32, number: (u32, u32)) -> io::Result<()> {
        self.entry(name, CHARACTER | mode, number, &[])
    }

    /// Ends the archive.
    pub fn finish(mut self) -> io::Result<W> {
        self.entry(b"TRAILER!!!", 0, (0, 0), &[])?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn entry(&mut self, name: &[u8], mode: u32, device: (u32, u32), content: &[u8]) -> io::Result<()> {
        let too_large = |_| io::Error::new(io::ErrorKind::FileTooLarge, "too large for an initramfs");
        let size = u32::try_from(content.len()).map_err(too_large)?;
        let name_size = u32::try_from(name.len() + 1).map_err(too_large)?;
        self.entries += 1;
        // inode, mode, uid, gid, links, mtime, size, device (2), device that it is (2), name's size, checksum
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0];
        self.to.write_all(b"070701")?;
        for field in fields {
            write!(self.to, "{field:08x}")?;
        }
        self.to.write_all(name)?;
        self.to.write_all(b"\0")?;
        self.pad(6 + 13 * 8 + name.len() + 1)?;
        self.to.write_all(content)?;
        self.pad(content.len())
    }

    /// Fills up to the next multiple of four bytes.
    fn pad(&mut self, written: usize) -> io::Result<()> {
        let zeros = [0; 3];
        self.to.write_all(zeros.get(..written.wrapping_neg() % 4).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// Guards the layout byte by byte, for the kernel skips an archive that is off by one without a word.
    #[test]
    fn layout() {
        let mut writer = Writer::new(Vec::new());
        writer.add(b"ab", REGULAR | 0o755, b"12345").unwrap();
        writer.add_device(b"c", 0o600, (5, 1)).unwrap();
        let bytes = writer.finish().unwrap();
        let fields = |fields: [&str; 13]| format!("070701{}", fields.concat());
        let zero = "00000000";
        let one = "00000001";
        let file =
            [one, "000081ed", zero, zero, one, zero, "00000005", zero, zero, zero, zero, "00000003", zero];
        let device = [
            "00000002", "00002180", zero, zero, one, zero, zero, zero, zero, "00000005", one, "00000002",
            zero,
        ];
        // Headers and names together, and contents, are filled up to a multiple of four.
        let expected = format!("{}ab\0\0\0\x0012345\0\0\0{}c\0", fields(file), fields(device));
        assert_eq!(bytes[..expected.len()], *expected.as_bytes());
        assert!(bytes[expected.len()..].starts_with(b"070701") && bytes.len() % 4 == 0);
        assert!(bytes.windows(11).any(|window| window == b"TRAILER!!!\0"));
    }

    /// Guards against our own misreading of the format: another implementation lists the archive.
    #[test]
    fn busybox_reads_it() {
        if Command::new("busybox").arg("true").status().is_err() {
            eprintln!("skipped: no busybox here");
            return;
        }
        let mut writer = Writer::new(Vec::new());
        writer.add(b"dir", DIRECTORY | 0o755, b"").unwrap();
        writer.add(b"dir/link", SYMLINK | 0o777, b"target").unwrap();
        writer.add_device(b"console", 0o600, (5, 1)).unwrap();
        let bytes = writer.finish().unwrap();
        let mut child = Command::new("busybox")
            .args(["cpio", "-tv"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        let text = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        for part in ["drwxr-xr-x", "dir/link -> target", "crw-------"] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
    }
}
