//! `oomtrace bugreport` as a user runs it.

#![expect(clippy::expect_used, reason = "what a test needs and does not get is a failed test")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

/// In settings, variables and arguments: nothing of it may be in a report.
const SECRET: &str = "hunter2";

/// Runs it without hooks: which ones attach is a matter of the machine.
fn report(mut command: Command, to: &Path, more: &[&str]) -> Output {
    command.args(["bugreport", "--tier", "kmsg", "--output"]).arg(to).args(more);
    command.env("OOMTRACE_WEBHOOK_TOKEN", SECRET).env("UNRELATED_TOKEN", SECRET);
    command.output().expect("oomtrace can be started")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The files of an archive, by tar's own program.
fn unpacked(archive: &Path) -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let tar = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(folder.path()).status();
    assert!(tar.expect("tar can be started").success());
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.path().join("oomtrace-bugreport")];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("everything is in one folder") {
            let path = entry.expect("a folder can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder.path()).expect("it is in there").display().to_string();
                files.insert(name, fs::read(path).expect("it can be read"));
            }
        }
    }
    files
}

fn manifest(files: &BTreeMap<String, Vec<u8>>) -> Vec<Value> {
    let manifest = &files["oomtrace-bugreport/manifest.json"];
    let manifest: Value = serde_json::from_slice(manifest).expect("the manifest is JSON");
    assert_eq!(manifest["schema"], "oomtrace-bugreport/1");
    manifest["files"].as_array().expect("it lists files").clone()
}

/// Guards a report as a whole: its list is true, it has no secret, it is its owner's alone, and it replaces nothing.
#[test]
fn a_report_is_complete_private_and_without_secrets() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let config = folder.path().join("oomtrace.toml");
    fs::write(&config, "[webhook]\nurl = \"https://me:hunter2@host/?token=hunter2\"\n")
        .expect("it can be written");
    let path = folder.path().join("report.tar.gz");
    let run = || {
        let command = Command::new(env!("CARGO_BIN_EXE_oomtrace"));
        report(
            command,
            &path,
            &["--config", &config.display().to_string(), "--database", "/nonexistent/history.db"],
        )
    };
    let output = run();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{}\n", path.display()));
    let mode = fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let files = unpacked(&path);
    for (name, bytes) in &files {
        assert!(!String::from_utf8_lossy(bytes).contains(SECRET), "{name}");
    }
    let mut listed =
        vec!["oomtrace-bugreport/README.txt".to_owned(), "oomtrace-bugreport/manifest.json".to_owned()];
    for entry in manifest(&files) {
        let name = format!("oomtrace-bugreport/{}", entry["name"].as_str().expect("it has a name"));
        match (&entry["bytes"], &entry["absent"]) {
            (Value::Number(bytes), Value::Null) => {
                assert_eq!(bytes.as_u64(), Some(files[&name].len() as u64), "{name}");
                listed.push(name);
            }
            (Value::Null, Value::String(reason)) => {
                assert!(!reason.is_empty() && !files.contains_key(&name), "{name}");
                assert!(said(&output).contains(reason.as_str()), "{reason}");
            }
            _ => panic!("{entry} is neither there nor absent"),
        }
    }
    listed.sort();
    assert_eq!(files.keys().cloned().collect::<Vec<_>>(), listed);
    let settings = String::from_utf8_lossy(&files["oomtrace-bugreport/settings.json"]).into_owned();
    assert!(settings.contains("https://me:***@host/"), "{settings}");
    let variables = String::from_utf8_lossy(&files["oomtrace-bugreport/environment.json"]).into_owned();
    assert!(variables.contains("OOMTRACE_WEBHOOK_TOKEN") && !variables.contains("UNRELATED"), "{variables}");
    assert!(said(&output).contains("before you send it"));

    let before = fs::read(&path).expect("it can be read");
    let again = run();
    assert_eq!(again.status.code(), Some(1));
    assert!(said(&again).contains("is there already"), "{}", said(&again));
    assert_eq!(fs::read(&path).expect("it can be read"), before);
}

/// Guards users without rights: they get a report with what they may see, and the reasons for the rest.
#[test]
fn without_rights_there_is_less() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let all = fs::Permissions::from_mode(0o777);
    fs::set_permissions(folder.path(), all.clone()).expect("it is ours");
    // Where the build is, nobody else may be let in.
    let program = folder.path().join("oomtrace");
    fs::copy(env!("CARGO_BIN_EXE_oomtrace"), &program).expect("a program can be copied");
    fs::set_permissions(&program, all).expect("it is ours");
    let config = folder.path().join("oomtrace.toml");
    fs::write(&config, "").expect("it can be written");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o000)).expect("it is ours");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&program);
    let path = folder.path().join("report.tar.gz");
    let output = report(command, &path, &["--config", &config.display().to_string()]);
    if said(&output).contains("setpriv") {
        println!("skipped: this test takes root, to give it up");
        return;
    }
    assert!(output.status.success(), "{}", said(&output));
    let entries = manifest(&unpacked(&path));
    let of = |name: &str| entries.iter().find(|entry| entry["name"] == name).expect("it is listed").clone();
    assert!(
        of("settings.json")["absent"].as_str().is_some_and(|reason| reason.contains("denied")),
        "{entries:?}"
    );
    assert!(of("kernel/release.txt")["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{entries:?}");
}

/// Guards what is said where nothing can be written.
#[test]
fn a_report_that_cannot_be_written_is_an_error() {
    for path in ["/nonexistent/report.tar.gz", "/dev/full", "/"] {
        let output = report(Command::new(env!("CARGO_BIN_EXE_oomtrace")), Path::new(path), &[]);
        assert_eq!(output.status.code(), Some(1), "{path}: {}", said(&output));
        assert!(said(&output).contains(path), "{path}: {}", said(&output));
    }
}
