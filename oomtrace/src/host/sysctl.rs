//! Settings of the kernel's, by the paths that they have below /proc/sys.

use std::{fs, path::Path};

/// Where sosreport keeps what `sysctl -a` said, in place of /proc/sys.
const LISTED: &str = "sos_commands/kernel/sysctl_-a";

/// A setting such as `vm/min_free_kbytes` of the machine below `root` (`/`).
pub(super) fn text(root: &Path, name: &str) -> Option<String> {
    let own = fs::read_to_string(root.join("proc/sys").join(name)).ok();
    let text = own.or_else(|| {
        // What this machine lists nobody has captured.
        let list = fs::read_to_string(root.join(LISTED)).ok().filter(|_| root != Path::new("/"))?;
        let name = name.replace('/', ".");
        let value = list.lines().find_map(|line| line.strip_prefix(&name)?.trim_start().strip_prefix('='))?;
        Some(value.to_owned())
    })?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards captured trees of both kinds: the file itself counts, and else what the list has by the whole name.
    #[test]
    fn a_setting_is_in_a_file_or_in_a_list() {
        let root = std::env::temp_dir().join(format!("oomtrace-sysctl-{}", std::process::id()));
        let write = |file: &str, text: &str| {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(LISTED, "vm.panic_on_oom_x = 9\nvm.panic_on_oom = 1\nkernel.hostname = web 1\n");
        assert_eq!(text(&root, "vm/panic_on_oom").as_deref(), Some("1"));
        assert_eq!(text(&root, "kernel/hostname").as_deref(), Some("web 1"));
        assert_eq!(text(&root, "vm/swappiness"), None);
        write("proc/sys/vm/panic_on_oom", "2\n");
        assert_eq!(text(&root, "vm/panic_on_oom").as_deref(), Some("2"));
        fs::remove_dir_all(root).unwrap();
    }
}
