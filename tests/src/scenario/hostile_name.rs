//! Victims and a cgroup whose names are an attack on whoever reads them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::deadline::Deadline;
use crate::eat::{Eat, word};
use crate::eater::Eater;
use crate::incident::Incident;
use crate::size::MIB;
use crate::stage::Stage;
use crate::tracer::Tracer;
use crate::watch::Seen;
use crate::witness::cgroup::{Cgroup, Version};
use crate::witness::comm::same_name;

/// An escape sequence, a newline, a quote, a backslash, a byte that is not UTF-8, two more control characters, one
/// of them beyond ASCII, a parenthesis and a format: 15 bytes, as long as a comm can be.
const NAME: &[u8] = b"\x1b[2J\n\"\\\xff\x7f\t\xc2\x9b)%s";
/// What turns the direction of writing around (U+202E), isolates it (U+2066) and ends a line (U+2028, U+0085).
const TURNING: &str = "\u{202e}gpj\u{2066}\u{2028}\u{85}";
/// All of these in the name of a cgroup, which can have any byte but a newline, a slash and NUL.
const CGROUP: &[u8] = b"\x1b[31m \"'\\x41\\\xff\x7f\t\xc2\x9b\xe2\x80\xae)%s{}\xe2\x80\xa8\x01";

/// Guards terminals and JSON readers: a process and a container may call themselves anything.
pub const SCENARIO: Scenario = Scenario {
    name: "hostile_name",
    guards: "names of victims and of a cgroup with control characters, quotes, invalid UTF-8 and marks that turn the \
             direction of writing break neither JSON nor a terminal",
    needs: Needs::Memcg,
    kills: 2,
    once: true,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    let group = tree.group("hostile")?;
    group.set_limit(32 * MIB)?;
    let mut eater = stage.eater(NAME, &Eat { anon: 64 * MIB, ..Eat::default() }, Some(&group))?;
    let cgroup = HostileCgroup::new(tree.base(), 16 * MIB)?;
    let mut turned = stage.eater(TURNING, &Eat { anon: 32 * MIB, ..Eat::default() }, None)?;
    cgroup.take_in(turned.pid())?;

    let human = stage.tracer(&["-o", "human"])?;
    let watch = stage.watch(&[])?;
    for eater in [&mut eater, &mut turned] {
        eater.order(word::FILL)?;
        eater.killed(stage.deadline)?;
    }
    let expected = [
        Expected::kill(&eater.facts, &eater.facts, &group),
        // Its cgroup has no name that a scenario's own paths could have: it is compared below.
        Expected::machine_wide(&turned.facts, "allocation"),
    ];
    let seen = stage.finish(watch, &expected)?;

    stage.judge(&seen, &expected[..1], &[&eater.facts]);
    cgroup.judge(stage, &seen, &turned)?;
    human.map_or(Ok(()), |human| check_human(stage, human, [&eater, &turned]))
}

/// Checks that the human report names the victims and holds no character that controls, but its own newlines.
fn check_human(stage: &mut Stage<'_>, mut human: Tracer, victims: [&Eater; 2]) -> Result<()> {
    let pids = victims.map(|victim| format!("(pid {},", victim.pid()));
    let names = |lines: &[Vec<u8>]| {
        let text = lines.iter().map(|line| String::from_utf8_lossy(line)).collect::<String>();
        pids.iter().all(|pid| text.contains(pid))
    };
    let deadline: Deadline = stage.deadline;
    human.until(deadline, "the human report", names)?;
    let output = human.stop(deadline)?;
    stage.keep_output("human", &output)?;
    stage.checks.that(names(&output.stdout), || format!("the human report does not name all of {pids:?}"));
    stage.checks.that(output.status.success(), || format!("oomtrace ended with {}", output.status));
    for line in &output.stdout {
        let text = str::from_utf8(line);
        stage.checks.that(text.is_ok_and(|text| !text.chars().any(controls)), || {
            format!("the human report has raw bytes in {}", line.escape_ascii())
        });
    }
    Ok(())
}

/// Whether a character does something to the characters around it: control characters, ends of lines, and what turns
/// the direction of writing (Unicode's `Bidi_Control`).
fn controls(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A cgroup named [`CGROUP`]. Dropping it removes it.
#[derive(Debug)]
struct HostileCgroup {
    dir: PathBuf,
    path: Vec<u8>,
}

impl HostileCgroup {
    /// Makes it below `base`, with a limit in bytes and no swap to evade into.
    fn new(base: &Cgroup, limit: u64) -> Result<Self> {
        let dir = base.dir().context("the base is not in the mounted part")?.join(OsStr::from_bytes(CGROUP));
        fs::create_dir(&dir).with_context(|| format!("cannot make the cgroup {}", CGROUP.escape_ascii()))?;
        let made = Self { path: [base.path.as_bytes(), b"/", CGROUP].concat(), dir };
        let (file, swap) = match base.version() {
            Version::V1 => ("memory.limit_in_bytes", ("memory.memsw.limit_in_bytes", limit)),
            Version::V2 => ("memory.max", ("memory.swap.max", 0)),
        };
        made.write(file, limit)?;
        // Without swap accounting there is no such file.
        if made.dir.join(swap.0).exists() {
            made.write(swap.0, swap.1)?;
        }
        Ok(made)
    }

    /// Moves a process into it.
    fn take_in(&self, pid: u64) -> Result<()> {
        self.write("cgroup.procs", pid)
    }

    fn write(&self, file: &str, value: u64) -> Result<()> {
        fs::write(self.dir.join(file), value.to_string())
            .with_context(|| format!("cannot write {file} of {}", self.path.escape_ascii()))
    }

    /// Checks by the log and by oomtrace that the victim died in it, and that its name is everywhere the same.
    fn judge(&self, stage: &mut Stage<'_>, seen: &Seen, victim: &Eater) -> Result<()> {
        let logged =
            seen.logged(victim.pid()).context("the kernel log does not have the turned victim's kill")?;
        let decision = logged.decision.as_ref();
        for (what, path) in [
            ("oom_memcg", decision.and_then(|decision| decision.oom_memcg.as_ref())),
            ("task_memcg", decision.map(|decision| &decision.task_memcg)),
        ] {
            stage.checks.equal(&format!("the log's {what}"), path, Some(&self.path), "the scenario");
        }
        let (Some(traced), Some(tool)) = (&seen.traced, stage.tool) else { return Ok(()) };
        let incident =
            traced.incident_of(victim.pid()).context("oomtrace does not report the turned victim")?;
        tool.floor.check(&mut stage.checks, incident);
        let id = fs::metadata(&self.dir)
            .with_context(|| format!("cannot read {}", self.path.escape_ascii()))?
            .ino();
        let memcg = incident.fields.scope.memcg.as_ref();
        stage.checks.equal(
            "scope.memcg.id",
            memcg.and_then(|memcg| memcg.id),
            Some(id),
            "the cgroup's inode",
        );
        for (what, name, bytes) in names(incident, &self.path) {
            stage.checks.that(name.is_some_and(|name| same_name(name, bytes)), || {
                format!("{what} is {name:?}, not {}", bytes.escape_ascii())
            });
        }
        Ok(())
    }
}

impl Drop for HostileCgroup {
    fn drop(&mut self) {
        // Busy as long as the victim is not quite gone.
        for _ in 0..500 {
            match fs::remove_dir(&self.dir) {
                Ok(()) => return,
                Err(_) => sleep(Duration::from_millis(10)),
            }
        }
        eprintln!("cannot remove the cgroup {}", self.path.escape_ascii());
    }
}

/// Wherever an incident has a name, what it is, and what it should be.
fn names<'a>(incident: &'a Incident, path: &'a [u8]) -> [(&'static str, Option<&'a str>, &'a [u8]); 6] {
    let fields = &incident.fields;
    let (victim, limit) = (fields.victims.first(), fields.scope.limits.first());
    let memcg = fields.scope.memcg.as_ref();
    [
        ("scope.memcg.path", memcg.and_then(|memcg| memcg.path.as_deref()), path),
        ("scope.limits[0].path", limit.and_then(|limit| limit.path.as_deref()), path),
        ("trigger.cgroup", fields.trigger.cgroup.as_deref(), path),
        ("victims[0].cgroup", victim.and_then(|victim| victim.cgroup.as_deref()), path),
        ("trigger.comm", fields.trigger.comm.as_deref(), TURNING.as_bytes()),
        ("victims[0].comm", victim.and_then(|victim| victim.comm.as_deref()), TURNING.as_bytes()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the names: a comm that the kernel would cut short, or a cgroup that it refuses, would attack nobody.
    #[test]
    fn names_are_what_the_kernel_takes() {
        assert!(NAME.len() <= 15 && TURNING.len() <= 15);
        assert!(!CGROUP.iter().any(|byte| b"\n/\0".contains(byte)));
        assert!(TURNING.chars().filter(|&character| controls(character)).count() == 4);
        assert!(!"größe (é) 日本".chars().any(controls));
    }
}
