//! Finding types by name: structs, the values of enums, the prototypes of functions.

use super::raw::{Kind, Record};
use super::{Btf, Missing, Prototype};

/// How much work one lookup may be, in types, members and values looked at. The largest real lookup, of a
/// constant in any enum, needs some twenty thousand steps; in damaged BTF types can contain themselves, and
/// this is where that ends.
#[derive(Debug)]
pub(super) struct Budget(u32);

impl Budget {
    /// What a level of arrays within arrays costs: the whole allows 64 of them.
    pub const NESTING: u32 = Self::WHOLE / 64;
    const WHOLE: u32 = 1 << 18;

    pub fn new() -> Self {
        Self(Self::WHOLE)
    }

    pub fn spend(&mut self, steps: u32) -> Result<(), Missing> {
        self.0 = self.0.checked_sub(steps).ok_or_else(|| Missing::Damaged {
            reason: "its types refer to each other without an end, or too many share one name".to_owned(),
        })?;
        Ok(())
    }
}

/// A struct or union that has members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Type {
    /// Its id in this BTF.
    pub id: u32,
    /// Its size in bytes.
    pub size: u32,
    /// Whether it is a union.
    pub is_union: bool,
}

impl Btf {
    /// The struct or union with this name. Forward declarations do not count.
    pub fn strukt(&self, name: &str) -> Result<Type, Missing> {
        let found = self.all(name, Kind::is_struct, &mut Budget::new())?;
        let Some(&(id, record)) = found.first() else {
            return Err(Missing::Type { what: "struct or union", name: name.to_owned() });
        };
        Ok(Type { id, size: record.value, is_union: record.kind == Kind::Union })
    }

    /// The value of an enum's constant. The name "" asks all anonymous enums and then all others, in which
    /// constants are as unique as in C's sources, so that the same name with two values is an error.
    ///
    /// Values are as BTF has them: it says that an enum is signed since about Linux 6.0, and before that a
    /// negative value comes out as the unsigned one of the same 32 bits.
    pub fn enum_value(&self, enum_name: &str, value: &str) -> Result<i64, Missing> {
        let budget = &mut Budget::new();
        let found = self.all(enum_name, Kind::is_enum, budget)?;
        if let Some(answer) = self.value_in(found.iter().map(|(_, record)| *record), value, budget)? {
            return Ok(answer);
        }
        if enum_name.is_empty() {
            let every = (1..=self.type_count()).filter_map(|id| self.record(id));
            return self
                .value_in(every.filter(|record| record.kind.is_enum()), value, budget)?
                .ok_or_else(|| Missing::Type { what: "enum constant", name: value.to_owned() });
        }
        Err(if found.is_empty() {
            Missing::Type { what: "enum", name: enum_name.to_owned() }
        } else {
            Missing::Value { of: format!("enum {enum_name}"), value: value.to_owned() }
        })
    }

    /// The names of an enum's constants that are worth `value`. Those of an enum that numbers things are unique.
    pub fn enum_names(&self, enum_name: &str, value: i64) -> Result<Vec<String>, Missing> {
        let budget = &mut Budget::new();
        let mut names = Vec::new();
        for (_, record) in self.all(enum_name, Kind::is_enum, budget)? {
            budget.spend(record.info.len())?;
            let same = record.values().filter(|(_, found)| *found == value);
            names.extend(same.map(|(name, _)| self.name(name).into_owned()));
        }
        Ok(names)
    }

    /// What a function of the kernel takes and returns. That it is here does not mean that it can be hooked:
    /// the symbol may have another name, or be inlined at some of its calls.
    pub fn function(&self, name: &str) -> Result<Prototype, Missing> {
        self.one_prototype(name, "function", Kind::Function)
    }

    /// The id of the function with this name, which is what trampolines attach by: the first, where there are
    /// several.
    pub fn function_id(&self, name: &str) -> Result<u32, Missing> {
        let found = self.all(name, |kind| kind == Kind::Function, &mut Budget::new())?;
        let first = found.first().map(|(id, _)| *id);
        first.ok_or_else(|| Missing::Type { what: "function", name: name.to_owned() })
    }

    /// What a pointer-to-function typedef takes and returns, such as `btf_trace_mark_victim`, which describes
    /// the arguments of the tracepoint `mark_victim` behind the `void *` that its probe gets first.
    pub fn typedef_prototype(&self, name: &str) -> Result<Prototype, Missing> {
        self.one_prototype(name, "typedef", Kind::Typedef)
    }

    fn one_prototype(&self, name: &str, what: &'static str, kind: Kind) -> Result<Prototype, Missing> {
        let budget = &mut Budget::new();
        let mut answer: Option<Prototype> = None;
        for (_, record) in self.all(name, |found| found == kind, budget)? {
            let mut target = self.peel(record.value, budget)?.record;
            if target.kind == Kind::Pointer {
                target = self.peel(target.value, budget)?.record;
            }
            if target.kind != Kind::Prototype {
                let found = self.shape(record.value, budget)?.to_string();
                return Err(Missing::NotPrototype { name: name.to_owned(), found });
            }
            let next = self.prototype(target, budget)?;
            match &answer {
                Some(known) if !known.same_call(&next) => {
                    return Err(Missing::Ambiguous { what: name.to_owned() });
                }
                Some(_) => {}
                None => answer = Some(next),
            }
        }
        answer.ok_or_else(|| Missing::Type { what, name: name.to_owned() })
    }

    /// All types of these kinds with this name, in the order of the file. Functions are of a kind by themselves.
    pub(super) fn all<'a>(
        &'a self,
        name: &str,
        kinds: impl Fn(Kind) -> bool,
        budget: &mut Budget,
    ) -> Result<Vec<(u32, Record<'a>)>, Missing> {
        let mut found = Vec::new();
        let mut take = |candidate: Option<(u32, Record<'a>)>| {
            budget.spend(1)?;
            found.extend(candidate.filter(|(_, record)| kinds(record.kind)));
            Ok(())
        };
        if kinds(Kind::Function) {
            self.functions_named(name).try_for_each(&mut take)?;
        } else {
            self.types_named(name).try_for_each(&mut take)?;
        }
        found.reverse();
        Ok(found)
    }

    fn value_in<'a>(
        &self,
        enums: impl Iterator<Item = Record<'a>>,
        value: &str,
        budget: &mut Budget,
    ) -> Result<Option<i64>, Missing> {
        let mut answer = None;
        for record in enums {
            budget.spend(record.info.len())?;
            for (_, found) in record.values().filter(|(name, _)| self.is_name(*name, value)) {
                if answer.is_some_and(|known| known != found) {
                    return Err(Missing::Ambiguous { what: value.to_owned() });
                }
                answer = Some(found);
            }
        }
        Ok(answer)
    }
}
