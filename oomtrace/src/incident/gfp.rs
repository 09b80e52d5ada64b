//! Names of allocation flags.
//!
//! Bits 0 to 22 have had fixed positions from Linux 5.10 to 7.x (include/linux/gfp_types.h; bit 9 was
//! `__GFP_ATOMIC` until 6.2); higher ones move and are shown as a number. The names for common combinations and
//! their order are those of the kernel's own log (include/trace/events/mmflags.h, `__def_gfpflag_names`).

/// Combinations and single flags, in the order in which the kernel takes them off a mask.
const NAMES: &[(u32, &str)] = &[
    (0x0010_0cca, "GFP_HIGHUSER_MOVABLE"),
    (0x0010_0cc2, "GFP_HIGHUSER"),
    (0x0010_0cc0, "GFP_USER"),
    (0x0040_0cc0, "GFP_KERNEL_ACCOUNT"),
    (0x0000_0cc0, "GFP_KERNEL"),
    (0x0000_0c40, "GFP_NOFS"),
    (0x0000_0c00, "GFP_NOIO"),
    (0x0000_0820, "GFP_ATOMIC"),
    (0x0000_0001, "__GFP_DMA"),
    (0x0000_0002, "__GFP_HIGHMEM"),
    (0x0000_0004, "__GFP_DMA32"),
    (0x0000_0008, "__GFP_MOVABLE"),
    (0x0000_0010, "__GFP_RECLAIMABLE"),
    (0x0000_0020, "__GFP_HIGH"),
    (0x0000_0040, "__GFP_IO"),
    (0x0000_0080, "__GFP_FS"),
    (0x0000_0100, "__GFP_ZERO"),
    (0x0000_0400, "__GFP_DIRECT_RECLAIM"),
    (0x0000_0800, "__GFP_KSWAPD_RECLAIM"),
    (0x0000_1000, "__GFP_WRITE"),
    (0x0000_2000, "__GFP_NOWARN"),
    (0x0000_4000, "__GFP_RETRY_MAYFAIL"),
    (0x0000_8000, "__GFP_NOFAIL"),
    (0x0001_0000, "__GFP_NORETRY"),
    (0x0002_0000, "__GFP_MEMALLOC"),
    (0x0004_0000, "__GFP_COMP"),
    (0x0008_0000, "__GFP_NOMEMALLOC"),
    (0x0010_0000, "__GFP_HARDWALL"),
    (0x0020_0000, "__GFP_THISNODE"),
    (0x0040_0000, "__GFP_ACCOUNT"),
];

/// A mask by names, as the kernel's log writes it; what has no fixed name as hexadecimal numbers.
#[must_use]
pub fn flag_names(mask: u32) -> Vec<String> {
    let mut rest = mask;
    let mut names = Vec::new();
    for (bits, name) in NAMES {
        if rest & bits == *bits {
            names.push((*name).to_owned());
            rest &= !bits;
        }
    }
    if rest != 0 {
        names.push(format!("{rest:#x}"));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the decoding against lines that kernels 5.10 to 7.2 printed.
    #[test]
    fn masks_read_as_in_the_kernels_log() {
        assert_eq!(flag_names(0xcc0), ["GFP_KERNEL"]);
        assert_eq!(flag_names(0x10_0cca), ["GFP_HIGHUSER_MOVABLE"]);
        assert_eq!(flag_names(0x14_0dca), ["GFP_HIGHUSER_MOVABLE", "__GFP_ZERO", "__GFP_COMP"]);
        assert_eq!(flag_names(0x40_0dc0), ["GFP_KERNEL_ACCOUNT", "__GFP_ZERO"]);
        assert_eq!(flag_names(0), Vec::<String>::new());
        assert_eq!(flag_names(0x200 | 0x8000_0000), ["0x80000200"]);
    }
}
