//! The kernel log as a second witness.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fs::OFlags;
use serde_json::Value;

use super::record_replay::own_left_out;
use super::{Needs, Scenario};
use crate::bench::usage::activity;
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::incident::{Incident, victim_pids};
use crate::size::MIB;
use crate::stage::{Scratch, Stage, argument};
use crate::storm::loss::Losses;
use crate::tracer::Tracer;
use crate::watch::{Traced, read};

/// Guards what is told from the kernel log: that it is the kernel's, that a kill which the ring has no room for is told by
/// it, and that following it costs next to nothing.
pub const SCENARIO: Scenario = Scenario {
    name: "kmsg",
    guards: "the kernel log fills in what the tier lacks and tells of kills that the ring lost; what user space writes \
             there says nothing; reading it wakes oomtrace once a second at most, and never while it is quiet",
    needs: Needs::Memcg,
    kills: 1 + LOST,
    once: true,
    run,
};

/// The cgroup's limit in bytes.
const LIMIT: u64 = 32 * MIB;
/// What only the log has in the tracepoint tier.
const LOGGED: [&str; 4] = ["scope.constraint", "trigger.gfp_mask", "trigger.gfp_flags", "trigger.order"];
/// Kills while oomtrace stands still: more than a ring of one page has room for.
const LOST: usize = 5;
/// A pid that no process has.
const NOBODY: u64 = 4_190_001;
/// After this, a kill without a mark has been told; and what was not told is lost.
const TOLD: Duration = Duration::from_millis(3500);
/// How long wake-ups are counted.
const WINDOW: Duration = Duration::from_secs(3);
/// Lines written meanwhile: 100 in a second.
const LINES: u32 = 300;

fn run(stage: &mut Stage<'_>) -> Result<()> {
    filled_in(stage)?;
    lost(stage)?;
    // It takes long, and is the same in guests.
    if stage.machine.disposable { Ok(()) } else { wakeups(stage) }
}

/// One kill in the midst of forged messages, followed with the log, without it, and recorded.
fn filled_in(stage: &mut Stage<'_>) -> Result<()> {
    let scratch = Scratch::new(stage.name)?;
    let recording = scratch.file("recording");
    let tree = stage.tree()?;
    let group = tree.group("logged")?;
    group.set_limit(LIMIT)?;
    let mut eater = stage.eater("logged", &Eat { anon: 2 * LIMIT, ..Eat::default() }, Some(&group))?;
    let mut log = Log::open()?;
    let watch = stage.watch(&["--record", argument(&recording)?])?;
    let without = stage.tracer(&["--json", "--no-kmsg"])?;
    forge("logged")?;
    eater.order(word::FILL)?;
    eater.killed(stage.deadline)?;
    forge("forged")?;
    if stage.tool.is_some() {
        // A forged kill would be told by now.
        sleep(TOLD);
    }
    let expected = [Expected::kill(&eater.facts, &eater.facts, &group)];
    let seen = stage.finish(watch, &expected)?;
    stage.judge(&seen, &expected, &[&eater.facts]);
    let (Some(traced), Some(without)) = (&seen.traced, without) else { return Ok(()) };

    let forged = traced.incident_of(NOBODY).is_some();
    stage.checks.that(!forged, || "a message that user space wrote was taken for the kernel's".to_owned());
    let incident = traced.incident_of(eater.pid()).context("oomtrace does not report the kill")?;
    stage.checks.equal("kmsg_seq", number(incident, "kmsg_seq"), log.seq_of_kill(eater.pid())?, "/dev/kmsg");
    let from_log: Vec<String> = incident
        .json
        .get("from_log")
        .map(|list| serde_json::from_value(list.clone()))
        .transpose()?
        .unwrap_or_default();
    let tracepoints = incident.fields.tier.as_deref() == Some("tracepoint");
    for field in LOGGED {
        let is = from_log.iter().any(|from| from == field);
        stage.checks.that(is == tracepoints, || format!("{field} in from_log: {is}"));
    }
    stage.checks.that(tracepoints || from_log.is_empty(), || format!("from the log are {from_log:?}"));
    replayed(stage, traced, argument(&recording)?)?;

    let victim = eater.pid();
    let traced = until(without, stage, &[victim])?;
    stage.keep_output("without", &traced.output)?;
    let incident = traced.incident_of(victim).context("--no-kmsg left out the kill")?;
    for key in ["kmsg_seq", "from_log"] {
        stage
            .checks
            .that(incident.json.get(key).is_none(), || format!("--no-kmsg was given, and there is {key}"));
    }
    if tracepoints {
        let reason = incident.fields.missing.get("trigger.order").and_then(Value::as_str).unwrap_or_default();
        stage.checks.that(reason.contains("--no-kmsg was given"), || {
            format!("trigger.order is missing because: {reason:?}")
        });
    }
    Ok(())
}

/// Checks that a replay tells the same, what is from the log too.
fn replayed(stage: &mut Stage<'_>, traced: &Traced, recording: &str) -> Result<()> {
    let Some(tool) = stage.tool else { return Ok(()) };
    let replay = read(tool.program.run(&["replay", "--json", recording], stage.deadline)?)?;
    stage.keep_output("replay", &replay.output)?;
    let told = |traced: &Traced| -> Vec<Value> { traced.incidents.iter().map(own_left_out).collect() };
    stage.checks.equal("the replay", Some(told(&replay)), Some(told(traced)), "what was told live");
    Ok(())
}

/// Kills that a ring of one page has no room for: the log tells of each. Then the same without the log: each is counted as
/// lost.
fn lost(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    let with = stage.tracer(&["--json", "--ring-size", "4K"])?;
    let without = stage.tracer(&["--json", "--ring-size", "4K", "--no-kmsg"])?;
    let tracers: Vec<_> = with.iter().chain(&without).collect();
    for tracer in &tracers {
        tracer.hold()?;
    }
    let mut victims = Vec::new();
    for number in 0..LOST {
        let group = tree.group(&format!("lost{number}"))?;
        group.set_limit(LIMIT)?;
        let mut eater =
            stage.eater(format!("lost{number}"), &Eat { anon: 2 * LIMIT, ..Eat::default() }, Some(&group))?;
        eater.order(word::FILL)?;
        eater.killed(stage.deadline)?;
        victims.push(eater.pid());
    }
    for tracer in &tracers {
        tracer.go_on()?;
    }
    let (Some(with), Some(without)) = (with, without) else { return Ok(()) };
    sleep(TOLD);

    let traced = until(with, stage, &victims)?;
    stage.keep_output("lost", &traced.output)?;
    let by_log = |incident: &&Incident| incident.fields.source.as_deref() == Some("kmsg");
    for victim in &victims {
        let times = traced.incidents.iter().filter(|incident| incident.has_victim(*victim)).count();
        stage.checks.equal("incidents of a kill", Some(times), Some(1), "the scenario");
    }
    let told = traced.incidents.iter().filter(by_log).count();
    stage.checks.note("kills told by the log alone", told);
    stage.checks.that(told > 0, || "the ring lost no mark, which proves nothing".to_owned());
    for incident in traced.incidents.iter().filter(by_log) {
        let victim = incident.fields.victims.first().cloned().unwrap_or_default();
        let unmissed = victim.total_vm_bytes.is_some() && victim.rss_kernel.total_bytes.is_some();
        stage.checks.that(unmissed, || format!("a kill that the log has lacks its figures: {victim:?}"));
        let reason =
            incident.fields.missing.get("victims[0].rss").and_then(Value::as_str).unwrap_or_default();
        stage.checks.that(reason.contains("did not see this kill"), || format!("its reason is {reason:?}"));
    }
    stage.checks.equal(
        "kills lost",
        Some(Losses::of(&traced.objects).count("vmstat", "kill")),
        Some(0),
        "the log",
    );
    if let Some(tool) = stage.tool {
        tool.schema.check(&mut stage.checks, &traced.objects);
    }

    let traced = read(without.stop(stage.deadline)?)?;
    stage.keep_output("lost-without", &traced.output)?;
    let reported = victims.iter().filter(|victim| traced.incident_of(**victim).is_some()).count() as u64;
    let losses = Losses::of(&traced.objects);
    let lost = losses.count("ring", "mark") + losses.count("vmstat", "kill");
    stage.checks.that(reported + lost >= LOST as u64, || {
        format!("{reported} of {LOST} kills are told, and {lost} are said to be lost: {losses:?}")
    });
    Ok(())
}

/// Counts how often oomtrace wakes, while nobody writes to the log and while somebody does.
fn wakeups(stage: &mut Stage<'_>) -> Result<()> {
    let Some(tracer) = stage.tracer(&["--json"])? else { return Ok(()) };
    sleep(TOLD);
    let mut log = Log::open()?;
    let before = activity(tracer.pid())?.sleeps;
    sleep(WINDOW);
    let (woken, logged) = (activity(tracer.pid())?.sleeps - before, log.records()?);
    stage.checks.note("wake-ups, quiet", woken);
    // Others on this machine may write.
    let most = if logged == 0 { 0 } else { WINDOW.as_secs() + 2 };
    stage.checks.that(woken <= most, || format!("{woken} wake-ups with {logged} records in the log"));

    let (before, began) = (activity(tracer.pid())?.sleeps, Instant::now());
    for line in 0..LINES {
        write(&format!("oomtrace's scenarios write line {line}\n"))?;
        sleep(WINDOW / LINES);
    }
    let (woken, logged) = (activity(tracer.pid())?.sleeps - before, log.records()?);
    stage.checks.note("wake-ups, 100 lines a second", woken);
    stage.checks.that(logged >= u64::from(LINES), || format!("{logged} of {LINES} lines are in the log"));
    // A read takes more than one look where the log is written to meanwhile.
    let most = 3 * began.elapsed().as_secs().max(WINDOW.as_secs());
    stage
        .checks
        .that((1..=most).contains(&woken), || format!("{woken} wake-ups while {LINES} lines were written"));
    stage.keep_output("wakeups", &tracer.stop(stage.deadline)?)
}

/// Stops a tracer once it has told of these victims.
fn until(mut tracer: Tracer, stage: &Stage<'_>, victims: &[u64]) -> Result<Traced> {
    let all = |lines: &[Vec<u8>]| {
        let told = victim_pids(lines);
        victims.iter().all(|victim| told.contains(victim))
    };
    tracer.until(stage.deadline.or_after(Duration::from_secs(20)), "the incidents", all)?;
    read(tracer.stop(stage.deadline)?)
}

fn number(incident: &Incident, key: &str) -> Option<u64> {
    incident.json.get(key)?.as_u64()
}

/// Writes what the kernel might write.
fn forge(comm: &str) -> Result<()> {
    for priority in ["", "<3>", "<0>", "<11>"] {
        for text in [
            format!("{comm} invoked oom-killer: gfp_mask=0x1(__GFP_DMA), order=9, oom_score_adj=0"),
            format!(
                "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,\
                 task={comm},pid={NOBODY},uid=0"
            ),
            format!(
                "Out of memory: Killed process {NOBODY} ({comm}) total-vm:1kB, anon-rss:1kB, file-rss:0kB, \
                 shmem-rss:0kB, UID:0 pgtables:4kB oom_score_adj:0"
            ),
        ] {
            write(&format!("{priority}{text}\n"))?;
        }
    }
    Ok(())
}

/// Writes a line to the kernel log. Whoever keeps the file open may write few (`devkmsg_write()`).
fn write(line: &str) -> Result<()> {
    let written =
        OpenOptions::new().write(true).open("/dev/kmsg").and_then(|mut log| log.write_all(line.as_bytes()));
    written.context("/dev/kmsg cannot be written to")
}

/// The log, read with other eyes than the witnesses'.
struct Log(File);

impl Log {
    fn open() -> Result<Self> {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).context("O_NONBLOCK is out of range")?;
        let mut file = OpenOptions::new().read(true).custom_flags(flags).open("/dev/kmsg")?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self(file))
    }

    fn next(&mut self) -> Result<Option<String>> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match self.0.read(&mut buffer) {
                Ok(length) => {
                    return Ok(buffer.get(..length).map(|bytes| String::from_utf8_lossy(bytes).into_owned()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if [ErrorKind::Interrupted, ErrorKind::BrokenPipe].contains(&error.kind()) => {}
                Err(error) => return Err(error).context("/dev/kmsg cannot be read"),
            }
        }
    }

    /// How many records there are from here on.
    fn records(&mut self) -> Result<u64> {
        let mut records = 0;
        while self.next()?.is_some() {
            records += 1;
        }
        Ok(records)
    }

    /// The number of the kernel's record about this kill.
    fn seq_of_kill(&mut self, pid: u64) -> Result<Option<u64>> {
        let words = format!(": Killed process {pid} (");
        while let Some(record) = self.next()? {
            let (head, text) = record.split_once(';').unwrap_or_default();
            let mut numbers = head.split(',');
            let priority: u64 = numbers.next().unwrap_or_default().parse()?;
            if priority < 8 && text.contains(&words) {
                return Ok(Some(numbers.next().unwrap_or_default().parse()?));
            }
        }
        Ok(None)
    }
}
