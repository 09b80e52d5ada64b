//! The header of a failed allocation (warn_alloc(), __alloc_pages_slowpath(): mm/page_alloc.c).

use super::types::AllocationFailed;
use crate::{
    kmsg::line::{COMM_LEN, find, flag_names},
    text::from_kernel,
};

const WORDS: &[u8] = b": page allocation failure";

/// `x: page allocation failure: order:4, mode:0x40cc0(GFP_KERNEL|__GFP_COMP), nodemask=(null)`; without names of flags before
/// 4.6, with a full stop instead of the second colon before 3.1.
pub fn parse(text: &[u8]) -> Option<AllocationFailed> {
    let at = find(text.get(..text.len().min(COMM_LEN + WORDS.len()))?, WORDS)?;
    let rest = str::from_utf8(text.get(at + WORDS.len()..)?).ok()?;
    let rest = rest.strip_prefix([':', '.'])?.strip_prefix(" order:")?;
    let (order, rest) = rest.split_once(", mode:")?;
    let mask_end = rest.find(['(', ',']).unwrap_or(rest.len());
    let (mask, rest) = rest.split_at_checked(mask_end)?;
    let names = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let mask = mask.trim_end();
    Some(AllocationFailed {
        comm: from_kernel(text.get(..at)?),
        gfp_mask: u32::from_str_radix(mask.strip_prefix("0x").unwrap_or(mask), 16).ok()?,
        gfp_flags: names.and_then(|(names, _)| flag_names(names)),
        order: order.parse().ok()?,
        ..AllocationFailed::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the header of 2.6.32, 3.10, 4.9 and 6.1 (mm/page_alloc.c).
    #[test]
    fn headers() {
        let failed = parse(b"swapper: page allocation failure. order:1, mode:0x20").unwrap();
        assert_eq!((failed.comm.as_str(), failed.order, failed.gfp_mask), ("swapper", 1, 0x20));
        assert_eq!(failed.gfp_flags, None);
        let failed = parse(b"kworker/u4:2: page allocation failure: order:5, mode:0x104020").unwrap();
        assert_eq!((failed.comm.as_str(), failed.order), ("kworker/u4:2", 5));
        let failed = parse(
            b"a: b: page allocation failure: order:4, mode:0x40cc0(GFP_KERNEL|__GFP_COMP), \
              nodemask=(null),cpuset=/,mems_allowed=0",
        )
        .unwrap();
        assert_eq!((failed.comm.as_str(), failed.gfp_mask), ("a: b", 0x40cc0));
        assert_eq!(failed.gfp_flags.unwrap(), ["GFP_KERNEL", "__GFP_COMP"]);
    }

    /// Guards against others' failures, and lines that are cut short.
    #[test]
    fn other_lines() {
        for text in [
            "SLUB: Unable to allocate memory on node -1, gfp=0x8020(GFP_ATOMIC)",
            "x: page allocation stalls for 10004ms, order:0, mode:0x24201ca(GFP_HIGHUSER_MOVABLE|__GFP_COLD)",
            "sixteen letters!: page allocation failure: order:0, mode:0x20",
            "x: page allocation failure: order:0",
            "x: page allocation failure",
            "",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
