//! An agent that is killed at any moment.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _, stdout},
    process::{Command, Stdio},
};

use super::*;

/// Names the file to a writer that is to be killed, and the number that it begins with.
const FILE: &str = "OOMTRACE_TEST_HISTORY";
const FIRST: &str = "OOMTRACE_TEST_FIRST";
/// How often it is killed.
const TIMES: u32 = 25;

/// Writes until it is killed, and acknowledges what is written. No test by itself.
#[test]
#[ignore = "what another test starts and kills"]
fn writer() {
    let Some(path) = env::var_os(FILE) else { return };
    let first: u32 = env::var(FIRST).unwrap().parse().unwrap();
    let (mut history, health) = open(Path::new(&path));
    for number in first.. {
        let (mut out, told) = (stdout().lock(), health.messages_written());
        tell(&mut history, [incident(number)]);
        assert_eq!(health.messages_written(), told + 1, "{:?}", health.failing());
        writeln!(out, "\nwrote {number}").unwrap();
        out.flush().unwrap();
    }
}

/// Guards what is promised of every commit: whenever the writer is killed, everything that it acknowledged is there, once, and at most
/// one more, which it had not come to acknowledge.
#[test]
fn what_was_acknowledged_survives_kill_9() {
    let scratch = Scratch::new("killed");
    let path = scratch.file();
    let (mut first, mut acknowledged) = (0, Vec::new());
    for round in 0..TIMES {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "output::history::tests::killed::writer",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(FILE, &path)
            .env(FIRST, first.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut wrote = || lines.by_ref().find_map(|line| line.ok()?.strip_prefix("wrote ")?.parse().ok());
        let one: u32 = wrote().expect("it writes");
        acknowledged.push(one);
        // Each time at another moment of its work.
        thread::sleep(Duration::from_micros(u64::from(round) * 1_700 % 20_000));
        child.kill().unwrap();
        child.wait().unwrap();
        while let Some(number) = wrote() {
            acknowledged.push(number);
        }
        first = acknowledged.last().unwrap() + 2;
    }
    let mut kept: Vec<_> = ids(&path);
    let all = kept.len();
    kept.sort();
    kept.dedup();
    assert_eq!(kept.len(), all, "nothing is there twice");
    let missing: Vec<_> =
        acknowledged.iter().filter(|number| kept.binary_search(&incident(**number).id).is_err()).collect();
    assert!(missing.is_empty(), "{missing:?} of {} are missing", acknowledged.len());
    assert!(all <= acknowledged.len() + TIMES as usize, "{all} of {}", acknowledged.len());
}
