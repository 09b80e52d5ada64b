//! Programs that hang, crash, are missing, say too much, or are too slow.

use std::{fs, path::PathBuf, thread::sleep};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::*;
use crate::output::samples::{HOSTILE, fork, incident, opened};

/// What a test waits for at the most.
const LONG: Duration = Duration::from_secs(20);

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("oomtrace-exec-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An operator's program: a shell that has this script, and the path of the folder as its first argument.
fn settings(script: &str, folder: &Folder) -> ExecSettings {
    let command = ["/bin/sh", "-c", script, "hook", &folder.path("")].map(OsString::from);
    ExecSettings {
        command: command.to_vec(),
        kinds: LineKind::OF_INCIDENTS.to_vec(),
        timeout: Duration::from_secs(10),
        concurrency: 2,
        keep_capabilities: false,
    }
}

fn exec(settings: &ExecSettings) -> (Exec, Arc<Health>) {
    let health = Health::new("exec");
    let runner = Runner::fork(settings).unwrap();
    (Exec::new(settings, runner, Arc::clone(&health)).unwrap(), health)
}

fn give(exec: &mut Exec, seqs: impl IntoIterator<Item = u64>) {
    for seq in seqs {
        exec.take(&incident(seq, "app")).unwrap();
    }
    exec.flush().unwrap();
}

/// Lets it work until nothing runs and nothing waits.
fn settle(exec: &mut Exec) {
    let until = Instant::now() + LONG;
    while exec.rest().is_some() {
        assert!(Instant::now() < until, "it does not come to an end");
        sleep(Duration::from_millis(5));
    }
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        sleep(Duration::from_millis(5));
    }
}

fn is_gone(pid: &str) -> bool {
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    // A zombie that nobody waits for any more is as good as gone.
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
    test_kill_process(pid).is_err() || stat.contains(") Z ")
}

/// Guards the arguments, the environment, the descriptors and the privileges of a program: they are the settings', whatever an
/// incident's names try; and its input is the line, and nothing else.
#[test]
fn a_program_gets_the_line_and_nothing_else() {
    let folder = Folder::new("line");
    let script = "cat > $1/in; tr '\\0' '\\n' < /proc/$$/environ > $1/env; tr '\\0' '\\n' < /proc/$$/cmdline > $1/args
        ls -l /proc/$$/fd > $1/fds; cat /proc/$$/status /proc/$$/oom_score_adj > $1/status; pwd > $1/pwd; echo talk";
    let settings = settings(script, &folder);
    let (mut exec, health) = exec(&settings);
    exec.take(&opened()).unwrap();
    exec.take(&incident(1, HOSTILE)).unwrap();
    exec.flush().unwrap();
    settle(&mut exec);
    assert_eq!((health.messages_written(), health.messages_lost(), health.failing()), (1, 0, None));
    let line = Json::line(&incident(1, HOSTILE));
    assert_eq!(folder.read("in").into_bytes(), line);
    assert_eq!(
        folder.read("env"),
        "LANG=C.UTF-8\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
    );
    assert_eq!(folder.read("args"), format!("/bin/sh\n-c\n{script}\nhook\n{}\n", folder.path("")));
    // Its input and what it says; what else there is, is the shell's own.
    let fds = folder.read("fds");
    assert!(
        fds.matches("pipe:").count() == 2 && !fds.contains("socket:") && !fds.contains("anon_inode:"),
        "{fds}"
    );
    assert_eq!(folder.read("pwd"), "/\n");
    let status = folder.read("status");
    for none in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(status.contains(&format!("{none}:\t0000000000000000\n")), "{status}");
    }
    for so in ["NoNewPrivs:\t1\n", "Seccomp:\t0\n"] {
        assert!(status.contains(so), "{so:?} in {status}");
    }
    // The C library keeps its own signals, 32 and 33, to itself.
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    assert_eq!(u64::from_str_radix(ignored, 16).unwrap() & 0x7fff_ffff, 0);
    assert!(status.ends_with("\n0\n"), "the OOM killer may choose it");
}

/// Guards the choice of what it is run for.
#[test]
fn it_is_run_for_what_was_asked_for() {
    let folder = Folder::new("kinds");
    let forks = ExecSettings { kinds: vec![LineKind::ForkFailure], ..settings("cat >> $1/in", &folder) };
    let (mut exec, health) = exec(&forks);
    give(&mut exec, 1..=3);
    exec.take(&fork()).unwrap();
    exec.flush().unwrap();
    settle(&mut exec);
    assert_eq!((folder.read("in").lines().count(), health.messages_written()), (1, 1));
    assert!(folder.read("in").contains("\"type\":\"fork_failure\""));
}

/// Guards what is said of programs that fail: how they ended and what they said, on one line; and that recovery is said.
#[test]
fn how_it_ended_is_said() {
    let folder = Folder::new("ends");
    let script = "read line; case $line in
        *'\"seq\":1,'*) printf 'no\\noomtrace: fine\\033[2J' >&2; exit 3;;
        *'\"seq\":2,'*) kill -SEGV $$;;
        esac";
    let (mut exec, health) = exec(&settings(script, &folder));
    give(&mut exec, [1]);
    settle(&mut exec);
    let said = "/bin/sh ended with status 3, and said: no\\noomtrace: fine\\u{1b}[2J";
    assert_eq!(health.failing().as_deref(), Some(said));
    give(&mut exec, [2]);
    settle(&mut exec);
    assert_eq!(health.failing().as_deref(), Some("/bin/sh was ended by signal 11"));
    give(&mut exec, [3]);
    settle(&mut exec);
    assert_eq!(health.failing(), None);
    assert_eq!((health.messages_written(), health.messages_lost(), health.failures()), (1, 2, 2));
}

/// Guards against a program that is not there (yet).
#[test]
fn a_missing_program_is_said_and_may_come() {
    let folder = Folder::new("missing");
    let command = vec![folder.path("hook").into(), "arg".into()];
    let (mut exec, health) = exec(&ExecSettings { command, ..settings("", &folder) });
    give(&mut exec, [1]);
    settle(&mut exec);
    assert!(health.failing().is_some_and(|why| why.contains("hook could not be started: No such file")));
    std::os::unix::fs::symlink("/bin/true", folder.path("hook")).unwrap();
    give(&mut exec, [2]);
    settle(&mut exec);
    assert_eq!((health.messages_written(), health.messages_lost(), health.failing()), (1, 1, None));
}

/// Guards the time limit: of a program that ends when told so, and of one that does not, with all that it started.
#[test]
fn a_program_that_hangs_is_ended() {
    let folder = Folder::new("hangs");
    let limit = Duration::from_millis(300);
    let (mut soft, health) = exec(&ExecSettings { timeout: limit, ..settings("exec sleep 1000", &folder) });
    give(&mut soft, [1]);
    settle(&mut soft);
    assert_eq!(health.failing().as_deref(), Some("/bin/sh took too long and was ended"));
    let script = "trap '' TERM; sleep 1000 & echo $! > $1/child; echo $$ > $1/own; while :; do sleep 1; done";
    let (mut hard, health) = exec(&ExecSettings { timeout: limit, ..settings(script, &folder) });
    let begun = Instant::now();
    give(&mut hard, [1]);
    settle(&mut hard);
    let said = "/bin/sh took too long, went on after SIGTERM, and was killed";
    assert_eq!(health.failing().as_deref(), Some(said));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    wait_for("its child goes, too", || is_gone(&folder.read("child")) && is_gone(&folder.read("own")));
    assert_eq!((health.messages_written(), health.messages_lost()), (0, 1));
}

/// Guards against what a program leaves in the background, which would add up.
#[test]
fn nothing_stays_in_the_background() {
    let folder = Folder::new("background");
    let (mut exec, health) = exec(&settings("sleep 1000 & echo $! > $1/child", &folder));
    give(&mut exec, [1]);
    settle(&mut exec);
    assert_eq!(health.messages_written(), 1);
    wait_for("what it left goes", || is_gone(&folder.read("child")));
}

/// Guards against programs that say very much, and read nothing of a line that is longer than a pipe.
#[test]
fn a_program_may_say_much_and_read_nothing() {
    let folder = Folder::new("much");
    let script = "head -c 5000000 /dev/zero; head -c 5000000 /dev/zero | tr '\\0' x >&2; exit 1";
    let (mut silent, health) = exec(&settings(script, &folder));
    silent.take(&incident(1, &"y".repeat(200_000))).unwrap();
    silent.flush().unwrap();
    settle(&mut silent);
    let said = health.failing().unwrap();
    assert!(said.starts_with("/bin/sh ended with status 1, and said: xxx") && said.len() < 600, "{said}");
    // One that reads all of such a line gets all of it.
    let (mut whole, health) = exec(&settings("cat > $1/in", &folder));
    whole.take(&incident(1, &"y".repeat(200_000))).unwrap();
    whole.flush().unwrap();
    settle(&mut whole);
    let line: serde_json::Value = serde_json::from_str(&folder.read("in")).unwrap();
    assert_eq!(line["victims"][0]["comm"].as_str().map(str::len), Some(200_000));
    assert_eq!(health.messages_written(), 1);
}

/// Guards the machine: no more programs at once than allowed, and yet one for each incident.
#[test]
fn so_many_run_at_once_and_no_more() {
    let folder = Folder::new("many");
    let script = "echo + >> $1/log; sleep 0.1; echo - >> $1/log";
    let (mut exec, health) = exec(&ExecSettings { concurrency: 3, ..settings(script, &folder) });
    give(&mut exec, 1..=9);
    settle(&mut exec);
    let (mut now, mut most) = (0, 0);
    for step in folder.read("log").lines() {
        now += if step == "+" { 1 } else { -1 };
        most = most.max(now);
    }
    assert_eq!((now, most), (0, 3));
    assert_eq!((health.messages_written(), health.messages_lost()), (9, 0));
}

/// Guards memory behind a program that blocks, and the books: every line ends as written or lost.
#[test]
fn what_finds_no_room_is_counted() {
    let folder = Folder::new("room");
    let (mut exec, health) = exec(&settings("echo $$ > $1/$$; exec sleep 1000", &folder));
    let large = "z".repeat(100_000);
    for seq in 1..=60 {
        exec.take(&incident(seq, &large)).unwrap();
        exec.flush().unwrap();
    }
    assert!(health.failing().is_some_and(|why| why.contains("does not keep up")));
    assert!(health.messages_lost() > 20 && exec.backlog.len() < 40);
    wait_for("two run", || fs::read_dir(&folder.0).unwrap().count() == 2);
    let begun = Instant::now();
    exec.end();
    assert!(begun.elapsed() < Duration::from_secs(2), "the agent waits no longer than it may");
    assert_eq!((health.messages_written(), health.messages_lost()), (0, 60));
    let left: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    wait_for("they end with the agent", || left.iter().all(|pid| is_gone(pid.to_str().unwrap())));
}

/// Guards the last incident before the agent ends: its program has a moment.
#[test]
fn the_last_line_is_handled_at_the_end() {
    let folder = Folder::new("last");
    let (mut exec, health) = exec(&settings("sleep 0.2; cat > $1/in", &folder));
    exec.take(&incident(1, "app")).unwrap();
    exec.end();
    assert_eq!((health.messages_written(), health.messages_lost()), (1, 0));
    assert!(folder.read("in").ends_with("}\n"));
}

/// Guards the agent against the end of its runner: what was open is counted, and so is all that comes.
#[test]
fn a_runner_that_is_gone_is_said() {
    let folder = Folder::new("gone");
    let (mut exec, health) = exec(&settings("echo $$ > $1/own; exec sleep 1000", &folder));
    give(&mut exec, 1..=3);
    wait_for("one runs", || !folder.read("own").is_empty());
    let runner = Pid::from_raw(exec.runner.as_ref().unwrap().pid()).unwrap();
    kill_process(runner, Signal::TERM).unwrap();
    sleep(Duration::from_millis(100));
    assert!(exec.rest().is_some(), "what the agent is told to do is nothing to it");
    kill_process(runner, Signal::KILL).unwrap();
    wait_for("it is heard of", || exec.rest().is_none());
    assert!(health.failing().is_some_and(|why| why.contains("is gone")));
    give(&mut exec, 4..=5);
    assert_eq!((health.messages_written(), health.messages_lost()), (0, 5));
    wait_for("no program outlives it", || is_gone(&folder.read("own")));
}

/// Guards against settings that cannot work, and against a runner that would have the agent's threads and rights.
#[test]
fn settings_are_checked() {
    let folder = Folder::new("settings");
    let good = settings("", &folder);
    assert!(good.check().is_ok());
    for wrong in [
        ExecSettings { command: Vec::new(), ..good.clone() },
        ExecSettings { command: vec!["hook".into()], ..good.clone() },
        ExecSettings { command: vec!["/bin/x".into(), "a\0b".into()], ..good.clone() },
        ExecSettings { concurrency: 0, ..good.clone() },
        ExecSettings { concurrency: 65, ..good.clone() },
        ExecSettings { timeout: Duration::ZERO, ..good.clone() },
        ExecSettings { timeout: Duration::from_secs(3601), ..good.clone() },
    ] {
        assert!(wrong.check().is_err(), "{wrong:?}");
    }
    // The harness has threads.
    assert!(matches!(Runner::start(&good), Err(ExecError::Threads(_))));
}
