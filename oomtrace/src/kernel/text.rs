//! Which reading of the resident-set counters this kernel's OOM killer goes by.
//!
//! Where the counters are per-CPU, the OOM killer read their shared part alone until Linux 7.0, and sums them up
//! since (oom_badness(), __oom_kill_process()). Nothing in the kernel's types tells, and a version would be a
//! guess, since stable series take fixes over: so the code of `oom_badness()` is searched for a call of
//! `__percpu_counter_sum()`. One of our programs reads it, since nothing else may.

use std::path::Path;

use aya::{
    Ebpf,
    maps::{Array, MapData},
    programs::{RawTracePoint, RawTracePointRunOptions, TestRun},
};
use oomtrace_ebpf::TEXT_LEN;
use serde::{Deserialize, Serialize};

use super::{
    layout::RssCounters,
    load::Attached,
    symbols::{KALLSYMS, Symbols},
};

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
/// Whose addresses it takes.
pub(super) const SYMBOLS: [&str; 2] = [SCORE, SUM];

/// Finds out, for the kernel that the programs are attached to.
#[must_use]
pub fn of(attached: &mut Attached) -> KernelRss {
    // Atomics have one reading.
    if attached.resolved.rss_counters != Some(RssCounters::PerCpu) {
        return KernelRss::Count;
    }
    match search(&mut attached.ebpf, &Symbols::of(Path::new(KALLSYMS), &SYMBOLS)) {
        Ok(true) => KernelRss::Sum,
        Ok(false) => KernelRss::Count,
        Err(reason) => KernelRss::Unknown { reason },
    }
}

fn search(ebpf: &mut Ebpf, symbols: &Symbols) -> Result<bool, String> {
    if !cfg!(target_arch = "x86_64") {
        return Err("the kernel's code is read on x86-64 only".to_owned());
    }
    let (score, sum) = (symbols.get(SCORE)?, symbols.get(SUM)?);
    let end = score.end.ok_or_else(|| format!("no symbol tells where {SCORE} ends"))?;
    let len = usize::try_from(end - score.address).unwrap_or(TEXT_LEN);
    let code = read(ebpf, score.address)?;
    Ok(calls(code.get(..len).unwrap_or(&code), score.address, sum.address))
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
}
