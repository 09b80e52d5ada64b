//! Cuts BTF down to the types that matter, as BTF that this reader and every other tool can read.
//!
//! A kernel's BTF has megabytes. What a lookup depends on fits in a few dozen kilobytes, which can go into a
//! bug report or stand as a test's fixture: with it, a lookup that fails on a kernel nobody here has can be
//! repeated anywhere.

use std::collections::HashMap;

use super::raw::{HEADER_LEN, Info, Kind, MAGIC, Record};
use super::{Btf, Missing};

/// BTF that was cut down, and what it was to have and does not.
#[derive(Debug)]
pub struct Excerpt {
    /// A whole BTF file, in this machine's byte order.
    pub btf: Vec<u8>,
    /// The roots for which this kernel has nothing.
    pub absent: Vec<String>,
}

/// Keeps the types named in `roots` and all that they contain by value, with every name, size and offset as
/// it was.
///
/// A root is the name of a struct, union, enum, typedef or function, or of a constant, whose enum is kept.
/// Where there are several of the name all are kept, so that what is ambiguous stays so. A pointer to a
/// struct or union that is not kept for another reason becomes a pointer to a forward declaration of its
/// name. Variables, sections and declaration tags are left out. The same roots give the same bytes.
///
/// Fails only on damaged BTF.
pub fn excerpt(btf: &Btf, roots: &[&str]) -> Result<Excerpt, Missing> {
    let mut absent = Vec::new();
    let mut selection = Selection { btf, reach: HashMap::new(), open: Vec::new() };
    for root in roots {
        let mut ids: Vec<u32> = Vec::new();
        if !root.is_empty() {
            ids.extend(btf.types_named(root).chain(btf.functions_named(root)).flatten().map(|(id, _)| id));
        }
        if ids.is_empty() {
            let holds = |record: Record<'_>| record.values().any(|(name, _)| btf.is_name(name, root));
            ids.extend((1..=btf.type_count()).filter(|id| btf.record(*id).is_some_and(holds)));
        }
        if ids.is_empty() {
            absent.push((*root).to_owned());
        }
        for id in ids {
            selection.add(id, Reach::Value);
        }
    }
    selection.close()?;
    let btf = Writer::new(btf, &selection.reach).write()?;
    Ok(Excerpt { btf, absent })
}

/// How a type was reached, the stronger later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// Only through pointers: a named struct needs no more than a forward declaration.
    Pointer,
    /// As a root or by value: it is kept whole.
    Value,
}

/// The types to keep.
struct Selection<'b> {
    btf: &'b Btf,
    reach: HashMap<u32, Reach>,
    open: Vec<(u32, Reach)>,
}

impl Selection<'_> {
    fn add(&mut self, id: u32, reach: Reach) {
        if id != 0 && self.reach.get(&id).is_none_or(|known| *known < reach) {
            self.reach.insert(id, reach);
            self.open.push((id, reach));
        }
    }

    /// Adds what the selected types refer to. Ends, since a type is opened at most twice.
    fn close(&mut self) -> Result<(), Missing> {
        while let Some((id, reach)) = self.open.pop() {
            let record = record(self.btf, id)?;
            if is_cut(self.btf, &record, reach) {
                continue;
            }
            for (target, through) in references(&record) {
                self.add(target, through.unwrap_or(reach));
            }
        }
        Ok(())
    }
}

fn record(btf: &Btf, id: u32) -> Result<Record<'_>, Missing> {
    btf.record(id).ok_or_else(|| Missing::Damaged { reason: format!("there is no type {id}") })
}

/// Whether this becomes a forward declaration. Anonymous structs cannot: a typedef names them.
fn is_cut(btf: &Btf, record: &Record<'_>, reach: Reach) -> bool {
    record.kind.is_struct() && reach == Reach::Pointer && !btf.is_name(record.name, "")
}

/// The types that this one refers to, and how; nothing where it is in the way that this one was reached.
fn references(record: &Record<'_>) -> Vec<(u32, Option<Reach>)> {
    match record.kind {
        Kind::Pointer => vec![(record.value, Some(Reach::Pointer))],
        Kind::Struct | Kind::Union => record.parts().map(|[_, id, _]| (id, Some(Reach::Value))).collect(),
        Kind::Prototype => {
            let params = record.parts().map(|[_, id]| (id, Some(Reach::Value)));
            params.chain([(record.value, Some(Reach::Value))]).collect()
        }
        Kind::Array => {
            record.parts().flat_map(|[element, index, _]| [(element, None), (index, None)]).collect()
        }
        Kind::Function => vec![(record.value, None)],
        kind if kind.is_modifier() => vec![(record.value, None)],
        _ => Vec::new(),
    }
}

/// Writes selected types in the order they had.
struct Writer<'b> {
    btf: &'b Btf,
    /// The old ids, in order, and how each was reached.
    kept: Vec<(u32, Reach)>,
    new_ids: HashMap<u32, u32>,
    types: Vec<u8>,
    strings: Vec<u8>,
    new_names: HashMap<u32, u32>,
}

impl<'b> Writer<'b> {
    fn new(btf: &'b Btf, reach: &HashMap<u32, Reach>) -> Self {
        let mut kept: Vec<(u32, Reach)> = reach.iter().map(|(id, reach)| (*id, *reach)).collect();
        kept.sort_unstable();
        let new_ids = kept.iter().zip(1..).map(|((old, _), new)| (*old, new)).collect();
        Self { btf, kept, new_ids, types: Vec::new(), strings: vec![0], new_names: HashMap::new() }
    }

    fn write(mut self) -> Result<Vec<u8>, Missing> {
        for (id, reach) in std::mem::take(&mut self.kept) {
            let record = record(self.btf, id)?;
            if is_cut(self.btf, &record, reach) {
                let forward = Info::new(Kind::Forward, record.kind == Kind::Union);
                let name = self.name(record.name)?;
                self.put([name, forward.0, 0]);
            } else {
                self.copy(&record)?;
            }
        }
        let mut file = Vec::with_capacity(HEADER_LEN as usize + self.types.len() + self.strings.len());
        file.extend(MAGIC.to_ne_bytes());
        file.extend([1, 0]);
        let types = len(&self.types)?;
        for word in [HEADER_LEN, 0, types, types, len(&self.strings)?] {
            file.extend(word.to_ne_bytes());
        }
        file.append(&mut self.types);
        file.append(&mut self.strings);
        Ok(file)
    }

    fn copy(&mut self, record: &Record<'_>) -> Result<(), Missing> {
        let refers = matches!(record.kind, Kind::Pointer | Kind::Function | Kind::Prototype);
        let value = if refers || record.kind.is_modifier() { self.id(record.value) } else { record.value };
        let name = self.name(record.name)?;
        self.put([name, record.info.0, value]);
        match record.kind {
            Kind::Array => {
                for [element, index, len] in record.parts() {
                    self.put([self.id(element), self.id(index), len]);
                }
            }
            Kind::Struct | Kind::Union => {
                for [name, id, place] in record.parts() {
                    let name = self.name(name)?;
                    self.put([name, self.id(id), place]);
                }
            }
            Kind::Prototype => {
                for [name, id] in record.parts() {
                    let name = self.name(name)?;
                    self.put([name, self.id(id)]);
                }
            }
            Kind::Enum => {
                for [name, value] in record.parts() {
                    let name = self.name(name)?;
                    self.put([name, value]);
                }
            }
            Kind::Enum64 => {
                for [name, low, high] in record.parts() {
                    let name = self.name(name)?;
                    self.put([name, low, high]);
                }
            }
            Kind::Variable | Kind::Section | Kind::DeclTag | Kind::Void | Kind::Unknown => {
                let reason = format!("a type refers to a {:?}, which cannot be part of it", record.kind);
                return Err(Missing::Damaged { reason });
            }
            // What is left has a tail without references, or none.
            _ => self.types.extend(record.tail),
        }
        Ok(())
    }

    fn put<const N: usize>(&mut self, words: [u32; N]) {
        self.types.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    }

    /// Everything that a kept type refers to is kept, so only `void` stays 0.
    fn id(&self, old: u32) -> u32 {
        self.new_ids.get(&old).copied().unwrap_or(0)
    }

    fn name(&mut self, old: u32) -> Result<u32, Missing> {
        if let Some(known) = self.new_names.get(&old) {
            return Ok(*known);
        }
        let name = self.btf.name(old);
        let mut new = 0;
        if !name.is_empty() {
            new = len(&self.strings)?;
            self.strings.extend(name.as_bytes());
            self.strings.push(0);
        }
        // In damaged BTF names may overlap, and would take far more room here than they did there.
        if self.strings.len() > self.btf.strings.len() {
            return Err(Missing::Damaged { reason: "its names overlap".to_owned() });
        }
        self.new_names.insert(old, new);
        Ok(new)
    }
}

fn len(section: &[u8]) -> Result<u32, Missing> {
    u32::try_from(section.len()).map_err(|_| Missing::Damaged { reason: "it has more than 4 GiB".to_owned() })
}
