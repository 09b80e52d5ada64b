//! A file system that never answers: whoever looks something up in it waits, and cannot be killed.
//!
//! Once its server has read a request, FUSE has the asker wait for the answer whatever signal comes
//! (`request_wait_answer`, fs/fuse/dev.c). Dropping it ends the connection, and with it the waiting.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::deadline::Deadline;
use crate::process::wait_readable;

/// Requests (`enum fuse_opcode`, include/uapi/linux/fuse.h).
const LOOKUP: u32 = 1;
const INIT: u32 = 26;
/// The least that a server must be able to read (`FUSE_MIN_READ_BUFFER`).
const BUFFER: usize = 8192 + 128 * 1024;
/// `struct fuse_out_header` and `struct fuse_init_out`, since version 7.23.
const INIT_REPLY: usize = 16 + 64;
/// The version that is spoken.
const VERSION: (u32, u32) = (7, 31);

/// Such a file system, mounted.
#[derive(Debug)]
pub struct Silence {
    folder: PathBuf,
    /// None when the connection has ended.
    server: Option<File>,
}

impl Silence {
    /// Mounts it on `folder`, which is made.
    pub fn mount(folder: &Path) -> Result<Self> {
        let server = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let server = server.context("/dev/fuse cannot be opened: load the module fuse")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
        let options = std::ffi::CString::new(options).context("options hold a NUL")?;
        mount("silence", folder, "fuse", MountFlags::empty(), Some(options.as_c_str()))
            .context("cannot mount a FUSE file system")?;
        Ok(Self { folder: folder.to_owned(), server: Some(server) })
    }

    /// A path that nobody gets to know anything of.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join("nothing")
    }

    /// Opens the connection, and waits until somebody asks for something in it.
    pub fn await_asker(&self, deadline: Deadline) -> Result<()> {
        let mut server = self.server.as_ref().context("the connection has ended")?;
        let mut buffer = vec![0; BUFFER];
        loop {
            wait_readable(server, deadline, "somebody to look something up")?;
            let length = match server.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                length => length.context("cannot read a request")?,
            };
            ensure!(length >= 16, "a request of {length} bytes");
            let word =
                |at: usize| buffer.get(at..at + 4).and_then(|it| it.try_into().ok()).map(u32::from_ne_bytes);
            match word(4) {
                Some(INIT) => server
                    .write_all(&init_reply(buffer.get(8..16).unwrap_or_default()))
                    .context("no reply")?,
                Some(LOOKUP) => return Ok(()),
                _ => {}
            }
        }
    }

    /// Ends the connection: whoever waits gets an error.
    pub fn end(&mut self) {
        self.server = None;
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        self.end();
        if let Err(error) = unmount(&self.folder, UnmountFlags::DETACH) {
            eprintln!("cannot unmount {}: {error}", self.folder.display());
        }
        let _the_rest_is_in_a_throwaway_guest = fs::remove_dir(&self.folder);
    }
}

/// The reply to the first request: the version, and no feature. `unique` names the request.
fn init_reply(unique: &[u8]) -> Vec<u8> {
    let header = [u32::try_from(INIT_REPLY).unwrap_or_default(), 0].map(u32::to_ne_bytes).concat();
    let version = [VERSION.0, VERSION.1].map(u32::to_ne_bytes).concat();
    let mut reply = [header.as_slice(), unique, &version].concat();
    // The greatest write is the eighth word; less than a page is taken as a page.
    reply.resize(INIT_REPLY, 0);
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the reply's form: length, no error, the request's number, the version.
    #[test]
    fn replies_have_their_length() {
        let reply = init_reply(&7u64.to_ne_bytes());
        assert_eq!(reply.len(), INIT_REPLY);
        assert_eq!(reply.get(..4), Some(80u32.to_ne_bytes().as_slice()));
        assert_eq!(reply.get(8..16), Some(7u64.to_ne_bytes().as_slice()));
        assert_eq!(reply.get(16..20), Some(7u32.to_ne_bytes().as_slice()));
    }
}
