//! The machine as a whole.

use super::{
    files::{Folder, Text, kilobytes, number},
    sample::{Machine, Pressure},
};

impl Machine {
    /// From the files of `proc`.
    pub fn read(proc: &Folder) -> Self {
        let mut room: Text = [0; 4096];
        let pressure = proc.read("pressure/memory", &mut room).ok().and_then(Pressure::of);
        let Ok(text) = proc.read("meminfo", &mut room) else { return Self { pressure, ..Self::default() } };
        let bytes = |name| kilobytes(text, name);
        Self {
            available: bytes("MemAvailable"),
            free: bytes("MemFree"),
            anon: bytes("AnonPages"),
            file: bytes("Active(file)")
                .zip(bytes("Inactive(file)"))
                .and_then(|(active, inactive)| active.checked_add(inactive)),
            shmem: bytes("Shmem"),
            slab: bytes("Slab"),
            swap_used: bytes("SwapTotal")
                .zip(bytes("SwapFree"))
                .and_then(|(total, free)| total.checked_sub(free)),
            pressure,
        }
    }
}

impl Pressure {
    fn of(text: &[u8]) -> Option<Self> {
        let (some_now, some_us) = line(text, b"some ")?;
        let (full_now, full_us) = line(text, b"full ")?;
        Some(Self { some_us, full_us, some_now, full_now })
    }
}

/// `avg10=` in hundredths and `total=` of a line.
fn line(text: &[u8], name: &[u8]) -> Option<(u32, u64)> {
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name))?;
    let field = |name: &[u8]| line.split(|byte| *byte == b' ').find_map(|field| field.strip_prefix(name));
    let average = field(b"avg10=")?;
    let dot = average.iter().position(|byte| *byte == b'.')?;
    let (whole, hundredths) = (number(average)?, number(average.get(dot + 1..)?)?);
    let average = whole.checked_mul(100)?.checked_add(hundredths)?;
    Some((u32::try_from(average).ok()?, number(field(b"total=")?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards pressure as the kernel writes it, and against half of it.
    #[test]
    fn pressure_is_what_the_kernel_writes() {
        const TEXT: &[u8] = b"some avg10=1.07 avg60=2.00 avg300=3.00 total=63990399\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=7\n";
        let expected = Pressure { some_us: 63_990_399, full_us: 7, some_now: 107, full_now: 50 };
        assert_eq!(Pressure::of(TEXT), Some(expected));
        assert_eq!(Pressure::of(b"some avg10=1.07 avg60=2.00 avg300=3.00 total=63990399\n"), None);
        assert_eq!(Pressure::of(b"some avg10= total=\nfull"), None);
    }
}
