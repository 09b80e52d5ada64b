//! Where each type is, and which types have a name.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;

use super::raw::{Header, Info, Kind, RECORD_LEN, Record, word};
use super::{Btf, BtfError};

/// How much of a name is hashed. Longer names that begin alike only share a chain.
const HASHED: usize = 64;

/// The kernel's own limit for identifiers is 512 bytes (`KSYM_NAME_LEN`, 6.1 and later).
const LONGEST_NAME: usize = 1024;

/// Finds types by id and by name.
#[derive(Debug)]
pub(super) struct Index {
    /// Where the type with the id `i + 1` begins, in bytes from the start of the file.
    offsets: Box<[u32]>,
    /// Of structs, unions, enums and typedefs.
    types: Names,
    /// Of functions: made when the first is asked for, which is after kills are reported. Most names are theirs.
    functions: OnceLock<Names>,
}

/// Finds some kinds of types by their names.
#[derive(Debug)]
struct Names {
    /// For each hash of a name, the place behind that of its last type in `entries`, or 0.
    heads: Box<[u32]>,
    /// Ids of types, each with the place behind that of the one before it with the same hash, or 0.
    entries: Vec<(u32, u32)>,
}

impl Names {
    /// Room for about so many names.
    fn new(names: usize) -> Self {
        Self {
            heads: vec![0; names.next_power_of_two()].into_boxed_slice(),
            entries: Vec::with_capacity(names),
        }
    }

    /// Takes in a type by its name. Later ones are found first.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "there are no more entries than types, whose ids have 32 bits"
    )]
    fn push(&mut self, id: u32, name: &[u8]) {
        let bucket = hash(name) & (self.heads.len() - 1);
        if let Some(head) = self.heads.get_mut(bucket) {
            self.entries.push((id, *head));
            *head = self.entries.len() as u32;
        }
    }

    /// The types whose names have the same hash, the last first.
    fn chain<'a>(&'a self, name: &[u8]) -> impl Iterator<Item = u32> + use<'a> {
        let bucket = hash(name) & (self.heads.len() - 1);
        let mut next = self.heads.get(bucket).copied().unwrap_or(0);
        std::iter::from_fn(move || {
            let (id, before) = *self.entries.get(next.checked_sub(1)? as usize)?;
            next = before;
            Some(id)
        })
    }
}

impl Index {
    /// Walks the type section once.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "no input is longer than `LIMIT`, which is below 4 GiB"
    )]
    pub fn build(bytes: &[u8], header: &Header) -> Result<Self, BtfError> {
        let strings = bytes.get(header.strings.clone()).unwrap_or_default();
        // Kernels have 25 to 26 bytes a type.
        let guess = header.types.len() / 24;
        let mut offsets = Vec::with_capacity(guess);
        // A fourth of all are structs, unions, enums and typedefs, and half are functions.
        let mut types = Names::new(guess / 4);
        let mut at = header.types.start;
        while at < header.types.end {
            let id = offsets.len() as u32 + 1;
            let left = header.types.end - at;
            let (Some(name), Some(info)) = (word(bytes, at), word(bytes, at + 4)) else {
                return Err(BtfError::TruncatedType { id, needed: RECORD_LEN as u64, left: left as u64 });
            };
            let info = Info(info);
            let Some(needed) = header.record_len(bytes, info) else {
                return Err(BtfError::UnknownKind { id, kind: info.kind_number() });
            };
            if needed > left as u64 {
                return Err(BtfError::TruncatedType { id, needed, left: left as u64 });
            }
            let Some(text) = strings.get(name as usize..).filter(|text| !text.is_empty()) else {
                return Err(BtfError::NameOutOfBounds { id, offset: name, len: strings.len() });
            };
            offsets.push(at as u32);
            let named = match info.kind() {
                Kind::Struct | Kind::Union | Kind::Typedef => text.first() != Some(&0),
                // Anonymous enums are found under the empty name.
                Kind::Enum | Kind::Enum64 => true,
                _ => false,
            };
            if named {
                types.push(id, text);
            }
            at += needed as usize;
        }
        Ok(Self { offsets: offsets.into_boxed_slice(), types, functions: OnceLock::new() })
    }

    /// The names of functions.
    fn functions(&self, bytes: &[u8], strings: &Range<usize>) -> &Names {
        self.functions.get_or_init(|| {
            let strings = bytes.get(strings.clone()).unwrap_or_default();
            let mut names = Names::new(self.offsets.len() / 2);
            for (id, at) in (1..).zip(&self.offsets) {
                let at = *at as usize;
                if word(bytes, at + 4).is_some_and(|info| Info(info).kind() == Kind::Function)
                    && let Some(text) = word(bytes, at).and_then(|name| strings.get(name as usize..))
                    && text.first() != Some(&0)
                {
                    names.push(id, text);
                }
            }
            names
        })
    }

    pub fn len(&self) -> u32 {
        u32::try_from(self.offsets.len()).unwrap_or(u32::MAX)
    }
}

impl Btf {
    /// The type with this id; `void` for 0.
    pub(super) fn record(&self, id: u32) -> Option<Record<'_>> {
        let Some(i) = id.checked_sub(1) else { return Some(Record::VOID) };
        Record::parse(self.bytes.get(*self.index.offsets.get(i as usize)? as usize..)?)
    }

    /// The struct, union, enum and typedef records with this name, the last first. The empty name is that of all anonymous
    /// enums.
    pub(super) fn types_named(&self, name: &str) -> impl Iterator<Item = Option<(u32, Record<'_>)>> {
        self.named(&self.index.types, name)
    }

    /// The function records with this name, the last first.
    pub(super) fn functions_named(&self, name: &str) -> impl Iterator<Item = Option<(u32, Record<'_>)>> {
        self.named(self.index.functions(&self.bytes, &self.strings), name)
    }

    fn named<'a>(
        &'a self,
        names: &'a Names,
        name: &str,
    ) -> impl Iterator<Item = Option<(u32, Record<'a>)>> + use<'a> {
        let terminated: Vec<u8> = name.bytes().chain([0]).collect();
        // A type of another name in the same chain is a step too: it costs its caller's budget.
        names.chain(&terminated).map(move |id| {
            self.record(id)
                .filter(|record| self.text(record.name).starts_with(&terminated))
                .map(|record| (id, record))
        })
    }

    /// The string section from `offset` on, which begins with the name that stands there.
    fn text(&self, offset: u32) -> &[u8] {
        self.bytes.get(self.strings.clone()).and_then(|all| all.get(offset as usize..)).unwrap_or_default()
    }

    /// Whether the name at `offset` is `name`.
    pub(super) fn is_name(&self, offset: u32, name: &str) -> bool {
        let text = self.text(offset);
        text.starts_with(name.as_bytes()) && text.get(name.len()) == Some(&0)
    }

    /// The name at `offset`, empty where there is none, cut where it is longer than any identifier.
    pub(super) fn name(&self, offset: u32) -> Cow<'_, str> {
        let text = self.text(offset);
        let len = text.iter().take(LONGEST_NAME).position(|byte| *byte == 0).unwrap_or(LONGEST_NAME);
        String::from_utf8_lossy(text.get(..len).unwrap_or(text))
    }
}

/// A hash of the name at the beginning of `text`, up to its zero byte; eight bytes at a time, since this runs
/// for some 80,000 names at every start.
#[expect(clippy::cast_possible_truncation, reason = "any bits of a hash will do")]
fn hash(text: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    let mut hash = 0_u64;
    for chunk in text.chunks(8).take(HASHED / 8) {
        let mut padded = [0; 8];
        let word = u64::from_le_bytes(*chunk.first_chunk().unwrap_or_else(|| {
            padded.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            &padded
        }));
        // The lowest bit that is set here marks the first zero byte; from it on another name may stand.
        let zeros = word.wrapping_sub(ONES) & !word & HIGHS;
        let name = if zeros == 0 { u64::MAX } else { (1 << zeros.trailing_zeros()) - 1 };
        hash = (hash ^ (word & name)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        if zeros != 0 {
            break;
        }
    }
    (hash ^ (hash >> 32)) as usize
}
