//! An `oomtrace run`, and its report.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::stage::{Scratch, Stage, Tool, argument};
use crate::told::Told;
use crate::tracer::{Output, Program, Tracer};

/// Where reports go, and with which oomtrace they are made.
pub struct Profiler<'t> {
    tool: &'t Tool,
    scratch: Scratch,
}

/// How one ended.
pub struct Ran {
    /// What it said, and what its command did.
    pub output: Output,
    /// Its report; absent where none was written.
    pub report: Option<Value>,
}

impl<'t> Profiler<'t> {
    /// For this scenario; None where oomtrace is not run.
    pub fn of(stage: &Stage<'t>) -> Result<Option<Self>> {
        let of = |tool| Ok(Self { tool, scratch: Scratch::new(stage.name)? });
        stage.tool.map(of).transpose()
    }

    /// A file that is there as long as this is.
    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.scratch.file(name)
    }

    /// oomtrace.
    pub fn program(&self) -> &'t Program {
        &self.tool.program
    }

    /// Starts one with these options of `run`.
    pub fn begin(&self, options: &[&str], command: &[&str]) -> Result<Tracer> {
        let tier = self.tool.program.tier.as_deref();
        let tier = tier.map_or_else(Vec::new, |tier| vec!["--tier", tier]);
        let arguments = [&["run"], tier.as_slice(), options, &["--"], command].concat();
        // Its standard output is the command's.
        let program = Program { path: self.tool.program.path.clone(), tier: None, told: Told::default() };
        program.begin(&arguments)
    }

    /// Runs one to its end, with a report of that name.
    pub fn run(&self, stage: &Stage<'_>, name: &str, options: &[&str], command: &[&str]) -> Result<Ran> {
        let file = self.file(&format!("{name}.json"));
        let options = [options, &["--name", name, "--json", argument(&file)?]].concat();
        let output = self.begin(&options, command)?.finish(stage.deadline)?;
        self.ended(stage, name, output)
    }

    /// Takes the report of one that has ended, and keeps everything.
    pub fn ended(&self, stage: &Stage<'_>, name: &str, output: Output) -> Result<Ran> {
        stage.keep_output(name, &output)?;
        let report = read(&self.file(&format!("{name}.json")))?;
        if let Some(report) = &report {
            stage.keep_text(&format!("{name}.json"), &format!("{report:#}"))?;
        }
        Ok(Ran { output, report })
    }
}

impl Ran {
    /// The report's only run, or its first.
    pub fn first(&self) -> Result<&Value> {
        let run = self.report.as_ref().and_then(|report| report.pointer("/runs/0"));
        run.with_context(|| format!("there is no report of a run; oomtrace said: {}", self.output.said()))
    }

    /// The lines of standard output, which is the command's.
    pub fn lines(&self) -> impl Iterator<Item = String> + use<'_> {
        self.output.stdout.iter().map(|line| String::from_utf8_lossy(line).into_owned())
    }
}

/// The report in a file; None if there is no file, or an empty one.
fn read(file: &Path) -> Result<Option<Value>> {
    let Ok(text) = fs::read_to_string(file) else { return Ok(None) };
    if text.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(&text).map(Some).with_context(|| format!("no JSON in {}", file.display()))
}

/// A number in a run by its path; None where the report does not have it.
pub fn number(run: &Value, path: &str) -> Option<u64> {
    run.pointer(path)?.as_u64()
}

/// The rows of a table in a run.
pub fn rows<'r>(run: &'r Value, path: &str) -> impl Iterator<Item = &'r Value> + use<'r> {
    run.pointer(path).and_then(Value::as_array).into_iter().flatten()
}

/// The sum of a number over those rows for which something holds.
pub fn sum(run: &Value, path: &str, field: &str, holds: impl Fn(&Value) -> bool) -> u64 {
    let rows = rows(run, path).filter(|row| holds(row));
    rows.filter_map(|row| row.get(field)?.as_u64()).sum()
}

/// Whether a row is of that kind.
pub fn is(row: &Value, field: &str, text: &str) -> bool {
    row.get(field).is_some_and(|value| value == text)
}
