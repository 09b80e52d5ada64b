//! Services of systemd's, whose limits it alone may set.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::each;
use super::ground::{Ground, run as run_it};
use super::machine::eat;
use crate::eat::Eat;
use crate::scenario::swap_limit::Zram;
use crate::scenario::{Needs, Scenario};
use crate::size::MIB;
use crate::stage::Stage;
use crate::systemd::Systemd;
use crate::witness::cgroup::Cgroup;

/// Guards what findings propose about services: systemd itself is asked, and does it.
pub const SCENARIO: Scenario = Scenario {
    name: "units",
    guards: "services of systemd's run out of memory: what is found has systemd change their limits, and the same happens no more",
    needs: Needs::Systemd,
    kills: 0,
    once: true,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    // That there is no swap is cured elsewhere.
    each(stage, &[("services", services)], &["swap-none"])
}

/// Where units are.
const UNITS: &str = "/etc/systemd/system";
/// As many as the unit needs that systemd is started with.
const TASKS: u64 = 20;
/// How often is looked whether systemd is there, or has seen what happened.
const POLL: Duration = Duration::from_millis(100);

/// A service at its own limit, one that may not swap, and one that has no limit.
fn services(ground: &mut Ground<'_, '_>) -> Result<()> {
    let limited = ["memcg-limit", "swap-forbidden", "systemd-oompolicy"];
    let systemd = Systemd::start(TASKS, ground.stage.deadline)?;
    let within = |command: &str| shell(&systemd, command);
    let swap = Zram::enable(ground.stage.machine.page_bytes, 64 * MIB)?;
    for (service, id) in [("web.service", "memcg-limit"), ("swapless.service", "swap-forbidden")] {
        install(&systemd, service, "MemoryMax=32M\nMemorySwapMax=0")?;
        let group = start(&systemd, ground, service)?;
        let eater = ground.eater("serving", &eat(40 * MIB), Some(&group))?;
        let incident = ground.dies(eater, &limited)?;
        // It is told by inotify.
        let is_down = || run_it(within(&format!("systemctl is-failed {service}")));
        while is_down().is_err() {
            ground.stage.deadline.left("systemd to see the kill")?;
            thread::sleep(POLL);
        }
        let shown = ground.look_by(&incident, "systemd-oompolicy", within)?;
        let told = ["OOMPolicy=stop", "Result=oom-kill", "ActiveState=failed"];
        ground
            .stage
            .checks
            .that(told.iter().all(|told| shown.contains(told)), || format!("{service}: {shown}"));
        ground.cure_by(&incident, id, within)?;
        let group = start(&systemd, ground, service)?;
        let mut again = ground.eater("serving", &eat(40 * MIB), Some(&group))?;
        ground.lives(&mut again)?;
    }
    drop(swap);
    install(&systemd, "free.service", "")?;
    let group = start(&systemd, ground, "free.service")?;
    let everything = Eat { anon: 2 * ground.stage.machine.memory_bytes, ..Eat::default() };
    let eater = ground.eater("unlimited", &everything, Some(&group))?;
    let incident = ground.dies(eater, &["node-exhausted", "swap-none", "systemd-oompolicy"])?;
    ground.cure_by(&incident, "node-exhausted", within)?;
    // What it needs it has not, but the machine has, and all others.
    let group = start(&systemd, ground, "free.service")?;
    let eater = ground.eater("unlimited", &everything, Some(&group))?;
    ground.dies(eater, &["memcg-limit", "systemd-oompolicy"]).map(drop)
}

/// Makes a service with these settings, that does nothing.
fn install(systemd: &Systemd, service: &str, settings: &str) -> Result<()> {
    let text = format!("[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sleep 1000\n{settings}\n");
    let file = format!("{UNITS}/{service}");
    fs::write(&file, text).with_context(|| format!("cannot write {file}"))?;
    run_it(shell(systemd, "systemctl daemon-reload")).map(drop)
}

/// Starts a service, and gives its cgroup.
fn start(systemd: &Systemd, ground: &Ground<'_, '_>, service: &str) -> Result<Cgroup> {
    run_it(shell(systemd, &format!("systemctl start {service}")))?;
    let hierarchy = ground.stage.machine.hierarchy.as_ref().context("there is no memory controller")?;
    Ok(hierarchy.cgroup(&format!("/system.slice/{service}")))
}

/// A shell that runs `command` where systemd is: of others it does not know who they are.
fn shell(systemd: &Systemd, command: &str) -> Command {
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["--target", &systemd.first.to_string(), "--all", "bash", "-c", command]);
    nsenter
}
