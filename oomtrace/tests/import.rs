//! Kernel logs of every age and in every form through the program, as a user imports them.
//!
//! The logs are written by the kernel's format strings, which each names in its first line (or, where its form has no place for
//! that, in `NAME.source`). What must come out of each was written down before there was anything to read it (`NAME.expect`,
//! one event a line); beside that, all that is printed is compared with golden files.
//!
//! `OOMTRACE_BLESS=1 cargo test -p oomtrace --test import` writes the golden files anew; what is expected stays.

#![expect(clippy::expect_used, reason = "what a test needs and does not get is a failed test")]

#[path = "import/expected.rs"]
mod expected;

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use expected::compare;

/// When each log was last written to: 2026-06-01 00:00:00 UTC. Stamps of syslog have no year, and are of the one before.
const WRITTEN: Duration = Duration::from_hours(494_520);

/// Logs whose form for people is compared too: one of each kind.
const FOR_PEOPLE: [&str; 8] = [
    "2.6.18-rhel5",
    "2.6.32-memcg-ancestor",
    "3.2-highmem",
    "5.14-rhel9-journal-json",
    "5.15-allocation-failure",
    "6.1-pstore-in-order",
    "6.12-kubernetes-group-cri",
    "6.6-fork-rejected-journal",
];

fn tests_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests")
}

/// The logs: name and path, in order.
fn logs() -> Vec<(String, PathBuf)> {
    let folder = fs::read_dir(tests_dir().join("fixtures/klog/import")).expect("the logs are there");
    let mut logs: Vec<_> = folder
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_none_or(|kind| kind != "expect" && kind != "source"))
        .map(|path| (path.file_stem().expect("a log has a name").to_string_lossy().into_owned(), path))
        .collect();
    logs.sort();
    logs
}

/// A copy of a log that was last written to when they all were; what kept the original may have forgotten.
fn copy(log: &Path, folder: &Path) -> PathBuf {
    let copy = folder.join(log.file_name().expect("a log has a name"));
    fs::copy(log, &copy).expect("there is room");
    let file = File::options().write(true).open(&copy).expect("it was just made");
    file.set_modified(SystemTime::UNIX_EPOCH + WRITTEN).expect("it is ours");
    copy
}

/// A folder of a test's own.
fn scratch(of: &str) -> PathBuf {
    let folder = env::temp_dir().join(format!("oomtrace-import-{of}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("there is room");
    folder
}

/// A log that was being written when it was copied: what there is of it is used, and that it is damaged is said.
const CUT_SHORT: &str = "7.2-gzip-cut-short";

/// What the program prints of a log. It fails the test if the program fails.
fn import(form: &str, log: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oomtrace"));
    command.args(["import", "--output", form]).arg(log);
    command.env("TZ", "UTC").env("COLUMNS", "80").env_remove("NO_COLOR");
    let output = command.output().expect("the program was built");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let cut = log.file_stem().is_some_and(|name| name == CUT_SHORT);
    assert_eq!(output.status.code(), Some(i32::from(cut)), "{}: {stderr}", log.display());
    assert_eq!(stderr.contains("damaged"), cut, "{}: {stderr}", log.display());
    assert!(!stderr.contains("panicked"), "{}: {stderr}", log.display());
    String::from_utf8(output.stdout).expect("what is printed is UTF-8")
}

/// The lines of JSON that are printed of a log.
fn events(printed: &str) -> Vec<Value> {
    printed.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

/// Guards what is read out of logs of all ages: events, processes, cgroups, sizes, times, as they were written down by hand.
#[test]
fn logs_of_all_ages_say_what_was_written_into_them() {
    let folder = scratch("expected");
    let mut wrong = Vec::new();
    for (name, path) in logs() {
        let expected = fs::read_to_string(path.with_file_name(format!("{name}.expect")))
            .expect("what must come out stands beside each log");
        let told = events(&import("json", &copy(&path, &folder)));
        wrong.extend(compare(&events(&expected), &told).into_iter().map(|what| format!("{name}: {what}")));
    }
    fs::remove_dir_all(&folder).expect("it is ours");
    assert!(wrong.is_empty(), "{} things:\n{}", wrong.len(), wrong.join("\n"));
}

/// Guards every figure and every word that is printed of each log, and with it whatever nobody thought of when it was written.
#[test]
fn logs_come_out_as_the_golden_files_say() {
    let folder = scratch("golden");
    let bless = env::var_os("OOMTRACE_BLESS").is_some();
    let mut wrong = Vec::new();
    for (name, path) in logs() {
        let log = copy(&path, &folder);
        let people = FOR_PEOPLE.contains(&name.as_str()).then_some(("human", "txt"));
        for (form, ending) in [("json", "jsonl")].into_iter().chain(people) {
            let printed = import(form, &log);
            let golden = tests_dir().join("golden/import").join(format!("{name}.{ending}"));
            if bless {
                fs::write(&golden, &printed).expect("there is room");
            }
            if fs::read_to_string(&golden).ok().as_ref() != Some(&printed) {
                wrong.push(format!("{} differs from what is printed now:\n{printed}", golden.display()));
            }
        }
    }
    fs::remove_dir_all(&folder).expect("it is ours");
    assert!(wrong.is_empty(), "{} files:\n{}", wrong.len(), wrong.join("\n"));
}

/// Guards that there is no golden file and nothing expected of a log that is gone, and that each log says where it is from.
#[test]
fn each_log_has_its_files_and_no_file_is_left_over() {
    let logs = logs();
    assert!(logs.len() >= 60, "{}", logs.len());
    let known = |path: &Path| {
        let stem = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        logs.iter().any(|(name, _)| *name == stem)
    };
    for folder in ["fixtures/klog/import", "golden/import"] {
        for entry in fs::read_dir(tests_dir().join(folder)).expect("the folder is there") {
            let path = entry.expect("the folder can be read").path();
            assert!(known(&path), "{} is of no log", path.display());
        }
    }
    for (name, path) in &logs {
        let beside = path.with_file_name(format!("{name}.source"));
        let said = fs::read(if beside.exists() { &beside } else { path }).expect("it was just there");
        assert!(
            said.starts_with(b"# source: "),
            "{name} does not say by which format strings it was written"
        );
    }
    assert!(FOR_PEOPLE.iter().all(|name| logs.iter().any(|(log, _)| log == name)));
}
