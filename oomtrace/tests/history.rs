//! The history through the program, as a user looks into it: real incidents of five kernels, kept as an agent keeps them.
//!
//! `OOMTRACE_BLESS=1 cargo test -p oomtrace --test history` writes the golden files anew.

#![expect(clippy::expect_used, reason = "what a test needs and does not get is a failed test")]

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::{BufReader, Read as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use oomtrace::{
    explain::Explainer,
    incident::{Assembler, Event},
    output::{
        Format as _, Health, Json, Message, Sink as _,
        history::{History, HistorySettings},
    },
    record::{Frame, Reader, decode},
    session::Source,
};
use serde_json::Value;

fn tests_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests")
}

/// A folder of a test's own, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(of: &str) -> Self {
        let folder = env::temp_dir().join(format!("oomtrace-look-{of}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("there is room");
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("history.db")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What recorded streams come to.
fn messages() -> Vec<Message> {
    let mut messages = Vec::new();
    for name in ["5.10-trampoline", "6.12-trampoline", "6.18-tracepoint", "6.12-fork", "6.12-cures"] {
        let path = tests_dir().join(format!("fixtures/streams/{name}.oomtrace"));
        let file = BufReader::new(File::open(path).expect("the stream is there"));
        let (session, mut reader) = Reader::new(file).expect("it is a stream");
        let (mut assembler, mut explainer) = (Assembler::new(session, Source::Replay), Explainer::default());
        let mut events = Vec::new();
        while let Some(frame) = reader.next_frame().expect("it is whole") {
            if let Frame::Record { wall_clock_offset_ns, bytes } = frame {
                events
                    .extend(assembler.record(decode(&bytes).expect("it is a record"), wall_clock_offset_ns));
            }
        }
        events.extend(assembler.end());
        for mut event in events {
            explainer.complete(&mut event, assembler.settings());
            messages.push(Message::Incident(event));
        }
    }
    messages
}

/// A history of all of these, open to be written to.
fn kept(path: &Path) -> History {
    let settings = HistorySettings {
        path: path.to_owned(),
        max_age: Duration::from_hours(24 * 36_500),
        max_bytes: 64 << 20,
    };
    let mut history = History::open(settings, Health::new("history")).expect("it is a new one");
    for message in messages() {
        history.take(&Arc::new(message)).expect("it does not end");
    }
    history.flush().expect("it does not end");
    history
}

fn command(path: &Path, columns: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oomtrace"));
    command.arg("history").arg("--database").arg(path).args(args);
    command.env("TZ", "UTC").env("COLUMNS", columns).env_remove("NO_COLOR");
    command
}

fn look(path: &Path, columns: &str, args: &[&str]) -> String {
    let output = command(path, columns, args).output().expect("the program was built");
    assert!(output.status.success(), "{args:?}: {}", said(&output));
    String::from_utf8(output.stdout).expect("what is printed is UTF-8")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn lines(path: &Path, args: &[&str]) -> Vec<Value> {
    let printed = look(path, "80", &[&["--json"], args].concat());
    printed.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

/// Guards each form for people to the letter, while an agent has the file open.
#[test]
fn the_history_comes_out_as_the_golden_files_say() {
    let scratch = Scratch::new("golden");
    let _agent = kept(&scratch.file());
    let bless = env::var_os("OOMTRACE_BLESS").is_some();
    let mut wrong = Vec::new();
    for (name, columns, args) in [
        ("table.80.txt", "80", &[][..]),
        ("table.200.txt", "200", &["--limit", "20"]),
        ("every-kind.80.txt", "80", &["--kind", "oom,relief,fork_failure", "--limit", "12"]),
        ("summary.80.txt", "80", &["--summary"]),
        ("summary-of-a-minute.120.txt", "120", &["--summary", "--since", "2026-11-28T08:00:00Z"]),
        ("table.csv", "80", &["--csv", "--limit", "12"]),
    ] {
        let printed = look(&scratch.file(), columns, args);
        let golden = tests_dir().join("golden/history").join(name);
        if bless {
            fs::create_dir_all(golden.parent().expect("it is in a folder")).expect("there is room");
            fs::write(&golden, &printed).expect("there is room");
        }
        if fs::read_to_string(&golden).ok().as_ref() != Some(&printed) {
            wrong.push(format!("{} differs from what is printed now:\n{printed}", golden.display()));
        }
        let most = columns.parse().expect("it is a number");
        if Path::new(name).extension().is_some_and(|kind| kind == "txt") {
            assert!(printed.lines().all(|line| line.chars().count() <= most), "{printed}");
        }
    }
    assert!(wrong.is_empty(), "{} files:\n{}", wrong.len(), wrong.join("\n"));
}

/// Guards programs that read it: the lines are what was told, to the byte.
#[test]
fn json_is_what_was_told() {
    let scratch = Scratch::new("json");
    drop(kept(&scratch.file()));
    let mut told = Vec::new();
    for message in messages() {
        if !matches!(message, Message::Incident(Event::Opened(_) | Event::Relieved(_))) {
            let mut line = Vec::new();
            Json.format(&message, &mut line);
            told.push(String::from_utf8(line).expect("JSON is UTF-8"));
        }
    }
    let printed = look(&scratch.file(), "80", &["--json"]);
    let mut kept: Vec<_> = printed.lines().map(|line| format!("{line}\n")).collect();
    told.sort();
    kept.sort();
    assert!(told.len() > 40);
    assert_eq!(kept, told);
}

/// Whether a line fits a filter.
type Fits<'a> = Box<dyn Fn(&Value) -> bool + 'a>;

/// Guards each filter against letting through what does not fit, and against leaving out what does: by what the lines themselves say.
#[test]
fn filters_find_what_fits() {
    let scratch = Scratch::new("filters");
    drop(kept(&scratch.file()));
    let all = lines(&scratch.file(), &[]);
    let text =
        |line: &Value, at: &str| line.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    let victims = |line: &Value| line["victims"].as_array().cloned().unwrap_or_default();
    let mut comms = BTreeMap::new();
    for line in &all {
        for victim in victims(line) {
            *comms.entry(text(&victim, "/comm")).or_insert(0) += 1;
        }
    }
    let (comm, _) = comms.iter().max_by_key(|(_, count)| **count).expect("there are victims");
    let one = &all[all.len() / 2];
    let (time, cgroup) = (text(one, "/time"), text(one, "/victims/0/cgroup"));
    let below = format!("{cgroup}/");
    let finding = text(one, "/findings/0/id");
    let begin = format!("{}*", &comm[..2]);
    let cases: [(&[&str], Fits<'_>); 8] = [
        (
            &["--comm", comm],
            Box::new(|line| victims(line).iter().any(|victim| text(victim, "/comm") == *comm)),
        ),
        (
            &["--comm", &begin],
            Box::new(|line| {
                let fits = |task: &Value| text(task, "/comm").starts_with(&comm[..2]);
                victims(line).iter().any(fits) || fits(&line["task"])
            }),
        ),
        (&["--since", &time], Box::new(|line| text(line, "/time") >= time)),
        (&["--until", &time], Box::new(|line| text(line, "/time") < time)),
        (
            &["--cgroup", &cgroup],
            Box::new(|line| {
                let within = |path: &str| path == cgroup || path.starts_with(&below);
                victims(line).iter().any(|victim| within(&text(victim, "/cgroup")))
                    || within(&text(line, "/scope/memcg/path"))
            }),
        ),
        (&["--cause", "global"], Box::new(|line| text(line, "/scope/kind") == "global")),
        (
            &["--cause", &finding],
            Box::new(|line| {
                let findings = line["findings"].as_array().cloned().unwrap_or_default();
                findings.iter().any(|one| text(one, "/id") == finding)
            }),
        ),
        (&["--kind", "fork_failure"], Box::new(|line| text(line, "/type") == "fork_failure")),
    ];
    for (args, fits) in cases {
        let expected: Vec<_> = all.iter().filter(|line| fits(line)).cloned().collect();
        assert!(
            !expected.is_empty() && expected.len() < all.len(),
            "{args:?} shows nothing: {}",
            expected.len()
        );
        assert_eq!(lines(&scratch.file(), args), expected, "{args:?}");
    }
    let newest = lines(&scratch.file(), &["--limit", "3"]);
    assert_eq!(newest, all[all.len() - 3..]);
    assert_eq!(
        lines(&scratch.file(), &["--comm", "[a-z]*"]),
        Vec::<Value>::new(),
        "* alone stands for anything"
    );
}

/// Guards what is said of a history that is none, or cannot be read, and the exit status of each.
#[test]
fn what_cannot_be_read_is_said() {
    let scratch = Scratch::new("errors");
    let failed = |path: &Path| {
        let output = command(path, "80", &[]).output().expect("the program was built");
        assert_eq!(output.status.code(), Some(1));
        said(&output)
    };
    let none = failed(&scratch.0.join("none.db"));
    assert!(none.contains("there is no such file; oomtrace agent writes one"), "{none}");
    fs::write(scratch.file(), "garbage".repeat(1000)).expect("there is room");
    assert!(failed(&scratch.file()).contains("is damaged"));
    fs::write(scratch.file(), "").expect("there is room");
    assert!(failed(&scratch.file()).contains("nothing is in it yet"));
    fs::remove_file(scratch.file()).expect("it is ours");
    drop(kept(&scratch.file()));
    let output =
        command(&scratch.file(), "80", &["--comm", "nobody"]).output().expect("the program was built");
    assert!(output.status.success() && output.stdout.is_empty());
    assert!(said(&output).contains("nothing in the history fits"));
    let both = command(&scratch.file(), "80", &["--json", "--csv"]).output().expect("the program was built");
    assert_eq!(both.status.code(), Some(2));
}

/// Guards a reader that has seen enough: it is no failure.
#[test]
fn a_broken_pipe_is_no_failure() {
    let scratch = Scratch::new("pipe");
    drop(kept(&scratch.file()));
    let mut child = command(&scratch.file(), "80", &["--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built");
    let mut some = [0; 10];
    child.stdout.take().expect("it is piped").read_exact(&mut some).expect("there is something");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", said(&output));
}

/// Guards whoever is not root: what may be read is read, while an agent has it open and when none does; what may not be is said.
#[test]
fn who_may_read_the_file_needs_to_be_no_more() {
    const NOBODY: u32 = 65534;
    let scratch = Scratch::new("nobody");
    // The program may lie where nobody else may go.
    let program = scratch.0.join("oomtrace");
    fs::copy(env!("CARGO_BIN_EXE_oomtrace"), &program).expect("there is room");
    let folder = scratch.0.join("state");
    let path = folder.join("history.db");
    let agent = kept(&path);
    let read = |group: u32| {
        let mut command = Command::new(&program);
        command.args(["history", "--json", "--database"]).arg(&path).gid(group).uid(NOBODY);
        command.output()
    };
    let Ok(refused) = read(NOBODY) else {
        eprintln!("SKIPPED: root alone becomes somebody else");
        return;
    };
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("permission denied"), "{}", said(&refused));
    // Its group may: root's here.
    let well = |output: Output| {
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8_lossy(&output.stdout).lines().count()
    };
    let open = well(read(0).expect("it was just run"));
    assert!(open > 40);
    drop(agent);
    assert_eq!(well(read(0).expect("it was just run")), open);
}
