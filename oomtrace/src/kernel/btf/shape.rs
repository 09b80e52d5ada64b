//! What a type is, after everything that does not change its bytes has been taken off.

use std::fmt;

use super::lookup::Budget;
use super::raw::{Kind, Record, word};
use super::{Btf, Missing};

/// The size of a pointer in bytes. BTF does not say it; the reader is for 64-bit kernels.
const POINTER_SIZE: u64 = 8;

/// More parameters than any kernel function has.
const MOST_PARAMETERS: u32 = 64;

/// What a value is, with typedefs, `const`, `volatile`, `restrict` and type tags taken off.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TypeShape {
    /// An integer, `bool` and `char` included.
    Int {
        /// Whether it can be negative.
        signed: bool,
    },
    /// A pointer.
    Pointer {
        /// The name of the struct, union, enum or basic type pointed to, without its typedefs unless only a
        /// typedef gives it a name; none for `void`, functions and pointers to pointers.
        to: Option<String>,
    },
    /// A struct by value.
    Struct {
        /// Its name, that of its typedef if only that has one, or empty.
        name: String,
    },
    /// A union by value.
    Union {
        /// Its name, that of its typedef if only that has one, or empty.
        name: String,
    },
    /// An array.
    Array {
        /// What each element is.
        element: Box<TypeShape>,
        /// How many there are; 0 for a flexible array.
        len: u32,
    },
    /// An enum.
    Enum,
    /// A floating-point number.
    Float,
    /// Nothing, as a function returns it.
    Void,
    /// Anything that no field or parameter can be: a function, a forward declaration by value, a variable.
    Other,
}

impl fmt::Display for TypeShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int { .. } => f.write_str("an integer"),
            Self::Pointer { to: Some(to) } => write!(f, "a pointer to {to}"),
            Self::Pointer { to: None } => f.write_str("a pointer"),
            Self::Struct { name } if name.is_empty() => f.write_str("an anonymous struct"),
            Self::Struct { name } => write!(f, "struct {name}"),
            Self::Union { name } if name.is_empty() => f.write_str("an anonymous union"),
            Self::Union { name } => write!(f, "union {name}"),
            Self::Array { len, .. } => write!(f, "an array of {len}"),
            Self::Enum => f.write_str("an enum"),
            Self::Float => f.write_str("a floating-point number"),
            Self::Void => f.write_str("void"),
            Self::Other => f.write_str("not a value"),
        }
    }
}

/// One parameter of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name, empty where BTF has none, as in the prototypes of tracepoints.
    pub name: String,
    /// What it is.
    pub type_: TypeShape,
}

/// What a function takes and returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prototype {
    /// Its parameters in order; a raw tracepoint's begin with the `void *` of its probe.
    pub params: Vec<Parameter>,
    /// Whether it takes any number of arguments after these.
    pub variadic: bool,
    /// What it returns.
    pub returns: TypeShape,
}

impl Prototype {
    /// Whether a call looks the same, whatever the parameters are called.
    pub(super) fn same_call(&self, other: &Self) -> bool {
        fn types(of: &Prototype) -> impl Iterator<Item = &TypeShape> {
            of.params.iter().map(|param| &param.type_)
        }
        self.variadic == other.variadic && self.returns == other.returns && types(self).eq(types(other))
    }
}

/// A type without its wrappers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peeled<'a> {
    pub record: Record<'a>,
    /// Where its name is: its own, or that of the innermost typedef if it has none.
    pub name: u32,
}

/// `Record`'s parts of an array, `struct btf_array`.
pub(super) struct ArrayParts {
    pub element: u32,
    pub len: u32,
}

impl<'a> Record<'a> {
    pub fn array(&self) -> Option<ArrayParts> {
        (self.kind == Kind::Array).then_some(())?;
        Some(ArrayParts { element: word(self.tail, 0)?, len: word(self.tail, 8)? })
    }

    fn is_signed_int(&self) -> bool {
        const SIGNED: u32 = 1 << 24;
        word(self.tail, 0).is_some_and(|encoding| encoding & SIGNED != 0)
    }

    /// The values of an enum: where each name is, and the value; an unsigned one above `i64::MAX` comes out
    /// negative. Nothing for other kinds.
    pub fn values(&self) -> impl Iterator<Item = (u32, i64)> + use<'a> {
        let wide = self.kind == Kind::Enum64;
        let signed = self.info.flag();
        let tail = if self.kind.is_enum() { self.tail } else { &[] };
        tail.chunks_exact(if wide { 12 } else { 8 }).map(move |part| {
            let word = |i: usize| word(part, i * 4).unwrap_or(0);
            let value = match word(1) {
                low if wide => ((u64::from(word(2)) << 32) | u64::from(low)).cast_signed(),
                value if signed => i64::from(value.cast_signed()),
                value => i64::from(value),
            };
            (word(0), value)
        })
    }

    /// The bits of an integer that older compilers used for a bitfield: where it begins and how many it has.
    pub fn int_bits(&self) -> Option<(u32, u32)> {
        (self.kind == Kind::Int).then_some(())?;
        let encoding = word(self.tail, 0)?;
        Some((encoding >> 16 & 0xff, encoding & 0xff))
    }
}

impl Btf {
    /// Takes off typedefs, `const`, `volatile`, `restrict` and type tags.
    pub(super) fn peel(&self, mut id: u32, budget: &mut Budget) -> Result<Peeled<'_>, Missing> {
        let mut typedef = 0;
        loop {
            budget.spend(1)?;
            let record = self.record(id).ok_or_else(|| Missing::Damaged {
                reason: format!("it refers to type {id}, and there are only {}", self.type_count()),
            })?;
            if !record.kind.is_modifier() {
                let own = !self.is_name(record.name, "");
                return Ok(Peeled { record, name: if own { record.name } else { typedef } });
            }
            if record.kind == Kind::Typedef {
                typedef = record.name;
            }
            id = record.value;
        }
    }

    /// The size of a value in bytes, or nothing for what has none. Arrays are multiplied out.
    pub(super) fn size(&self, mut id: u32, budget: &mut Budget) -> Result<Option<u64>, Missing> {
        let mut elements = 1_u64;
        loop {
            let record = self.peel(id, budget)?.record;
            let size = match record.kind {
                Kind::Pointer => POINTER_SIZE,
                Kind::Int | Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Float => {
                    u64::from(record.value)
                }
                Kind::Array => match record.array() {
                    Some(array) => {
                        elements = elements.saturating_mul(u64::from(array.len));
                        id = array.element;
                        continue;
                    }
                    None => return Ok(None),
                },
                _ => return Ok(None),
            };
            return Ok(Some(elements.saturating_mul(size)));
        }
    }

    /// What a value of this type is.
    pub(super) fn shape(&self, mut id: u32, budget: &mut Budget) -> Result<TypeShape, Missing> {
        let mut lens = Vec::new();
        let peeled = loop {
            let peeled = self.peel(id, budget)?;
            let Some(array) = peeled.record.array() else { break peeled };
            // Shapes of arrays of arrays nest, and dropping them recurses.
            budget.spend(Budget::NESTING)?;
            lens.push(array.len);
            id = array.element;
        };
        let name = || self.name(peeled.name).into_owned();
        let innermost = match peeled.record.kind {
            Kind::Int => TypeShape::Int { signed: peeled.record.is_signed_int() },
            Kind::Pointer => TypeShape::Pointer { to: self.pointee(peeled.record.value, budget)? },
            Kind::Struct => TypeShape::Struct { name: name() },
            Kind::Union => TypeShape::Union { name: name() },
            Kind::Enum | Kind::Enum64 => TypeShape::Enum,
            Kind::Float => TypeShape::Float,
            Kind::Void => TypeShape::Void,
            _ => TypeShape::Other,
        };
        let wrap = |element, len| TypeShape::Array { element: Box::new(element), len };
        Ok(lens.into_iter().rev().fold(innermost, wrap))
    }

    fn pointee(&self, id: u32, budget: &mut Budget) -> Result<Option<String>, Missing> {
        let peeled = self.peel(id, budget)?;
        let has_name = match peeled.record.kind {
            Kind::Int | Kind::Float | Kind::Forward => true,
            kind => kind.is_struct() || kind.is_enum(),
        };
        Ok(Some(self.name(peeled.name).into_owned()).filter(|name| has_name && !name.is_empty()))
    }

    /// The parameters and the result of a function's prototype.
    pub(super) fn prototype(&self, record: Record<'_>, budget: &mut Budget) -> Result<Prototype, Missing> {
        if record.info.len() > MOST_PARAMETERS {
            let reason = format!("a function takes {} parameters", record.info.len());
            return Err(Missing::Damaged { reason });
        }
        let mut params = Vec::new();
        let mut variadic = false;
        for [name, type_] in record.parts() {
            // The dots of a variadic function are a parameter without a type.
            if type_ == 0 {
                variadic = true;
                continue;
            }
            params.push(Parameter { name: self.name(name).into_owned(), type_: self.shape(type_, budget)? });
        }
        Ok(Prototype { params, variadic, returns: self.shape(record.value, budget)? })
    }
}
