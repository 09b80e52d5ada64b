//! A container of Podman's, on a machine that has it: nothing of it is written by the scenario.

use std::env::current_exe;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::deadline::Deadline;
use crate::eat::word;
use crate::eater::Facts;
use crate::lines::Lines;
use crate::process::{end, on_path, wait_exit};
use crate::size::MIB;
use crate::stage::{Scratch, Stage, argument};
use crate::witness::procfs;

/// Guards what is told of a victim in a container against what Podman itself says of it: its id, and the name, which stands
/// in Podman's own files alone.
pub const SCENARIO: Scenario = Scenario {
    name: "podman",
    guards: "a container of Podman's that reaches its limit is told by the id and the name that Podman gives it",
    needs: Needs::Podman,
    kills: 1,
    once: true,
    run,
};

const LIMIT: u64 = 48 * MIB;
const COMM: &str = "podmans-eater";
/// Open files, and processes, that a container may have: podman itself has no more than 32768 of these.
const AMPLE: u64 = 10_000;

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let hierarchy = stage.machine.hierarchy.clone().context("this machine has no memory controller")?;
    let podman = stage.machine.podman.clone().context("Podman is not installed")?;
    let scratch = Scratch::new(stage.name)?;
    let mut container = match Container::start(&podman, &scratch, stage.deadline) {
        Ok(container) => container,
        Err(error) => {
            stage.skipped = Some(format!("Podman is installed, and cannot start a container: {error:#}"));
            return Ok(());
        }
    };
    let said = container.inspect()?;
    let pid = said.pointer("/State/Pid").and_then(Value::as_u64).context("Podman does not tell the pid")?;
    let cgroup = hierarchy.cgroup_of(pid)?;
    let facts = Facts {
        name: COMM.into(),
        cgroup: Some(cgroup.clone()),
        before: procfs::process(pid)?,
        held: None,
        started: container.started,
    };

    let watch = stage.watch(&[])?;
    container.order(word::FILL)?;
    container.killed(stage.deadline)?;
    let seen = stage.finish(watch, &[Expected::kill(&facts, &facts, &cgroup)])?;

    // Podman removes the cgroup at once, with what most comparisons ask.
    stage.checks.that(seen.logged(pid).is_some(), || "the kernel log does not have the kill".to_owned());
    let (Some(traced), Some(tool)) = (&seen.traced, stage.tool) else { return Ok(()) };
    stage.judge_course(traced);
    let Some(incident) = traced.incident_of(pid) else {
        stage.checks.fail("oomtrace does not report the kill");
        return Ok(());
    };
    tool.floor.check(&mut stage.checks, incident);
    let told = json!({"runtime": "podman", "id": said["Id"], "name": said["Name"]});
    for who in ["/victims/0", "/trigger"] {
        for (name, expected, witness) in [
            ("cgroup", json!(cgroup.path), "/proc"),
            ("container", told.clone(), "Podman"),
            ("ns_pid", json!(1), "Podman"),
            ("ancestors/0/comm", json!("conmon"), "Podman"),
        ] {
            let field = format!("{who}/{name}");
            stage.checks.equal(&field, incident.json.pointer(&field).cloned(), Some(expected), witness);
        }
    }
    let limit = incident.json.pointer("/scope/capacity_bytes").cloned();
    stage.checks.equal("scope.capacity_bytes", limit, Some(json!(LIMIT)), "Podman's own option");
    Ok(())
}

/// An eater in a container. Dropping it removes the container.
struct Container {
    /// How to call Podman.
    podman: Vec<String>,
    name: String,
    child: Child,
    words: Lines,
    /// What podman complains of. Kept to the end: who writes to a pipe that nobody reads is killed.
    errors: Lines,
    /// The wall clock before and after it was started.
    started: (SystemTime, SystemTime),
}

impl Container {
    /// Starts it and waits until it is ready.
    fn start(podman: &Path, scratch: &Scratch, deadline: Deadline) -> Result<Self> {
        let root = scratch.file("root");
        fs::create_dir_all(&root).context("cannot make a container's root")?;
        let own = current_exe().context("cannot find the scenarios' own binary")?;
        fs::copy(own, root.join("scenarios")).context("cannot copy the eater into a container's root")?;
        // By itself it asks systemd, which may not be there.
        let mut call = vec![argument(podman)?, "--cgroup-manager=cgroupfs", "--events-backend=none"];
        // The other, crun, refuses a machine with both versions of cgroups.
        if on_path("runc").is_some() {
            call.push("--runtime=runc");
        }
        let podman: Vec<String> = call.into_iter().map(str::to_owned).collect();
        let name = format!("oomtrace-{}", std::process::id());
        let before = SystemTime::now();
        let (program, options) = podman.split_first().context("no program")?;
        // Its conmon leaves an empty file `oom` where it was started.
        let mut child = Command::new(program)
            .current_dir(&root)
            .args(options)
            .args(["run", "--rm", "--interactive", "--network=none", "--cap-add=ipc_lock"])
            .arg(format!("--name={name}"))
            .arg(format!("--memory={LIMIT}"))
            .arg(format!("--ulimit=nofile={0}:{0}", limit(Resource::Nofile)))
            .arg(format!("--ulimit=nproc={0}:{0}", limit(Resource::Nproc)))
            .arg("--rootfs")
            .arg(&root)
            .args(["/scenarios", "eat", "--name", COMM, "--anon", &(3 * LIMIT).to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start podman")?;
        let words = Lines::follow(child.stdout.take().context("podman has no standard output")?);
        let errors = Lines::follow(child.stderr.take().context("podman has no standard error")?);
        let mut container = Self { podman, name, child, words, errors, started: (before, before) };
        let what = "a container to be ready";
        match container.words.next(deadline, what)? {
            Some(said) if said == word::READY.as_bytes() => {}
            Some(said) => bail!("the container said {:?}", said.escape_ascii().to_string()),
            None => {
                let said = container.errors.next(deadline, what)?.unwrap_or_default();
                bail!("podman said {:?}", said.escape_ascii().to_string());
            }
        }
        container.started.1 = SystemTime::now();
        Ok(container)
    }

    fn call(&self) -> Command {
        let mut command = Command::new(self.podman.first().map_or("podman", String::as_str));
        command.args(self.podman.iter().skip(1));
        command
    }

    /// What Podman says of it.
    fn inspect(&self) -> Result<Value> {
        let output =
            self.call().args(["container", "inspect", &self.name]).output().context("cannot start podman")?;
        ensure!(output.status.success(), "podman inspect ended with {}", output.status);
        let mut all: Vec<Value> = serde_json::from_slice(&output.stdout).context("podman told no JSON")?;
        all.pop().context("podman knows nothing of the container")
    }

    /// Lets the eater go on to the step `order`.
    fn order(&mut self, order: &str) -> Result<()> {
        let orders = self.child.stdin.as_mut().context("podman has no standard input")?;
        writeln!(orders, "{order}").context("cannot reach the eater in the container")
    }

    /// Waits until the eater has been killed, which podman tells by its own status.
    fn killed(&mut self, deadline: Deadline) -> Result<()> {
        let status = wait_exit(&mut self.child, deadline, "the container to be killed")?;
        ensure!(
            status.code() == Some(137),
            "podman ended with {status}, not as of a container that was killed"
        );
        Ok(())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let removed = self
            .call()
            .args(["rm", "--force", "--ignore", "--time=0", &self.name])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !removed.is_ok_and(|status| status.success()) {
            eprintln!("cannot remove the container {}", self.name);
        }
        end(&mut self.child);
    }
}

/// A limit for the container, as podman takes it: no more than this process has, which it may not be allowed to give.
fn limit(resource: Resource) -> u64 {
    getrlimit(resource).maximum.map_or(AMPLE, |most| most.min(AMPLE))
}
