//! A memory cgroup of version 1 whose OOM killer is disabled.

use std::ffi::CString;
use std::fs;
use std::io::Error;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::alloc_failure::{ALLOC_FAILURE, told};
use super::{Needs, Scenario};
use crate::eat::{Eat, word};
use crate::incident::{kind, object};
use crate::size::MIB;
use crate::stage::{Scratch, Stage};
use crate::watch::read;
use crate::witness::cgroup::{Cgroup, Hierarchy, Version};
use crate::witness::tree::Tree;

/// Guards what looks like a hang: no kill, no line in the kernel's log. The machine keeps the controller in version 1.
pub const SCENARIO: Scenario = Scenario {
    name: "oom_disabled",
    guards: "a task at the limit of a cgroup whose OOM killer is disabled (version 1) is told of, once",
    needs: Needs::LegacyMemcg,
    kills: 0,
    once: false,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    if stage.tool.is_some_and(|tool| tool.program.tier.as_deref() == Some("tracepoint")) {
        stage.skipped = Some("no hook shows it in this tier".to_owned());
        return Ok(());
    }
    let folder = Scratch::new(stage.name)?;
    let mount = match Legacy::mount(&folder.file("memory")) {
        Ok(mount) => mount,
        Err(error) => {
            stage.skipped = Some(format!("the controller cannot be had in version 1: {error:#}"));
            return Ok(());
        }
    };
    let hierarchy = Hierarchy::find()?.filter(|hierarchy| hierarchy.version == Version::V1);
    let tree = Tree::new(&hierarchy.context("the hierarchy of version 1 is not found")?, stage.name)?;
    let group = tree.group("waits")?;
    let seen = hang(stage, &group);
    drop(tree);
    drop(mount);
    seen
}

fn hang(stage: &mut Stage<'_>, group: &Cgroup) -> Result<()> {
    group.set_limit(16 * MIB)?;
    group.disable_oom_killer()?;
    let tracer = stage.tracer(&["--json"])?;
    let mut eater = stage.eater("waiter", &Eat { anon: 32 * MIB, ..Eat::default() }, Some(group))?;
    eater.order(word::FILL)?;
    let Some(mut tracer) = tracer else { return Ok(()) };
    let is_one = |line: &Vec<u8>| object(line).is_ok_and(|object| kind(&object) == ALLOC_FAILURE);
    let _absent_is_found_below =
        tracer.until(stage.deadline.or_after(Duration::from_secs(30)), "a line", |lines| {
            lines.iter().any(is_one)
        });
    let traced = read(tracer.stop(stage.deadline)?)?;
    stage.keep_output("oomtrace", &traced.output)?;
    stage.judge_course(&traced);
    let line = told(&traced, "memcg_oom_disabled", eater.pid(), &group.path, &mut stage.checks);
    let memcg = line.and_then(|line| line.pointer("/memcg/path").and_then(Value::as_str));
    stage.checks.equal("memcg.path", memcg, Some(group.path.as_str()), "the scenario");
    Ok(())
}

/// The memory controller mounted in version 1. Dropping it unmounts it.
struct Legacy(CString);

impl Legacy {
    fn mount(at: &Path) -> Result<Self> {
        fs::create_dir_all(at).with_context(|| format!("cannot make {}", at.display()))?;
        let path = CString::new(at.as_os_str().as_bytes()).context("a path cannot hold a NUL")?;
        // SAFETY: all are strings that end with NUL.
        let result = unsafe {
            libc::mount(c"memory".as_ptr(), path.as_ptr(), c"cgroup".as_ptr(), 0, c"memory".as_ptr().cast())
        };
        if result != 0 {
            return Err(Error::last_os_error()).context("mount");
        }
        Ok(Self(path))
    }
}

impl Drop for Legacy {
    fn drop(&mut self) {
        // SAFETY: the path ends with NUL.
        if unsafe { libc::umount2(self.0.as_ptr(), libc::MNT_DETACH) } != 0 {
            eprintln!("cannot unmount the memory controller: {}", Error::last_os_error());
        }
    }
}
