//! What aya needs to attach trampolines: the type id of each function.
//!
//! aya looks a function up in the kernel's type information, of which it would parse all 127,000 types, to 20 MB, for
//! three names. So it is given a substitute: as many types, all alike and of no meaning, but for these functions at
//! their own ids.

use std::collections::BTreeMap;

use aya::{Btf as AyaBtf, BtfError, Endianness};

use super::{
    btf::Btf,
    hooks::{Kind, ROLES},
};

/// linux/btf.h
const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
const HEADER_LEN: u32 = 24;
const KIND_FWD: u32 = 7;
const KIND_FUNC: u32 = 12;

/// The substitute for a kernel's type information. Functions that the kernel lacks are not in it.
pub fn substitute(btf: &Btf) -> Result<AyaBtf, BtfError> {
    let targets = ROLES
        .iter()
        .flat_map(|role| role.choices)
        .flat_map(|choice| choice.hooks)
        .filter(|hook| matches!(hook.kind, Kind::Fentry | Kind::Fexit))
        .map(|hook| hook.target);
    let functions = targets.filter_map(|name| Some((btf.function_id(name).ok()?, name))).collect();
    AyaBtf::parse(&blob(&functions), Endianness::default())
}

/// The same for one function, whose id is known.
pub fn of_function(name: &str, id: u32) -> Result<AyaBtf, BtfError> {
    AyaBtf::parse(&blob(&BTreeMap::from([(id, name)])), Endianness::default())
}

/// BTF with functions at the ids given.
fn blob(functions: &BTreeMap<u32, &str>) -> Vec<u8> {
    let mut types = Vec::new();
    // String 0 is the empty one, the name of what has none.
    let mut strings = vec![0];
    let last = functions.keys().next_back().copied().unwrap_or(0);
    for id in 1..=last {
        let (name, kind) = match functions.get(&id) {
            Some(name) => {
                let at = u32::try_from(strings.len()).unwrap_or(0);
                strings.extend(name.as_bytes());
                strings.push(0);
                (at, KIND_FUNC)
            }
            None => (0, KIND_FWD),
        };
        for word in [name, kind << 24, 0] {
            types.extend(word.to_ne_bytes());
        }
    }
    let len = |part: &[u8]| u32::try_from(part.len()).unwrap_or(u32::MAX);
    let mut blob = Vec::with_capacity(HEADER_LEN as usize + types.len() + strings.len());
    blob.extend(MAGIC.to_ne_bytes());
    blob.extend([VERSION, 0]);
    for word in [HEADER_LEN, 0, len(&types), len(&types), len(&strings)] {
        blob.extend(word.to_ne_bytes());
    }
    blob.extend(types);
    blob.extend(strings);
    blob
}

#[cfg(test)]
mod tests {
    use aya_obj::btf::BtfKind;

    use super::*;

    /// Guards the ids: aya finds each function where the kernel has it, and nothing else.
    #[test]
    fn functions_stand_at_their_ids() {
        let functions = BTreeMap::from([(5, "out_of_memory"), (70_000, "oom_kill_process")]);
        let btf = AyaBtf::parse(&blob(&functions), Endianness::default()).unwrap();
        let id = |name| btf.id_by_type_name_kind(name, BtfKind::Func).ok();
        assert_eq!(id("out_of_memory"), Some(5));
        assert_eq!(id("oom_kill_process"), Some(70_000));
        assert_eq!(id("oom_badness"), None);
        assert!(AyaBtf::parse(&blob(&BTreeMap::new()), Endianness::default()).is_ok());
    }
}
