//! What is read of the machine: its kernel, how that was built and started, its cgroups, and what oomtrace may do there.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use flate2::read::GzDecoder;
use serde_json::{Map, Value, json};

use super::part::{Content, Part};
use crate::{host, kernel::load, text::from_kernel};

/// What is read of a file at the most, bytes.
const LIMIT: u64 = 1 << 20;

/// Options of the kernel's build that decide what can be seen of the OOM killer, and how it behaves.
const OPTIONS: [&str; 56] = [
    "BPF",
    "BPF_EVENTS",
    "BPF_JIT",
    "BPF_JIT_ALWAYS_ON",
    "BPF_LSM",
    "BPF_SYSCALL",
    "BPF_UNPRIV_DEFAULT_OFF",
    "CGROUPS",
    "CGROUP_PIDS",
    "CGROUP_BPF",
    "CPUSETS",
    "DEBUG_INFO_BTF",
    "DEBUG_INFO_BTF_MODULES",
    "DYNAMIC_FTRACE",
    "DYNAMIC_FTRACE_WITH_ARGS",
    "DYNAMIC_FTRACE_WITH_DIRECT_CALLS",
    "DYNAMIC_FTRACE_WITH_REGS",
    "FPROBE",
    "FTRACE",
    "FUNCTION_ERROR_INJECTION",
    "FUNCTION_TRACER",
    "HZ",
    "IKCONFIG_PROC",
    "KALLSYMS",
    "KALLSYMS_ALL",
    "KPROBES",
    "KPROBES_ON_FTRACE",
    "KPROBE_EVENTS",
    "KRETPROBES",
    "LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY",
    "LOG_BUF_SHIFT",
    "LRU_GEN",
    "LRU_GEN_ENABLED",
    "LSM",
    "MEMCG",
    "MEMCG_KMEM",
    "MEMCG_SWAP",
    "MEMCG_V1",
    "MEMORY_FAILURE",
    "MMU",
    "NR_CPUS",
    "NUMA",
    "PREEMPT",
    "PREEMPT_DYNAMIC",
    "PREEMPT_RCU",
    "PREEMPT_RT",
    "PRINTK_CALLER",
    "PSI",
    "PSI_DEFAULT_DISABLED",
    "PSTORE",
    "PSTORE_RAM",
    "SECURITY_LOCKDOWN_LSM",
    "SLUB",
    "SWAP",
    "TRANSPARENT_HUGEPAGE",
    "ZSWAP",
];

/// Settings of the running kernel, below /proc/sys and /sys.
const SETTINGS: [&str; 24] = [
    "proc/sys/kernel/dmesg_restrict",
    "proc/sys/kernel/ftrace_enabled",
    "proc/sys/kernel/kptr_restrict",
    "proc/sys/kernel/panic",
    "proc/sys/kernel/perf_event_paranoid",
    "proc/sys/kernel/pid_max",
    "proc/sys/kernel/printk",
    "proc/sys/kernel/tainted",
    "proc/sys/kernel/threads-max",
    "proc/sys/kernel/unprivileged_bpf_disabled",
    "proc/sys/net/core/bpf_jit_enable",
    "proc/sys/net/core/bpf_jit_harden",
    "proc/sys/vm/admin_reserve_kbytes",
    "proc/sys/vm/min_free_kbytes",
    "proc/sys/vm/oom_dump_tasks",
    "proc/sys/vm/oom_kill_allocating_task",
    "proc/sys/vm/overcommit_memory",
    "proc/sys/vm/panic_on_oom",
    "proc/sys/vm/swappiness",
    "sys/devices/system/cpu/online",
    "sys/devices/system/cpu/possible",
    "sys/kernel/debug/kprobes/enabled",
    "sys/kernel/mm/lru_gen/enabled",
    "sys/kernel/security/lockdown",
];

/// Of what oomtrace may do, from /proc/self/status.
const RIGHTS: [&str; 9] =
    ["Uid", "Gid", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"];

/// File systems that matter to cgroups and to tracing.
const FILE_SYSTEMS: [&str; 7] = ["bpf", "cgroup", "cgroup2", "debugfs", "pstore", "securityfs", "tracefs"];

/// All of it, of the machine below `root`.
pub fn parts(root: &Path) -> Vec<Part> {
    vec![
        Part::new("oomtrace.json", "this oomtrace, and how it was built", Ok(Content::Json(build()))),
        Part::new("kernel/release.txt", "the kernel and the distribution", release(root)),
        Part::new("kernel/cmdline.txt", "what the kernel was started with", text(root, "proc/cmdline")),
        Part::new("kernel/config.txt", "what the kernel was built with, of what matters here", config(root)),
        Part::new("kernel/settings.json", "settings of the running kernel", Ok(settings(root))),
        Part::new("kernel/rights.txt", "what this process may do", rights(root)),
        Part::new("memory.txt", "the machine's memory", text(root, "proc/meminfo")),
        Part::new("cgroup/mounts.txt", "where cgroups and tracing are mounted", mounts(root)),
        Part::new("cgroup/controllers.txt", "the controllers of the unified hierarchy", controllers(root)),
        Part::new(
            "cgroup/hierarchies.txt",
            "which hierarchy each controller is in",
            text(root, "proc/cgroups"),
        ),
        Part::new("cgroup/own.txt", "the cgroups of this process", text(root, "proc/self/cgroup")),
    ]
}

fn build() -> Value {
    let object = load::object();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "architecture": std::env::consts::ARCH,
        "optimised": !cfg!(debug_assertions),
        "static": cfg!(target_feature = "crt-static"),
        "ebpf_object": object.map(|(bytes, crc32)| json!({"bytes": bytes, "crc32": format!("{crc32:08x}")})),
    })
}

/// A text file, without what is beyond the bound.
pub fn text(root: &Path, path: &str) -> Result<Content, String> {
    read(&root.join(path)).map(Content::Text)
}

/// The same, as it is.
pub fn read(path: &Path) -> Result<String, String> {
    let bytes = if host::is_pipe(path) {
        Err(io::Error::other("it is a pipe and not a file"))
    } else {
        File::open(path).and_then(bounded)
    };
    bytes.map(|bytes| lines(&bytes)).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

fn bounded(file: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Any bytes as text; NULs are shown, since they end no file.
fn lines(bytes: &[u8]) -> String {
    bytes.split(|byte| *byte == 0).map(from_kernel).collect::<Vec<_>>().join("\\0")
}

fn lines_that(text: &str, fit: impl Fn(&str) -> bool) -> String {
    text.lines().filter(|line| fit(line)).flat_map(|line| [line, "\n"]).collect()
}

fn release(root: &Path) -> Result<Content, String> {
    let version = read(&root.join("proc/version"))?;
    let about = read(&root.join("etc/os-release")).unwrap_or_default();
    Ok(Content::Text(format!("{version}{about}")))
}

/// The kernel's own copy of it, else the one that distributions put beside the kernel.
fn config(root: &Path) -> Result<Content, String> {
    let own = File::open(root.join("proc/config.gz")).and_then(|file| bounded(GzDecoder::new(file)));
    let config = match own {
        Ok(bytes) => lines(&bytes),
        Err(error) => {
            let release = read(&root.join("proc/sys/kernel/osrelease"))?;
            let release = release.trim();
            let kept = [format!("boot/config-{release}"), format!("lib/modules/{release}/config")];
            let found = kept.iter().map(|path| root.join(path)).find_map(|path| read(&path).ok());
            found.ok_or_else(|| {
                format!("/proc/config.gz cannot be read ({error}), and there is no /boot/config-{release}")
            })?
        }
    };
    Ok(Content::Text(chosen(&config)))
}

fn chosen(config: &str) -> String {
    let name = |line: &str| {
        let option = line.strip_prefix("# ").unwrap_or(line).strip_prefix("CONFIG_")?;
        option.split(['=', ' ']).next().map(str::to_owned)
    };
    lines_that(config, |line| name(line).is_some_and(|name| OPTIONS.contains(&name.as_str())))
}

fn settings(root: &Path) -> Content {
    let settings = SETTINGS.iter().map(|path| {
        let value = read(&root.join(path)).map(|text| Value::String(text.trim().to_owned()));
        ((*path).to_owned(), value.unwrap_or_else(|reason| json!({"absent": reason})))
    });
    Content::Json(Value::Object(settings.collect::<Map<_, _>>()))
}

fn rights(root: &Path) -> Result<Content, String> {
    let status = read(&root.join("proc/self/status"))?;
    let ours = |line: &str| line.split(':').next().is_some_and(|name| RIGHTS.contains(&name));
    Ok(Content::Text(lines_that(&status, ours)))
}

/// Lines of /proc/self/mountinfo: what stands behind the ` - ` begins with the file system's type (proc(5)).
fn mounts(root: &Path) -> Result<Content, String> {
    let mounts = read(&root.join("proc/self/mountinfo"))?;
    let ours = |line: &str| {
        let of = line.split_once(" - ").and_then(|(_, of)| of.split(' ').next());
        of.is_some_and(|of| FILE_SYSTEMS.contains(&of))
    };
    Ok(Content::Text(lines_that(&mounts, ours)))
}

fn controllers(root: &Path) -> Result<Content, String> {
    let unified = ["sys/fs/cgroup", "sys/fs/cgroup/unified"];
    let found = unified.iter().find_map(|mount| read(&root.join(mount).join("cgroup.controllers")).ok());
    let found = found
        .map(|controllers| if controllers.trim().is_empty() { "none\n".to_owned() } else { controllers });
    found.map(Content::Text).ok_or_else(|| "there is no unified hierarchy below /sys/fs/cgroup".to_owned())
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
