//! Counters of the memory cgroup at its limit (mem_cgroup_print_oom_meminfo(), mm/memcontrol.c), since 2.6.29.

use super::types::{Charge, ChargeKind};

/// From here on a limit is none. The kernel's greatest is `PAGE_COUNTER_MAX` pages, `LLONG_MAX` bytes rounded to pages
/// (9007199254740988kB with pages of 4 KiB), and `RES_COUNTER_MAX` before 3.19; pages of 64 KiB round it down a little more.
const NO_LIMIT_KB: u64 = (1 << 53) - 1024;
/// The same on 32 bits: `LONG_MAX` pages.
const NO_LIMIT_KB_32: u64 = ((1 << 31) - 1) * 4;

/// `memory: usage 65536kB, limit 65536kB, failcnt 12`.
pub fn parse(text: &[u8]) -> Option<Charge> {
    let text = str::from_utf8(text).ok()?;
    let (what, rest) = text.split_once(": usage ")?;
    let kind = match what {
        "memory" => ChargeKind::Memory,
        "memory+swap" => ChargeKind::MemorySwap,
        "swap" => ChargeKind::Swap,
        "kmem" => ChargeKind::Kernel,
        _ => return None,
    };
    let (usage, rest) = rest.split_once("kB, limit ")?;
    let (limit, hits) = rest.split_once("kB, failcnt ")?;
    let limit_kb: u64 = limit.parse().ok()?;
    let usage_bytes = usage.parse::<u64>().ok()?.checked_mul(1024)?;
    let limit_bytes = if limit_kb >= NO_LIMIT_KB || limit_kb == NO_LIMIT_KB_32 {
        None
    } else {
        Some(limit_kb.checked_mul(1024)?)
    };
    Some(Charge { kind, usage_bytes, limit_bytes, hits: Some(hits.parse().ok()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the counters of both versions (3.10 and 6.12, mm/memcontrol.c), and limits that are none.
    #[test]
    fn counters() {
        let charge = parse(b"memory: usage 65536kB, limit 65540kB, failcnt 12").unwrap();
        let expected = Charge {
            kind: ChargeKind::Memory,
            usage_bytes: 65536 << 10,
            limit_bytes: Some(65540 << 10),
            hits: Some(12),
        };
        assert_eq!(charge, expected);
        for (text, kind) in [
            ("memory+swap: usage 1kB, limit 9007199254740991kB, failcnt 0", ChargeKind::MemorySwap),
            ("memory+swap: usage 1kB, limit 18014398509481983kB, failcnt 0", ChargeKind::MemorySwap),
            ("kmem: usage 1kB, limit 9007199254740988kB, failcnt 0", ChargeKind::Kernel),
            ("swap: usage 1kB, limit 9007199254740928kB, failcnt 0", ChargeKind::Swap),
            ("swap: usage 1kB, limit 8589934588kB, failcnt 0", ChargeKind::Swap),
        ] {
            let charge = parse(text.as_bytes()).unwrap();
            assert_eq!((charge.kind, charge.limit_bytes), (kind, None), "{text}");
        }
    }

    /// Guards against what is not whole, and what only looks like it.
    #[test]
    fn other_lines() {
        for text in [
            "memory: usage 65536kB, limit 65540kB, failcnt ",
            "memory: usage 65536kB, limit 65540k",
            "memory: usage 18446744073709551615kB, limit 1kB, failcnt 0",
            "x memory: usage 1kB, limit 1kB, failcnt 0",
            "memory: usage 1kB, limit 1kB, failcnt 0 x",
            "tcp: usage 1kB, limit 1kB, failcnt 0",
            "memory",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
