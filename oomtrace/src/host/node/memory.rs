//! What memory is used for, and whether programs wait for it.

use super::super::meminfo_bytes;

/// Of /proc/meminfo (fs/proc/meminfo.c), in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// `MemAvailable`: what programs could have without swapping.
    pub available: Option<u64>,
    /// `Shmem`.
    pub shmem: Option<u64>,
    /// `Unevictable`.
    pub unevictable: Option<u64>,
    /// `SUnreclaim`.
    pub slab_unreclaimable: Option<u64>,
    /// `LowTotal`: what the kernel can reach directly. Of 32-bit kernels with more memory than that.
    pub low_total: Option<u64>,
    /// `LowFree`.
    pub low_free: Option<u64>,
}

impl Memory {
    pub(super) fn of(meminfo: &str) -> Self {
        let bytes = |key| meminfo_bytes(meminfo, key);
        Self {
            available: bytes("MemAvailable"),
            shmem: bytes("Shmem"),
            unevictable: bytes("Unevictable"),
            slab_unreclaimable: bytes("SUnreclaim"),
            low_total: bytes("LowTotal"),
            low_free: bytes("LowFree"),
        }
    }
}

/// The share of time in which all programs waited for memory, in hundredths of a percent (Documentation/accounting/psi.rst).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// In the last minute.
    pub full_minute: u32,
    /// In the last five minutes.
    pub full_five_minutes: u32,
}

impl Pressure {
    pub(super) fn of(text: &str) -> Option<Self> {
        let share = |line: &str, name: &str| {
            let line = text.lines().find_map(|each| each.strip_prefix(line))?;
            let value = line.split_whitespace().find_map(|field| field.strip_prefix(name))?;
            let (whole, fraction) = value.split_once('.')?;
            let fraction = fraction.get(..2)?.parse::<u32>().ok()?;
            whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(fraction)
        };
        Some(Self { full_minute: share("full ", "avg60=")?, full_five_minutes: share("full ", "avg300=")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the figures: each from its own line, also where one is the beginning of another's name.
    #[test]
    fn each_figure_has_its_line() {
        let memory = Memory::of("MemAvailable: 7 kB\nShmemHugePages: 5 kB\nShmem: 1 kB\n");
        let expected = Memory { available: Some(7168), shmem: Some(1024), ..Memory::default() };
        assert_eq!(memory, expected);
    }

    /// Guards pressure as the kernel writes it, and against half of it.
    #[test]
    fn pressure_is_in_hundredths_of_a_percent() {
        const TEXT: &str = "some avg10=0.00 avg60=12.34 avg300=5.06 total=22\nfull avg10=0.00 avg60=1.50 avg300=0.09 total=9\n";
        let expected = Pressure { full_minute: 150, full_five_minutes: 9 };
        assert_eq!(Pressure::of(TEXT), Some(expected));
        assert_eq!(Pressure::of("some avg10=0.00 avg60=12.34 avg300=5.06 total=22\n"), None);
    }
}
