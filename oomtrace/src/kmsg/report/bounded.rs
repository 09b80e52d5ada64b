//! Figures by the kernel's name: as many as any kernel has, and no more.

use std::collections::BTreeMap;

/// Names in one map, at the most: memory.stat of 7.2 has 90.
const KEYS: usize = 200;

/// Takes a figure in. Of two with one name the first counts.
pub fn insert(map: &mut BTreeMap<String, u64>, key: &str, value: u64) {
    if map.len() < KEYS && !map.contains_key(key) {
        map.insert(key.to_owned(), value);
    }
}

/// `1234kB` in bytes. Some are printed as `KB`.
pub fn bytes(text: &str) -> Option<u64> {
    let kb = text.strip_suffix("kB").or_else(|| text.strip_suffix("KB"))?;
    kb.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards sizes: none without its unit, none that is cut short, none too large.
    #[test]
    fn sizes() {
        assert_eq!((bytes("3kB"), bytes("4KB")), (Some(3072), Some(4096)));
        for text in ["3", "3k", "kB", "-3kB", "18446744073709551615kB"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    /// Guards memory, and the first of two.
    #[test]
    fn maps_are_bounded() {
        let mut map = BTreeMap::new();
        for key in 0..1000 {
            insert(&mut map, &key.to_string(), 1);
            insert(&mut map, "0", 2);
        }
        assert_eq!((map.len(), map["0"]), (KEYS, 1));
    }
}
