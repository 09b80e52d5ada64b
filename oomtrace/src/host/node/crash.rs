//! What is left of a machine that panics, and what its log holds.

use std::{fs, path::Path};

use super::super::sysctl;

/// Who keeps what a panic says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crash {
    /// `kernel.panic`: after how many seconds it restarts; 0: never; below: at once.
    pub panic_seconds: Option<i64>,
    /// Whether a kernel for the crash is loaded (kdump).
    pub kdump: Option<bool>,
    /// What keeps the end of the log over a restart (pstore), if anything does.
    pub pstore: Option<String>,
}

impl Crash {
    pub(super) fn read(root: &Path) -> Self {
        let text = |file: &str| fs::read_to_string(root.join(file)).ok().map(|text| text.trim().to_owned());
        // The folder came with 6.19; the old name is kept for older tools.
        let loaded = text("sys/kernel/kexec/crash_loaded").or_else(|| text("sys/kernel/kexec_crash_loaded"));
        Self {
            panic_seconds: sysctl::text(root, "kernel/panic").and_then(|text| text.parse().ok()),
            // A kernel without kexec has no such file.
            kdump: loaded.map(|loaded| loaded == "1"),
            pstore: text("sys/module/pstore/parameters/backend")
                .filter(|name| !matches!(name.as_str(), "" | "(null)" | "N")),
        }
    }

    /// Whether anything of a panic is kept; `None`: nothing tells.
    #[must_use]
    pub fn is_kept(&self) -> Option<bool> {
        if self.pstore.is_some() { Some(true) } else { self.kdump }
    }
}

/// What the running kernel's log holds; `None`: it tells root alone (`check_syslog_permissions()`, kernel/printk/printk.c).
pub(super) fn log_buffer_bytes() -> Option<u64> {
    const SYSLOG_ACTION_SIZE_BUFFER: libc::c_int = 10;
    // SAFETY: this action takes no buffer.
    let bytes = unsafe { libc::klogctl(SYSLOG_ACTION_SIZE_BUFFER, std::ptr::null_mut(), 0) };
    u64::try_from(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards what is kept: by kdump or by pstore, and that a kernel which has neither file is not said to lose anything.
    #[test]
    fn what_keeps_a_crash_is_found() {
        let root = std::env::temp_dir().join(format!("oomtrace-crash-{}", std::process::id()));
        assert_eq!(Crash::read(&root).is_kept(), None);
        let write = |file: &str, text: &str| {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("sys/kernel/kexec_crash_loaded", "0\n");
        write("sys/module/pstore/parameters/backend", "(null)\n");
        write("proc/sys/kernel/panic", "-1\n");
        let crash = Crash::read(&root);
        assert_eq!((crash.is_kept(), crash.panic_seconds), (Some(false), Some(-1)));
        write("sys/module/pstore/parameters/backend", "efi_pstore\n");
        assert_eq!(Crash::read(&root).is_kept(), Some(true));
        write("sys/module/pstore/parameters/backend", "(null)\n");
        write("sys/kernel/kexec/crash_loaded", "1\n");
        assert_eq!(Crash::read(&root).is_kept(), Some(true));
        fs::remove_dir_all(root).unwrap();
    }
}
