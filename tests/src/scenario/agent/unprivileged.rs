//! An agent with two capabilities, and no other right.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::chown;

use anyhow::{Context, Result, bail};
use rustix::thread::CapabilitySet;
use serde_json::Value;

use super::super::{Needs, Scenario};
use super::outputs::same;
use super::web::{page, sum};
use super::{Home, kills_of, lines, on_its_own};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::incident::kind;
use crate::refusal::conditions::NOBODY;
use crate::refusal::privilege::may_read_log;
use crate::refusal::rights::{Bounds, ENOUGH};
use crate::refusal::run::{Installed, Start};
use crate::size::MIB;
use crate::stage::{Stage, argument};
use crate::tracer::Output;

/// Guards that no more is needed than the documentation says, and that `oomtrace hooks` tells what that costs.
pub const SCENARIO: Scenario = Scenario {
    name: "agent_unprivileged",
    guards: "an agent that is nobody, with CAP_BPF and CAP_PERFMON alone, tells a kill by all outputs; what it lacks is what \
             `oomtrace hooks` says",
    needs: Needs::Memcg,
    kills: 1,
    once: true,
    run,
};

/// Who may have no more than this is in no danger, and is told nothing of it.
const SAFE_ADJ: i64 = -900;
/// Of a score: `rss_kernel` is among its parts.
const UNKNOWN_PARTS: &str = "what the score is made of is not all known";
/// `hooks` has to list these.
const LISTED: [&str; 6] =
    ["CAP_BPF", "CAP_PERFMON", "CAP_SYSLOG", "CAP_SYS_PTRACE", "CAP_SYS_RESOURCE", "CAP_DAC_READ_SEARCH"];

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let Some(tool) = stage.tool else { return Ok(()) };
    let bounds = Bounds::here(stage.machine, tool.program.tier.as_deref());
    if let Some(why) = refused(bounds) {
        stage.skipped = Some(why.to_owned());
        return Ok(());
    }
    on_its_own(stage);
    let oomtrace = Installed::new(&tool.program, &format!("{}-program", stage.name))?;
    let start = Start { conditions: bounds.able(ENOUGH), ..Start::default() };
    let home = Home::new(
        stage.name,
        "[stdout]\nform = \"json\"\n\
         [history]\npath = \"HOME/history.db\"\nrecover = false\n\
         [metrics]\nlisten = \"127.0.0.1:0\"\n\
         [flight]\nenabled = false\n\
         [file]\npath = \"HOME/incidents.ndjson\"\n",
    )?;
    chown(home.file(""), Some(NOBODY), Some(NOBODY)).context("cannot give the folder away")?;
    let tree = stage.tree()?;
    let group = tree.group("told-by-nobody")?;
    group.set_limit(32 * MIB)?;
    let mut eater = stage.eater("told-by-nobody", &Eat { anon: 64 * MIB, ..Eat::default() }, Some(&group))?;

    let settings = home.file("oomtrace.toml");
    let mut agent = oomtrace.trace_with_log(&start, &["agent", "--config", argument(&settings)?])?;
    agent.must_hear("complete in", stage.deadline)?;
    let process = Process::read(agent.pid())?;
    let watch = stage.watch(&[])?;
    eater.order(word::FILL)?;
    eater.killed(stage.deadline)?;
    let expected = [Expected::kill(&eater.facts, &eater.facts, &group)];
    let seen = stage.finish(watch, &expected)?;
    stage.judge(&seen, &expected, &[&eater.facts]);
    stage.checks.that(agent.reported(&[eater.pid()], stage.deadline), || {
        "the agent does not tell the kill on its standard output".to_owned()
    });
    let metrics = page(&agent.url()?)?;
    let output = agent.stop(stage.deadline)?;
    stage.keep_output("agent", &output)?;
    stage.checks.that(output.status.success(), || format!("the agent ended with {}", output.status));

    let objects = super::objects(&output)?;
    let told = kills_of(&objects, eater.pid());
    stage.checks.equal("kills told by the agent", Some(told.len()), Some(1), "the victim");
    let told = told.first().copied().context("no kill was told")?;
    let history = home.history(&tool.program, &[], stage.deadline)?;
    let file = lines(&home.file("incidents.ndjson"))?;
    for (name, objects) in [("history", &history), ("file", &file)] {
        same(stage, name, told, &kills_of(objects, eater.pid()));
    }
    let kills = sum(&metrics, "oomtrace_kills_total", &["scope=\"memcg\""]);
    stage.checks.equal("kills in the metrics", kills, Some(group.oom_kills()?), "the group's count");

    let tier = tool.program.tier.as_deref().unwrap_or("auto");
    let hooks = ["hooks", "--json", "--tier", tier];
    let of_root = listed(&tool.program.run(&hooks, stage.deadline)?)?;
    let of_nobody = listed(&oomtrace.start(&start, &hooks)?.finish(stage.deadline)?)?;
    rights(stage, "all rights", &of_root, Process::read(std::process::id())?.permitted);
    rights(stage, "next to none", &of_nobody, ENOUGH);
    let control = seen.traced.as_ref().and_then(|traced| traced.incident_of(eater.pid()));
    let control = &control.context("oomtrace with all rights does not tell the kill")?.json;
    fields(stage, told, control, &of_nobody);
    lacking(stage, &process, &objects, &output.said())
}

/// Why a kernel refuses this, if it does.
fn refused(bounds: Bounds) -> Option<&'static str> {
    // `bpf_capable()` (include/linux/capability.h) asks for it in the first user namespace.
    const EVERYBODY: [&str; 3] = ["0", "0", "4294967295"];
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    if !map.is_empty() && !map.split_ascii_whitespace().eq(EVERYBODY) {
        return Some("in a user namespace CAP_BPF and CAP_PERFMON do not let anybody trace");
    }
    bounds.kprobes_are_admins.then_some("kprobes take CAP_SYS_ADMIN here (kernel.perf_event_paranoid)")
}

/// What the kernel says of a process.
struct Process {
    uid: u64,
    permitted: CapabilitySet,
    adj: i64,
    locked: bool,
    may_lock: bool,
}

impl Process {
    fn read(pid: u32) -> Result<Self> {
        let text = |name: &str| {
            let file = format!("/proc/{pid}/{name}");
            fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))
        };
        let (status, limits) = (text("status")?, text("limits")?);
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|line| line.split_ascii_whitespace().next()).with_context(|| format!("no {name}"))
        };
        let permitted = u64::from_str_radix(field("CapPrm")?, 16).context("no capabilities")?;
        let lock = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"));
        Ok(Self {
            uid: field("Uid")?.parse().context("no user")?,
            permitted: CapabilitySet::from_bits_retain(permitted),
            adj: text("oom_score_adj")?.trim().parse().context("no oom_score_adj")?,
            locked: field("VmLck")? != "0",
            may_lock: lock.is_some_and(|line| line.split_ascii_whitespace().next() == Some("unlimited")),
        })
    }
}

/// The capabilities that `oomtrace hooks` lists, and whether it has them.
fn listed(hooks: &Output) -> Result<BTreeMap<String, bool>> {
    if !hooks.status.success() {
        bail!("oomtrace hooks ended with {}: {}", hooks.status, hooks.said());
    }
    let hooks: Value = serde_json::from_slice(&hooks.stdout.join(&b'\n')).context("no JSON")?;
    let capabilities = hooks.get("capabilities").and_then(Value::as_array);
    let capabilities = capabilities.context("`hooks` tells of no capabilities")?.iter().map(|capability| {
        let text = |key: &str| capability.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let held = capability.get("held").and_then(Value::as_bool);
        text("adds").with_context(|| format!("{capability} adds nothing"))?;
        Ok((text("capability").context("no name")?.to_owned(), held.context("not known")?))
    });
    capabilities.collect()
}

/// Checks that these are listed as the kernel has them.
fn rights(stage: &mut Stage<'_>, whose: &str, listed: &BTreeMap<String, bool>, have: CapabilitySet) {
    for name in LISTED {
        stage.checks.that(listed.contains_key(name), || format!("`hooks` does not list {name}"));
    }
    for (name, held) in listed {
        let capability = name.strip_prefix("CAP_").and_then(CapabilitySet::from_name);
        let has = capability.map(|capability| have.contains(capability));
        stage.checks.equal(&format!("{name}, with {whose}"), Some(*held), has, "the kernel");
    }
}

/// What the agent does not tell and an oomtrace with all rights does is for want of a capability that is listed as lacking.
fn fields(stage: &mut Stage<'_>, told: &Value, control: &Value, listed: &BTreeMap<String, bool>) {
    let missing =
        |incident: &Value| incident.get("missing").and_then(Value::as_object).cloned().unwrap_or_default();
    let (ours, theirs) = (missing(told), missing(control));
    for (field, reason) in ours.iter().filter(|(field, _)| !theirs.contains_key(*field)) {
        let names = |reason: &Value| {
            let said = |name: &&String| reason.as_str().is_some_and(|reason| reason.contains(name.as_str()));
            listed.iter().filter(|(_, held)| !**held).map(|(name, _)| name).find(said)
        };
        // What is computed of others is not known without them, and says so.
        let follows =
            reason.as_str() == Some(UNKNOWN_PARTS) && ours.values().any(|reason| names(reason).is_some());
        stage.checks.note(&format!("{field}, missing without"), names(reason).cloned().unwrap_or_default());
        stage.checks.that(follows || names(reason).is_some(), || {
            format!("{field} is missing, and not for want of a capability that `hooks` names: {reason}")
        });
    }
}

/// What the run did without, by the kernel, and what it said of that.
fn lacking(stage: &mut Stage<'_>, process: &Process, objects: &[Value], said: &str) -> Result<()> {
    let ours = Process::read(std::process::id())?;
    let checks = &mut stage.checks;
    checks.equal("the agent's user", Some(process.uid), Some(u64::from(NOBODY)), "the start");
    // What it does not need after it has attached is given up, too.
    let kept = process.permitted;
    checks.that(CapabilitySet::BPF.contains(kept), || format!("the confined agent keeps {kept:?}"));
    // CAP_SYS_RESOURCE.
    checks.equal("the agent's oom_score_adj", Some(process.adj), Some(ours.adj), "who started it");
    let warns = said.contains("oom_score_adj is");
    checks.equal("it warns of oom_score_adj", Some(warns), Some(process.adj > SAFE_ADJ), "/proc");
    // CAP_IPC_LOCK and CAP_SYS_RESOURCE.
    checks.equal("its memory is locked", Some(process.locked), Some(process.may_lock), "its limit");
    let warns = said.contains("memory is not locked");
    checks.equal("it warns of memory that is not locked", Some(warns), Some(!process.locked), "/proc");
    // CAP_SYSLOG.
    let armed = objects
        .iter()
        .find(|object| kind(object) == "status" && object.get("state").is_some_and(|state| state == "armed"));
    let log = armed.and_then(|armed| armed.get("hooks")).map(|hooks| hooks.get("kmsg").is_some());
    checks.equal("it follows the kernel log", log, Some(may_read_log(false)), "kernel.dmesg_restrict");
    Ok(())
}
