//! What stands beside a scenario from its beginning to its end: the kernel's log, and an oomtrace that follows nothing else.
//!
//! Both have to tell what the scenario's own oomtraces told by their hooks.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::compare::reading::{self, Reading};
use crate::stage::{Scratch, Stage, argument};
use crate::told::Told;
use crate::tracer::{Program, Tracer};
use crate::watch::{DELIVERY, read};
use crate::witness::kmsg::KernelLog;

/// The tier of an oomtrace that follows the kernel's log.
const TIER: &str = "kmsg";

/// Both readings of one log.
const BOTH: &str = "import and kmsg tier";

/// See the module. Dropping it ends the oomtrace.
#[derive(Debug)]
pub struct Aside {
    log: KernelLog,
    follower: Option<Tracer>,
}

impl Aside {
    /// Marks the log, and has an oomtrace follow it if that is wanted.
    pub fn begin(stage: &Stage<'_>, follow: bool) -> Result<Self> {
        let program = stage.tool.map(|tool| &tool.program).filter(|_| follow);
        let program = program.map(|program| Program {
            tier: Some(TIER.to_owned()),
            told: Told::default(),
            path: program.path.clone(),
        });
        let follower = program.map(|program| program.trace(&["--json"], stage.deadline)).transpose()?;
        Ok(Self { log: KernelLog::mark()?, follower })
    }

    /// Keeps the log as it is, and compares what is made of it with what was told live. There is nothing to compare where nothing
    /// was traced, or killed.
    pub fn judge(mut self, stage: &mut Stage<'_>) -> Result<()> {
        self.log.read()?;
        let told = stage.tool.map(|tool| tool.program.told.take()).unwrap_or_default();
        if self.log.overrun() {
            stage.checks.note("the beginning of the log was overwritten", true);
        }
        if self.log.ooms().ooms().is_empty() || told.is_empty() {
            return Ok(());
        }
        let imported = self.import(stage)?;
        self.compare(stage, "import", &told, &imported);
        if let Some(followed) = self.followed(stage)? {
            self.compare(stage, "kmsg tier", &told, &followed);
            self.compare(stage, BOTH, &[followed], &imported);
        }
        Ok(())
    }

    /// What an import tells of the log.
    fn import(&self, stage: &mut Stage<'_>) -> Result<Vec<Value>> {
        let Some(tool) = stage.tool else { return Ok(Vec::new()) };
        let scratch = Scratch::new(&format!("{}-aside", stage.name))?;
        let file = stage.kept("kmsg.log")?.unwrap_or_else(|| scratch.file("kmsg.log"));
        fs::write(&file, self.log.raw()).with_context(|| format!("cannot write {}", file.display()))?;
        let output = tool.program.run(&["import", "--json", argument(&file)?], stage.deadline)?;
        stage.keep_output("import", &output)?;
        stage.checks.that(output.status.success(), || {
            format!("the import ended with {} and said: {}", output.status, output.said())
        });
        let imported = read(output)?.objects;
        tool.schema.check(&mut stage.checks, &imported);
        Ok(imported)
    }

    /// What the one that followed the log told, once it has told of each kill.
    fn followed(&mut self, stage: &mut Stage<'_>) -> Result<Option<Vec<Value>>> {
        let Some(mut follower) = self.follower.take() else { return Ok(None) };
        let kills = self.log.ooms().ooms().iter().flat_map(|oom| &oom.kills);
        let victims: Vec<u64> = kills.map(|kill| kill.pid).collect();
        let _missing_is_found_by_the_comparison =
            follower.reported(&victims, stage.deadline.or_after(DELIVERY));
        let traced = read(follower.stop(stage.deadline)?)?;
        stage.keep_output("kmsg", &traced.output)?;
        stage.log_fields.add(&traced.objects);
        traced.check_course(false, &mut stage.checks);
        if let Some(tool) = stage.tool {
            tool.schema.check(&mut stage.checks, &traced.objects);
            for incident in traced.incidents.iter().filter(|incident| !incident.fields.victims.is_empty()) {
                tool.floor.check(&mut stage.checks, incident);
            }
        }
        Ok(Some(traced.objects))
    }

    fn compare(&self, stage: &mut Stage<'_>, who: &'static str, told: &[Vec<Value>], read: &[Value]) {
        let (log, machine, untraced) = (self.log.ooms().ooms(), stage.machine, stage.untraced);
        // Where others use the machine, the log was marked in the middle of somebody else's report, perhaps.
        let (cut, alike) = (self.log.overrun() || !machine.disposable, who == BOTH);
        reading::check(&mut stage.checks, Reading { who, told, read, log, machine, cut, alike, untraced });
    }
}
