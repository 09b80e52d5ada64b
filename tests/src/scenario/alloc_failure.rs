//! Allocations fail, and nobody is killed.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Needs, Scenario};
use crate::checks::Checks;
use crate::eat::{Eat, word};
use crate::fail::{Failing, MESSAGE, ORDER, POOL, What};
use crate::ftrace::Probe;
use crate::incident::kind;
use crate::size::MIB;
use crate::stage::Stage;
use crate::watch::{Traced, read};
use crate::witness::cgroup::Cgroup;

/// Guards what hurts without a kill: each is told, with what failed and whose it was; what fails thousands of times a second
/// is told once a second, and counted.
pub const SCENARIO: Scenario = Scenario {
    name: "alloc_failure",
    guards: "a pool of huge pages that is empty, page faults in a cgroup where nobody may be killed, and allocations of the \
             kernel's own that fail are told, once a second each, and counted without losing one",
    needs: Needs::Disposable,
    // The OOM killer prints one each time that it finds nobody, as far as its rate allows.
    kills: 10,
    once: true,
    run,
};

/// The type of their lines.
pub(super) const ALLOC_FAILURE: &str = "alloc_failure";
/// How long page faults are let fail.
const AGONY: Duration = Duration::from_secs(3);
/// What a process needs that cannot have it.
const WANTED: u64 = 32 * MIB;

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tier = stage.tool.and_then(|tool| tool.program.tier.as_deref());
    if tier == Some("tracepoint") {
        return unseen(stage);
    }
    // A function with any number of arguments can have no trampoline.
    let sees_the_kernels_own = tier != Some("trampoline");
    let tree = stage.tree()?;
    let group = tree.group("hurt")?;
    let mut oomtrace = stage.tracer(&["--json", "--no-kmsg"])?;
    if let Some(oomtrace) = &mut oomtrace {
        // From then on it reports at once, as the limits are.
        oomtrace.until(stage.deadline, "its first line", |lines| !lines.is_empty())?;
    }

    let starved = no_huge_page(stage, &group)?;
    let faults = page_faults(stage, &tree.group("nobody")?)?;
    let large = (stage.machine.memory_bytes < MESSAGE as u64)
        .then(|| fails(stage, What::Vmalloc, &group))
        .transpose()?;
    let pieces = fails(stage, What::Pages, &group)?;

    let Some(oomtrace) = oomtrace else { return Ok(()) };
    let traced = read(oomtrace.stop(stage.deadline)?)?;
    stage.keep_output("oomtrace", &traced.output)?;
    stage.judge_course(&traced);
    let path = group.path.as_str();
    if let Some(pid) = starved {
        let line = told(&traced, "hugetlb", pid, path, &mut stage.checks);
        stage.checks.equal("errno", number(line, "errno"), Some(28), "include/uapi/asm-generic/errno-base.h");
        stage.checks.equal("hugetlb's count", count(&traced, "hugetlb", pid), Some(1), "the scenario");
    }
    faults.check(&traced, &mut stage.checks);
    if sees_the_kernels_own {
        if let Some(pid) = large {
            told(&traced, "vmalloc", pid, path, &mut stage.checks);
        }
        let line = told(&traced, "page_allocation", pieces, path, &mut stage.checks);
        stage.checks.equal("order", number(line, "order"), Some(ORDER), "the scenario");
    }
    Ok(())
}

/// Checks that oomtrace says that it sees none of them where no hook shows them.
pub(super) fn unseen(stage: &mut Stage<'_>) -> Result<()> {
    let Some(tool) = stage.tool else { return Ok(()) };
    let output = tool.program.run(&["hooks", "--json", "--tier", "tracepoint"], stage.deadline)?;
    let hooks: Value = serde_json::from_slice(&output.stdout.join(&b'\n')).context("no JSON")?;
    let roles = hooks.get("roles").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for name in [ALLOC_FAILURE, "hugetlb", "page_allocation"] {
        let role = roles.iter().find(|role| role.get("role").and_then(Value::as_str) == Some(name));
        let note = role.and_then(|role| role.get("note")?.as_str()).unwrap_or_default();
        stage.checks.that(note.contains("not seen"), || format!("`hooks` says of {name}: {role:?}"));
    }
    Ok(())
}

/// A process touches more huge pages than there are: its pid. None where the machine cannot have a pool.
fn no_huge_page(stage: &mut Stage<'_>, group: &Cgroup) -> Result<Option<u64>> {
    let file = "/proc/sys/vm/nr_hugepages";
    fs::write(file, POOL.to_string()).context("cannot make a pool of huge pages")?;
    if fs::read_to_string(file)?.trim() != POOL.to_string() {
        stage.checks.note("huge pages", "the machine has no room for a pool");
        return Ok(None);
    }
    let mut failing = Failing::start(What::Hugetlb, group, stage.deadline)?;
    let status = failing.fail(stage.deadline)?;
    fs::write(file, "0").context("cannot empty the pool of huge pages")?;
    stage.checks.equal("its end by signal", status.signal(), Some(libc::SIGBUS), "mmap(2)");
    Ok(Some(failing.pid()))
}

/// Such a process ends well once its allocation has failed: its pid.
fn fails(stage: &Stage<'_>, what: What, group: &Cgroup) -> Result<u64> {
    let mut failing = Failing::start(what, group, stage.deadline)?;
    let status = failing.fail(stage.deadline)?;
    anyhow::ensure!(status.success(), "{what:?} did not fail as it was to: {status}");
    Ok(failing.pid())
}

/// Page faults that failed again and again.
struct Faults {
    pid: u64,
    path: String,
    /// How many there were, by the kernel's own count.
    counted: u64,
}

/// A process that must not be killed faults at its limit until that is raised.
fn page_faults(stage: &Stage<'_>, group: &Cgroup) -> Result<Faults> {
    let probe = Probe::count("pagefault_out_of_memory")?;
    group.set_limit(WANTED / 2)?;
    let eat = Eat { anon: WANTED, adj: Some(-1000), ..Eat::default() };
    let mut eater = stage.eater("unkillable", &eat, Some(group))?;
    eater.order(word::FILL)?;
    sleep(AGONY);
    // What the kernel logs of a fault it reads as it prints it: the limit is raised when none is under way.
    eater.stand_still(stage.deadline)?;
    group.set_limit(2 * WANTED)?;
    eater.go_on()?;
    anyhow::ensure!(eater.survived(stage.deadline)?, "it was killed, and must not be");
    Ok(Faults { pid: eater.pid(), path: group.path.clone(), counted: probe.hits()? })
}

impl Faults {
    fn check(&self, traced: &Traced, checks: &mut Checks) {
        let line = told(traced, "page_fault", self.pid, &self.path, checks);
        let limit = line.and_then(|line| line.pointer("/limits/0/limit_bytes")?.as_u64());
        checks.equal("the limit", limit, Some(WANTED / 2), "the scenario");
        checks.equal(
            "the count of page faults",
            count(traced, "page_fault", self.pid),
            Some(self.counted),
            "the kernel's probe",
        );
        let lines = lines(traced, "page_fault", self.pid).count() as u64;
        checks.note("page faults", self.counted);
        checks.note("their lines", lines);
        // Emulation takes its time.
        checks.that(lines >= 2 && lines <= 3 * AGONY.as_secs(), || format!("they are told in {lines} lines"));
        let nobody = |object: &Value| object.get("outcome").and_then(Value::as_str) == Some("no_victim");
        checks.that(traced.objects.iter().any(nobody), || {
            "no incident tells that the OOM killer found nobody".to_owned()
        });
    }
}

/// The lines about what failed for a process.
fn lines<'t>(traced: &'t Traced, what: &str, pid: u64) -> impl Iterator<Item = &'t Value> {
    traced.objects.iter().filter(move |object| {
        kind(object) == ALLOC_FAILURE
            && object.get("what").and_then(Value::as_str) == Some(what)
            && object.pointer("/task/pid").and_then(Value::as_u64) == Some(pid)
    })
}

/// How often it happened, by all these lines together.
fn count(traced: &Traced, what: &str, pid: u64) -> Option<u64> {
    lines(traced, what, pid).map(|line| number(Some(line), "count")).sum()
}

/// Checks that it was told, and in which cgroup: the first line about it.
pub(super) fn told<'t>(
    traced: &'t Traced,
    what: &str,
    pid: u64,
    path: &str,
    checks: &mut Checks,
) -> Option<&'t Value> {
    let line = lines(traced, what, pid).next();
    checks.that(line.is_some(), || format!("no line tells of {what} in {pid}"));
    let text = |at: &str| line.and_then(|line| line.pointer(at)?.as_str());
    for at in ["/task/cgroup", "/limits/0/path"] {
        checks.equal(&format!("{what}: {at}"), text(at), Some(path), "the scenario");
    }
    line
}

fn number(line: Option<&Value>, name: &str) -> Option<u64> {
    line?.get(name)?.as_u64()
}
