//! A systemd of its own, in PID and mount namespaces of its own: one unit of it has a limit.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::deadline::Deadline;
use crate::process::{die_with_us, end, on_path};
use crate::witness::cgroup::{Cgroup, Hierarchy};
use crate::witness::tree::remove;

/// Such a systemd. Dropping it ends it, with all its units.
#[derive(Debug)]
pub struct Systemd {
    child: Child,
    /// The process that is the first of its namespaces.
    pub first: u64,
    /// The unit's cgroup.
    pub unit: Cgroup,
    root: Cgroup,
}

const PROGRAM: &str = "/usr/lib/systemd/systemd";
/// The unit, which nothing comes before.
const UNIT: &str = "oomtrace-tests.service";
/// It has all cgroups to itself: units are known by where they are.
const BEGIN: &str = "
    mount -t proc proc /proc
    mount -t tmpfs run /run
    exec \"$PROGRAM\" --system --unit=\"$UNIT\" --log-target=null --show-status=0";
/// What was set of the unit by `systemctl set-property`, for good.
const KEPT: &str = "/etc/systemd/system.control";
/// How long a unit may take to run.
const RUNS: Duration = Duration::from_secs(30);
/// How often is looked whether the unit runs.
const LOOK: Duration = Duration::from_millis(50);

impl Systemd {
    /// Whether there is one to start.
    #[must_use]
    pub fn is_here() -> bool {
        Path::new(PROGRAM).exists()
            && ["bash", "unshare", "systemctl"].iter().all(|one| on_path(one).is_some())
    }

    /// Starts one, and waits until its unit runs, which may have so many tasks. Only on a machine that was made for it: the unit's file
    /// is among the machine's.
    pub fn start(tasks: u64, deadline: Deadline) -> Result<Self> {
        let folder = Path::new("/etc/systemd/system");
        let text = format!(
            "[Unit]\nDefaultDependencies=no\n[Service]\nTasksMax={tasks}\nExecStart=/bin/sleep 1000\n"
        );
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(folder.join(UNIT), text))
            .and_then(|()| fs::write("/etc/machine-id", ""))
            .context("cannot write a unit")?;
        let hierarchy = Hierarchy::of("pids")?.context("no hierarchy has the controller pids")?;
        let root = hierarchy.top();
        let mut command = Command::new("unshare");
        command.args(["--pid", "--mount", "--kill-child", "--fork", "bash", "-e", "-c", BEGIN]);
        command.env("container", "other").env("PROGRAM", PROGRAM).env("UNIT", UNIT);
        die_with_us(&mut command);
        let deadline = deadline.or_after(RUNS);
        let child = command.spawn().context("unshare cannot be started")?;
        let unit = root.child("system.slice").child(UNIT);
        let mut systemd = Self { child, first: 0, unit, root: root.clone() };
        while systemd.unit.task_limit().ok().flatten() != Some(tasks)
            || systemd.unit.members().is_ok_and(|members| members.is_empty())
        {
            let ended = systemd.child.try_wait().context("systemd cannot be waited for")?;
            ensure!(ended.is_none(), "systemd has ended: {ended:?}");
            deadline.left("a unit of systemd to run")?;
            sleep(LOOK);
        }
        let first =
            root.child("init.scope").members()?.into_iter().min().context("systemd is not in its cgroup")?;
        systemd.first = first.try_into().context("a process id is out of range")?;
        Ok(systemd)
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        end(&mut self.child);
        // Nothing was set, if it is not there.
        let _none_is_fine = fs::remove_dir_all(KEPT);
        for name in ["init.scope", "system.slice"] {
            let cgroup = self.root.child(name);
            let removed = cgroup.dir().map_or(Ok(()), |dir| remove(&cgroup, &dir));
            if let Err(error) = removed {
                eprintln!("cannot clean up after systemd: {error:#}");
            }
        }
    }
}
