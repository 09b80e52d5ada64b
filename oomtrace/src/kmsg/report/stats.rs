//! Statistics of the memory cgroup at its limit, bytes (counts stay counts).
//!
//! Since 5.3 they are those of memory.stat (memory_stat_format(), mm/memcontrol.c), a line each, in one message or in one for
//! each. Before, `Memory cgroup stats for /a: cache:0KB rss:4KB …` has them in KB, for that cgroup and each below it.

use std::collections::BTreeMap;

use super::bounded::{bytes, insert};
use crate::{kmsg::line::last, text::from_kernel};

const HEAD: &[u8] = b"Memory cgroup stats for ";
/// The first figure of the older form (`mem_cgroup_stat_names[]`).
const FIRST: &[u8] = b": cache:";

/// The cgroup and its figures in one line, before 5.3.
pub fn in_one_line(text: &[u8]) -> Option<(String, BTreeMap<String, u64>)> {
    let rest = text.strip_prefix(HEAD).filter(|rest| rest.starts_with(b"/"))?;
    // Whatever the cgroup's name is: figures have no blank behind a colon.
    let at = last(rest, FIRST)?;
    let figures = in_kb(rest.get(at + 1..)?)?;
    Some((from_kernel(rest.get(..at)?), figures))
}

/// ` cache:0KB rss:4KB …`.
pub fn in_kb(text: &[u8]) -> Option<BTreeMap<String, u64>> {
    let text = str::from_utf8(text).ok()?.strip_prefix(" cache:")?;
    let mut map = BTreeMap::new();
    let mut figures = text.split(' ').filter(|figure| !figure.is_empty());
    insert(&mut map, "cache", bytes(figures.next()?)?);
    for figure in figures {
        // The last may have lost its end.
        let Some((key, value)) = figure.split_once(':') else { break };
        let Some(value) = bytes(value) else { break };
        insert(&mut map, key, value);
    }
    Some(map)
}

/// `anon 46903296`, one or more lines of it; whether it is that.
pub fn by_line(text: &[u8], map: &mut BTreeMap<String, u64>) -> bool {
    let mut any = false;
    for line in text.split(|byte| *byte == b'\n') {
        let Some((key, value)) = figure(line) else { break };
        insert(map, key, value);
        any = true;
    }
    any
}

fn figure(line: &[u8]) -> Option<(&str, u64)> {
    let (key, value) = str::from_utf8(line).ok()?.split_once(' ')?;
    let named = key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let begins = key.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    (named && begins).then(|| Some((key, value.parse().ok()?)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the form before 5.3 (4.19, mm/memcontrol.c), cgroups that look like it, and lines that are cut short.
    #[test]
    fn one_line() {
        let (path, stats) =
            in_one_line(b"Memory cgroup stats for /docker/1f: cache:0KB rss:49048KB rss_huge:0KB unevict")
                .unwrap();
        assert_eq!((path.as_str(), stats["rss"], stats.len()), ("/docker/1f", 49048 << 10, 3));
        let (path, stats) = in_one_line(b"Memory cgroup stats for /a: cache:7KB: cache:1KB").unwrap();
        assert_eq!((path.as_str(), stats["cache"]), ("/a: cache:7KB", 1024));
        assert!(in_one_line(b"Memory cgroup stats for /a:").is_none());
        assert!(in_one_line(b"Memory cgroup stats for x: cache:1KB").is_none());
    }

    /// Guards the form since 5.3, in one message and in many, and what follows it.
    #[test]
    fn a_line_each() {
        let mut map = BTreeMap::new();
        assert!(by_line(b"anon 46903296\nfile 0\nkernel_stack 1638", &mut map));
        assert!(by_line(b"thp_fault_alloc 3", &mut map));
        assert_eq!((map["anon"], map["file"], map["thp_fault_alloc"], map.len()), (46_903_296, 0, 3, 4));
        for other in ["Tasks state (memory values in pages):", "usb 1-1: new", "12 3", "anon -1", "anon", ""]
        {
            assert!(!by_line(other.as_bytes(), &mut map), "{other}");
        }
    }
}
