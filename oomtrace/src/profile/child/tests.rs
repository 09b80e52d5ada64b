use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::Command,
    time::{Duration, Instant},
};

use super::*;
use crate::profile::report::End;

fn wanted(command: &[&str]) -> Wanted {
    Wanted { command: command.iter().map(OsString::from).collect(), ..Wanted::default() }
}

fn sh(script: &str) -> Wanted {
    wanted(&["/bin/sh", "-c", script])
}

/// Other tests have children at the same time: how many were left behind tells something only of who is [`alone`].
async fn run(wanted: Wanted) -> (Prepared, End) {
    let mut prepared = Prepared::new(wanted).unwrap();
    let mut running = prepared.start().unwrap();
    let end = tokio::time::timeout(Duration::from_mins(1), running.wait()).await.unwrap();
    (prepared, end)
}

fn refused(wanted: Wanted) -> (u8, String) {
    let error = Prepared::new(wanted).err().unwrap();
    (error.exit_status(), error.to_string())
}

/// Whether cgroups can be made here; says so if not.
fn cgroups(what: &[cgroup::Controller]) -> bool {
    let can = Place::find(Path::new("/"), what);
    if let Err(error) = &can {
        eprintln!("NOT TESTED, for want of a cgroup: {error}");
    }
    can.is_ok()
}

/// Runs a test again in a process that has nothing else in it, and whose first thread it is: who loses its parent becomes a child of that
/// thread, and signals are the process's.
fn alone(name: &str, test: impl AsyncFnOnce()) {
    const ALONE: &str = "OOMTRACE_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return on_its_own(test);
    }
    let name = format!("profile::child::tests::{name}");
    let said = tempfile::NamedTempFile::new().unwrap();
    // A file: whoever is left behind may keep it.
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env(ALONE, "1")
        .stdout(said.reopen().unwrap())
        .stderr(said.reopen().unwrap())
        .status()
        .unwrap();
    let report = fs::read_to_string(said.path()).unwrap();
    assert!(status.success() && report.contains("1 passed"), "{report}");
}

/// The harness runs each test in another thread than its first: a forked process has but one.
fn on_its_own(test: impl AsyncFnOnce()) {
    // SAFETY: the harness's other thread waits for this one, and holds no lock.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // nohup(1), and whoever else started the tests, may have these ignored, and a shell cannot trap what it finds ignored.
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT] {
            // SAFETY: the default needs no handler.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        let run = || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_io().enable_time().build().unwrap().block_on(test());
        };
        let passed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_ok();
        // SAFETY: the call takes no pointer. Nothing of the harness is to run in this process.
        unsafe { libc::_exit(i32::from(!passed)) };
    }
    let mut status = 0;
    // SAFETY: the pointer is to a number of ours.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(status, 0, "see above");
}

/// Guards how an end is told: by a status, or by a signal.
#[tokio::test]
async fn ends_are_told() {
    let (_, end) = run(sh("exit 7")).await;
    assert_eq!((end.exit_status, end.signal), (Some(7), None));
    let (_, end) = run(sh("kill -KILL $$")).await;
    assert_eq!((end.exit_status, end.signal), (None, Some(9)));
}

/// Guards that a command can be run again, and that its end is told to whoever asks once more.
#[tokio::test]
async fn it_runs_again() {
    let (mut prepared, _) = run(sh("sleep 0.2; exit 3")).await;
    let mut running = prepared.start().unwrap();
    // Dropped while it waits.
    assert!(tokio::time::timeout(Duration::ZERO, running.wait()).await.is_err());
    assert_eq!(running.wait().await.exit_status, Some(3));
    assert_eq!(running.wait().await.exit_status, Some(3));
}

/// Guards that each run has a cgroup of its own, though by the same name, and counts for itself.
#[tokio::test]
async fn each_run_has_a_cgroup() {
    if !cgroups(&[cgroup::Controller::Pids]) {
        return;
    }
    let mut prepared = Prepared::new(Wanted { pids_limit: Some(1), ..sh("(true) 2>/dev/null") }).unwrap();
    let mut counts = Vec::new();
    for _ in 0..3 {
        prepared.start().unwrap().wait().await;
        let cgroup = prepared.cgroup().unwrap();
        // Its name may be somebody else's by now.
        assert!(cgroup.is_removed());
        counts.push(cgroup.facts().events["pids.max"]);
    }
    assert!(counts[0] > 0 && counts.iter().all(|count| *count == counts[0]), "{counts:?}");
}

/// Guards that nothing is run by whoever only prepares, and that the command has its name and arguments as they were written.
#[tokio::test]
async fn nothing_runs_before_it_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ran");
    let script = format!("echo \"$0 $1\" >> {}", file.display());
    let mut prepared = Prepared::new(wanted(&["sh", "-c", &script, "zero", "a b"])).unwrap();
    assert!(!file.exists());
    prepared.start().unwrap().wait().await;
    assert_eq!(fs::read_to_string(file).unwrap(), "zero a b\n");
}

/// Guards the sentences and statuses of what cannot be run, each found out before anything runs.
#[test]
fn what_cannot_run_is_told_before() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &[u8], mode: u32| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let check = |name: &str, status: u8, part: &str| {
        let (told, sentence) = refused(wanted(&[name]));
        assert!(told == status && sentence.contains(part), "{name}: {told} {sentence}");
    };
    check("no-such-program-at-all", 127, "in none of the folders of PATH (");
    check("./no/such", 127, "there is no such file below /");
    check("", 127, "empty name");
    check("/", 126, "it is a folder");
    check("/dev/null", 126, "it is not a file");
    check(&file("plain", b"x", 0o644), 126, "chmod +x");
    check(&file("lost", b"#!/no/such/interpreter -x\n", 0o755), 127, "/no/such/interpreter, is not there.");
    check(&file("dos", b"#!/bin/sh\r\n", 0o755), 127, "carriage return");
    check(&file("tongue", b"#!/etc/passwd\n", 0o755), 126, "/etc/passwd, may not be run");
    // A program of a machine that nobody has (EM_M32).
    let mut foreign = fs::read("/proc/self/exe").unwrap()[..4096].to_vec();
    foreign[18..20].copy_from_slice(&[1, 0]);
    check(&file("foreign", &foreign, 0o755), 126, "another machine");
    std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
    check(folder.path().join("link").to_str().unwrap(), 127, "a link to what is not there");
    check(&file("evil\u{1b}[2J\n", b"", 0o644), 126, "evil\\u{1b}[2J\\n cannot be run");
    // Longer than MAX_ARG_STRLEN, 128 KiB.
    let (status, sentence) = refused(wanted(&["true", &"x".repeat(200_000)]));
    assert!(status == 126 && sentence.contains("longer than the kernel takes"), "{sentence}");
}

/// Guards limits that nothing can be run with.
#[test]
fn limits_are_sane() {
    let limits =
        |memory, pids| refused(Wanted { memory_limit_bytes: memory, pids_limit: pids, ..wanted(&["true"]) });
    let (status, sentence) = limits(Some(512), None);
    assert!(status == 2 && sentence.contains("512M"), "{sentence}");
    let (status, sentence) = limits(None, Some(0));
    assert!(status == 2 && sentence.contains("takes 1"), "{sentence}");
}

/// Guards the command's cgroup: the command is in it and nobody else, with its limits, what it used is known after its end, and it is gone then.
#[tokio::test]
async fn the_command_has_a_cgroup() {
    if !cgroups(&cgroup::Controller::ALL) {
        return;
    }
    let out = tempfile::NamedTempFile::new().unwrap();
    let takes = "x=$(head -c 3000000 /dev/zero | tr '\\0' a)";
    let script = format!("(cat /proc/self/cgroup; {takes}) > {}", out.path().display());
    let (prepared, end) =
        run(Wanted { memory_limit_bytes: Some(64 << 20), pids_limit: Some(20), ..sh(&script) }).await;
    assert_eq!(end.exit_status, Some(0));
    let cgroup = prepared.cgroup().unwrap();
    let facts = cgroup.facts();
    assert!(fs::read_to_string(out.path()).unwrap().contains(&facts.path), "{facts:?}");
    assert_eq!(facts.limit_bytes, Some(64 << 20));
    assert_eq!((facts.events["max"], facts.events["pids.max"]), (0, 0));
    if let Some(peak) = facts.peak_bytes {
        assert!((3_000_000..64 << 20).contains(&peak), "{facts:?}");
    }
    assert!(!cgroup.file(cgroup::Controller::Memory, "").unwrap().exists());
    assert!(!cgroup.file(cgroup::Controller::Pids, "").unwrap().exists());
    assert_eq!((cgroup.usage_bytes(), cgroup.pids()), (None, None));
}

/// Guards that forks beyond the limit fail and are counted, and that one process is enough for the command itself.
#[tokio::test]
async fn forks_are_limited() {
    if !cgroups(&[cgroup::Controller::Pids]) {
        return;
    }
    let (prepared, end) = run(Wanted { pids_limit: Some(1), ..sh("(true) 2>/dev/null; exit 5") }).await;
    assert!(end.exit_status.is_some_and(|status| status != 0), "{end:?}");
    let facts = prepared.cgroup().unwrap().facts();
    assert!(facts.events["pids.max"] > 0, "{facts:?}");
}

/// Guards daemons in the command's cgroup: they are counted, and ended with it, those in cgroups of their own below it too.
#[test]
fn daemons_end_with_the_cgroup() {
    if !cgroups(&[cgroup::Controller::Pids]) {
        return;
    }
    alone("daemons_end_with_the_cgroup", async || {
        // It ignores all but SIGKILL, and starts again what is killed.
        let script = "(trap '' TERM HUP; (setsid sh -c 'while :; do sleep 300; done' &) ); sleep 0.1";
        let started = Instant::now();
        let (prepared, end) = run(Wanted { pids_limit: Some(20), ..sh(script) }).await;
        assert_eq!(end, End { exit_status: Some(0), left_behind: 2, ..End::default() });
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!(!prepared.cgroup().unwrap().file(cgroup::Controller::Pids, "").unwrap().exists());
        // Nobody of them is left, not even to be waited for.
        assert!(descendants::below(Path::new("/"), own_pid()).is_empty());
    });
}

/// Guards daemons of a command without a cgroup: they are counted, and left alone; the next run does not count them again; and those that
/// end are no zombies.
#[test]
fn daemons_are_left_alone() {
    alone("daemons_are_left_alone", async || {
        let (mut prepared, end) =
            run(sh("exec >/dev/null 2>&1; setsid sleep 20 & (sleep 0.4 &); exit 0")).await;
        assert_eq!(end, End { exit_status: Some(0), left_behind: 2, ..End::default() });
        tokio::time::sleep(Duration::from_millis(400)).await;
        let mut again = prepared.start().unwrap();
        assert_eq!(again.wait().await.left_behind, 2);
        let left = descendants::below(Path::new("/"), own_pid());
        assert_eq!(left.len(), 3, "two of `sleep 20`, and one of `sleep 0.4`: {left:?}");
        for process in left {
            let _ = rustix::process::kill_process(
                rustix::process::Pid::from_raw(process.pid).unwrap(),
                rustix::process::Signal::KILL,
            );
        }
    });
}

/// Guards that a storm of those that lose their parents leaves no zombies while the command runs.
#[test]
fn who_loses_its_parent_is_waited_for() {
    alone("who_loses_its_parent_is_waited_for", async || {
        let script = "i=0; while [ $i -lt 200 ]; do (sleep 0.01 &); i=$((i+1)); done; sleep 0.5; cat /proc/$PPID/task/*/children | wc -w > $0";
        let out = tempfile::NamedTempFile::new().unwrap();
        let mut wanted = sh(script);
        wanted.command.push(out.path().into());
        run(wanted).await;
        assert_eq!(fs::read_to_string(out.path()).unwrap().trim(), "1");
    });
}

/// Guards signals to oomtrace alone: they are passed on, and told; those that others ignore too.
#[test]
fn signals_are_passed_on() {
    alone("signals_are_passed_on", async || {
        for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGINT, libc::SIGQUIT] {
            let folder = tempfile::tempdir().unwrap();
            let ready = folder.path().join("ready");
            let script =
                format!("trap 'exit 4' {signal}; : > {}; while :; do sleep 0.05; done", ready.display());
            let mut prepared = Prepared::new(sh(&script)).unwrap();
            let mut running = prepared.start().unwrap();
            let started = Instant::now();
            while !ready.exists() {
                assert!(started.elapsed() < Duration::from_secs(20), "{signal}");
                assert!(tokio::time::timeout(Duration::from_millis(20), running.wait()).await.is_err());
            }
            signal_us(signal);
            let end = tokio::time::timeout(Duration::from_secs(20), running.wait()).await.unwrap();
            assert_eq!(end, End { exit_status: Some(4), interrupted: true, ..End::default() }, "{signal}");
        }
    });
}

/// Guards whoever does not end when asked: the third time it is killed, with all that it started.
#[test]
fn the_third_time_all_is_killed() {
    alone("the_third_time_all_is_killed", async || {
        let mut prepared = Prepared::new(sh(
            "trap '' TERM; exec >/dev/null 2>&1; setsid sleep 20 & while :; do sleep 300; done",
        ))
        .unwrap();
        let mut running = prepared.start().unwrap();
        tokio::time::timeout(Duration::from_millis(300), running.wait()).await.unwrap_err();
        for _ in 0..3 {
            signal_us(libc::SIGTERM);
            let _ = tokio::time::timeout(Duration::from_millis(400), running.wait()).await;
        }
        let end = tokio::time::timeout(Duration::from_secs(5), running.wait()).await.unwrap();
        assert_eq!(end, End { signal: Some(9), interrupted: true, ..End::default() });
    });
}

/// Guards a command that nobody waits for any more, since tracing failed: it is asked to end.
#[tokio::test]
async fn nobody_is_left_unattended() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("asked");
    let script = format!(
        "trap 'echo > {}; exit' TERM; echo > {0}.ready; while :; do sleep 0.05; done",
        file.display()
    );
    let running = Prepared::new(sh(&script)).unwrap().start().unwrap();
    let until = async |path: &Path| {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), until(&folder.path().join("asked.ready"))).await.unwrap();
    drop(running);
    tokio::time::timeout(Duration::from_secs(20), until(&file)).await.unwrap();
}

/// Guards what came before the start: the command is not started any more.
#[test]
fn a_signal_before_the_start_prevents_it() {
    alone("a_signal_before_the_start_prevents_it", async || {
        let mut prepared = Prepared::new(wanted(&["true"])).unwrap();
        signal_us(libc::SIGTERM);
        assert_eq!(prepared.start().err().unwrap().exit_status(), 128 + 15);
    });
}

/// Guards what the command gets: the priorities, signals and limits that oomtrace was started with, and no file of its.
#[test]
fn the_command_gets_what_oomtrace_got() {
    alone("the_command_gets_what_oomtrace_got", async || {
        const ASK: &str = "cat /proc/self/oom_score_adj; cut -d' ' -f19 /proc/self/stat; ulimit -l; ulimit -n; grep -E \
                           '^(SigBlk|SigIgn|Cpus_allowed):' /proc/self/status; ls -l /proc/self/fd | grep -v /proc/ | wc -l";
        let out = tempfile::NamedTempFile::new().unwrap();
        let script = format!("({ASK}) > {}", out.path().display());
        let mut direct = Command::new("sh");
        direct.args(["-c", &script]);
        // Or else it is started by posix_spawn(), which leaves two signals of the C library's own ignored.
        // SAFETY: it does nothing.
        unsafe { direct.pre_exec(|| Ok(())) };
        assert!(direct.status().unwrap().success());
        let plain = fs::read_to_string(out.path()).unwrap();
        let mut prepared = Prepared::new(sh(&script)).unwrap();
        // As tracing does.
        let mut one = rustix::thread::CpuSet::new();
        one.set(0);
        let _ = rustix::thread::sched_setaffinity(None, &one);
        let _ = fs::write("/proc/self/oom_score_adj", "500");
        let _ = rustix::process::setpriority_process(None, 7);
        let lowered = rustix::process::Rlimit {
            current: Some(4096),
            ..rustix::process::getrlimit(rustix::process::Resource::Memlock)
        };
        let _ = rustix::process::setrlimit(rustix::process::Resource::Memlock, lowered);
        // SAFETY: the pointers are to a set of ours, which is valid as zeroes.
        unsafe {
            let mut mask: libc::sigset_t = std::mem::zeroed();
            libc::sigaddset(&raw mut mask, libc::SIGWINCH);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const mask, std::ptr::null_mut());
        }
        prepared.start().unwrap().wait().await;
        assert_eq!(fs::read_to_string(out.path()).unwrap(), plain);
    });
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap()
}

/// Sends one to this process.
fn signal_us(signal: i32) {
    // SAFETY: the call takes no pointer.
    unsafe { libc::kill(own_pid(), signal) };
}
