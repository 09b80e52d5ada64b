//! What a scenario works with: cgroups, eaters, a watch, and the judgement at the end.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::checks::Checks;
use crate::compare::{Expected, counts, sequence};
use crate::deadline::Deadline;
use crate::eat::Eat;
use crate::eater::{Eater, Facts};
use crate::fields::Fields;
use crate::floor::Floor;
use crate::incident::{found, kind};
use crate::machine::Machine;
use crate::schema::Schema;
use crate::tracer::{Output, Program, Tracer};
use crate::watch::{Seen, Traced, Watch};
use crate::witness::cgroup::Cgroup;
use crate::witness::tree::Tree;

/// oomtrace, and what is needed to check what it says.
#[derive(Debug)]
pub struct Tool {
    /// How to run it.
    pub program: Program,
    /// The schema of its lines.
    pub schema: Schema,
    /// The least that it must deliver.
    pub floor: Floor,
}

/// One scenario's stage. What it hands out cleans up after itself when dropped.
#[derive(Debug)]
pub struct Stage<'a> {
    /// The scenario's name.
    pub name: &'static str,
    /// The machine.
    pub machine: &'a Machine,
    /// oomtrace; None when only the witnesses are tried out.
    pub tool: Option<&'a Tool>,
    /// When the scenario has to be over.
    pub deadline: Deadline,
    /// What it found.
    pub checks: Checks,
    /// Which fields of oomtrace's output it saw.
    pub fields: Fields,
    /// The same of one that has the kernel's log alone.
    pub log_fields: Fields,
    /// What it lacks here to find out anything.
    pub skipped: Option<String>,
    /// Why the kernel's log may have kills of which none of its oomtraces tells.
    pub untraced: Option<&'static str>,
    /// Where to keep what was seen.
    pub keep: Option<PathBuf>,
}

impl Stage<'_> {
    /// The tier that oomtrace is to insist on; on a machine that was not made for these tests, the one that it comes to.
    #[must_use]
    pub fn tier(&self) -> Option<&str> {
        self.tool.and_then(|tool| tool.program.tier.as_deref())
    }

    /// A throwaway subtree of the memory hierarchy.
    pub fn tree(&self) -> Result<Tree> {
        let hierarchy = self.machine.hierarchy.as_ref().context("this machine has no memory controller")?;
        Tree::new(hierarchy, self.name)
    }

    /// Starts an eater and waits until it is ready.
    pub fn eater(&self, name: impl AsRef<[u8]>, eat: &Eat, cgroup: Option<&Cgroup>) -> Result<Eater> {
        Eater::start(name, eat, cgroup, self.deadline)
    }

    /// Begins to watch, with oomtrace armed if there is one.
    pub fn watch(&self, options: &[&str]) -> Result<Watch> {
        Watch::begin(self.tool.map(|tool| &tool.program), options, self.deadline)
    }

    /// Starts another oomtrace beside the watch's own; None when only the witnesses are tried out.
    pub fn tracer(&self, options: &[&str]) -> Result<Option<Tracer>> {
        self.tool.map(|tool| tool.program.trace(options, self.deadline)).transpose()
    }

    /// Waits until the kills that were `expected` are logged and reported, and ends the watch.
    pub fn finish(&self, watch: Watch, expected: &[Expected<'_>]) -> Result<Seen> {
        let victims: Vec<u64> =
            expected.iter().flat_map(|kill| &kill.victims).map(|victim| victim.pid()).collect();
        let seen = watch.finish(&victims, self.deadline)?;
        self.keep_lines("kernel.log", seen.log_text.iter().map(String::as_bytes))?;
        if let Some(traced) = &seen.traced {
            self.keep_output("oomtrace", &traced.output)?;
        }
        Ok(seen)
    }

    /// Compares all sides of what was seen. `eaters` are all that took part.
    pub fn judge(&mut self, seen: &Seen, expected: &[Expected<'_>], eaters: &[&Facts]) {
        counts(&mut self.checks, seen, eaters);
        for kill in expected {
            let Some(victim) = kill.victims.first() else { continue };
            let Some(logged) = seen.logged(victim.pid()) else {
                self.checks.fail(format!("the kernel log does not have the kill of {}", victim.label()));
                continue;
            };
            kill.check_provoked(&mut self.checks, logged, self.machine);
            let (Some(traced), Some(tool)) = (&seen.traced, self.tool) else { continue };
            let Some(incident) = traced.incident_of(victim.pid()) else {
                self.checks.fail(format!("oomtrace does not report the kill of {}", victim.label()));
                continue;
            };
            let tier = tool.program.tier.as_deref();
            kill.check_reported(&mut self.checks, incident, logged, seen, (self.machine, tier));
            tool.floor.check(&mut self.checks, incident);
        }
        if let Some(traced) = &seen.traced {
            self.judge_course(traced);
            let victims: Vec<u64> =
                expected.iter().flat_map(|kill| &kill.victims).map(|victim| victim.pid()).collect();
            for object in traced.objects.iter().filter(|object| kind(object) == "alloc_failure") {
                let pid = object.pointer("/task/pid").and_then(Value::as_u64);
                self.checks.that(pid.is_none_or(|pid| !victims.contains(&pid)), || {
                    format!("a victim on its way to its end is told of as a failure: {object}")
                });
            }
        }
    }

    /// Checks that exactly these are the findings about the kill of a process, but for what is the machine's own: its settings, and
    /// swap that a group may not use. With tracepoints alone less is known of who else dies, and of whose nodes ran out.
    pub fn judge_findings(&mut self, seen: &Seen, victim: &Facts, ids: &[&str]) {
        let Some(incident) = seen.traced.as_ref().and_then(|traced| traced.incident_of(victim.pid())) else {
            return;
        };
        if incident.fields.tier.as_deref() == Some("tracepoint") {
            return;
        }
        self.judge_findings_in_every_tier(seen, victim, ids);
    }

    /// The same where tracepoints are enough.
    pub fn judge_findings_in_every_tier(&mut self, seen: &Seen, victim: &Facts, ids: &[&str]) {
        const OF_THE_MACHINE: [&str; 2] = ["swap-forbidden", "panic-on-oom"];
        let Some(incident) = seen.traced.as_ref().and_then(|traced| traced.incident_of(victim.pid())) else {
            return;
        };
        let mut ours = found(&incident.json);
        ours.retain(|id| !OF_THE_MACHINE.contains(&id.as_str()));
        let ids = ids.iter().map(ToString::to_string).collect();
        self.checks.equal("findings", Some(ours), Some(ids), &victim.label());
    }

    /// Checks one oomtrace's course and the form of its lines, which count as what is to be had in this tier.
    pub fn judge_course(&mut self, traced: &Traced) {
        self.fields.add(&traced.objects);
        self.judge_lines(traced);
    }

    /// The same of one in a tier of its own.
    pub fn judge_lines(&mut self, traced: &Traced) {
        traced.check_course(self.machine.misses_events(), &mut self.checks);
        sequence(&mut self.checks, &traced.incidents);
        if let Some(tool) = self.tool {
            tool.schema.check(&mut self.checks, &traced.objects);
        }
    }

    /// Keeps an oomtrace's output, if things are to be kept.
    pub fn keep_output(&self, name: &str, output: &Output) -> Result<()> {
        self.keep_lines(&format!("{name}.stdout"), output.stdout.iter().map(Vec::as_slice))?;
        self.keep_lines(&format!("{name}.stderr"), output.stderr.iter().map(Vec::as_slice))
    }

    /// Keeps a text in a file, if things are to be kept.
    pub fn keep_text(&self, name: &str, text: &str) -> Result<()> {
        self.keep_lines(name, text.lines().map(str::as_bytes))
    }

    /// Where to keep a file, if things are to be kept.
    pub fn kept(&self, name: &str) -> Result<Option<PathBuf>> {
        let Some(keep) = &self.keep else { return Ok(None) };
        let folder = keep.join(self.name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Some(folder.join(name)))
    }

    /// Keeps lines in a file, if things are to be kept.
    fn keep_lines<'l>(&self, name: &str, lines: impl Iterator<Item = &'l [u8]>) -> Result<()> {
        let Some(file) = self.kept(name)? else { return Ok(()) };
        let text = lines.flat_map(|line| [line, b"\n"]).collect::<Vec<_>>().concat();
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }
}

/// A folder for files that a scenario needs only while it runs. Dropping it removes it.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one for the scenario `name`.
    pub fn new(name: &str) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("oomtrace-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder))
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The folder itself.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// A path as an argument; the scratch folder's is always UTF-8 where the temporary folder's is.
pub fn argument(path: &Path) -> Result<&str> {
    str::from_utf8(OsStr::as_bytes(path.as_os_str()))
        .with_context(|| format!("{} is not UTF-8", path.display()))
}
