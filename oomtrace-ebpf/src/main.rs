//! The programs of oomtrace's kernel half. One file a subject; each attach point is a few lines here or there
//! that fetch their arguments and call the subject's function, so that a fentry program, a kprobe and a
//! tracepoint do exactly the same.
//!
//! The verifier walks each program before we are armed, so that is kept short. What is long, and what runs in a loop,
//! is a function of its own that takes and returns numbers (`no_mangle`, `extern "C"`: a global function), which the
//! verifier walks once for all its calls, in place of once a call.
//!
//! Rules: a program copies what will be gone and decides nothing that userspace can decide later; loops are
//! bounded; no program shares per-CPU scratch with another (tracepoint programs are preemptible from 7.3 on);
//! every record that finds no room is counted.

#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod ballot;
#[cfg(target_arch = "bpf")]
mod cmdline;
#[cfg(target_arch = "bpf")]
mod collateral;
#[cfg(target_arch = "bpf")]
mod count;
#[cfg(target_arch = "bpf")]
mod daemon;
#[cfg(target_arch = "bpf")]
mod flight;
#[cfg(target_arch = "bpf")]
mod fork;
#[cfg(target_arch = "bpf")]
mod hurt;
#[cfg(target_arch = "bpf")]
mod kin;
#[cfg(target_arch = "bpf")]
mod memcg;
#[cfg(target_arch = "bpf")]
mod mm;
#[cfg(target_arch = "bpf")]
mod namespace;
#[cfg(target_arch = "bpf")]
mod oom;
#[cfg(target_arch = "bpf")]
mod pids;
#[cfg(target_arch = "bpf")]
mod pressure;
#[cfg(target_arch = "bpf")]
mod read;
#[cfg(target_arch = "bpf")]
mod relief;
#[cfg(target_arch = "bpf")]
mod ring;
#[cfg(target_arch = "bpf")]
mod run;
#[cfg(target_arch = "bpf")]
mod stall;
#[cfg(target_arch = "bpf")]
mod task;
#[cfg(target_arch = "bpf")]
mod text;
#[cfg(target_arch = "bpf")]
mod tree;
#[cfg(target_arch = "bpf")]
mod victim;
#[cfg(target_arch = "bpf")]
mod zone;

/// The helpers that read kernel memory are reserved for programs under a licence compatible with the GPL; this
/// is the kernel's name for ours.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: nothing here can panic, or the linker would have kept this function and the verifier refused it.
    unsafe { core::hint::unreachable_unchecked() }
}

/// Off the BPF target this package is its library alone.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
