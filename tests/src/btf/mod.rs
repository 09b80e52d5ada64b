//! A kernel's type information (BTF), read so that it can be changed: what oomtrace makes of a kernel that it was not
//! written for is for the scenario `mutated_btf` to see.
//!
//! Written after the kernel's include/uapi/linux/btf.h alone: oomtrace has a reader of its own, and that is judged.
//!
//! * [`catalogue`]: what is changed.
//! * [`edit`]: how the file is changed.
//! * [`fleet`]: oomtraces with different type information that see the same kill.
//! * [`verdict`]: what came of a change.

pub mod catalogue;
pub mod edit;
pub mod fleet;
pub mod verdict;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// Where a kernel shows its own.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Kinds of types (`enum` in include/uapi/linux/btf.h).
pub mod kind {
    /// An integer.
    pub const INT: u32 = 1;
    /// A pointer.
    pub const PTR: u32 = 2;
    /// An array.
    pub const ARRAY: u32 = 3;
    /// A struct with its members.
    pub const STRUCT: u32 = 4;
    /// A union with its members.
    pub const UNION: u32 = 5;
    /// An enum of 32 bits.
    pub const ENUM: u32 = 6;
    /// A typedef.
    pub const TYPEDEF: u32 = 8;
    /// `volatile`.
    pub const VOLATILE: u32 = 9;
    /// `const`.
    pub const CONST: u32 = 10;
    /// `restrict`.
    pub const RESTRICT: u32 = 11;
    /// A function.
    pub const FUNC: u32 = 12;
    /// A function's prototype.
    pub const FUNC_PROTO: u32 = 13;
    /// An attribute of a type.
    pub const TYPE_TAG: u32 = 18;
}

/// The length of the header's known part, bytes.
const HEADER: usize = 24;
/// A type's own words: name, info, size or type.
const WORDS: usize = 3;

/// The types of a kernel.
#[derive(Debug)]
pub struct Btf {
    types: Vec<u8>,
    strings: Vec<u8>,
    starts: Vec<usize>,
    named: HashMap<Vec<u8>, Vec<u32>>,
}

/// One type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Where it begins in the section of types, bytes.
    pub at: usize,
    /// See [`kind`].
    pub kind: u32,
    /// How many members, values or parameters it has.
    pub parts: usize,
    /// Its size in bytes, or the type that it refers to.
    pub value: u32,
    /// Whether the places of its members say how wide a bitfield is.
    flag: bool,
}

/// A member of a struct or union.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where its entry begins in the section of types, bytes: name, type, place.
    pub at: usize,
    /// Its name; empty for an anonymous one.
    pub name: String,
    /// Its type.
    pub type_id: u32,
    /// Where it is, in bits.
    pub bit: u32,
    /// The same as the file has it, with the width of a bitfield.
    pub place: u32,
    /// Whether it is a bitfield.
    pub bitfield: bool,
}

impl Btf {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&bytes).with_context(|| format!("{} is not BTF as it is documented", path.display()))
    }

    /// Takes a file's bytes.
    fn parse(bytes: &[u8]) -> Result<Self> {
        ensure!(
            bytes.get(..2) == Some(&0xeb9f_u16.to_ne_bytes()),
            "it does not begin with BTF's magic number"
        );
        let [header, types_at, types_len, strings_at, strings_len] =
            [4, 8, 12, 16, 20].map(|at| word(bytes, at).and_then(|word| usize::try_from(word).ok()));
        let section = |at: Option<usize>, len: Option<usize>| {
            let start = header?.checked_add(at?)?;
            Some(bytes.get(start..start.checked_add(len?)?)?.to_vec())
        };
        let types = section(types_at, types_len).context("the section of types is not within the file")?;
        let strings =
            section(strings_at, strings_len).context("the section of strings is not within the file")?;
        let mut btf = Self { types, strings, starts: Vec::new(), named: HashMap::new() };
        btf.index()?;
        Ok(btf)
    }

    /// Finds where each type begins, and which have a name.
    fn index(&mut self) -> Result<()> {
        let mut at = 0;
        while at < self.types.len() {
            let record = record(&self.types, at).context("a type is cut short")?;
            self.starts.push(at);
            let name = self.string(word(&self.types, at).unwrap_or(0));
            if !name.is_empty() {
                let id = u32::try_from(self.starts.len()).context("there are too many types")?;
                self.named.entry(name.to_vec()).or_default().push(id);
            }
            let words = match record.kind {
                kind::INT | 14 | 17 => 1,
                kind::ARRAY => 3,
                kind::STRUCT | kind::UNION | 15 | 19 => 3 * record.parts,
                kind::ENUM | kind::FUNC_PROTO => 2 * record.parts,
                2 | 7..=12 | 16 | 18 => 0,
                other => bail!("there is a type of the unknown kind {other}"),
            };
            at += 4 * (WORDS + words);
        }
        Ok(())
    }

    /// The file.
    #[must_use]
    pub fn file(types: &[u8], strings: &[u8]) -> Vec<u8> {
        let length = |section: &[u8]| u32::try_from(section.len()).unwrap_or(u32::MAX);
        let mut file = 0xeb9f_u16.to_ne_bytes().to_vec();
        file.extend([1, 0]);
        let header = [24, 0, length(types), length(types), length(strings)];
        file.extend(header.iter().flat_map(|word: &u32| word.to_ne_bytes()));
        debug_assert_eq!(file.len(), HEADER);
        file.extend(types);
        file.extend(strings);
        file
    }

    /// The number of types, `void` not counted.
    #[must_use]
    pub fn types(&self) -> usize {
        self.starts.len()
    }

    /// The type with this id; None for `void` and for an id that there is none of.
    #[must_use]
    pub fn record(&self, id: u32) -> Option<Record> {
        let index = usize::try_from(id).ok()?.checked_sub(1)?;
        record(&self.types, *self.starts.get(index)?)
    }

    /// The first type of one of these kinds with this name, and with members if it is a struct.
    #[must_use]
    pub fn find(&self, kinds: &[u32], name: &str) -> Option<u32> {
        let ids = self.named.get(name.as_bytes())?;
        ids.iter().copied().find(|&id| {
            self.record(id).is_some_and(|record| {
                let aggregate = matches!(record.kind, kind::STRUCT | kind::UNION);
                kinds.contains(&record.kind) && (record.parts > 0 || !aggregate)
            })
        })
    }

    /// The first enum with a constant of this name.
    #[must_use]
    pub fn enum_with(&self, constant: &str) -> Option<u32> {
        let ids = 1..=u32::try_from(self.starts.len()).ok()?;
        ids.into_iter().find(|&id| {
            let of = self.record(id).filter(|record| record.kind == kind::ENUM);
            of.is_some_and(|of| self.pairs(of).iter().any(|(_, name, _)| name == constant))
        })
    }

    /// A type's name; None for one that has none.
    #[must_use]
    pub fn name(&self, id: u32) -> Option<String> {
        let name = self.string(word(&self.types, self.record(id)?.at)?);
        (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
    }

    /// An integer type of so many bytes.
    #[must_use]
    pub fn integer(&self, bytes: u32) -> Option<u32> {
        let ids = 1..=u32::try_from(self.starts.len()).ok()?;
        ids.into_iter().find(|&id| {
            self.record(id).is_some_and(|record| record.kind == kind::INT && record.value == bytes)
        })
    }

    /// The pointer to this type.
    #[must_use]
    pub fn pointer_to(&self, to: u32) -> Option<u32> {
        let ids = 1..=u32::try_from(self.starts.len()).ok()?;
        ids.into_iter()
            .find(|&id| self.record(id).is_some_and(|record| record.kind == kind::PTR && record.value == to))
    }

    /// The members of a struct or union.
    #[must_use]
    pub fn members(&self, of: Record) -> Vec<Member> {
        let entry = |index: usize| {
            let at = of.at + 4 * (WORDS + 3 * index);
            let [name, type_id, place] = [0, 4, 8].map(|within| word(&self.types, at + within));
            let (bit, width) = if of.flag { (place? & 0xff_ffff, place? >> 24) } else { (place?, 0) };
            let name = String::from_utf8_lossy(self.string(name?)).into_owned();
            Some(Member { at, name, type_id: type_id?, bit, place: place?, bitfield: width != 0 })
        };
        (0..of.parts).filter_map(entry).collect()
    }

    /// The entries of an enum or the parameters of a prototype: where each begins, its name, and its second word.
    #[must_use]
    pub fn pairs(&self, of: Record) -> Vec<(usize, String, u32)> {
        let entry = |index: usize| {
            let at = of.at + 4 * (WORDS + 2 * index);
            let name = String::from_utf8_lossy(self.string(word(&self.types, at)?)).into_owned();
            Some((at, name, word(&self.types, at + 4)?))
        };
        (0..of.parts).filter_map(entry).collect()
    }

    /// The word at a place in the section of types.
    #[must_use]
    pub fn word(&self, at: usize) -> Option<u32> {
        word(&self.types, at)
    }

    /// What a type is without its typedefs and qualifiers.
    #[must_use]
    pub fn peeled(&self, mut id: u32) -> u32 {
        // No kernel has so many in a row; types that go in circles would have no end.
        for _ in 0..32 {
            match self.record(id) {
                Some(Record {
                    kind: kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG,
                    value,
                    ..
                }) => id = value,
                _ => break,
            }
        }
        id
    }

    /// The type of an array's elements, the innermost ones; of what is no array, the type itself.
    #[must_use]
    pub fn element(&self, id: u32) -> u32 {
        let peeled = self.peeled(id);
        match self.record(peeled) {
            Some(Record { kind: kind::ARRAY, at, .. }) => {
                word(&self.types, at + 4 * WORDS).map_or(peeled, |element| self.element(element))
            }
            _ => peeled,
        }
    }

    /// A type's size in bytes; None for what has none.
    #[must_use]
    pub fn size(&self, id: u32) -> Option<u32> {
        let record = self.record(self.peeled(id))?;
        match record.kind {
            kind::PTR => Some(8),
            kind::ARRAY => {
                let (element, length) =
                    (word(&self.types, record.at + 12)?, word(&self.types, record.at + 20)?);
                self.size(element)?.checked_mul(length)
            }
            kind::FUNC | kind::FUNC_PROTO => None,
            _ => Some(record.value),
        }
    }

    /// The string at a place in the section of strings.
    fn string(&self, at: u32) -> &[u8] {
        let rest = usize::try_from(at).ok().and_then(|at| self.strings.get(at..)).unwrap_or_default();
        rest.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

/// A word of the machine's byte order.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// The type that begins there.
fn record(types: &[u8], at: usize) -> Option<Record> {
    let (info, value) = (word(types, at + 4)?, word(types, at + 8)?);
    let parts = usize::try_from(info & 0xffff).ok()?;
    Some(Record { at, kind: info >> 24 & 0x1f, parts, value, flag: info >> 31 != 0 })
}
