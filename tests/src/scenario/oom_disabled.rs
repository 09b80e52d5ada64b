//! A memory cgroup of version 1 whose OOM killer is disabled.

use std::ffi::CString;
use std::fs;
use std::io::Error;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::alloc_failure::{ALLOC_FAILURE, told, unseen};
use super::{Needs, Scenario};
use crate::eat::{Eat, word};
use crate::incident::{kind, object};
use crate::size::MIB;
use crate::stage::{Scratch, Stage};
use crate::watch::read;
use crate::witness::cgroup::{Cgroup, Hierarchy, Version};
use crate::witness::tree::Tree;

/// Guards what looks like a hang: no kill, no line in the kernel's log.
pub const SCENARIO: Scenario = Scenario {
    name: "oom_disabled",
    guards: "a task at the limit of a cgroup whose OOM killer is disabled (version 1) is told of, once",
    needs: Needs::LegacyMemcg,
    kills: 0,
    once: true,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    if stage.tool.is_some_and(|tool| tool.program.tier.as_deref() == Some("tracepoint")) {
        return unseen(stage);
    }
    let folder = Scratch::new(stage.name)?;
    let mount = folder.file("memory");
    if let Err(error) = take_over(&mount) {
        stage.skipped = Some(format!("the controller cannot be had in version 1: {error:#}"));
        return Ok(());
    }
    let hierarchy = Hierarchy::find()?.filter(|hierarchy| hierarchy.version == Version::V1);
    let tree = Tree::new(&hierarchy.context("the hierarchy of version 1 is not found")?, stage.name)?;
    let group = tree.group("waits")?;
    let seen = hang(stage, &group);
    drop(tree);
    give_back(stage, &mount)?;
    seen
}

fn hang(stage: &mut Stage<'_>, group: &Cgroup) -> Result<()> {
    group.set_limit(16 * MIB)?;
    group.disable_oom_killer()?;
    let oomtrace = stage.tracer(&["--json"])?;
    let mut eater = stage.eater("waiter", &Eat { anon: 32 * MIB, ..Eat::default() }, Some(group))?;
    eater.order(word::FILL)?;
    let Some(mut oomtrace) = oomtrace else { return Ok(()) };
    let is_one = |line: &Vec<u8>| object(line).is_ok_and(|object| kind(&object) == ALLOC_FAILURE);
    let _absent_is_found_below =
        oomtrace.until(stage.deadline.or_after(Duration::from_secs(30)), "a line", |lines| {
            lines.iter().any(is_one)
        });
    let traced = read(oomtrace.stop(stage.deadline)?)?;
    stage.keep_output("oomtrace", &traced.output)?;
    stage.judge_course(&traced);
    let line = told(&traced, "memcg_oom_disabled", eater.pid(), &group.path, &mut stage.checks);
    let memcg = line.and_then(|line| line.pointer("/memcg/path").and_then(Value::as_str));
    stage.checks.equal("memcg.path", memcg, Some(group.path.as_str()), "the scenario");
    Ok(())
}

/// The same, as soon as the last cgroup of version 2 that was removed is gone.
fn take_over(mount: &Path) -> Result<()> {
    for _ in 0..20 {
        if take(mount).is_ok() {
            return Ok(());
        }
        fs::write("/proc/sys/vm/drop_caches", "3").context("cannot drop caches")?;
        sleep(Duration::from_millis(200));
    }
    take(mount)
}

/// Mounts the memory controller in version 1.
fn take(mount: &Path) -> Result<()> {
    fs::create_dir_all(mount).with_context(|| format!("cannot make {}", mount.display()))?;
    let path = CString::new(mount.as_os_str().as_bytes()).context("a path cannot hold a NUL")?;
    // SAFETY: all are strings that end with NUL.
    let result = unsafe {
        libc::mount(c"memory".as_ptr(), path.as_ptr(), c"cgroup".as_ptr(), 0, c"memory".as_ptr().cast())
    };
    if result == 0 { Ok(()) } else { Err(Error::last_os_error()).context("mount") }
}

/// Unmounts it, again and again until version 2 has it back: a cgroup that was removed is there for as long as a page is
/// charged to it, and keeps its hierarchy if that is unmounted meanwhile (`cgroup_kill_sb()`, kernel/cgroup/cgroup.c).
fn give_back(stage: &Stage<'_>, mount: &Path) -> Result<()> {
    let path = CString::new(mount.as_os_str().as_bytes()).context("a path cannot hold a NUL")?;
    let deadline = stage.deadline.or_after(Duration::from_secs(20));
    loop {
        fs::write("/proc/sys/vm/drop_caches", "3").context("cannot drop caches")?;
        // SAFETY: the path ends with NUL.
        if unsafe { libc::umount2(path.as_ptr(), 0) } != 0 {
            return Err(Error::last_os_error()).context("cannot unmount the memory controller");
        }
        for _ in 0..10 {
            sleep(Duration::from_millis(20));
            if Hierarchy::find()?.is_some_and(|hierarchy| hierarchy.version == Version::V2) {
                return Ok(());
            }
        }
        deadline.left("the memory controller to return to version 2")?;
        take(mount)?;
    }
}
