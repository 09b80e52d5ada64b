//! `oomtrace check` as a user runs it: captured machines against golden files, and this machine against what is captured of it.
//!
//! `OOMTRACE_BLESS=1 cargo test -p oomtrace --test check` writes the golden files anew.

#![expect(clippy::expect_used, reason = "what a test needs and does not get is a failed test")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

/// Machines of which all was captured by the recipe in docs/check.md: one on which much is set up badly, and one on which the same
/// runs with settings that are well.
const TREES: [(&str, &[&str]); 2] = [
    (
        "6.12-bad",
        &[
            "jvm-heap",
            "min-free-oversized",
            "oom-kill-allocating-task",
            "shielded-giant",
            "panic-on-oom",
            "crash-capture",
            "overcommit",
            "fork-pids-max",
            "swap-none",
        ],
    ),
    ("7.2-sane", &[]),
];

fn tests_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests")
}

/// A folder of this test's own, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("oomtrace-check-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn unpacked(name: &str) -> Folder {
    let folder = Folder::new(name);
    let archive = tests_dir().join("fixtures/trees").join(format!("{name}.tar.gz"));
    let tar = Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&folder.0).status();
    assert!(tar.expect("tar is there").success(), "{} cannot be unpacked", archive.display());
    folder
}

fn check(folder: &Path, options: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oomtrace"));
    command.arg("check").args(options).current_dir(folder).env("TZ", "UTC").env_remove("NO_COLOR");
    command.env("COLUMNS", if options.contains(&"--cgroup") { "80" } else { "120" });
    command.output().expect("the program was built")
}

fn json(folder: &Path, options: &[&str]) -> Value {
    let output = check(folder, &[&["--json"], options].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn ids(check: &Value) -> Vec<&str> {
    let findings = check.get("findings").and_then(Value::as_array).into_iter().flatten();
    findings.filter_map(|finding| finding.get("id")?.as_str()).collect()
}

/// Guards captured machines: exactly what is amiss is found, and both forms of output are to the letter what they were.
#[test]
fn captured_machines_come_out_as_the_golden_files_say() {
    for (name, expected) in TREES {
        let folder = unpacked(name);
        let mut told = json(&folder.0, &["--root", "node"]);
        assert_eq!(ids(&told), expected, "{name}");
        told.as_object_mut().and_then(|told| told.remove("time")).expect("a time");
        let json = serde_json::to_string_pretty(&told).expect("JSON");
        let human = check(&folder.0, &["--root", "node"]).stdout;
        let group = check(&folder.0, &["--root", "node", "--cgroup", "/web"]).stdout;
        for (ending, text) in [("json", json.into_bytes()), ("120.txt", human), ("web.80.txt", group)] {
            let golden = tests_dir().join("golden").join(format!("check-{name}.{ending}"));
            if std::env::var_os("OOMTRACE_BLESS").is_some() {
                fs::write(&golden, &text).unwrap();
            }
            let known = fs::read(&golden).unwrap_or_default();
            assert!(
                text == known,
                "{} differs from what is printed now:\n{}",
                golden.display(),
                String::from_utf8_lossy(&text)
            );
        }
    }
}

/// Guards the exit status: by the worst that is found and by what was asked for.
#[test]
fn the_exit_status_follows_from_the_findings() {
    for (tree, options, expected) in [
        ("6.12-bad", &["--root", "node"][..], 0),
        ("6.12-bad", &["--root", "node", "--fail-on", "warning"], 4),
        ("6.12-bad", &["--root", "node", "--fail-on", "critical"], 0),
        ("7.2-sane", &["--root", "node", "--fail-on", "notice"], 0),
        ("7.2-sane", &["--root", "nowhere"], 1),
        ("7.2-sane", &["--root", "node", "--cgroup", "/nowhere"], 1),
        ("7.2-sane", &["--fail-on", "everything"], 2),
    ] {
        let folder = unpacked(tree);
        let output = check(&folder.0, options);
        assert_eq!(output.status.code(), Some(expected), "{options:?}");
        assert_eq!(output.stderr.is_empty(), !matches!(expected, 1 | 2), "{options:?}");
    }
}

/// Guards the recipe in the docs, word by word: what it captures of this machine comes to what the machine itself comes to, but for
/// what only the running kernel tells.
#[test]
fn a_machine_is_captured_by_the_recipe() {
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/check.md")).expect("the page");
    let recipe = page.split_once("```sh\n").and_then(|(_, rest)| rest.split_once("```")).expect("a recipe").0;
    let folder = Folder::new("recipe");
    let shell = Command::new("sh").args(["-c", recipe]).current_dir(&folder.0).status();
    assert!(shell.expect("sh is there").success());
    let (live, captured) = (json(&folder.0, &[]), json(&folder.0, &["--root", "node"]));
    for key in ["/host", "/boot_id", "/kernel", "/settings"] {
        assert!(live.pointer(key).is_some(), "{key}");
        assert_eq!(live.pointer(key), captured.pointer(key), "{key}");
    }
    let order =
        |check: &Value| check.pointer("/kill_order/first").and_then(Value::as_array).map_or(0, Vec::len);
    assert!(order(&captured) > 0 && order(&live) > 0);
    // Tests that run beside this one come and go.
    let of_settings = |check: &Value| -> BTreeSet<String> {
        let all = ids(check).into_iter().map(str::to_owned);
        all.filter(|id| {
            ["min-", "panic", "swap-none", "over", "crash"].iter().any(|start| id.starts_with(start))
        })
        .collect()
    };
    assert_eq!(of_settings(&live), of_settings(&captured));
}

/// Guards sosreports: they have no /proc/sys, but what sysctl said.
#[test]
fn a_sosreport_will_do() {
    let folder = Folder::new("sos");
    let write = |file: &str, text: &str| {
        let path = folder.0.join(file);
        fs::create_dir_all(path.parent().expect("a folder")).unwrap();
        fs::write(path, text).unwrap();
    };
    write(
        "sos_commands/kernel/sysctl_-a",
        "kernel.hostname = web1\nkernel.osrelease = 5.14.0-503.el9.x86_64\nvm.panic_on_oom = 2\nvm.min_free_kbytes = 1024000\n",
    );
    write(
        "proc/meminfo",
        "MemTotal: 8388608 kB\nMemAvailable: 4000000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n",
    );
    let told = json(&folder.0, &["--root", "."]);
    assert_eq!(ids(&told), ["min-free-oversized", "panic-on-oom", "swap-none"]);
    assert_eq!(told.get("host").and_then(Value::as_str), Some("web1"));
    for what in ["processes", "memory_groups", "pids_groups", "pressure"] {
        assert!(told.pointer(&format!("/missing/{what}")).is_some(), "{what} is not said to be missing");
    }
}

/// Guards against trees that are no machine's: the program says so, or says less, and never panics.
#[test]
fn nonsense_is_no_machine() {
    let folder = unpacked("6.12-bad");
    let mut state = 7_u64;
    let mut files = Vec::new();
    let mut folders = vec![folder.0.join("node")];
    while let Some(path) = folders.pop() {
        for entry in fs::read_dir(&path).expect("a folder").flatten() {
            if entry.path().is_dir() { folders.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    files.sort();
    for file in &files {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut text = fs::read(file).unwrap();
        match (state >> 33) % 5 {
            0 => text.truncate(text.len() / 2),
            1 => text = b"18446744073709551615 99999999999999999999\n".to_vec(),
            2 => text.iter_mut().step_by(7).for_each(|byte| *byte = 0xff),
            3 => text = text.repeat(3),
            _ => continue,
        }
        fs::write(file, text).unwrap();
    }
    for options in [&["--root", "node"][..], &["--root", "node", "--json"]] {
        let output = check(&folder.0, options);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
