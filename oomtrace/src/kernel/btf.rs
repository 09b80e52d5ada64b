//! Reads BTF, the kernel's own description of its types, and answers where a field is, what a constant
//! is worth, and what a function takes.
//!
//! rustc emits no BTF relocations for eBPF, so every offset that the eBPF half uses is looked up here, in
//! the running kernel, before anything is loaded; a field that is not there is an error in words
//! ([`Missing`]), never offset 0. Nothing is decided by kernel version.
//!
//! The reader keeps the file's bytes and an index of 4 bytes a type for where each is and 4 for its name,
//! and gives all of it back when dropped. It is safe on any input: sizes and references are checked, and
//! each lookup has a budget of steps, so that types which contain each other end in an error.
//!
//! The format is described in the kernel's Documentation/bpf/btf.rst and include/uapi/linux/btf.h.

mod error;
mod excerpt;
mod held;
mod index;
mod lookup;
mod member;
mod raw;
mod shape;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;
use std::path::Path;

pub use error::{BtfError, Missing};
pub use excerpt::{Excerpt, excerpt};
pub use lookup::Type;
pub use member::{BitField, Member};
pub use shape::{Parameter, Prototype, TypeShape};

/// Where a kernel with `CONFIG_DEBUG_INFO_BTF` (5.4 and later) shows the BTF of its built-in code.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// The most that is read of a file, in bytes. Distributions' kernels have 4 to 10 MB of BTF.
const LIMIT: u64 = 128 << 20;

/// The types of one kernel, ready to be asked.
#[derive(Debug)]
pub struct Btf {
    bytes: Vec<u8>,
    strings: std::ops::Range<usize>,
    index: index::Index,
}

impl Btf {
    /// Takes the running kernel's own for [`VMLINUX`], and reads the whole file for any other.
    pub fn of(path: &Path) -> Result<Self, BtfError> {
        let held = (path == Path::new(VMLINUX)).then(held::vmlinux).flatten();
        held.and_then(|bytes| Self::parse(bytes).ok()).map_or_else(|| Self::read(path), Ok)
    }

    /// Reads a whole BTF file.
    ///
    /// The error names the file and says why it cannot be used.
    pub fn read(path: &Path) -> Result<Self, BtfError> {
        let failed = |reason| BtfError::Unreadable { path: path.to_owned(), reason };
        if crate::host::is_pipe(path) {
            return Err(failed(std::io::Error::other("it is a pipe and not a file")));
        }
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len().min(LIMIT);
        // One byte more than there is, so that the end of the file is seen without growing the buffer.
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0).saturating_add(1));
        file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
        Self::parse(bytes)
            .map_err(|reason| BtfError::File { path: path.to_owned(), reason: Box::new(reason) })
    }

    /// Takes BTF that is already in memory, and refuses what is not BTF of this machine's byte order, is cut
    /// short, or has types of a kind whose length is unknown.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        if bytes.len() as u64 > LIMIT {
            return Err(BtfError::TooLarge { limit: LIMIT });
        }
        let header = raw::Header::parse(&bytes)?;
        let index = index::Index::build(&bytes, &header)?;
        Ok(Self { strings: header.strings, index, bytes })
    }

    /// How many types there are, not counting `void`, which has the id 0.
    #[must_use]
    pub fn type_count(&self) -> u32 {
        self.index.len()
    }
}
