//! What can be wrong with BTF as a whole, and why a single lookup in it failed.

use std::path::PathBuf;

/// Why BTF cannot be used at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BtfError {
    /// The file cannot be opened or read.
    #[error("The kernel's type information in {} cannot be read: {reason}.", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// The file was read, and its contents cannot be used.
    #[error("The type information in {} cannot be used. {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with its contents.
        reason: Box<BtfError>,
    },
    /// More than any kernel has.
    #[error("It is larger than {limit} bytes, which no kernel's BTF is.")]
    TooLarge {
        /// The most that is accepted, in bytes.
        limit: u64,
    },
    /// It does not begin as BTF does.
    #[error("It is not BTF: it begins with the bytes {found:02x?} instead of BTF's magic number 0xeb9f.")]
    BadMagic {
        /// The first two bytes, or fewer where there are fewer.
        found: Vec<u8>,
    },
    /// It was made for a machine of the other byte order.
    #[error("It is BTF of a machine with the other byte order; read it on a machine of that kind.")]
    ForeignByteOrder,
    /// A version of the format that did not exist when this was written.
    #[error("It is BTF version {version}, and only version 1 is understood.")]
    UnknownVersion {
        /// The version in the header.
        version: u8,
    },
    /// The header has flags, which may change the meaning of everything after it.
    #[error("Its BTF header has the flags {flags:#x}, whose meaning is unknown.")]
    UnknownFlags {
        /// The flags in the header.
        flags: u8,
    },
    /// It ends before the header, a section or a type does.
    #[error("It is cut short: the {part} ends at byte {end}, past the end at byte {len}.")]
    Truncated {
        /// What is incomplete.
        part: &'static str,
        /// Where it would end, in bytes from the start.
        end: u64,
        /// Where its container ends, in bytes from the start.
        len: u64,
    },
    /// The last type claims more bytes than the type section has.
    #[error("Type {id} needs {needed} bytes and the type section has only {left} left.")]
    TruncatedType {
        /// The type's id.
        id: u32,
        /// The bytes that it claims.
        needed: u64,
        /// The bytes that are there.
        left: u64,
    },
    /// The names do not end, or do not begin with the empty name.
    #[error("Its string section is damaged: it has to {rule}.")]
    BadStrings {
        /// What a string section has to do.
        rule: &'static str,
    },
    /// BTF of a module, which continues that of the kernel proper.
    #[error(
        "It is split BTF, as kernel modules have it: it continues the BTF of the kernel proper and cannot be \
         read alone."
    )]
    Split,
    /// A type's name lies outside the names.
    #[error(
        "The name of type {id} is at {offset}, and there are only {len} bytes of names: the BTF is damaged, \
         or it is a module's and continues another."
    )]
    NameOutOfBounds {
        /// The type's id.
        id: u32,
        /// Where its name would be in the string section, in bytes.
        offset: u32,
        /// The length of the string section in bytes.
        len: usize,
    },
    /// A kind of type that did not exist when this was written, in BTF that does not say how long it is.
    #[error("Type {id} is of kind {kind}, whose length is unknown, so nothing after it can be read.")]
    UnknownKind {
        /// The type's id.
        id: u32,
        /// The number of its kind.
        kind: u8,
    },
}

/// Why one thing was not found in BTF that is otherwise usable, in words for an operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// There is no such type, function or typedef.
    #[error("this kernel has no {what} named {name}")]
    Type {
        /// `struct or union`, `enum`, `enum constant`, `function` or `typedef`.
        what: &'static str,
        /// What was asked for.
        name: String,
    },
    /// The type is there and has no such member.
    #[error("{of} has no member {member}")]
    Member {
        /// The type that was searched, such as `struct mm_struct`.
        of: String,
        /// The member.
        member: String,
    },
    /// The path goes on where there is nothing to go into.
    #[error("{of} is {found}, which does not contain {inner}")]
    NotInside {
        /// The path so far.
        of: String,
        /// What is there.
        found: String,
        /// The rest of the path that was asked for.
        inner: String,
    },
    /// An array is shorter than the index that was asked for.
    #[error("{of} has {len} elements, so there is no element {index}")]
    Index {
        /// The array.
        of: String,
        /// Its length.
        len: u32,
        /// What was asked for.
        index: u32,
    },
    /// The member is there and has no size, as a function has none, or lies where no field can be read.
    #[error("{of} is {found}, which cannot be read as a field")]
    Size {
        /// The member.
        of: String,
        /// What it is.
        found: String,
    },
    /// The member lies where another lies too, or beyond the end: no compiler makes such a struct.
    #[error("{of} overlaps {other}: the types are damaged, or not this kernel's")]
    Overlap {
        /// The member.
        of: String,
        /// What it overlaps.
        other: String,
    },
    /// The enum is there and has no such value.
    #[error("{of} has no value named {value}")]
    Value {
        /// The enum, such as `enum oom_constraint`.
        of: String,
        /// What was asked for.
        value: String,
    },
    /// A typedef that is not a pointer to a function.
    #[error("{name} is {found}, not a function's prototype")]
    NotPrototype {
        /// What was asked for.
        name: String,
        /// What it is.
        found: String,
    },
    /// Several types have this name, and they disagree on what was asked for.
    #[error("this kernel has several types for {what}, and they differ")]
    Ambiguous {
        /// What was asked for.
        what: String,
    },
    /// The question itself is malformed.
    #[error("`{path}` is not a path of members such as `css.cgroup` or `rss_stat[1].count`")]
    Path {
        /// What was asked for.
        path: String,
    },
    /// A type refers to one that does not exist, or types refer to each other without an end.
    #[error("the kernel's type information is damaged: {reason}")]
    Damaged {
        /// What was found.
        reason: String,
    },
}
