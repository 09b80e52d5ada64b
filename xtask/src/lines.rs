//! Leaves line information out of an eBPF object: which line of source each instruction comes from. The kernel shows it
//! in a verifier's log and nowhere else, and goes through all of it each time a program is loaded, before we are armed.

use anyhow::{Context, Result};
use object::{File, Object as _, ObjectSection as _};

/// Where the header of `.BTF.ext` has the size of the line information (`struct btf_ext_header`,
/// tools/lib/bpf/libbpf_internal.h).
const LINE_INFO_LEN: std::ops::Range<usize> = 20..24;

/// Changes the object in place: what was there stays, and is said to be empty.
pub fn leave_out(object: &mut [u8]) -> Result<()> {
    let file = File::parse(&*object).context("it is not an object file")?;
    let section = file.section_by_name(".BTF.ext").context("it has no section .BTF.ext")?;
    let (offset, size) = section.file_range().context("its section .BTF.ext is empty")?;
    let begin = usize::try_from(offset)?;
    let end = begin.saturating_add(usize::try_from(size)?);
    let header = object.get_mut(begin..end).context("its section .BTF.ext is cut short")?;
    header.get_mut(LINE_INFO_LEN).context("its section .BTF.ext is too short")?.fill(0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An object with one section besides its names.
    fn object(name: &str, content: &[u8]) -> Vec<u8> {
        const HEADER: u64 = 64;
        let names = [b"\0", name.as_bytes(), b"\0.shstrtab\0"].concat();
        let sections = HEADER + (content.len() + names.len()) as u64;
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x01\0\xf7\0\x01\0\0\0".to_vec();
        file.extend([0_u64, 0, sections].iter().flat_map(|word| word.to_le_bytes()));
        file.extend([0_u16, 0, 64, 0, 0, 64, 3, 2].iter().flat_map(|half| half.to_le_bytes()));
        file.extend([content, &names].concat());
        let section = |name: u32, kind: u32, offset: u64, size: usize| {
            let words = [0, 0, offset, size as u64, 0, 0, 0];
            [name, kind]
                .iter()
                .flat_map(|half| half.to_le_bytes())
                .chain(words.iter().flat_map(|word| word.to_le_bytes()))
                .collect::<Vec<_>>()
        };
        file.extend(section(0, 0, 0, 0));
        file.extend(section(1, 1, HEADER, content.len()));
        file.extend(section(
            u32::try_from(name.len()).unwrap() + 2,
            3,
            HEADER + content.len() as u64,
            names.len(),
        ));
        file
    }

    /// Guards the object: its lines are said to be empty, and nothing else is changed.
    #[test]
    fn only_the_size_of_the_lines_is_changed() {
        let before = object(".BTF.ext", &[7; 40]);
        let mut after = before.clone();
        leave_out(&mut after).unwrap();
        let changed: Vec<_> = (0..before.len()).filter(|at| before[*at] != after[*at]).collect();
        assert_eq!(changed, [84, 85, 86, 87]);
        assert!(after[84..88].iter().all(|byte| *byte == 0));
    }

    /// Guards against objects that have no such section, or a damaged one.
    #[test]
    fn what_is_no_object_is_said() {
        for mut bad in [
            b"junk".to_vec(),
            object(".BTF", &[7; 40]),
            object(".BTF.ext", &[7; 10]),
            object(".BTF.ext", &[]),
        ] {
            assert!(leave_out(&mut bad).is_err());
        }
    }
}
