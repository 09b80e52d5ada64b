//! Which reading of the resident-set counters this kernel's OOM killer goes by.
//!
//! Where the counters are per-CPU, the OOM killer read their shared part alone until Linux 7.0, and sums them up
//! since (oom_badness(), __oom_kill_process()). Nothing in the kernel's types tells, and a version would be a
//! guess, since stable series take fixes over: so the code of `oom_badness()` is searched for a call of
//! `__percpu_counter_sum()`. One of our programs reads it, since nothing else may.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use aya::{
    Ebpf,
    maps::{Array, MapData},
    programs::{RawTracePoint, RawTracePointRunOptions, TestRun},
};
use oomtrace_ebpf::TEXT_LEN;
use serde::{Deserialize, Serialize};

use super::{layout::RssCounters, load::Attached};

/// Which reading of the resident-set counters the kernel scores and logs by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reading")]
pub enum KernelRss {
    /// A plain read: all there is of atomics, the shared part of per-CPU counters.
    Count,
    /// The sum over all CPUs.
    Sum,
    /// It could not be found out; the two may differ.
    Unknown {
        /// Why.
        reason: String,
    },
}

const SCORE: &str = "oom_badness";
const SUM: &str = "__percpu_counter_sum";

/// Finds out, for the kernel that the programs are attached to.
#[must_use]
pub fn of(attached: &mut Attached) -> KernelRss {
    // Atomics have one reading.
    if attached.resolved.rss_counters != Some(RssCounters::PerCpu) {
        return KernelRss::Count;
    }
    match search(&mut attached.ebpf, Path::new("/proc/kallsyms")) {
        Ok(true) => KernelRss::Sum,
        Ok(false) => KernelRss::Count,
        Err(reason) => KernelRss::Unknown { reason },
    }
}

fn search(ebpf: &mut Ebpf, kallsyms: &Path) -> Result<bool, String> {
    if !cfg!(target_arch = "x86_64") {
        return Err("the kernel's code is read on x86-64 only".to_owned());
    }
    let file = File::open(kallsyms).map_err(|error| format!("{}: {error}", kallsyms.display()))?;
    let symbols = Symbols::find(BufReader::with_capacity(1 << 16, file))?;
    let code = read(ebpf, symbols.score)?;
    let code = code.get(..symbols.score_len).unwrap_or(&code);
    Ok(calls(code, symbols.score, symbols.sum))
}

#[derive(Debug, PartialEq, Eq)]
struct Symbols {
    score: u64,
    score_len: usize,
    sum: u64,
}

impl Symbols {
    /// Finds the two functions, and where the first ends: at the next symbol of the kernel's own.
    fn find(kallsyms: impl BufRead) -> Result<Self, String> {
        let mut score = None;
        let mut sum = None;
        let mut end: Option<u64> = None;
        // Symbols come sorted by address, modules' after the kernel's own; but that order is not promised.
        let mut lines = kallsyms.lines();
        let mut addresses_above = |address: u64, score: u64| {
            if address > score && end.is_none_or(|end| address < end) {
                end = Some(address);
            }
        };
        let mut line_error = None;
        for line in &mut lines {
            let line = match line {
                Ok(line) => line,
                Err(error) => {
                    line_error = Some(error);
                    break;
                }
            };
            let mut words = line.split_ascii_whitespace();
            let (Some(address), Some(kind), Some(name)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            if !matches!(kind, "t" | "T") || words.next().is_some() {
                continue;
            }
            let Ok(address) = u64::from_str_radix(address, 16) else { continue };
            match name {
                SCORE => score = Some(address),
                SUM => sum = Some(address),
                _ => {}
            }
            if let Some(score) = score {
                addresses_above(address, score);
            }
            // Both found, and a symbol behind the first: nothing more to learn.
            if score.is_some() && sum.is_some_and(|sum| score.is_some_and(|score| sum > score)) {
                break;
            }
        }
        if let Some(error) = line_error {
            return Err(format!("the kernel's symbols cannot be read: {error}"));
        }
        match (score, sum, end) {
            (Some(0), ..) | (_, Some(0), _) => {
                Err("the kernel hides its symbols' addresses (CAP_SYSLOG shows them, unless kernel.kptr_restrict=2)"
                    .to_owned())
            }
            (Some(score), Some(sum), Some(end)) => {
                let len = usize::try_from(end - score).unwrap_or(TEXT_LEN).min(TEXT_LEN);
                Ok(Self { score, score_len: len, sum })
            }
            (None, ..) | (.., None) => Err(format!("the kernel's symbols lack {SCORE}")),
            (_, None, _) => Err(format!("the kernel's symbols lack {SUM}")),
        }
    }
}

fn read(ebpf: &mut Ebpf, address: u64) -> Result<Vec<u8>, String> {
    let program = ebpf.program_mut("kernel_text").ok_or("the eBPF object lacks the program kernel_text")?;
    let program: &mut RawTracePoint = program.try_into().map_err(|error| format!("kernel_text: {error}"))?;
    program
        .load()
        .map_err(|error| format!("the program that reads the kernel's code was refused: {error}"))?;
    let mut run = RawTracePointRunOptions::new();
    run.args[0] = address;
    let result = program.test_run(run);
    // It is of no further use.
    let _ = program.unload();
    result.map_err(|error| format!("the program that reads the kernel's code did not run: {error}"))?;
    let map = ebpf.map("TEXT").ok_or("the eBPF object lacks the map TEXT")?;
    let map: Array<&MapData, [u8; TEXT_LEN]> = map.try_into().map_err(|error| format!("TEXT: {error}"))?;
    let text = map.get(&0, 0).map_err(|error| format!("TEXT: {error}"))?;
    // The helper leaves zeroes where it fails.
    if text.iter().all(|byte| *byte == 0) {
        return Err("the kernel's code cannot be read (lockdown?)".to_owned());
    }
    Ok(text.to_vec())
}

/// Whether x86-64 code at `address` calls (or jumps at its end to) the function at `target`.
///
/// Bytes are not decoded into instructions: five that look like a call of just this function are one, but for a
/// chance of 2^-32 at each byte. Kernels that keep a call's depth (`CALL_DEPTH_TRACKING`) let calls go to the
/// padding before a function, 16 bytes at the most.
fn calls(code: &[u8], address: u64, target: u64) -> bool {
    code.windows(5).zip(0_u64..).any(|(bytes, offset)| {
        let [0xe8 | 0xe9, rest @ ..] = bytes else { return false };
        let Ok(relative) = <[u8; 4]>::try_from(rest) else { return false };
        let next = address.wrapping_add(offset).wrapping_add(5);
        let to = next.wrapping_add_signed(i64::from(i32::from_le_bytes(relative)));
        target.wrapping_sub(to) <= 16
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(from: u64, to: u64) -> Vec<u8> {
        let relative = i32::try_from(to.wrapping_sub(from + 5).cast_signed()).unwrap();
        [&[0xe8][..], &relative.to_le_bytes()].concat()
    }

    /// Guards the reading of kernel code: a call is found wherever it stands, another function's is not.
    #[test]
    fn a_call_is_found_by_its_target() {
        let base = 0xffff_ffff_8120_0000;
        let sum = 0xffff_ffff_8180_1230;
        let mut code = vec![0x90; 7];
        code.extend(call(base + 7, sum));
        code.push(0xc3);
        assert!(calls(&code, base, sum));
        assert!(calls(&code, base, sum + 16), "the padding before a function");
        assert!(!calls(&code, base, sum + 17));
        assert!(!calls(&code, base, sum - 1));
        assert!(!calls(&[0xe8, 0], base, sum));
    }

    /// Guards the bounds of the function: only its own code is searched.
    #[test]
    fn symbols_give_the_function_and_its_end() {
        let text = "ffffffff81200000 T oom_badness\nffffffff812001c0 t oom_evaluate_task\n\
                    ffffffff81801230 T __percpu_counter_sum\nffffffffc0000000 t x\t[module]\n";
        let found = Symbols::find(text.as_bytes()).unwrap();
        assert_eq!(
            found,
            Symbols { score: 0xffff_ffff_8120_0000, score_len: 0x1c0, sum: 0xffff_ffff_8180_1230 }
        );
        // The other order.
        let text =
            "ffffffff80801230 T __percpu_counter_sum\nffffffff81200000 T oom_badness\nffffffff812001c0 t z\n";
        assert_eq!(Symbols::find(text.as_bytes()).unwrap().score_len, 0x1c0);
    }

    /// Guards against reading address 0 where the kernel hides addresses.
    #[test]
    fn hidden_and_lacking_symbols_are_told_apart() {
        let hidden = "0000000000000000 T oom_badness\n0000000000000000 T __percpu_counter_sum\n";
        assert!(Symbols::find(hidden.as_bytes()).unwrap_err().contains("hides"));
        assert!(
            Symbols::find(&b"ffffffff81200000 T oom_badness\nffffffff81200100 T x\n"[..])
                .unwrap_err()
                .contains(SUM)
        );
        assert!(Symbols::find(&b""[..]).unwrap_err().contains(SCORE));
    }
}
