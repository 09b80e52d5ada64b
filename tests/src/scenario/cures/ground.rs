//! What the cases have in common: one oomtrace that watches all of them, and whoever pastes what it proposes.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::eat::{Eat, word};
use crate::eater::Eater;
use crate::incident::{found, kind, object};
use crate::stage::Stage;
use crate::tracer::{Output, Tracer};
use crate::witness::cgroup::Cgroup;
use crate::witness::counters::machine_oom_kills;
use crate::witness::tree::Tree;

/// A finding of its own, and from how many ns on.
const LONG_STALL: &str = "long-stall";
const LONG_NS: u64 = 1_000_000_000;

/// See the module.
pub struct Ground<'g, 's> {
    /// The scenario's.
    pub stage: &'g mut Stage<'s>,
    oomtrace: Tracer,
    tree: Tree,
    /// Findings of which a command was seen that is to change something, and those of which it was run.
    proposed: BTreeSet<String>,
    cured: BTreeSet<String>,
}

impl<'g, 's> Ground<'g, 's> {
    /// Begins to watch.
    pub fn new(stage: &'g mut Stage<'s>, oomtrace: Tracer) -> Result<Self> {
        let tree = stage.tree()?;
        Ok(Self { stage, oomtrace, tree, proposed: BTreeSet::new(), cured: BTreeSet::new() })
    }

    /// The process that watches.
    pub fn tracer_pid(&self) -> u32 {
        self.oomtrace.pid()
    }

    /// Makes a cgroup whose turns of a processor can be limited, too.
    pub fn timed_group(&self, path: &str) -> Result<Cgroup> {
        self.tree.base().delegate("cpu")?;
        self.group(path)
    }

    /// Makes a cgroup.
    pub fn group(&self, path: &str) -> Result<Cgroup> {
        self.tree.group(path)
    }

    /// Starts an eater.
    pub fn eater(&self, name: &str, eat: &Eat, cgroup: Option<&Cgroup>) -> Result<Eater> {
        self.stage.eater(name, eat, cgroup)
    }

    /// Has an eater fill its memory, of which it dies, and checks that the findings are exactly these.
    pub fn dies(&mut self, mut eater: Eater, ids: &[&str]) -> Result<Value> {
        eater.order(word::FILL)?;
        self.is_killed(eater, ids)
    }

    /// Waits for an eater's death, and checks that the findings are exactly these.
    pub fn is_killed(&mut self, mut eater: Eater, ids: &[&str]) -> Result<Value> {
        eater.killed(self.stage.deadline)?;
        let incident = self.incident(eater.pid())?;
        let case = eater.facts.label();
        let mut ids = to_strings(ids);
        // How long it takes until nothing more is given back is up to the machine, but where that is what is tried.
        let long = incident["stall"]["duration_ns"].as_u64() >= Some(LONG_NS);
        if long && !ids.iter().any(|id| id == LONG_STALL) {
            ids.push(LONG_STALL.to_owned());
        }
        self.stage.checks.equal("findings", Some(found(&incident)), Some(ids), &case);
        for finding in incident["findings"].as_array().into_iter().flatten() {
            if fixes(finding, "change").next().is_some() {
                self.proposed.extend(finding["id"].as_str().map(str::to_owned));
            }
        }
        Ok(incident)
    }

    /// Has an eater fill its memory, and checks that neither it nor anybody else dies of it.
    pub fn lives(&mut self, eater: &mut Eater) -> Result<()> {
        let before = machine_oom_kills()?;
        eater.order(word::FILL)?;
        let survived = eater.survived(self.stage.deadline)?;
        let label = eater.facts.label();
        self.stage
            .checks
            .that(survived, || format!("{label} was killed, and what was proposed had been done"));
        let kills = Some(machine_oom_kills()? - before);
        self.stage.checks.equal("oom_kill of the machine", kills, Some(0), &label);
        Ok(())
    }

    /// What is told of the kill of process `pid`.
    pub fn incident(&mut self, pid: u64) -> Result<Value> {
        let told = RefCell::new(None);
        let found = |lines: &[Vec<u8>]| {
            let told_of = |line: &Vec<u8>| {
                let json = object(line).ok().filter(|json| kind(json) == "oom")?;
                let victims = json["victims"].as_array()?;
                victims.iter().any(|victim| victim["pid"].as_u64() == Some(pid)).then_some(json)
            };
            let found = lines.iter().rev().find_map(told_of);
            let is_found = found.is_some();
            told.replace(found);
            is_found
        };
        self.oomtrace.until(self.stage.deadline, &format!("the report of {pid}"), found)?;
        told.into_inner().with_context(|| format!("oomtrace does not report the kill of {pid}"))
    }

    /// Does what a finding proposes: runs the command as it stands, as somebody would who pastes it.
    pub fn cure(&mut self, incident: &Value, id: &str) -> Result<()> {
        self.cure_by(incident, id, bash)
    }

    /// The same in another way.
    pub fn cure_by(&mut self, incident: &Value, id: &str, shell: impl FnOnce(&str) -> Command) -> Result<()> {
        let command = proposed(incident, id, "change")?;
        self.stage.checks.note(&format!("{id}: run"), command.as_str());
        run(shell(&command)).with_context(|| format!("{id} proposes {command:?}"))?;
        self.cured.insert(id.to_owned());
        Ok(())
    }

    /// Looks where a finding says, as somebody would who pastes the command, and gives what that shows.
    pub fn look(&mut self, incident: &Value, id: &str) -> Result<String> {
        self.look_by(incident, id, bash)
    }

    /// The same in another way.
    pub fn look_by(
        &mut self,
        incident: &Value,
        id: &str,
        shell: impl FnOnce(&str) -> Command,
    ) -> Result<String> {
        let command = proposed(incident, id, "look")?;
        let shown = run(shell(&command)).with_context(|| format!("{id} proposes {command:?}"))?;
        self.stage.keep_text(&format!("{id}.look"), &shown)?;
        Ok(shown)
    }

    /// Ends it, and checks that nothing was proposed that was not tried, but for what another scenario tries. Gives what oomtrace printed.
    pub fn end(self, cured_elsewhere: &[&str]) -> Result<Output> {
        let untried = self.proposed.difference(&self.cured);
        let untried: Vec<_> = untried.filter(|id| !cured_elsewhere.contains(&id.as_str())).collect();
        self.stage
            .checks
            .that(untried.is_empty(), || format!("the commands of {untried:?} were never tried"));
        self.oomtrace.stop(self.stage.deadline)
    }
}

/// Commands of a finding's fixes of one kind.
pub fn fixes<'f>(finding: &'f Value, kind: &'static str) -> impl Iterator<Item = &'f str> {
    let fixes = finding["fix"].as_array().into_iter().flatten();
    fixes.filter(move |fix| fix["kind"] == kind).filter_map(|fix| fix["command"].as_str())
}

/// The one command of such a kind that a finding of an incident has.
pub fn proposed(incident: &Value, id: &str, kind: &'static str) -> Result<String> {
    let mut findings = incident["findings"].as_array().into_iter().flatten();
    let finding =
        findings.find(|finding| finding["id"] == id).with_context(|| format!("{id} is not found"))?;
    let commands: Vec<_> = fixes(finding, kind).collect();
    match commands[..] {
        [command] => Ok(command.to_owned()),
        _ => bail!("{id} proposes {commands:?} to {kind}, and not one"),
    }
}

/// A shell that runs `command`.
fn bash(command: &str) -> Command {
    let mut bash = Command::new("bash");
    bash.args(["-c", command]);
    bash
}

/// Runs a command to its end; what it prints, if it succeeds.
pub fn run(mut command: Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().context("it cannot be started")?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "it ends with {}: {err}", output.status);
    Ok(out.into_owned())
}

fn to_strings(ids: &[&str]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}
