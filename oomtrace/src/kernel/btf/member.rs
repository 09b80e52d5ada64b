//! Finding a field: from a type's name and a path to an offset and a size.

use super::lookup::Budget;
use super::raw::{Kind, Record};
use super::{Btf, Missing, TypeShape};

/// Where a field is and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it begins, in bytes from the start of the type that was asked about. For a bitfield, where the
    /// unit begins that has to be read.
    pub offset: u32,
    /// How many bytes it has, or the bitfield's unit: 1, 2, 4 or 8. A flexible array has 0.
    pub size: u32,
    /// Which bits of the unit it is, for bitfields.
    pub bits: Option<BitField>,
    /// What it is.
    pub type_: TypeShape,
}

impl Member {
    fn place(&self) -> (u32, u32, Option<BitField>) {
        (self.offset, self.size, self.bits)
    }
}

/// Some bits of a unit of [`Member::size`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitField {
    /// The first bit; on a little-endian machine counted from the unit's least significant bit.
    pub offset: u32,
    /// How many bits.
    pub width: u32,
}

/// One step of a path.
#[derive(Debug, Clone, Copy)]
enum Step<'p> {
    Member(&'p str),
    Index(u32),
}

/// Where a walk along a path has come to.
#[derive(Debug, Clone, Copy)]
struct Place {
    id: u32,
    /// Where the struct begins that the last member was found in, in bytes.
    base: u64,
    /// Where this is, in bits from there.
    bit: u64,
    /// For a bitfield, its bits.
    width: Option<u32>,
}

impl Btf {
    /// Where a field is. `of` is a struct, a union or a typedef of one; `path` goes through structs by value
    /// (`css.cgroup`), through anonymous members unsaid, and into arrays (`rss_stat[1].count`), whose
    /// flexible kind has every index. It does not follow pointers.
    ///
    /// Where several types have the name, the first with the field answers; that they put it in different
    /// places is an error.
    pub fn member(&self, of: &str, path: &str) -> Result<Member, Missing> {
        let steps = parse(path).ok_or_else(|| Missing::Path { path: path.to_owned() })?;
        let budget = &mut Budget::new();
        let mut found = self.all(of, Kind::is_struct, budget)?;
        if found.is_empty() {
            found = self.all(of, |kind| kind == Kind::Typedef, budget)?;
        }
        let mut answer: Result<Member, _> =
            Err(Missing::Type { what: "struct or union", name: of.to_owned() });
        for (i, (id, _)) in found.into_iter().enumerate() {
            let next = self.walk(id, of, &steps, budget);
            match (&answer, &next) {
                (Ok(known), Ok(other)) if known.place() != other.place() => {
                    return Err(Missing::Ambiguous { what: format!("{of}.{path}") });
                }
                // Whether this one contradicts the others cannot be known.
                (_, Err(Missing::Damaged { .. })) => return next,
                (Err(_), Ok(_)) => answer = next,
                (Err(_), Err(_)) if i == 0 => answer = next,
                _ => {}
            }
        }
        answer
    }

    fn walk(&self, id: u32, of: &str, steps: &[Step<'_>], budget: &mut Budget) -> Result<Member, Missing> {
        let mut place = Place { id, base: 0, bit: 0, width: None };
        let said = |upto: usize| said(of, steps.get(..upto).unwrap_or(steps));
        for (i, step) in steps.iter().enumerate() {
            let record = self.peel(place.id, budget)?.record;
            let start = place.base.saturating_add(place.bit / 8);
            match *step {
                Step::Member(name) if record.kind.is_struct() => {
                    let (holder, found) = self.find(record, start, name, budget)?.ok_or_else(|| {
                        let what = if record.kind == Kind::Union { "union" } else { "struct" };
                        let of = if i == 0 { format!("{what} {of}") } else { said(i) };
                        Missing::Member { of, member: name.to_owned() }
                    })?;
                    if let Some(other) = self.overlapped(holder, &found, budget)? {
                        return Err(Missing::Overlap { of: said(i + 1), other });
                    }
                    place = found;
                }
                Step::Index(index) if let Some(array) = record.array() => {
                    if array.len != 0 && index >= array.len {
                        return Err(Missing::Index { of: said(i), len: array.len, index });
                    }
                    let size = self.size(array.element, budget)?.unwrap_or(0);
                    let base = start.saturating_add(size.saturating_mul(u64::from(index)));
                    place = Place { id: array.element, base, bit: 0, width: None };
                }
                step => {
                    let found = self.shape(place.id, budget)?.to_string();
                    let inner = match step {
                        Step::Member(name) => format!("the member {name}"),
                        Step::Index(index) => format!("the element {index}"),
                    };
                    return Err(Missing::NotInside { of: said(i), found, inner });
                }
            }
        }
        self.measure(&place, || said(steps.len()), budget)
    }

    /// Finds a member in a struct that begins `start` bytes from where the path began, and in its anonymous
    /// members. Gives the struct that it is in too.
    fn find<'a>(
        &'a self,
        record: Record<'a>,
        start: u64,
        wanted: &str,
        budget: &mut Budget,
    ) -> Result<Option<(Record<'a>, Place)>, Missing> {
        let mut open = vec![(record, start)];
        while let Some((record, base)) = open.pop() {
            budget.spend(record.info.len())?;
            for [name, id, place] in record.parts() {
                let (bit, width) = bits(record, place);
                if self.is_name(name, wanted) {
                    return Ok(Some((record, Place { id, base, bit, width })));
                }
                if self.is_name(name, "") {
                    let inner = self.peel(id, budget)?.record;
                    if inner.kind.is_struct() {
                        open.push((inner, base.saturating_add(bit / 8)));
                    }
                }
            }
        }
        Ok(None)
    }

    /// What else in the struct that `found` is in lies where it lies: another member, or the end. A compiler gives
    /// every member its own place; types that say otherwise do not tell where it is.
    fn overlapped(
        &self,
        holder: Record<'_>,
        found: &Place,
        budget: &mut Budget,
    ) -> Result<Option<String>, Missing> {
        if holder.kind == Kind::Union {
            return Ok(None);
        }
        let (start, end) = self.extent(found.id, found.bit, found.width, budget)?;
        if end > u64::from(holder.value) * 8 {
            return Ok(Some("the end of its struct".to_owned()));
        }
        budget.spend(holder.info.len())?;
        for [name, id, place] in holder.parts() {
            let (bit, width) = bits(holder, place);
            if (id, bit, width) == (found.id, found.bit, found.width) {
                continue;
            }
            // One that begins behind it need not be measured.
            if bit < end && {
                let (other_start, other_end) = self.extent(id, bit, width, budget)?;
                other_start < end && start < other_end
            } {
                let name = self.name(name);
                return Ok(Some(if name.is_empty() {
                    "an unnamed member".to_owned()
                } else {
                    name.into_owned()
                }));
            }
        }
        Ok(None)
    }

    /// From which bit to which a member reaches. What has no size takes no place.
    fn extent(
        &self,
        id: u32,
        bit: u64,
        width: Option<u32>,
        budget: &mut Budget,
    ) -> Result<(u64, u64), Missing> {
        let peeled = self.peel(id, budget)?.record;
        // Without kind_flag a bitfield is an integer type that says which of its bits it is.
        let (bit, width) = match (width, peeled.int_bits()) {
            (None, Some((offset, bits))) => (bit.saturating_add(u64::from(offset)), Some(bits)),
            (width, _) => (bit, width),
        };
        let bits = match width {
            Some(width) => u64::from(width),
            None => self.size(id, budget)?.unwrap_or(0).saturating_mul(8),
        };
        Ok((bit, bit.saturating_add(bits)))
    }

    fn measure(
        &self,
        place: &Place,
        said: impl Fn() -> String,
        budget: &mut Budget,
    ) -> Result<Member, Missing> {
        let type_ = self.shape(place.id, budget)?;
        let unreadable = || Missing::Size { of: said(), found: type_.to_string() };
        let size = self.size(place.id, budget)?.ok_or_else(unreadable)?;
        let mut bit = place.bit;
        let mut width = place.width;
        // Without kind_flag a bitfield is an integer type that says which of its bits it is.
        if width.is_none()
            && let Some((offset, bits)) = self.peel(place.id, budget)?.record.int_bits()
            && (offset != 0 || u64::from(bits) != size * 8)
        {
            bit = bit.saturating_add(u64::from(offset));
            width = Some(bits);
        }
        let (start, size, bits) = match width {
            Some(width) => bit_field(bit, width, size).ok_or_else(unreadable)?,
            None if bit.is_multiple_of(8) => (bit / 8, size, None),
            None => return Err(unreadable()),
        };
        let offset = u32::try_from(place.base.saturating_add(start)).map_err(|_| unreadable())?;
        let size = u32::try_from(size).map_err(|_| unreadable())?;
        Ok(Member { offset, size, bits, type_ })
    }
}

/// Where a member begins, in bits, and how many bits it has if it is a bitfield.
fn bits(of: Record<'_>, place: u32) -> (u64, Option<u32>) {
    let (bit, width) = if of.info.flag() { (place & 0x00ff_ffff, place >> 24) } else { (place, 0) };
    (u64::from(bit), Some(width).filter(|width| *width != 0))
}

/// Where the unit that holds these bits begins and how long it is, in bytes, and which of its bits they are.
///
/// As the kernel's own CO-RE does it (libbpf's `bpf_core_calc_field_relo`): the smallest aligned unit that is
/// no smaller than the declared type and holds all of the bits.
fn bit_field(bit: u64, width: u32, declared: u64) -> Option<(u64, u64, Option<BitField>)> {
    [1, 2, 4, 8].into_iter().filter(|unit| *unit >= declared && width != 0).find_map(|unit| {
        let start = bit / 8 / unit * unit;
        let offset = u32::try_from(bit - start * 8).ok()?;
        let fits = u64::from(offset) + u64::from(width) <= unit * 8;
        fits.then_some((start, unit, Some(BitField { offset, width })))
    })
}

/// Takes `a.b[1].c` apart.
fn parse(path: &str) -> Option<Vec<Step<'_>>> {
    let mut steps = Vec::new();
    for part in path.split('.') {
        let mut pieces = part.split('[');
        steps.push(Step::Member(pieces.next().filter(|name| !name.is_empty())?));
        for index in pieces {
            steps.push(Step::Index(index.strip_suffix(']')?.parse().ok()?));
        }
    }
    Some(steps)
}

/// The path so far, for messages.
fn said(of: &str, steps: &[Step<'_>]) -> String {
    steps.iter().fold(of.to_owned(), |said, step| match step {
        Step::Member(name) => said + "." + name,
        Step::Index(index) => format!("{said}[{index}]"),
    })
}
