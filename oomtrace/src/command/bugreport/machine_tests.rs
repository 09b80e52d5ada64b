use std::fs;

use super::*;

fn root(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    root
}

/// All parts' texts, or the reasons, by name.
fn told(root: &Path) -> impl Fn(&str) -> Result<String, String> {
    let told = |part: Part| {
        let content = part.content.map(|content| String::from_utf8(content.bytes()).unwrap());
        (part.name, content)
    };
    let all: Vec<_> = parts(root).into_iter().map(told).collect();
    move |name| all.iter().find(|(part, _)| *part == name).unwrap().1.clone()
}

/// Guards what is taken of each file: the lines that matter, with secrets masked, and no other.
#[test]
fn what_matters_is_taken() {
    let root = root(&[
        ("proc/cmdline", b"root=/dev/vda1 app.password=hunter2 quiet\n"),
        ("proc/sys/kernel/osrelease", b"6.1.0\n"),
        ("boot/config-6.1.0", b"CONFIG_MEMCG=y\n# CONFIG_PSI is not set\nCONFIG_MEMCG_X=y\n# CONFIG_PSI\n"),
        ("proc/self/status", b"Name:\tx\nUid:\t0\t0\nCapEff:\t00ff\nVmRSS:\t1 kB\n"),
        (
            "proc/self/mountinfo",
            b"1 2 0:3 / /a rw - cgroup2 cgroup2 rw\n4 5 0:6 / /b rw - ext4 /dev/x rw\nodd\n",
        ),
        ("proc/sys/vm/panic_on_oom", b"2\n"),
        ("sys/fs/cgroup/cgroup.controllers", b"memory pids\n"),
    ]);
    let of = told(root.path());
    assert!(!of("kernel/cmdline.txt").unwrap().contains("hunter2"));
    assert_eq!(of("kernel/config.txt").unwrap(), "CONFIG_MEMCG=y\n# CONFIG_PSI is not set\n# CONFIG_PSI\n");
    assert_eq!(of("kernel/rights.txt").unwrap(), "Uid:\t0\t0\nCapEff:\t00ff\n");
    assert_eq!(of("cgroup/mounts.txt").unwrap(), "1 2 0:3 / /a rw - cgroup2 cgroup2 rw\n");
    assert_eq!(of("cgroup/controllers.txt").unwrap(), "memory pids\n");
    let settings: Value = serde_json::from_str(&of("kernel/settings.json").unwrap()).unwrap();
    assert_eq!(settings["proc/sys/vm/panic_on_oom"], "2");
    assert!(settings["proc/sys/kernel/panic"]["absent"].is_string(), "what cannot be read is not 0");
}

/// Guards against files that are none, endless or no text: each is told of, and nothing waits or fails.
#[test]
fn what_cannot_be_read_is_a_reason() {
    let big = "x\n".repeat(usize::try_from(LIMIT).unwrap());
    let root = root(&[("proc/meminfo", big.as_bytes()), ("proc/cgroups", b"a\xff\0b\x1b[2J\n")]);
    fs::create_dir(root.path().join("proc/cmdline")).unwrap();
    let pipe = root.path().join("proc/version");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let of = told(root.path());
    assert!(of("kernel/cmdline.txt").unwrap_err().contains("proc/cmdline cannot be read"));
    assert!(of("kernel/release.txt").unwrap_err().contains("pipe"));
    assert!(of("kernel/config.txt").is_err() && of("cgroup/controllers.txt").is_err());
    assert_eq!(of("memory.txt").unwrap().len() as u64, LIMIT);
    assert_eq!(of("cgroup/hierarchies.txt").unwrap(), "a\\xff\\0b\\u{1b}[2J\n");
}
