//! Kills by daemons in user space.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Needs, Scenario};
use crate::eat::{Eat, word};
use crate::eater::Eater;
use crate::incident::{kind, object};
use crate::lines::Lines;
use crate::machine::meminfo_bytes;
use crate::process::{die_with_us, end, on_path, terminate, wait_exit};
use crate::size::MIB;
use crate::stage::{Scratch, Stage, argument};
use crate::watch::{Traced, read};
use crate::witness::cgroup::Cgroup;

/// Guards kills by others than the kernel: who is killed by a process that has the name of such a daemon, by each way to send a
/// signal, with its figures; and that others' kills are nobody's business. On a machine made for it, earlyoom itself kills.
pub const SCENARIO: Scenario = Scenario {
    name: "userspace_kill",
    guards: "what earlyoom and systemd-oomd (or stand-ins of their names) kill is told as theirs, and kills by others are not told",
    needs: Needs::Memcg,
    kills: 0,
    once: true,
    run,
};

/// Memory of a victim.
const EATEN: u64 = 12 * MIB;
/// What a process may have beside that: its stack, its copies of the binary's data, what its allocator keeps.
const BESIDE: u64 = 4 * MIB;
/// How long what was sent may take to be told: a quarter of a second is waited for more of it; with room for emulation.
const DELIVERY: Duration = Duration::from_secs(30);

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let scratch = Scratch::new(stage.name)?;
    let recording = scratch.file("recording");
    let tree = stage.tree()?;
    let (unit, whole, apart) = (tree.group("unit")?, tree.group("whole")?, tree.group("apart")?);
    unit.set_limit(256 * MIB)?;
    let eat = Eat { anon: EATEN, ..Eat::default() };
    let eater = |name: &str, group: &Cgroup| -> Result<Eater> {
        let mut eater = stage.eater(name, &eat, Some(group))?;
        eater.fill_and_hold(stage.deadline)?;
        Ok(eater)
    };
    let mut looped = [eater("looped-1", &unit)?, eater("looped-2", &unit)?];
    let mut swept = [eater("swept-1", &whole)?, eater("swept-2", &whole)?];
    let mut spared = [eater("by-shell", &apart)?, eater("by-systemd", &apart)?, eater("by-other", &apart)?];
    let mut steady = Steady::start(stage, &unit)?;

    let Some(mut oomtrace) = stage.tracer(&["--json", "--kind", "oom", "--record", argument(&recording)?])?
    else {
        return Ok(());
    };
    // Not by a daemon: first, so that they would be told before the others.
    for (name, eater) in ["sh", "systemd-logind", "earlyoomd"].into_iter().zip(&mut spared) {
        act_as(name, &format!("kill -9 {}", eater.pid()))?;
        eater.killed(stage.deadline)?;
    }
    act_as("systemd-oomd", &format!("kill -9 {}; kill -9 {}", looped[0].pid(), looped[1].pid()))?;
    let folder = whole.dir().context("the cgroup has no folder")?;
    let file = folder.join("cgroup.kill");
    // From 5.14 on, version 2.
    let by_cgroup = file.exists();
    if by_cgroup {
        act_as("systemd-oomd", &format!("echo 1 > {}", file.display()))?;
    } else {
        act_as("oomd", &format!("kill -9 {}; kill -9 {}", swept[0].pid(), swept[1].pid()))?;
    }
    for eater in looped.iter_mut().chain(&mut swept) {
        eater.killed(stage.deadline)?;
    }
    let pid = steady.pid;
    act_as("earlyoom", &format!("kill -15 {pid}; kill -15 {pid}; kill -9 {pid}"))?;
    steady.ended(stage)?;
    // What the others held is free by now, and is counted as that.
    let mut early = early(stage, &apart)?;
    if let Some((eater, daemon)) = &mut early {
        let result = daemon.kills(eater, stage);
        end(&mut daemon.child);
        result?;
    }

    let mut expected: Vec<u64> = looped.iter().chain(&swept).map(Eater::pid).chain([pid]).collect();
    expected.extend(early.iter().map(|(eater, _)| eater.pid()));
    let complete = |lines: &[Vec<u8>]| {
        let told: Vec<u64> =
            lines.iter().filter_map(|line| object(line).ok()).flat_map(|line| pids(&line)).collect();
        expected.iter().all(|pid| told.contains(pid))
    };
    let told = oomtrace.until(stage.deadline.or_after(DELIVERY), "the daemons' kills", complete);
    stage.checks.that(matches!(told, Ok(true)), || "not all of the daemons' victims are told".to_owned());
    let output = oomtrace.stop(stage.deadline)?;
    stage.keep_output("oomtrace", &output)?;
    let traced = read(output)?;
    stage.judge_course(&traced);

    check_event(stage, &traced, &looped, ("systemd-oomd", &["SIGKILL kill"]), Some(&unit));
    let sent = if by_cgroup { ("systemd-oomd", "SIGKILL cgroup_kill") } else { ("oomd", "SIGKILL kill") };
    check_event(stage, &traced, &swept, (sent.0, &[sent.1]), Some(&whole));
    check_sender(stage, &traced, pid, ("earlyoom", &["SIGTERM kill", "SIGKILL kill"]));
    if let Some((eater, _)) = &early {
        check_event(
            stage,
            &traced,
            std::slice::from_ref(eater),
            ("earlyoom", &["SIGKILL kill"]),
            Some(&apart),
        );
    }
    let all: Vec<u64> = traced.objects.iter().flat_map(pids).collect();
    let mut sorted = all.clone();
    sorted.sort_unstable();
    expected.sort_unstable();
    stage.checks.equal("victims", Some(sorted), Some(expected), "the scenario");
    stage.checks.note("cgroup.kill", by_cgroup);
    stage.checks.note("earlyoom", early.is_some());
    check_replay(stage, &traced, argument(&recording)?)
}

/// Has a process of that name run a command of the shell's.
pub(super) fn act_as(name: &str, command: &str) -> Result<()> {
    let script = format!("printf %s {name} > /proc/$$/comm; {command}");
    let status = Command::new("sh").args(["-c", &script]).status().context("cannot start a shell")?;
    ensure!(status.success(), "the stand-in for {name} ended with {status}");
    Ok(())
}

/// A process that does not end of SIGTERM.
struct Steady {
    child: std::process::Child,
    pid: u64,
}

impl Steady {
    fn start(stage: &Stage<'_>, group: &Cgroup) -> Result<Self> {
        let procs = group.procs_file()?;
        let script =
            format!("echo $$ > {}; trap : TERM; echo ready; while :; do sleep 0.05; done", procs.display());
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped());
        die_with_us(&mut command);
        let mut child = command.spawn().context("cannot start a shell")?;
        let words = Lines::follow(child.stdout.take().context("a shell has no standard output")?);
        let ready = words.next(stage.deadline, "a shell to be ready")?;
        ensure!(ready.as_deref() == Some(b"ready"), "a shell is not ready, but said {ready:?}");
        let pid = u64::from(child.id());
        Ok(Self { child, pid })
    }

    fn ended(&mut self, stage: &Stage<'_>) -> Result<()> {
        wait_exit(&mut self.child, stage.deadline, "a shell to be killed").map(drop)
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// earlyoom itself, which is to kill once less than half of the memory that is available now is left.
struct Early {
    child: std::process::Child,
}

/// Starts it, where the machine was made for it and it is installed, and who it is going to kill.
fn early(stage: &Stage<'_>, group: &Cgroup) -> Result<Option<(Eater, Early)>> {
    let Some(program) = on_path("earlyoom").filter(|_| stage.machine.disposable) else { return Ok(None) };
    let meminfo = std::fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let (total, available) = (meminfo_bytes(&meminfo, "MemTotal:"), meminfo_bytes(&meminfo, "MemAvailable:"));
    let (total, available) = total.zip(available).context("/proc/meminfo lacks MemAvailable")?;
    // It kills the largest, which this is to be, with SIGKILL at once, since both figures are the same.
    let anon = available / 4 * 3;
    let eater = stage.eater("by-earlyoom", &Eat { anon, ..Eat::default() }, Some(group))?;
    let half = available * 50 / total;
    let mut command = Command::new(program);
    command.args(["-m", &format!("{half},{half}"), "-s", "100,100", "-r", "0"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    die_with_us(&mut command);
    let child = command.spawn().context("cannot start earlyoom")?;
    Ok(Some((eater, Early { child })))
}

impl Early {
    /// Waits until it has killed its victim, and ends it: there is nobody else to be killed.
    fn kills(&mut self, eater: &mut Eater, stage: &Stage<'_>) -> Result<()> {
        eater.order(word::FILL)?;
        // It looks once a second, or more often the less there is.
        if eater.survived(stage.deadline)? {
            eater.killed(stage.deadline)?;
        }
        terminate(&self.child)
    }
}

/// The process ids of those that a line says were killed by a daemon.
fn pids(line: &Value) -> Vec<u64> {
    let victims = line["victims"].as_array().filter(|_| kind(line) == "userspace_kill");
    victims.into_iter().flatten().filter_map(|victim| victim["pid"].as_u64()).collect()
}

/// What is told of a victim, and of who killed it.
fn told(traced: &Traced, pid: u64) -> Option<(&Value, &Value)> {
    let line = traced.objects.iter().find(|line| pids(line).contains(&pid))?;
    Some((line, line["victims"].as_array()?.iter().find(|victim| victim["pid"] == pid)?))
}

/// Checks who killed a process and by which signals.
fn check_sender(stage: &mut Stage<'_>, traced: &Traced, pid: u64, (killer, sent): (&str, &[&str])) {
    let Some((line, victim)) = told(traced, pid) else { return };
    let checks = &mut stage.checks;
    checks.equal("killer.comm", line["killer"]["comm"].as_str(), Some(killer), "the scenario");
    checks.equal("killer.uid", line["killer"]["uid"].as_u64(), Some(0), "the scenario");
    let text = |signal: &Value| {
        format!("{} {}", signal["name"].as_str().unwrap_or("?"), signal["via"].as_str().unwrap_or("?"))
    };
    let signals: Vec<_> = victim["signals"].as_array().into_iter().flatten().map(text).collect();
    checks.equal(
        "signals",
        Some(signals),
        Some(sent.iter().map(ToString::to_string).collect()),
        "the scenario",
    );
    let found: Vec<_> =
        line["findings"].as_array().into_iter().flatten().map(|finding| &finding["id"]).collect();
    checks.equal("findings", Some(found), Some(vec![&Value::from("userspace-killer")]), "the scenario");
    let lacks =
        line["missing"].as_object().into_iter().flatten().filter(|(field, why)| !ran_late(field, why));
    let lacks: Vec<_> = lacks.collect();
    checks.that(lacks.is_empty(), || format!("missing is {lacks:?}"));
}

/// Whether something is missing since the victim did not run again within the time that an event waits for: on a machine without
/// memory, and emulated at that, it may wait for a processor longer.
fn ran_late(field: &str, why: &Value) -> bool {
    let of_victim = field.ends_with(".cmdline") || field.ends_with(".environment");
    of_victim && why.as_str().is_some_and(|why| why.contains("did not run again before this was told"))
}

/// Checks an event with these victims and no others.
fn check_event(
    stage: &mut Stage<'_>,
    traced: &Traced,
    eaters: &[Eater],
    sender: (&str, &[&str]),
    group: Option<&Cgroup>,
) {
    for eater in eaters {
        check_sender(stage, traced, eater.pid(), sender);
        let Some((line, victim)) = told(traced, eater.pid()) else { continue };
        let checks = &mut stage.checks;
        let mut together: Vec<u64> = eaters.iter().map(Eater::pid).collect();
        let mut pids = pids(line);
        together.sort_unstable();
        pids.sort_unstable();
        checks.equal("victims of the event", Some(pids), Some(together), "the scenario");
        let facts = &eater.facts;
        checks.equal("comm", victim["comm"].as_str(), Some(facts.label().as_str()), "the scenario");
        checks.equal(
            "cgroup",
            victim["cgroup"].as_str(),
            group.map(|group| group.path.as_str()),
            "the scenario",
        );
        checks.equal(
            "first limit",
            line["limits"][0]["path"].as_str(),
            victim["cgroup"].as_str(),
            "the victim",
        );
        let missing: Vec<_> = line["missing"].as_object().into_iter().flatten().collect();
        let line: Vec<_> =
            victim["cmdline"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let late = missing.iter().any(|(field, why)| field.ends_with(".cmdline") && ran_late(field, why));
        checks.that(late || line == facts.before.cmdline, || {
            format!("cmdline is {line:?}, but /proc says {:?}", facts.before.cmdline)
        });
        let Some(held) = facts.held else { continue };
        checks.within(
            "anon_bytes",
            victim["rss"]["anon_bytes"].as_u64(),
            Some(held.anon_bytes),
            BESIDE,
            "/proc",
        );
    }
}

/// Checks that the recording says the same, but for the source.
fn check_replay(stage: &mut Stage<'_>, traced: &Traced, recording: &str) -> Result<()> {
    let Some(tool) = stage.tool else { return Ok(()) };
    let replayed = read(tool.program.run(&["replay", recording, "--json"], stage.deadline)?)?;
    let kills = |objects: &[Value]| -> Vec<Value> {
        let of = |object: &&Value| kind(object) == "userspace_kill";
        let own = |object: &Value| {
            let mut object = object.clone();
            object["source"] = Value::Null;
            object
        };
        objects.iter().filter(of).map(own).collect()
    };
    stage.checks.equal(
        "replayed",
        Some(kills(&replayed.objects)),
        Some(kills(&traced.objects)),
        "the live run",
    );
    Ok(())
}
