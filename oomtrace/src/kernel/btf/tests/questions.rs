//! Lookups in BTF made here, whose answers are known by construction.

use super::super::{BitField, Member, Missing, TypeShape};
use super::builder::*;

fn place(member: &Member) -> (u32, u32) {
    (member.offset, member.size)
}

/// Offsets add up through anonymous members, typedefs, arrays and structs by value.
#[test]
fn paths_lead_to_offsets() {
    let btf = every_kind().btf();
    for (path, expected) in [
        ("id", (0, 4)),
        ("color", (4, 4)),
        ("whole", (8, 8)),
        ("real", (8, 8)),
        ("text", (16, 8)),
        ("pairs", (32, 48)),
        ("pairs[1]", (56, 24)),
        ("pairs[1].count", (56, 8)),
        ("pairs[1].count.counter", (56, 8)),
        ("pairs[1].grid[0]", (64, 8)),
        ("grid[2][3]", (80 + (2 * 4 + 3) * 8, 8)),
        ("grid[1]", (80 + 4 * 8, 32)),
        ("wide", (176, 8)),
        ("tail", (184, 0)),
        ("tail[3]", (184 + 3 * 8, 8)),
    ] {
        assert_eq!(place(&btf.member("host", path).unwrap()), expected, "{path}");
    }
    assert_eq!(place(&btf.member("atomic_t", "counter").unwrap()), (0, 8));
}

/// A field's shape is that of its bytes, with the names that tell layouts of different kernels apart.
#[test]
fn shapes_are_peeled() {
    let btf = every_kind().btf();
    let shape = |path| btf.member("host", path).unwrap().type_;
    assert_eq!(shape("id"), TypeShape::Int { signed: true });
    assert_eq!(shape("whole"), TypeShape::Int { signed: false });
    assert_eq!(shape("real"), TypeShape::Float);
    assert_eq!(shape("color"), TypeShape::Enum);
    assert_eq!(shape("wide"), TypeShape::Enum);
    assert_eq!(shape("text"), TypeShape::Pointer { to: Some("char".to_owned()) });
    assert_eq!(shape("next"), TypeShape::Pointer { to: Some("elsewhere".to_owned()) });
    assert_eq!(shape("pairs[0].count"), TypeShape::Struct { name: "atomic_t".to_owned() });
    let pair = TypeShape::Struct { name: "pair".to_owned() };
    assert_eq!(shape("pairs"), TypeShape::Array { element: Box::new(pair), len: 2 });

    // As atomic_long_t is atomic64_t, which is an anonymous struct.
    let mut b = Builder::new();
    let anonymous = b.members(STRUCT, "", 8, &[]);
    let inner = b.add("inner_t", TYPEDEF, 0, anonymous, &[]);
    let outer = b.add("outer_t", TYPEDEF, 0, inner, &[]);
    b.members(STRUCT, "s", 16, &[("named", outer, 0), ("unnamed", anonymous, 64)]);
    let btf = b.btf();
    let shape = |path| btf.member("s", path).unwrap().type_;
    assert_eq!(shape("named"), TypeShape::Struct { name: "inner_t".to_owned() });
    assert_eq!(shape("unnamed"), TypeShape::Struct { name: String::new() });
}

/// Names by value: one where the enum numbers things, more where it does not.
#[test]
fn enums_tell_names_by_value() {
    let mut b = Builder::new();
    b.enumeration(ENUM, "subsys", &[("cpu_id", 1), ("io_id", 3), ("memory_id", 3)]);
    let btf = b.btf();
    assert_eq!(btf.enum_names("subsys", 1), Ok(vec!["cpu_id".to_owned()]));
    assert_eq!(btf.enum_names("subsys", 3), Ok(vec!["io_id".to_owned(), "memory_id".to_owned()]));
    assert_eq!(btf.enum_names("subsys", 2), Ok(Vec::new()));
}

/// A member that lies on another, or beyond the end, is not where the types say: it is missing. Unions, bitfields that
/// share a unit, and members without a size are no such case.
#[test]
fn members_that_overlap_are_missing() {
    let mut b = Builder::new();
    let (int, long) = (b.int("int", 4, true), b.int("long", 8, true));
    b.members(STRUCT, "good", 24, &[("a", long, 0), ("b", int, 64), ("c", int, 96), ("d", long, 128)]);
    b.members(STRUCT, "moved", 24, &[("a", long, 64), ("b", int, 64), ("c", int, 96), ("d", long, 128)]);
    b.members(STRUCT, "beyond", 24, &[("a", long, 0), ("b", int, 64), ("c", int, 96), ("d", long, 160)]);
    let btf = b.btf();
    for name in ["a", "b", "c", "d"] {
        assert!(btf.member("good", name).is_ok(), "{name}");
    }
    for (of, name, there) in [
        ("moved", "a", false),
        ("moved", "b", false),
        ("moved", "c", false),
        ("moved", "d", true),
        ("beyond", "d", false),
    ] {
        let found = btf.member(of, name);
        assert_eq!(found.is_ok(), there, "{of}.{name}");
        assert!(there || matches!(found, Err(Missing::Overlap { .. })), "{of}.{name}: {found:?}");
    }
}

/// Bitfields come as the unit to read and the bits in it, in both encodings, and where they cross a byte.
#[test]
fn bitfields_have_a_unit() {
    let btf = every_kind().btf();
    let low = btf.member("host", "low").unwrap();
    assert_eq!((place(&low), low.bits), ((8, 4), Some(BitField { offset: 0, width: 3 })));
    let high = btf.member("host", "high").unwrap();
    assert_eq!((place(&high), high.bits), ((8, 8), Some(BitField { offset: 30, width: 5 })));

    let mut b = Builder::new();
    let bits = b.add("old", INT, 0, 4, &[2 << 16 | 6]);
    let int = b.int("int", 4, true);
    b.members(STRUCT, "s", 8, &[("pad", int, 0), ("old", bits, 32 + 8)]);
    b.members(STRUCT, "t", 8, &[("plain", int, 3)]);
    let btf = b.btf();
    let old = btf.member("s", "old").unwrap();
    assert_eq!((place(&old), old.bits), ((4, 4), Some(BitField { offset: 10, width: 6 })));
    assert!(matches!(btf.member("t", "plain"), Err(Missing::Size { .. })), "no field begins within a byte");
}

/// What an operator is shown when a field is not there says which part of the path failed.
#[test]
fn missing_fields_are_explained() {
    let btf = every_kind().btf();
    let said = |of, path| btf.member(of, path).unwrap_err().to_string();
    assert_eq!(said("host", "rss"), "struct host has no member rss");
    assert_eq!(said("host", "pairs[0].rss"), "host.pairs[0] has no member rss");
    assert_eq!(said("nobody", "id"), "this kernel has no struct or union named nobody");
    assert_eq!(said("elsewhere", "id"), "this kernel has no struct or union named elsewhere");
    assert_eq!(said("host", "pairs[2]"), "host.pairs has 2 elements, so there is no element 2");
    assert_eq!(
        said("host", "next.id"),
        "host.next is a pointer to elsewhere, which does not contain the member id"
    );
    assert_eq!(said("host", "id[0]"), "host.id is an integer, which does not contain the element 0");
    assert_eq!(said("wrapped_t", "id"), "wrapped_t is an integer, which does not contain the member id");
    for path in ["", ".", "id.", ".id", "id[", "id[x]", "id[1", "id[1]x", "id[-1]", "id[99999999999]"] {
        assert!(matches!(btf.member("host", path), Err(Missing::Path { .. })), "{path}");
    }
}

/// A struct is told from a union and from a forward declaration.
#[test]
fn structs_have_sizes() {
    let btf = every_kind().btf();
    let host = btf.strukt("host").unwrap();
    assert_eq!((host.size, host.is_union), (400, false));
    assert!(btf.strukt("elsewhere").is_err());
    assert!(btf.strukt("").is_err());
}

/// Of several structs with one name the one with the field answers, and a contradiction is not guessed away.
#[test]
fn duplicates_may_not_contradict() {
    let mut b = Builder::new();
    let int = b.int("int", 4, true);
    b.members(STRUCT, "twin", 4, &[("other", int, 0)]);
    b.members(STRUCT, "twin", 8, &[("id", int, 32), ("same", int, 0)]);
    b.members(STRUCT, "twin", 16, &[("id", int, 64), ("same", int, 0)]);
    let btf = b.btf();
    assert_eq!(place(&btf.member("twin", "same").unwrap()), (0, 4));
    assert_eq!(place(&btf.member("twin", "other").unwrap()), (0, 4));
    assert!(matches!(btf.member("twin", "id"), Err(Missing::Ambiguous { .. })));
    assert_eq!(btf.strukt("twin").unwrap().size, 4, "the first in the file");
    assert_eq!(btf.member("twin", "none").unwrap_err().to_string(), "struct twin has no member none");
}

/// Enum values are found by enum, without one, signed, 64 bits wide, and not where two enums disagree.
#[test]
fn enum_values_are_found() {
    let mut b = every_kind();
    b.enumeration(ENUM, "", &[("STATE", 1), ("SHARED", 5)]);
    b.enumeration(ENUM, "", &[("STATE", 2), ("SHARED", 5)]);
    b.enumeration(ENUM, "unsigned", &[("ALL", 0xffff_ffff)]);
    let btf = b.btf();
    assert_eq!(btf.enum_value("color", "RED"), Ok(-1));
    assert_eq!(btf.enum_value("unsigned", "ALL"), Ok(0xffff_ffff));
    assert_eq!(btf.enum_value("wide", "LOWEST"), Ok(i64::MIN));
    assert_eq!(btf.enum_value("", "LOOSE"), Ok(7));
    assert_eq!(btf.enum_value("", "SHARED"), Ok(5));
    assert_eq!(btf.enum_value("", "GREEN"), Ok(2), "in a named enum, asked for without its name");
    assert!(matches!(btf.enum_value("", "STATE"), Err(Missing::Ambiguous { .. })));
    let said = |of, value| btf.enum_value(of, value).unwrap_err().to_string();
    assert_eq!(said("color", "BLUE"), "enum color has no value named BLUE");
    assert_eq!(said("host", "BLUE"), "this kernel has no enum named host");
    assert_eq!(said("", "BLUE"), "this kernel has no enum constant named BLUE");
}

/// Prototypes give the parameters in order, and functions of one name that differ are not mixed up.
#[test]
fn prototypes_are_read() {
    let mut b = every_kind();
    let int = 1;
    let one = b.prototype(0, &[("a", int)]);
    let renamed = b.prototype(0, &[("b", int)]);
    let two = b.prototype(0, &[("a", int), ("b", int)]);
    for (name, proto) in [("same", one), ("same", renamed), ("differs", one), ("differs", two)] {
        b.add(name, FUNCTION, 0, proto, &[]);
    }
    let btf = b.btf();
    let start = btf.function("start").unwrap();
    let names: Vec<&str> = start.params.iter().map(|param| param.name.as_str()).collect();
    assert_eq!(names, ["host", "flags"]);
    assert_eq!(start.params[0].type_, TypeShape::Pointer { to: Some("host".to_owned()) });
    assert_eq!(start.returns, TypeShape::Int { signed: true });
    assert_eq!(btf.typedef_prototype("start_t").unwrap(), start);
    let log = btf.function("log").unwrap();
    assert!(log.variadic && log.params.len() == 1 && log.returns == TypeShape::Void);
    assert_eq!(btf.function("same").unwrap().params[0].name, "a");
    assert!(matches!(btf.function("differs"), Err(Missing::Ambiguous { .. })));
    assert_eq!(btf.function("host").unwrap_err().to_string(), "this kernel has no function named host");
    assert_eq!(
        btf.typedef_prototype("wrapped_t").unwrap_err().to_string(),
        "wrapped_t is an integer, not a function's prototype"
    );
}

/// Names that begin alike, are longer than what is hashed, or end with a word of eight bytes are kept apart.
#[test]
fn names_are_compared_whole() {
    let mut b = Builder::new();
    let names: Vec<String> = (1..200).map(|len| "n".repeat(len)).collect();
    for (name, size) in names.iter().zip(1..) {
        b.members(STRUCT, name, size, &[]);
    }
    let btf = b.btf();
    for (name, size) in names.iter().zip(1..) {
        assert_eq!(btf.strukt(name).unwrap().size, size);
    }
    assert!(btf.strukt(&"n".repeat(200)).is_err());
}
