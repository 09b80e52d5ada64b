//! Damaged and malicious BTF: never a panic, and never more than bounded work.

use std::time::{Duration, Instant};

use super::super::{Btf, Missing, excerpt};
use super::builder::*;

/// Far more than any of these takes, on any machine.
const SOON: Duration = Duration::from_mins(1);

/// Random enough numbers, the same in every run.
pub struct Xorshift(pub u64);

impl Xorshift {
    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

/// Asks everything, cuts an excerpt, and asks that too if there is one.
fn use_fully(btf: &Btf) -> usize {
    let answers = ask_everything(btf);
    if let Ok(cut) = excerpt(btf, &["host", "start", "start_t", "log", "color", "LOOSE", "none"]) {
        assert_eq!(ask_everything(&Btf::parse(cut.btf).expect("an excerpt is always valid BTF")), answers);
    }
    answers
}

/// Wherever a file is cut off, it is refused.
#[test]
fn truncation_is_refused_at_every_byte() {
    let file = every_kind().file();
    for len in 0..file.len() {
        assert!(Btf::parse(file[..len].to_vec()).is_err(), "cut to {len} bytes");
    }
    // Also where the header has been made to agree with it.
    let whole = every_kind();
    for len in 0..whole.types.len() {
        let mut cut = every_kind();
        cut.types.truncate(len);
        if let Ok(btf) = Btf::parse(cut.file()) {
            assert!(btf.type_count() < whole.count);
            ask_everything(&btf);
        }
    }
}

/// Whatever bytes and words are changed, there is an answer or an error, in bounded time.
#[test]
fn random_damage_is_survived() {
    let file = every_kind().file();
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    let begun = Instant::now();
    let mut usable = 0;
    let mut answers = 0;
    for _ in 0..2000 {
        let mut damaged = file.clone();
        for _ in 0..=random.below(6) {
            let at = random.below(file.len());
            if random.below(2) == 0 {
                damaged[at] ^= 1 << random.below(8);
            } else if let Some(word) = damaged.get_mut(at / 4 * 4..at / 4 * 4 + 4) {
                let values =
                    [0, 1, 35, 36, 0x7f, u32::MAX, 1 << 31, u32::try_from(random.below(40)).unwrap()];
                word.copy_from_slice(&values[random.below(values.len())].to_ne_bytes());
            }
        }
        if let Ok(btf) = Btf::parse(damaged) {
            usable += 1;
            answers += ask_everything(&btf);
            let _ = excerpt(&btf, &["host", "start", "start_t", "color", "LOOSE"]).map(|cut| {
                ask_everything(&Btf::parse(cut.btf).expect("an excerpt is always valid BTF"));
            });
        }
    }
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    // The damage has to leave enough for this test to reach the lookups at all.
    assert!(usable > 500 && answers > 5_000, "{usable} usable, {answers} answers");
}

/// Typedefs, arrays and structs that contain themselves end in an error.
#[test]
fn cycles_end() {
    let begun = Instant::now();
    let mut b = Builder::new();
    b.add("endless", TYPEDEF, 0, 2, &[]);
    b.add("", CONST, 0, 1, &[]);
    b.array(3, 1);
    b.members(STRUCT, "", 8, &[("", 4, 0)]);
    b.members(STRUCT, "s", 8, &[("typedef", 1, 0), ("array", 3, 0), ("", 4, 0)]);
    b.add("", POINTER, 0, 1, &[]);
    b.members(STRUCT, "p", 8, &[("endless", 6, 0)]);
    b.add("f", FUNCTION, 0, 1, &[]);
    let btf = b.btf();
    for (of, path) in [
        ("s", "typedef"),
        ("s", "typedef.x"),
        ("s", "array"),
        ("s", "array[0]"),
        ("s", "none"),
        ("p", "endless"),
        ("endless", "x"),
    ] {
        assert!(matches!(btf.member(of, path), Err(Missing::Damaged { .. })), "{of}.{path}");
    }
    assert!(matches!(btf.function("f"), Err(Missing::Damaged { .. })));
    assert!(matches!(btf.typedef_prototype("endless"), Err(Missing::Damaged { .. })));
    excerpt(&btf, &["s", "p", "f", "endless"]).unwrap();
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

/// Anonymous structs that each contain the next twice would take 2^64 steps; arrays that multiply, more bytes
/// than there are; arrays of arrays, a stack.
#[test]
fn explosions_are_contained() {
    let begun = Instant::now();
    let mut b = Builder::new();
    let int = b.int("int", 4, true);
    let mut inner = b.members(STRUCT, "", 4, &[("x", int, 0)]);
    for _ in 0..64 {
        inner = b.members(STRUCT, "", 4, &[("", inner, 0), ("", inner, 0)]);
    }
    b.members(STRUCT, "bush", 4, &[("", inner, 0)]);
    let mut nested = int;
    for _ in 0..100_000 {
        nested = b.array(nested, u32::MAX);
    }
    let big = b.array(int, u32::MAX);
    b.members(STRUCT, "deep", 4, &[("nested", nested, 0), ("big", big, 0)]);
    b.members(STRUCT, "long", u32::MAX, &[("far", int, u32::MAX << 3)]);
    let btf = b.btf();
    assert!(matches!(btf.member("bush", "none"), Err(Missing::Damaged { .. })));
    for path in ["nested", "big", "big[4294967294]"] {
        assert!(matches!(btf.member("deep", path), Err(Missing::Overlap { .. })), "{path}");
    }
    assert_eq!(btf.member("long", "far").unwrap().offset, u32::MAX >> 3);
    excerpt(&btf, &["bush", "deep", "long"]).unwrap();
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

/// Very many types of one name, functions of very many parameters, and one enormous name cost a bounded time.
#[test]
fn floods_are_contained() {
    let begun = Instant::now();
    let mut b = every_kind();
    let name = b.name(&"x".repeat(8 << 20));
    for _ in 0..300_000 {
        b.add("", STRUCT, 0, 4, &[]);
        let at = b.types.len() - 12;
        b.types[at..at + 4].copy_from_slice(&name.to_ne_bytes());
    }
    let params = vec![("", 1); 1 << 20];
    let proto = b.prototype(0, &params);
    b.add("crowd", FUNCTION, 0, proto, &[]);
    b.members(STRUCT, "host", 4, &vec![("", 1, 0); 1 << 20]);
    let btf = b.btf();
    use_fully(&btf);
    assert!(matches!(btf.function("crowd"), Err(Missing::Damaged { .. })));
    assert!(matches!(btf.strukt(&"x".repeat(100)), Err(Missing::Damaged { .. })));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

/// An intact file answers the same through an excerpt of what was asked.
#[test]
fn excerpts_answer_alike() {
    assert!(use_fully(&every_kind().btf()) > 20);
}

/// Types that do not exist, and types where they cannot be, are damage and not zero.
#[test]
fn dangling_references_are_damage() {
    let mut b = Builder::new();
    let variable = b.add("v", VARIABLE, 0, 0, &[0]);
    b.members(STRUCT, "s", 8, &[("gone", 99, 0), ("odd", variable, 0)]);
    let btf = b.btf();
    assert_eq!(
        btf.member("s", "gone").unwrap_err().to_string(),
        "the kernel's type information is damaged: it refers to type 99, and there are only 2"
    );
    assert!(matches!(btf.member("s", "odd"), Err(Missing::Size { .. })));
    assert!(excerpt(&btf, &["s"]).is_err());
}
