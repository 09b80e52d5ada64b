//! A container of a real runtime: `runc`, which Docker, containerd and CRI-O start theirs with.

use std::env::current_exe;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::deadline::Deadline;
use crate::eat::word;
use crate::eater::Facts;
use crate::lines::Lines;
use crate::process::{end, on_path, wait_exit};
use crate::size::MIB;
use crate::stage::{Scratch, Stage};
use crate::witness::cgroup::Cgroup;
use crate::witness::procfs;

/// Guards what is told of a victim in a container against what a runtime really makes: its cgroup, its namespaces, and,
/// on a machine made for it, the files from which its names are taken.
pub const SCENARIO: Scenario = Scenario {
    name: "runtime",
    guards: "a container of a real runtime that reaches its limit is told as that runtime made it",
    needs: Needs::Memcg,
    kills: 1,
    once: true,
    run,
};

const LIMIT: u64 = 48 * MIB;
const NAME: &str = "contained-eater";
const POD: &str = "0c9d5a3e-7b1f-4c2d-8e6a-5f4039281706";
/// Where containerd has the bundles of the kubelet's containers.
const CONTAINERD: &str = "/run/containerd/io.containerd.runtime.v2.task/k8s.io";
/// How often a container's cgroup is looked at until it has a process.
const LOOK: Duration = Duration::from_millis(5);

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let Some(runc) = on_path("runc") else {
        stage.skipped = Some("no container runtime is installed: put runc on the PATH".to_owned());
        return Ok(());
    };
    let hierarchy = stage.machine.hierarchy.clone().context("this machine has no memory controller")?;
    // As long as containers' are, and another one in each run.
    let id = format!("{:064x}", u128::from(std::process::id()) << 64 | 0x4e9b_f3a1_7c02_58d1);
    let scratch = Scratch::new(stage.name)?;
    // As the kubelet and containerd have them, but not beside theirs.
    let (bundle, cgroup) = if stage.machine.disposable {
        (Path::new(CONTAINERD).join(&id), format!("/kubepods/burstable/pod{POD}/{id}"))
    } else {
        (scratch.file("bundle"), format!("/{id}"))
    };
    let cgroup = hierarchy.cgroup(&cgroup);
    let mut container = Container::start(runc, &id, (&bundle, &scratch), &cgroup, stage.deadline)?;

    let watch = stage.watch(&[])?;
    container.order(word::FILL)?;
    container.killed(stage.deadline)?;
    let expected = [Expected::kill(&container.facts, &container.facts, &cgroup)];
    let seen = stage.finish(watch, &expected)?;
    stage.judge(&seen, &expected, &[&container.facts]);

    let Some(traced) = &seen.traced else { return Ok(()) };
    let incident = traced.incident_of(container.facts.pid()).map(|incident| &incident.json);
    let told = if stage.machine.disposable {
        json!({"runtime": "containerd", "id": id, "name": "app", "pod_uid": POD, "pod_name": "cart-0",
               "namespace": "shop"})
    } else {
        json!({"id": id})
    };
    for who in ["/victims/0", "/trigger"] {
        let field =
            |name: &str| incident.and_then(|incident| incident.pointer(&format!("{who}/{name}"))).cloned();
        stage.checks.equal(
            &format!("{who}/container"),
            field("container"),
            Some(told.clone()),
            "the runtime",
        );
        // runc gives it a PID namespace of its own, in which it is the first.
        stage.checks.equal(&format!("{who}/ns_pid"), field("ns_pid"), Some(json!(1)), "the runtime");
        let parent = field("ancestors").and_then(|all| all.pointer("/0/pid").and_then(Value::as_u64));
        let started_by = Some(u64::from(container.child.id()));
        stage.checks.equal(&format!("{who}/ancestors/0/pid"), parent, started_by, "the scenario");
    }
    Ok(())
}

/// An eater in a container. Dropping it removes the container.
struct Container {
    runc: PathBuf,
    /// Where runc keeps what it knows.
    state: PathBuf,
    id: String,
    bundle: PathBuf,
    child: Child,
    words: Lines,
    facts: Facts,
}

impl Container {
    /// Starts it and waits until it is ready.
    fn start(
        runc: PathBuf,
        id: &str,
        (bundle, scratch): (&Path, &Scratch),
        cgroup: &Cgroup,
        deadline: Deadline,
    ) -> Result<Self> {
        let rootfs = bundle.join("rootfs");
        for folder in ["proc", "dev", "tmp"] {
            fs::create_dir_all(rootfs.join(folder)).context("cannot make a container's root")?;
        }
        let own = current_exe().context("cannot find the scenarios' own binary")?;
        fs::copy(own, rootfs.join("scenarios")).context("cannot copy the eater into a container's root")?;
        let config = serde_json::to_vec(&config(&cgroup.path)).context("cannot write a bundle")?;
        fs::write(bundle.join("config.json"), config).context("cannot write a bundle")?;
        let state = scratch.file("state");
        let before = SystemTime::now();
        let mut child = Command::new(&runc)
            .arg("--root")
            .arg(&state)
            // Its files are looked at afterwards; a root in memory cannot be pivoted away from.
            .args(["run", "--keep", "--no-pivot", "--bundle"])
            .arg(bundle)
            .arg(id)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start runc")?;
        let words = Lines::follow(child.stdout.take().context("runc has no standard output")?);
        let facts = Facts {
            name: NAME.into(),
            cgroup: Some(cgroup.clone()),
            before: procfs::Process::default(),
            held: None,
            started: (before, SystemTime::now()),
        };
        let (id, bundle) = (id.to_owned(), bundle.to_owned());
        let mut container = Self { runc, state, id, bundle, child, words, facts };
        let what = "a container to be ready";
        match container.words.next(deadline, what)? {
            Some(said) if said == word::READY.as_bytes() => {}
            Some(said) => bail!("the container said {:?}", said.escape_ascii().to_string()),
            None => bail!("the container ended before it was ready"),
        }
        container.facts.started.1 = SystemTime::now();
        let pid = loop {
            deadline.left(what)?;
            match cgroup.members()?[..] {
                [pid] => break u64::try_from(pid).context("a pid is negative")?,
                _ => sleep(LOOK),
            }
        };
        container.facts.before = procfs::process(pid)?;
        Ok(container)
    }

    /// Lets the eater go on to the step `order`.
    fn order(&mut self, order: &str) -> Result<()> {
        let orders = self.child.stdin.as_mut().context("runc has no standard input")?;
        writeln!(orders, "{order}").context("cannot reach the eater in the container")
    }

    /// Waits until the eater has been killed, which runc tells by its own status.
    fn killed(&mut self, deadline: Deadline) -> Result<()> {
        let status = wait_exit(&mut self.child, deadline, "the container to be killed")?;
        match (status.code(), status.signal()) {
            (Some(137), _) => Ok(()),
            _ => bail!("runc ended with {status}, not as of a container that was killed"),
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let delete = Command::new(&self.runc)
            .arg("--root")
            .arg(&self.state)
            .args(["delete", "--force", &self.id])
            .stdout(Stdio::null())
            .status();
        if !delete.is_ok_and(|status| status.success()) {
            eprintln!("cannot remove the container {}", self.id);
        }
        end(&mut self.child);
        if let Err(error) = fs::remove_dir_all(&self.bundle) {
            eprintln!("cannot remove {}: {error}", self.bundle.display());
        }
    }
}

/// The container as containerd would describe it for a pod.
fn config(cgroup: &str) -> Value {
    let capabilities = json!(["CAP_IPC_LOCK"]);
    let namespaces = ["pid", "ipc", "uts", "mount"].map(|kind| json!({"type": kind}));
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["/scenarios", "eat", "--name", NAME, "--anon", (2 * LIMIT).to_string()],
            "env": ["PATH=/"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "rlimits": [],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs"},
        "hostname": "cart-0",
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "annotations": {
            "io.kubernetes.cri.container-name": "app",
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.sandbox-name": "cart-0",
            "io.kubernetes.cri.sandbox-namespace": "shop",
            "io.kubernetes.cri.sandbox-uid": POD,
        },
        "linux": {
            "cgroupsPath": cgroup,
            "resources": {"memory": {"limit": LIMIT}},
            "namespaces": namespaces,
        },
    })
}
