//! Recorded streams of real incidents through the program, as a user runs it: what it prints is compared with
//! golden files, and what it says of bad input is checked.
//!
//! `OOMTRACE_BLESS=1 cargo test -p oomtrace --test replay` writes the golden files anew.

#![expect(clippy::expect_used, reason = "what a test needs and does not get is a failed test")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use oomtrace_tests::flood::Flood;
use serde_json::Value;

fn tests_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests")
}

fn stream(name: &str) -> PathBuf {
    tests_dir().join("fixtures/streams").join(name)
}

fn oomtrace() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oomtrace"));
    command.env("TZ", "UTC").env_remove("NO_COLOR");
    command
}

fn run(args: &[&str]) -> Output {
    oomtrace().args(args).output().expect("the program was built")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Recordings: one a kernel, each of the same scenarios, and one of the tracepoint tier; a service at its TasksMax=; and the
/// scenario `cures`: machines and groups that are set up badly, one after the other, and what happened once that was mended.
const STREAMS: [&str; 7] = [
    "5.10-trampoline",
    "6.1-trampoline",
    "6.12-trampoline",
    "7.2-trampoline",
    "6.18-tracepoint",
    "6.12-fork",
    "6.12-cures",
];

/// Guards both forms of output, to the letter, for real incidents of five kernels.
#[test]
fn recorded_streams_come_out_as_the_golden_files_say() {
    for name in STREAMS {
        let file = stream(&format!("{name}.oomtrace"));
        for (form, columns, ending) in
            [("human", "80", "80.txt"), ("human", "200", "200.txt"), ("json", "", "jsonl")]
        {
            let mut replay = oomtrace();
            let output = replay
                .args(["replay", "--output", form])
                .arg(&file)
                .env("COLUMNS", columns)
                .output()
                .unwrap();
            assert!(output.status.success(), "{name}: {}", stderr(&output));
            let golden = tests_dir().join("golden").join(format!("{name}.{ending}"));
            if std::env::var_os("OOMTRACE_BLESS").is_some() {
                fs::write(&golden, &output.stdout).unwrap();
            }
            let expected = fs::read(&golden).unwrap_or_default();
            assert!(
                output.stdout == expected,
                "{} differs from what is printed now:\n{}",
                golden.display(),
                String::from_utf8_lossy(&output.stdout)
            );
        }
    }
}

/// Guards findings on real incidents, as the exact set for each: what was provoked is found, and nothing else; a kill that an
/// operator asked for has nothing to find.
#[test]
fn recorded_incidents_have_exactly_these_findings() {
    const EXPECTED: [(&str, &[&str]); 13] = [
        ("big-sleeper", &["memcg-limit"]),
        ("small-asker", &["memcg-limit"]),
        ("contained-eater", &["memcg-limit"]),
        ("left-eater", &["memcg-limit"]),
        ("right-eater", &["memcg-limit"]),
        ("leaf-eater", &["memcg-ancestor"]),
        ("leaf-sleeper", &["memcg-ancestor"]),
        ("held-eater", &["limit-lowered"]),
        ("member-chosen", &["memcg-limit", "group-kill"]),
        ("global-eater", &["node-exhausted"]),
        ("sysrq-victim", &[]),
        ("ns-init", &["memcg-limit", "pidns-init"]),
        ("sh", &["fork-pids-max"]),
    ];
    let mut seen = BTreeSet::new();
    for name in STREAMS.into_iter().filter(|name| *name != CURES) {
        let output = run(&["replay", "--json", stream(&format!("{name}.oomtrace")).to_str().unwrap()]);
        let text = String::from_utf8(output.stdout).unwrap();
        for line in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            let who = if line["type"] == "oom" { &line["victims"][0]["comm"] } else { &line["task"]["comm"] };
            let found = line["findings"].as_array().cloned().unwrap_or_default();
            let ids: Vec<_> = found.iter().map(|finding| finding["id"].as_str().unwrap()).collect();
            let Some(who) = who.as_str() else {
                // Nobody was left to kill below a limit that was lowered; or what became of victims.
                assert!(ids.is_empty() || ids == ["limit-lowered"], "{name}: {line}");
                continue;
            };
            // Where no hook shows who shares memory, that is not found.
            let sharing: &[&str] =
                if name == "6.18-tracepoint" { &["memcg-limit"] } else { &["memcg-limit", "collateral"] };
            let of_all = EXPECTED.iter().find(|(known, _)| *known == who).map(|(_, ids)| *ids);
            let known = of_all.or_else(|| (who == "mm-owner").then_some(sharing));
            assert_eq!(known, Some(&ids[..]), "{name}: {who}");
            seen.insert(who.to_owned());
        }
    }
    assert_eq!(seen.len(), EXPECTED.len() + 1, "{seen:?}");
}

/// The recording of the scenario `cures`.
const CURES: &str = "6.12-cures";

/// Guards findings on machines and groups that are set up badly, each as the exact set, and what is left of it where it happened
/// again once that was mended: another victim, or the same without that finding.
#[test]
fn recorded_misfortunes_have_exactly_these_findings() {
    const EXPECTED: [(&str, &[&str]); 29] = [
        ("order-sleeper", &["mlocked", "fragmentation"]),
        ("limited", &["memcg-limit"]),
        ("leaf", &["memcg-ancestor"]),
        ("lowered", &["limit-lowered"]),
        ("swapless", &["memcg-limit", "swap-forbidden"]),
        ("stalled", &["memcg-limit", "long-stall"]),
        ("restarted", &["memcg-limit"]),
        ("restarted", &["memcg-limit"]),
        ("restarted", &["memcg-limit", "repeat-offender"]),
        ("second", &["memcg-limit", "group-kill"]),
        ("panicky-1", &["memcg-limit", "panic-on-oom"]),
        ("panicky-2", &["memcg-limit"]),
        ("no-panic", &["node-exhausted", "swap-none"]),
        ("no-swap", &["node-exhausted", "swap-none"]),
        ("swap-full", &["node-exhausted", "swap-full"]),
        ("reserved", &["min-free-oversized"]),
        ("low-1", &["node-exhausted", "swap-none", "min-free-tiny"]),
        ("low-2", &["node-exhausted", "swap-none"]),
        ("huge", &["huge-pages-reserved", "swap-none"]),
        ("asker", &["oom-kill-allocating-task", "node-exhausted", "swap-none"]),
        ("large", &["node-exhausted", "swap-none"]),
        ("innocent", &["victim-not-culprit", "node-exhausted", "swap-none"]),
        ("spared", &["node-exhausted", "swap-none"]),
        ("promised", &["node-exhausted", "swap-none", "overcommit"]),
        ("counted", &["node-exhausted", "swap-none", "overcommit"]),
        ("small", &["shielded-giant", "node-exhausted", "swap-none"]),
        ("beside-files", &["shmem", "swap-none"]),
        ("beside-locked", &["mlocked"]),
        ("beside-slabs", &["unreclaimable-slab"]),
    ];
    let output = run(&["replay", "--json", stream(&format!("{CURES}.oomtrace")).to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let told: Vec<_> = lines
        .filter(|line| line["type"] == "oom" && line["victims"][0].is_object())
        .map(|line| {
            let ids = line["findings"]
                .as_array()
                .unwrap()
                .iter()
                .map(|finding| finding["id"].as_str().unwrap().to_owned());
            (line["victims"][0]["comm"].as_str().unwrap().to_owned(), ids.collect::<Vec<_>>())
        })
        .collect();
    let expected: Vec<_> = EXPECTED
        .iter()
        .map(|(who, ids)| ((*who).to_owned(), ids.iter().map(ToString::to_string).collect::<Vec<_>>()))
        .collect();
    assert_eq!(told, expected);
}

/// Guards the promise that a name cannot reach the terminal as control: golden files of people hold none.
#[test]
fn blocks_for_people_hold_no_control_characters() {
    for name in STREAMS {
        let text = fs::read_to_string(tests_dir().join("golden").join(format!("{name}.80.txt"))).unwrap();
        assert!(text.chars().all(|letter| letter == '\n' || !letter.is_control()), "{name}");
        let told = if name.ends_with("-fork") { "FORK FAILED" } else { "OOM KILL" };
        assert!(text.contains(told), "{name}");
    }
}

/// Guards the filters in the whole program: what passes is what is asked for.
#[test]
fn filters_apply_to_replays() {
    let file = stream("6.12-trampoline.oomtrace");
    let file = file.to_str().unwrap();
    let lines = |args: &[&str]| {
        let output = run(&[&["replay", "--json", file], args].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        let of =
            |kind: &str| text.lines().filter(|line| line.contains(&format!("\"type\":\"{kind}\""))).count();
        assert_eq!(of("relief"), of("oom"), "each incident's relief, and no other's");
        of("oom")
    };
    assert_eq!(lines(&[]), 10);
    assert_eq!(lines(&["--comm", "big-sleeper"]), 1);
    assert_eq!(lines(&["--comm", "member-2"]), 1, "any victim of a group");
    assert_eq!(lines(&["--min-rss", "60M"]), 2);
    assert_eq!(lines(&["--cgroup", "*/limited"]), 1);
    assert_eq!(lines(&["--container", "4e9bf3a17c02"]), 1);
    assert_eq!(lines(&["--pid", "4000000"]), 0);
}

/// Guards the books of very many failures, more kinds of them than are remembered: each is told once, in its turn, with
/// its own process and cgroup, and the counts add up to all.
#[test]
fn every_failure_of_a_flood_is_counted_once() {
    const FAILURES: u32 = 5000;
    for flood in [Flood::Identical, Flood::Different] {
        let mut file = Vec::new();
        flood.write(FAILURES, &mut file).unwrap();
        let path = std::env::temp_dir().join(format!("oomtrace-flood-{flood:?}-{}", std::process::id()));
        fs::write(&path, file).unwrap();
        let output = run(&["replay", "--json", path.to_str().unwrap()]);
        fs::remove_file(&path).unwrap();
        assert!(output.status.success(), "{flood:?}: {}", stderr(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.iter().all(|line| line["type"] == "fork_failure" && line["cause"] == "pids_max"));
        let counts = lines.iter().map(|line| line["count"].as_u64().unwrap());
        assert_eq!(counts.sum::<u64>(), u64::from(FAILURES), "{flood:?}");
        assert!(lines.iter().zip(1..).all(|(line, seq)| line["seq"] == seq), "{flood:?}");
        assert!(lines.iter().all(|line| line["missing"] == serde_json::json!({})), "{flood:?}");
        let kinds: BTreeSet<_> = lines
            .iter()
            .map(|line| (line["task"]["pid"].as_u64(), &line["task"]["comm"], &line["task"]["cgroup"]))
            .map(|(pid, comm, cgroup)| (pid, comm.to_string(), cgroup.to_string()))
            .collect();
        let expected = if flood == Flood::Identical { 1 } else { FAILURES as usize };
        assert_eq!((lines.len(), kinds.len()), (FAILURES as usize, expected), "{flood:?}");
    }
}

/// Guards the words and the exit statuses for files that are none, are cut, are damaged.
#[test]
fn bad_record_files_are_refused_in_words_with_status_1() {
    let folder = std::env::temp_dir().join(format!("oomtrace-replay-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let good = fs::read(stream("6.12-trampoline.oomtrace")).unwrap();
    let mut damaged = good.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let mut newer = good.clone();
    newer[8] = 77;
    for (name, bytes, words) in [
        ("foreign", &b"#!/bin/sh\n"[..], "not a record file"),
        ("empty", b"", "not a record file"),
        ("cut", &good[..good.len() - 3], "ends in the middle"),
        ("damaged", &damaged[..], "damaged"),
        ("newer", &newer[..], "version 77"),
    ] {
        let file = folder.join(name);
        fs::write(&file, bytes).unwrap();
        let output = run(&["replay", "--json", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(stderr(&output).contains(words), "{name}: {}", stderr(&output));
        assert!(!stderr(&output).contains("panicked"), "{name}");
        let shown = !output.stdout.is_empty();
        assert_eq!(shown, ["cut", "damaged"].contains(&name), "{name}: what is whole is shown");
    }
    let output = run(&["replay", folder.join("absent").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot be opened"), "{}", stderr(&output));
    fs::remove_dir_all(&folder).unwrap();
}

/// Guards the exit statuses of the command line: wrong usage, help, a reader that goes away, a full disk.
#[test]
fn exit_statuses_are_as_documented() {
    assert_eq!(run(&["--tier", "sideways"]).status.code(), Some(2));
    assert!(stderr(&run(&["--tier", "sideways"])).contains("tracepoint"), "it says what there is");
    assert_eq!(run(&["--no-such-option"]).status.code(), Some(2));
    assert_eq!(run(&["--min-rss", "lots"]).status.code(), Some(2));
    assert_eq!(run(&["--help"]).status.code(), Some(0));
    assert_eq!(run(&["schema"]).status.code(), Some(0));
    assert_eq!(run(&["explain"]).status.code(), Some(0));
    let page = run(&["explain", "memcg-limit"]);
    assert!(page.status.success() && page.stdout.starts_with(b"# memcg-limit\n"));
    let unknown = run(&["explain", "memcg-limits"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("memcg-limit,") && unknown.stdout.is_empty(), "{}", stderr(&unknown));
    let file = stream("6.12-trampoline.oomtrace");
    for args in [vec!["schema"], vec!["replay", "--json", file.to_str().unwrap()]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = oomtrace().args(&args).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", stderr(&output));
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = oomtrace().args(&args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
        assert_eq!(stderr(&output), "", "{args:?}");
    }
}

/// Guards the refusal to trace where that cannot be: status 3, and what to do about it.
#[test]
fn tracing_where_it_cannot_be_ends_with_status_3() {
    let absent = run(&["--btf", "/nonexistent/btf"]);
    assert_eq!(absent.status.code(), Some(3), "{}", stderr(&absent));
    let words = stderr(&absent);
    // A build without the eBPF object says that instead.
    assert!(words.contains("--btf FILE") || words.contains("cargo xtask build"), "{words}");
}
