//! The file as a whole: what is read and what is refused.

use super::super::{Btf, BtfError};
use super::builder::*;

fn refusal(bytes: Vec<u8>) -> String {
    Btf::parse(bytes).unwrap_err().to_string()
}

/// Every kind's length is right: one wrong length and the types behind it could not be found.
#[test]
fn every_kind_is_stepped_over() {
    let builder = every_kind();
    let btf = builder.btf();
    assert_eq!(btf.type_count(), builder.count);
    assert_eq!(btf.function("log").unwrap().params.len(), 1);
}

/// An empty type section is BTF in which nothing is found.
#[test]
fn no_types_are_no_error() {
    let btf = Builder::new().btf();
    assert_eq!(btf.type_count(), 0);
    assert_eq!(btf.strukt("any").unwrap_err().to_string(), "this kernel has no struct or union named any");
}

/// Files that are not BTF, or not this machine's, are told apart.
#[test]
fn foreign_headers_are_refused_by_name() {
    let file = every_kind().file();
    let with = |at: usize, byte: u8| {
        let mut file = file.clone();
        file[at] = byte;
        file
    };
    let mut swapped = file.clone();
    swapped.swap(0, 1);
    assert!(matches!(Btf::parse(swapped), Err(BtfError::ForeignByteOrder)));
    assert!(matches!(Btf::parse(with(0, 0x7f)), Err(BtfError::BadMagic { .. })));
    assert!(matches!(Btf::parse(Vec::new()), Err(BtfError::BadMagic { .. })));
    assert!(matches!(Btf::parse(with(2, 2)), Err(BtfError::UnknownVersion { version: 2 })));
    assert!(matches!(Btf::parse(with(3, 1)), Err(BtfError::UnknownFlags { flags: 1 })));
    assert!(matches!(Btf::parse(with(4, 23)), Err(BtfError::Truncated { part: "header", .. })));
}

/// A header that newer kernels lengthened is read as far as it is known.
#[test]
fn longer_headers_are_read() {
    let builder = every_kind();
    for more in [&[7][..], &[0, 0], &[0, 0, 1, 2, 3]] {
        assert_eq!(Btf::parse(builder.file_with(more)).unwrap().type_count(), builder.count);
    }
}

/// A kind of the future is refused, since everything behind it would be misread...
#[test]
fn unknown_kinds_are_refused() {
    let mut builder = every_kind();
    builder.add("novelty", 22, 2, 0, &[1, 2, 3, 4, 5, 6]);
    builder.members(STRUCT, "behind", 4, &[("id", 1, 0)]);
    let said = refusal(builder.file());
    assert!(said.starts_with("Type 37 is of kind 22, whose length is unknown"), "{said}");
    let mut zero = Builder::new();
    zero.add("", 0, 0, 0, &[]);
    assert!(matches!(Btf::parse(zero.file()), Err(BtfError::UnknownKind { id: 1, kind: 0 })));
}

/// ...unless the BTF has the layout section of newer kernels, which says how long each kind is.
#[test]
fn the_layout_section_tells_unknown_lengths() {
    let mut builder = every_kind();
    builder.add("novelty", 22, 2, 0, &[1, 2, 3, 4, 5, 6, 7]);
    builder.members(STRUCT, "behind", 4, &[("id", 1, 0)]);
    let end = u32::try_from(builder.types.len() + builder.strings.len()).unwrap();
    let layout = |kinds: u32| {
        let mut file = builder.file_with(&[end, kinds * 4]);
        for kind in 0..kinds {
            file.extend(if kind == 22 { [4, 12, 0, 0] } else { [0; 4] });
        }
        file
    };
    let btf = Btf::parse(layout(23)).unwrap();
    assert_eq!(btf.member("behind", "id").unwrap().size, 4);
    assert!(matches!(Btf::parse(layout(22)), Err(BtfError::UnknownKind { kind: 22, .. })));
    // Kind 0 has an entry too, and yet no record.
    let mut void = Builder::new();
    void.add("", 0, 0, 0, &[]);
    let mut file = void.file_with(&[13, 4]);
    file.extend([0; 4]);
    assert!(matches!(Btf::parse(file), Err(BtfError::UnknownKind { kind: 0, .. })));
}

/// A module's BTF says in words why it cannot be used alone, whichever way it shows.
#[test]
fn split_btf_is_refused() {
    let mut module = Builder::new();
    module.strings = b"init_module\0".to_vec();
    assert!(refusal(module.file()).contains("It is split BTF, as kernel modules have it"));
    let mut module = every_kind();
    module.add("", CONST, 0, 1, &[]);
    let last = module.types.len() - 12;
    module.types[last..last + 4].copy_from_slice(&9999_u32.to_ne_bytes());
    let said = refusal(module.file());
    assert!(said.starts_with("The name of type 37 is at 9999") && said.contains("a module's"), "{said}");
}

/// Names that would run past the end of their section are refused before anything reads one.
#[test]
fn unterminated_strings_are_refused() {
    let mut builder = every_kind();
    builder.strings.pop();
    assert!(matches!(Btf::parse(builder.file()), Err(BtfError::BadStrings { .. })));
    builder.strings.clear();
    assert!(matches!(Btf::parse(builder.file()), Err(BtfError::BadStrings { .. })));
}

/// The path and the reason both reach whoever reads the error.
#[test]
fn files_are_named_in_errors() {
    let said = Btf::read(std::path::Path::new("/nonexistent/btf")).unwrap_err().to_string();
    assert!(said.contains("/nonexistent/btf") && said.contains("No such file"), "{said}");
    let said = Btf::read(std::path::Path::new("/proc/self/cmdline")).unwrap_err().to_string();
    assert!(said.contains("/proc/self/cmdline cannot be used. It is not BTF"), "{said}");
}
