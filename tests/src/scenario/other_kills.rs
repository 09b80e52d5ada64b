//! Kills that are not the OOM killer's, beside one that is.

use std::fs;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::eater::Eater;
use crate::size::MIB;
use crate::stage::Stage;

/// Guards against others' kills: what earlyoom and `kill -9` do, what systemd-oomd does (cgroup.kill, from 5.14 on, or a
/// signal each), and process_mrelease(2), which takes a dying process's memory as the OOM reaper does.
pub const SCENARIO: Scenario = Scenario {
    name: "other_kills",
    guards: "SIGKILL from user space, process_mrelease() and cgroup.kill are no OOM kills, and one that follows is told",
    needs: Needs::Memcg,
    kills: 1,
    once: true,
    run,
};

/// The cgroup's limit in bytes.
const LIMIT: u64 = 48 * MIB;

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    let group = tree.group("crowded")?;
    group.set_limit(LIMIT)?;
    let apart = tree.group("apart")?;
    let eat = Eat { anon: 10 * MIB, ..Eat::default() };
    let mut signalled = stage.eater("signalled", &eat, Some(&group))?;
    let mut released = stage.eater("released", &eat, Some(&group))?;
    let mut swept = stage.eater("swept", &eat, Some(&apart))?;
    for eater in [&mut signalled, &mut released, &mut swept] {
        eater.fill_and_hold(stage.deadline)?;
    }
    let mut chosen = stage.eater("chosen", &Eat { anon: 2 * LIMIT, ..Eat::default() }, Some(&group))?;

    let watch = stage.watch(&[])?;
    signalled.kill()?;
    let reaped = release(&mut released)?;
    // Where the kernel has no such file, a signal is all that there is.
    let folder = apart.dir().context("the cgroup has no folder")?;
    let whole = fs::write(folder.join("cgroup.kill"), "1").is_ok();
    swept.kill()?;
    for eater in [&mut signalled, &mut released, &mut swept] {
        eater.killed(stage.deadline)?;
    }
    chosen.order(word::FILL)?;
    chosen.killed(stage.deadline)?;
    let expected = [Expected::kill(&chosen.facts, &chosen.facts, &group)];
    let seen = stage.finish(watch, &expected)?;

    // Among other things, that the victims are those of the log and of vmstat, and no others.
    stage.judge(&seen, &expected, &[&signalled.facts, &released.facts, &swept.facts, &chosen.facts]);
    let checks = &mut stage.checks;
    if let Some(traced) = &seen.traced {
        checks.equal("incidents", Some(traced.incidents.len()), Some(1), "the scenario");
        for other in [&signalled, &released, &swept] {
            let text = traced.incident_of(other.pid());
            checks.that(text.is_none(), || format!("{} is told as a victim", other.facts.label()));
        }
    }
    checks.note("process_mrelease() took memory", reaped);
    checks.note("cgroup.kill", whole);
    Ok(())
}

/// Kills an eater and has its memory taken at once. `false`: the kernel cannot (before 5.15), or it had ended already.
fn release(eater: &mut Eater) -> Result<bool> {
    let pid = i32::try_from(eater.pid()).ok().and_then(Pid::from_raw).context("no process id")?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).context("cannot open a process")?;
    rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL)
        .context("cannot kill an eater")?;
    // SAFETY: the system call takes two numbers.
    let released = unsafe { libc::syscall(libc::SYS_process_mrelease, pidfd.as_raw_fd(), 0) } == 0;
    eater.kill()?;
    Ok(released)
}
