//! The bytes: the header, the kinds of type, and one type's record.

use std::ops::Range;

use super::BtfError;

pub(super) const MAGIC: u16 = 0xeb9f;
/// `struct btf_header` up to and including `str_len`, which every BTF has.
pub(super) const HEADER_LEN: u32 = 24;
/// `struct btf_type`, with which every record begins.
pub(super) const RECORD_LEN: usize = 12;

/// The 32-bit number at `at` in this machine's byte order.
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Where the sections are, in bytes from the start of the file.
#[derive(Debug)]
pub(super) struct Header {
    pub types: Range<usize>,
    pub strings: Range<usize>,
    /// One `struct btf_layout` per kind: the lengths of kinds that are newer than this reader. Empty where
    /// the header ends at `str_len`, as it still does in Debian's 7.2.
    pub layout: Range<usize>,
}

impl Header {
    pub fn parse(bytes: &[u8]) -> Result<Self, BtfError> {
        match bytes.first_chunk().map(|magic| u16::from_ne_bytes(*magic)) {
            Some(MAGIC) => {}
            Some(magic) if magic.swap_bytes() == MAGIC => return Err(BtfError::ForeignByteOrder),
            _ => return Err(BtfError::BadMagic { found: bytes.iter().take(2).copied().collect() }),
        }
        let short = |part, end: u64| BtfError::Truncated { part, end, len: bytes.len() as u64 };
        let field = |at| word(bytes, at).ok_or(short("header", HEADER_LEN.into()));
        match bytes.get(2..4) {
            Some([1, 0]) => {}
            Some([1, flags]) => return Err(BtfError::UnknownFlags { flags: *flags }),
            Some([version, _]) => return Err(BtfError::UnknownVersion { version: *version }),
            _ => return Err(short("header", HEADER_LEN.into())),
        }
        // A longer header belongs to a newer format with the same beginning.
        let header_len = field(4)?;
        if header_len < HEADER_LEN {
            return Err(BtfError::Truncated {
                part: "header",
                end: HEADER_LEN.into(),
                len: header_len.into(),
            });
        }
        let section = |part, offset_at| {
            let start = u64::from(header_len) + u64::from(field(offset_at)?);
            let end = start + u64::from(field(offset_at + 4)?);
            match (usize::try_from(start), usize::try_from(end)) {
                (Ok(start), Ok(end)) if end <= bytes.len() => Ok(start..end),
                _ => Err(short(part, end)),
            }
        };
        let types = section("type section", 8)?;
        let strings = section("string section", 16)?;
        let layout = if header_len >= 32 { section("layout section", 24)? } else { 0..0 };
        match bytes.get(strings.clone()) {
            Some([0, .., 0] | [0]) => {}
            Some([_, .., 0]) => return Err(BtfError::Split),
            _ => return Err(BtfError::BadStrings { rule: "end with a zero byte" }),
        }
        Ok(Self { types, strings, layout })
    }

    /// The length in bytes of the record that begins with `info`, or nothing if its kind has no known length.
    pub fn record_len(&self, bytes: &[u8], info: Info) -> Option<u64> {
        let (fixed, each) = info.kind().lengths().or_else(|| {
            // A record of kind 0 is not void, which has no record, but padding or damage.
            (info.kind() == Kind::Unknown).then_some(())?;
            let entry = bytes.get(self.layout.clone())?.get(usize::from(info.kind_number()) * 4..)?;
            let [fixed, each, _, _] = *entry.first_chunk()?;
            Some((fixed, each))
        })?;
        Some(RECORD_LEN as u64 + u64::from(fixed) + u64::from(each) * u64::from(info.len()))
    }
}

/// The word of a record that says its kind, the number of its parts, and one flag.
///
/// The number had 16 bits and the kind 5 until include/uapi/linux/btf.h gave them 24 and 7; the bits between
/// were zero, so that reading the wider ones is right for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Info(pub u32);

impl Info {
    pub fn new(kind: Kind, flag: bool) -> Self {
        Self((kind as u32) << 24 | u32::from(flag) << 31)
    }

    pub fn kind_number(self) -> u8 {
        (self.0 >> 24) as u8 & 0x7f
    }

    pub fn kind(self) -> Kind {
        Kind::of(self.kind_number())
    }

    /// How many members, values, parameters or variables follow.
    pub fn len(self) -> u32 {
        self.0 & 0x00ff_ffff
    }

    /// `kind_flag`: bitfields in a struct, signed values in an enum, a union in a forward declaration.
    pub fn flag(self) -> bool {
        self.0 >> 31 != 0
    }
}

/// `BTF_KIND_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Void,
    Int,
    Pointer,
    Array,
    Struct,
    Union,
    Enum,
    Forward,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Function,
    Prototype,
    Variable,
    Section,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
    Unknown,
}

impl Kind {
    fn of(number: u8) -> Self {
        const KINDS: [Kind; 20] = [
            Kind::Void,
            Kind::Int,
            Kind::Pointer,
            Kind::Array,
            Kind::Struct,
            Kind::Union,
            Kind::Enum,
            Kind::Forward,
            Kind::Typedef,
            Kind::Volatile,
            Kind::Const,
            Kind::Restrict,
            Kind::Function,
            Kind::Prototype,
            Kind::Variable,
            Kind::Section,
            Kind::Float,
            Kind::DeclTag,
            Kind::TypeTag,
            Kind::Enum64,
        ];
        KINDS.get(usize::from(number)).copied().unwrap_or(Kind::Unknown)
    }

    /// The bytes after `struct btf_type`: those that are always there, and those of each part.
    fn lengths(self) -> Option<(u8, u8)> {
        Some(match self {
            Self::Pointer
            | Self::Forward
            | Self::Typedef
            | Self::Volatile
            | Self::Const
            | Self::Restrict
            | Self::Function
            | Self::Float
            | Self::TypeTag => (0, 0),
            Self::Int | Self::Variable | Self::DeclTag => (4, 0),
            Self::Array => (12, 0),
            Self::Struct | Self::Union | Self::Section | Self::Enum64 => (0, 12),
            Self::Enum | Self::Prototype => (0, 8),
            Self::Void | Self::Unknown => return None,
        })
    }

    /// `const` and the like: wrappers that change neither size nor place.
    pub fn is_modifier(self) -> bool {
        matches!(self, Self::Typedef | Self::Volatile | Self::Const | Self::Restrict | Self::TypeTag)
    }

    pub fn is_struct(self) -> bool {
        matches!(self, Self::Struct | Self::Union)
    }

    pub fn is_enum(self) -> bool {
        matches!(self, Self::Enum | Self::Enum64)
    }
}

/// One type as it stands in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    pub kind: Kind,
    pub info: Info,
    /// Where the name is in the string section; an empty name is none.
    pub name: u32,
    /// The size in bytes, or the id of the type referred to, by kind.
    pub value: u32,
    /// What follows `struct btf_type`.
    pub tail: &'a [u8],
}

impl<'a> Record<'a> {
    /// What the id 0 stands for.
    pub const VOID: Record<'static> =
        Record { kind: Kind::Void, info: Info(0), name: 0, value: 0, tail: &[] };

    /// The record at the beginning of `bytes`, which may go on after it.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let info = Info(word(bytes, 4)?);
        let kind = info.kind();
        let (fixed, each) = kind.lengths().unwrap_or((0, 0));
        let len = usize::from(fixed) + usize::from(each) * info.len() as usize;
        let tail = bytes.get(RECORD_LEN..)?.get(..len)?;
        Some(Self { kind, info, name: word(bytes, 0)?, value: word(bytes, 8)?, tail })
    }

    /// The parts of `N` words each: members (name, type, place), parameters (name, type) and the like.
    pub fn parts<const N: usize>(&self) -> impl Iterator<Item = [u32; N]> + use<'a, N> {
        self.tail.chunks_exact(N * 4).map(|part| std::array::from_fn(|i| word(part, i * 4).unwrap_or(0)))
    }
}
