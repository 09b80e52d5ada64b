//! Oomtraces that see the same kill, each with type information of its own.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Btf;
use super::catalogue::Mutation;
use crate::deadline::Deadline;
use crate::incident::{kind, object};
use crate::stage::{Scratch, argument};
use crate::tracer::{Output, Program, Tracer};

/// How long reports may take once the first oomtrace has made its own.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it takes to look whether a report is there.
const LOOK: Duration = Duration::from_millis(50);

/// One oomtrace.
#[derive(Debug)]
pub enum Member {
    /// It traces.
    Tracing(Tracer),
    /// It ended instead.
    Ended(Output),
}

/// The oomtraces: the first one with the kernel's own type information, then one for each mutation.
#[derive(Debug)]
pub struct Fleet(Vec<Member>);

/// What an oomtrace said in all.
#[derive(Debug)]
pub struct Said {
    /// Its output.
    pub output: Output,
    /// Whether it traced.
    pub traced: bool,
    /// Whether it had reported the kill before it was told to end.
    pub in_time: bool,
}

impl Fleet {
    /// Starts them, `abreast` at a time, and waits until each traces or has ended. A file is needed no longer then.
    pub fn start(
        program: &Program,
        (btf, mutations): (&Btf, &[Mutation]),
        abreast: usize,
        (scratch, deadline): (&Scratch, Deadline),
    ) -> Result<Self> {
        let none: &[_] = &[];
        let edits: Vec<_> =
            std::iter::once(none).chain(mutations.iter().map(|mutation| mutation.edits.as_slice())).collect();
        let mut members = Vec::new();
        for edits in edits.chunks(abreast.max(1)) {
            let mut started = Vec::new();
            for (index, edits) in edits.iter().enumerate() {
                let file = scratch.file(&format!("{index}.btf"));
                fs::write(&file, btf.edited(edits))
                    .with_context(|| format!("cannot write {}", file.display()))?;
                started.push((program.begin(&["--json", "--btf", argument(&file)?])?, file));
            }
            for (tracer, file) in started {
                members.push(Member::after_its_start(tracer, deadline)?);
                remove(&file)?;
            }
        }
        Ok(Self(members))
    }

    /// Waits for the first one to report a kill, until `deadline`, and then no longer than [`PATIENCE`] for all others;
    /// ends them all.
    pub fn end(mut self, deadline: Deadline) -> Result<Vec<Said>> {
        let mut patience = None::<Deadline>;
        let mut in_time = Vec::new();
        for member in &mut self.0 {
            let until = match patience {
                None => deadline,
                Some(patience) if patience.left("").is_ok() => patience,
                // What is there when time is up counts.
                Some(_) => Deadline::after(LOOK),
            };
            in_time.push(match member {
                Member::Tracing(tracer) => tracer.until(until, "a report", has_report).is_ok(),
                Member::Ended(_) => false,
            });
            patience.get_or_insert_with(|| Deadline::after(PATIENCE));
        }
        for member in &self.0 {
            if let Member::Tracing(tracer) = member {
                tracer.ask_to_end()?;
            }
        }
        let said = self.0.into_iter().zip(in_time).map(|(member, in_time)| {
            Ok(match member {
                Member::Tracing(tracer) => Said { output: tracer.finish(deadline)?, traced: true, in_time },
                Member::Ended(output) => Said { output, traced: false, in_time },
            })
        });
        said.collect()
    }
}

impl Member {
    /// What became of one that was started.
    fn after_its_start(mut tracer: Tracer, deadline: Deadline) -> Result<Self> {
        tracer.listen();
        Ok(if tracer.attached(deadline)? {
            Self::Tracing(tracer)
        } else {
            Self::Ended(tracer.finish(deadline)?)
        })
    }
}

/// Whether one of the lines is an incident.
fn has_report(lines: &[Vec<u8>]) -> bool {
    lines.iter().filter_map(|line| object(line).ok()).any(|object| kind(&object) == "oom")
}

fn remove(file: &Path) -> Result<()> {
    fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))
}
