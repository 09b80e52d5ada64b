//! What to tell people whose machine we cannot set up ourselves.

use crate::host::{Distribution, Host};
use crate::toolchain::{LINKER_VERSION, Missing};

/// How to get a compiler and a linker for BPF.
pub fn bpf(host: &Host, missing: Missing) -> String {
    let what = match missing {
        Missing::Compiler => {
            "no Rust compiler here can compile for the kernel (bpfel-unknown-none)".to_owned()
        }
        Missing::Linker { llvm } => format!("there is no bpf-linker for the compiler's LLVM {llvm}"),
    };
    let commands = match (host.distribution, missing) {
        (Distribution::Debian, Missing::Compiler) => {
            "sudo apt-get install --no-install-recommends rustc-web cargo-web libstd-rust-web-dev-bpf\n\
             sudo apt-get install --no-install-recommends zlib1g-dev libzstd-dev \
             llvm-$(/usr/bin/rustc -vV | sed -n 's/^LLVM version: \\([0-9]*\\).*/\\1/p')-dev"
                .to_owned()
        }
        (Distribution::Debian, Missing::Linker { llvm }) => {
            format!("sudo apt-get install --no-install-recommends llvm-{llvm}-dev zlib1g-dev libzstd-dev")
        }
        (_, Missing::Compiler) => "rustup toolchain install nightly --component rust-src\n\
                                   cargo install bpf-linker"
            .to_owned(),
        (_, Missing::Linker { .. }) => format!("cargo install bpf-linker --version {LINKER_VERSION}"),
    };
    advice(&what, &commands, "Or name a prebuilt object in OOMTRACE_EBPF_OBJECT.")
}

/// How to get QEMU and busybox.
pub fn machine(host: &Host) -> String {
    let commands = match host.distribution {
        Distribution::Debian | Distribution::Ubuntu => {
            "sudo apt-get install --no-install-recommends qemu-system-x86 busybox-static"
        }
        Distribution::Fedora => "sudo dnf install qemu-system-x86-core busybox",
        Distribution::Arch => "sudo pacman -S qemu-system-x86 busybox",
        Distribution::Other => "(install qemu-system-x86_64, version 10 or newer, and busybox)",
    };
    advice("virtual machines need QEMU and busybox", commands, "Then run the same command again.")
}

fn advice(what: &str, commands: &str, then: &str) -> String {
    let commands = commands.replace('\n', "\n    ");
    format!("{what}. Install it:\n    {commands}\n{then}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(distribution: Distribution) -> Host {
        Host { distribution, codename: None }
    }

    /// Guards that each family gets commands of its own package manager.
    #[test]
    fn names_the_right_package_manager() {
        assert!(bpf(&host(Distribution::Debian), Missing::Compiler).contains("rustc-web"));
        assert!(bpf(&host(Distribution::Debian), Missing::Linker { llvm: 22 }).contains("llvm-22-dev"));
        assert!(bpf(&host(Distribution::Fedora), Missing::Compiler).contains("rust-src"));
        assert!(machine(&host(Distribution::Fedora)).contains("dnf"));
        assert!(machine(&host(Distribution::Arch)).contains("pacman"));
    }
}
