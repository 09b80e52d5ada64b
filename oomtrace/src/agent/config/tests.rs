//! Options from all places.

use std::{fs, path::Path};

use clap::Parser as _;

use super::*;
use crate::cli::{Cli, Command, TierChoice};

fn args(words: &[&str]) -> AgentArgs {
    let words = ["oomtrace", "agent"].iter().chain(words);
    match Cli::try_parse_from(words).unwrap().command {
        Some(Command::Agent(args)) => *args,
        other => panic!("{other:?}"),
    }
}

/// Guards the one precedence: an option on the command line, then the file, then what is set by default. (The environment is
/// clap's, which has it between the first two; the scenario `agent_config` shows it.)
#[test]
fn the_first_that_says_something_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("oomtrace.toml");
    fs::write(&path, "[trace]\ntier = \"kprobe\"\nring_size = \"1M\"\n[filter]\nkind = [\"oom\"]\n").unwrap();
    let path = path.to_str().unwrap();
    let both = args(&["--config", path, "--tier", "tracepoint"]).settings().unwrap();
    assert_eq!(both.trace.kernel.tier, TierChoice::Tracepoint, "the command line");
    assert_eq!(both.trace.ring_size, 1 << 20, "the file");
    assert!(!both.trace.no_cmdline, "the default");
    assert_eq!(both.trace.filter.kind, [crate::cli::Kind::Oom]);
}

/// Guards that no file is needed where none is named, and that one that is named is.
#[test]
fn a_file_that_is_named_has_to_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("none.toml");
    assert!(args(&[]).settings_from(&nowhere).unwrap().file.is_none());
    let error = args(&["--config", nowhere.to_str().unwrap()]).settings_from(Path::new("/")).unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "{error}");
}

/// Guards what a wrong file is told: where it is wrong, and what would be right.
#[test]
fn what_is_wrong_is_named() {
    for (text, words) in [
        ("[trace]\ntier = \"best\"\n", "line 2"),
        ("[trace]\nteir = \"auto\"\n", "teir"),
        ("[tracing]\n", "tracing"),
        ("[trace]\nring_size = \"many\"\n", "is no size"),
        ("[history]\nmax_age = \"long\"\n", "is no length of time"),
        ("[history]\nmax_age = 5\n", "is no length of time"),
        ("[metrics]\nlisten = \"localhost\"\n", "socket address"),
        ("[trace\n", "line 1"),
    ] {
        let said = file::parse(text).unwrap_err();
        assert!(said.contains(words), "{text}: {said}");
    }
}

/// Guards the units of ages and sizes, and what is none.
#[test]
fn units() {
    let age = |text: &str| text.parse::<Age>().map(|Age(age)| age.as_secs());
    assert_eq!(age("10s"), Ok(10));
    assert_eq!(age("90 days"), Ok(90 * 86_400));
    assert_eq!(age("1h 30m"), Ok(5_400));
    for nonsense in ["", "10", "1 month", "-5s", "soon"] {
        assert!(age(nonsense).is_err(), "{nonsense}");
    }
    assert_eq!("64M".parse(), Ok(Size(64 << 20)));
}

/// Guards the file that is shipped: it has every setting, and what it shows as set by default is.
#[test]
fn the_shipped_file_has_every_setting_with_its_default() {
    let shipped = include_str!("../../../deploy/oomtrace.toml");
    let untouched = file::parse(shipped).unwrap();
    assert_eq!(untouched, Options::default(), "nothing in it is set");
    let is_setting = |line: &str| {
        let key = line.split_once(" = ").map(|(key, _)| key);
        key.is_some_and(|key| key.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'))
    };
    let set: Vec<_> = shipped
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|line| is_setting(line)).unwrap_or(line))
        .collect();
    let all = file::parse(&set.join("\n")).unwrap();
    let said = format!("{all:?}");
    assert!(!said.contains("None"), "a setting is not in the file: {said}");
    let known = |options: Options| {
        let settings = Settings::new(None, options).unwrap();
        let Settings { stdout, history, recover, metrics, bpf_stats, flight, confine, .. } = settings;
        format!("{stdout:?} {history:?} {recover} {metrics:?} {bpf_stats} {flight:?} {confine}")
    };
    // What filters, and outputs that there are not by default, is shown by an example.
    assert_eq!(known(all.clone()), known(Options::default()));
    let trace = |options: Options| {
        let trace = Settings::new(None, options).unwrap().trace;
        format!(
            "{:?} {} {} {} {}",
            trace.kernel, trace.no_kmsg, trace.no_cmdline, trace.fork_syscalls, trace.ring_size
        )
    };
    assert_eq!(trace(all.clone()), trace(Options::default()));
    let settings = Settings::new(None, all).unwrap();
    let (lines, exec) = (settings.lines.unwrap(), settings.exec.unwrap());
    let usual = Settings::new(
        None,
        file::parse("[file]\npath = \"/f\"\n[exec]\ncommand = [\"/p\"]\n[webhook]\nurl = \"http://h/\"\n")
            .unwrap(),
    )
    .unwrap();
    assert_eq!(
        (lines.max_bytes, lines.keep),
        usual.lines.map(|usual| (usual.max_bytes, usual.keep)).unwrap()
    );
    let usual_exec = usual.exec.unwrap();
    assert_eq!(
        (exec.timeout, exec.concurrency, &exec.kinds),
        (usual_exec.timeout, usual_exec.concurrency, &usual_exec.kinds)
    );
    let (hook, usual) = (settings.webhook.unwrap(), usual.webhook.unwrap());
    assert_eq!(
        (hook.timeout, hook.give_up_after, hook.batch, &hook.kinds),
        (usual.timeout, usual.give_up_after, usual.batch, &usual.kinds)
    );
}

/// Guards against outputs that would fail only once something happened: they are looked at with the rest.
#[test]
fn settings_of_outputs_are_looked_at_before_anything_starts() {
    for (text, words) in [
        ("[file]\npath = \"relative\"\n", "[file]"),
        ("[exec]\ncommand = [\"program\"]\n", "absolute path"),
        ("[exec]\ncommand = [\"/p\"]\nconcurrency = 0\n", "may run at once"),
        ("[webhook]\nurl = \"ftp://host/\"\n", "https://"),
        ("[webhook]\nurl = \"http://h/\"\ntimeout = \"2h\"\n", "at most a minute"),
        ("[history]\npath = \"history.db\"\n", "absolute"),
        ("[trace]\nring_size = 0\n", "ring_size"),
        ("[flight]\ninterval = \"100ms\"\n", "a second at the least"),
        ("[flight]\ninterval = \"1s\"\nkeep = \"1h\"\n", "361 samples"),
    ] {
        let said = Settings::new(None, file::parse(text).unwrap()).unwrap_err().to_string();
        assert!(said.contains(words), "{text}: {said}");
    }
}
