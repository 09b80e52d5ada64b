//! `oomtrace agent`: what it keeps and sends, and what it survives.

pub mod clock;
pub mod flight;
pub mod global;
pub mod killed;
pub mod losses;
pub mod outputs;
pub mod prometheus;
pub mod reload;
pub mod soak;
pub mod unprivileged;
mod web;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Scenario;
use crate::deadline::Deadline;
use crate::incident::kind;
use crate::stage::{Scratch, Stage, argument};
use crate::tracer::{Output, Program, Tracer};

/// A folder with an agent's settings, and what it writes.
pub struct Home {
    scratch: Scratch,
}

impl Home {
    /// Makes one for a scenario, with these settings; `HOME` in them stands for the folder.
    pub fn new(name: &str, settings: &str) -> Result<Self> {
        let home = Self { scratch: Scratch::new(name)? };
        home.set(settings)?;
        Ok(home)
    }

    /// Sets them anew.
    pub fn set(&self, settings: &str) -> Result<()> {
        let folder = self.file("");
        let text = settings.replace("HOME", argument(&folder)?.trim_end_matches('/'));
        fs::write(self.file("oomtrace.toml"), text).context("cannot write settings")
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.scratch.file(name)
    }

    /// Starts an agent and waits until its hooks are attached.
    pub fn agent(&self, program: &Program, deadline: Deadline) -> Result<Tracer> {
        let settings = self.file("oomtrace.toml");
        program.trace(&["agent", "--config", argument(&settings)?], deadline)
    }

    /// What [`PROGRAM`] was given, in no order.
    fn given(&self) -> Result<Vec<Value>> {
        let folder = self.scratch.folder();
        let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
        let mut given = Vec::new();
        for entry in entries {
            let entry = entry.context("cannot list a folder")?;
            if entry.file_name().to_string_lossy().starts_with("program.") {
                given.extend(lines(&entry.path())?);
            }
        }
        Ok(given)
    }

    /// What its history has, oldest first.
    pub fn history(&self, program: &Program, options: &[&str], deadline: Deadline) -> Result<Vec<Value>> {
        let database = self.file("history.db");
        let arguments = [&["history", "--database", argument(&database)?, "--json"], options].concat();
        let output = program.run(&arguments, deadline)?;
        if !output.status.success() {
            bail!("oomtrace history ended with {}: {}", output.status, output.said());
        }
        objects(&output)
    }
}

/// A program that keeps what it is given. Several run at once, and what one writes in two pieces another must not come between: each
/// has a file of its own.
const PROGRAM: &str = "[exec]\ncommand = [\"/bin/sh\", \"-c\", \"cat >>HOME/program.$$\"]\n";

/// The JSON objects that were printed.
fn objects(output: &Output) -> Result<Vec<Value>> {
    let lines = output.stdout.iter();
    lines.map(|line| serde_json::from_slice(line).context("a line is no JSON")).collect()
}

/// The JSON objects in a file, one a line.
fn lines(file: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))).collect()
}

/// Those of the objects that are incidents in which that process died.
fn kills_of(objects: &[Value], pid: u64) -> Vec<&Value> {
    let dies = |object: &&Value| {
        let victims = object.get("victims").and_then(Value::as_array).into_iter().flatten();
        kind(object) == "oom"
            && victims.into_iter().any(|victim| victim.get("pid").and_then(Value::as_u64) == Some(pid))
    };
    objects.iter().filter(dies).collect()
}

/// Agents need no watch of the kernel's log: what they tell is compared by the scenario.
const OWN_BOOKS: &str = "an agent alone traces here, and its books are compared by themselves";

fn on_its_own(stage: &mut Stage<'_>) {
    stage.untraced = Some(OWN_BOOKS);
}

/// Whether a scenario is about the agent.
#[must_use]
pub fn is_of_agent(scenario: &Scenario) -> bool {
    scenario.name.starts_with("agent_") || scenario.name == flight::SCENARIO.name
}

/// Whether there is time for everything.
pub static ENDURANCE: OnceLock<bool> = OnceLock::new();

/// How much is to happen.
#[derive(Debug, Clone, Copy)]
struct Size {
    kills: usize,
    /// Of the agent.
    deaths: usize,
}

impl Size {
    /// The first, or the second where there is time.
    fn of(sizes: &[Self; 2]) -> Self {
        let [short, long] = *sizes;
        if ENDURANCE.get().copied().unwrap_or(false) { long } else { short }
    }
}
