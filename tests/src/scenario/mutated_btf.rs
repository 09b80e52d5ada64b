//! The type information is of another kernel than the one that runs.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::{Needs, Scenario};
use crate::btf::catalogue::{self, Mutation};
use crate::btf::fleet::Fleet;
use crate::btf::verdict::{Trial, Verdict};
use crate::btf::{Btf, VMLINUX};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::size::MIB;
use crate::stage::{Scratch, Stage};
use crate::watch::{Watch, read};
use crate::witness::cgroup::{Cgroup, Version};
use crate::witness::procfs;

/// Which mutations the command line asks for: `all` of them, or those whose names contain this text. Without
/// it, a sample.
pub static CHOICE: OnceLock<String> = OnceLock::new();
/// So many oomtraces see each kill.
const FLEET: usize = 12;
/// The least from one kill to the next: the kernel prints ten OOM headers in five seconds, and the asker may
/// be killed too.
const PACE: Duration = Duration::from_millis(1100);
/// One of so many things is changed in a sample.
const PART: usize = 36;
/// The limits of the cgroup that runs out, and of the one above it, memory and swap, in bytes.
const LIMITS: (u64, u64, u64) = (24 * MIB, 96 * MIB, 128 * MIB);

/// Guards against wrong figures from a kernel that oomtrace was not written for: its types are not where, or
/// what, the type information says. Each such change must end in a right report, in one that lacks something
/// and says why, or in a refusal.
pub const SCENARIO: Scenario = Scenario {
    name: "mutated_btf",
    guards: "type information that does not fit the kernel: right figures, absent ones with a \
             reason, or a refusal, never a wrong one",
    needs: Needs::Memcg,
    kills: 2,
    once: true,
    run,
};

/// What the mutations came to.
#[derive(Debug, Default)]
struct Tally {
    right: u64,
    absent: u64,
    refused: u64,
    wrong: u64,
}

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let btf = Btf::read(Path::new(VMLINUX))?;
    let mutations = chosen(catalogue::all(&btf), stage);
    let tree = stage.tree()?;
    let group = tree.group("outer/inner")?;
    let outer = group.chain().nth(1).context("a group has no parent")?;
    group.set_limit(LIMITS.0)?;
    set_apart(&outer)?;
    let scratch = Scratch::new(stage.name)?;
    let mut tally = Tally::default();
    for mutations in mutations.chunks(FLEET) {
        let until = Instant::now() + PACE;
        for (mutation, verdict) in mutations.iter().zip(try_out(stage, (&btf, mutations), &group, &scratch)?)
        {
            println!("    {mutation}: {verdict}");
            tally.count(&verdict);
            if let Verdict::Wrong(failures) = verdict {
                for failure in failures {
                    stage.checks.fail(format!("{mutation}: {failure}"));
                }
            }
        }
        sleep(until.saturating_duration_since(Instant::now()));
    }
    for (key, count) in [
        ("mutations with a right report", tally.right),
        ("mutations with fields absent for a reason", tally.absent),
        ("mutations refused", tally.refused),
        ("mutations with something wrong", tally.wrong),
    ] {
        println!("    {key}: {count}");
        stage.checks.note(key, count);
    }
    Ok(())
}

impl Tally {
    fn count(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Right => self.right += 1,
            Verdict::Absent(_) => self.absent += 1,
            Verdict::Refused(_) => self.refused += 1,
            Verdict::Wrong(_) => self.wrong += 1,
        }
    }
}

/// The mutations to try. A sample has one of every thirty-sixth thing that oomtrace goes by: it takes two seconds under emulation.
/// Which things depends on the tier and on the kernel, as does in which way each is changed.
fn chosen(groups: Vec<Vec<Mutation>>, stage: &Stage<'_>) -> Vec<Mutation> {
    if let Some(choice) = CHOICE.get() {
        let all = groups.into_iter().flatten();
        return all.filter(|mutation| choice == "all" || mutation.to_string().contains(choice)).collect();
    }
    let tier = stage.tool.and_then(|tool| tool.program.tier.as_deref());
    let offset = match tier {
        Some("kprobe") => 1,
        Some("tracepoint") => 2,
        _ => 0,
    };
    let turn: usize = stage.machine.kernel.bytes().map(usize::from).sum();
    let sample = groups.into_iter().enumerate().skip((2 * offset + turn) % PART).step_by(PART);
    sample.map(|(index, mut group)| group.swap_remove((index / PART + turn) % group.len().max(1))).collect()
}

/// Gives the cgroup above the one that runs out figures that no other has, and that are of no effect: what is
/// read in place of another shows.
fn set_apart(outer: &Cgroup) -> Result<()> {
    outer.set_limit(LIMITS.1)?;
    if outer.version() == Version::V2 {
        outer.set_oom_group()?;
    }
    let file = match outer.version() {
        Version::V1 => "memory.memsw.limit_in_bytes",
        Version::V2 => "memory.swap.max",
    };
    // Without swap accounting there is no such file.
    let file = outer.dir().context("the cgroup is not in the mounted part")?.join(file);
    if file.exists() {
        fs::write(&file, LIMITS.2.to_string()).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Has oomtraces with these mutations, and one without, see a kill. Gives the verdicts.
fn try_out(
    stage: &mut Stage<'_>,
    (btf, mutations): (&Btf, &[Mutation]),
    group: &Cgroup,
    scratch: &Scratch,
) -> Result<Vec<Verdict>> {
    // A thread asks, so that its id is not its process's; and someone else dies.
    let sleeper =
        Eat { anon: 14 * MIB, shmem: 2 * MIB, file: MIB, uid: Some(1001), adj: Some(200), ..Eat::default() };
    let asker = Eat { anon: 12 * MIB, uid: Some(1002), adj: Some(1), threads: 16, ..Eat::default() };
    let mut big = stage.eater("big-sleeper", &sleeper, Some(group))?;
    let mut small = stage.eater("small-asker", &asker, Some(group))?;
    raise_adj(big.pid(), 300)?;
    big.facts.before = procfs::process(big.pid())?;
    big.fill_and_hold(stage.deadline)?;

    let fleet = stage.tool.map(|tool| {
        let abreast = usize::try_from(stage.machine.cpus).unwrap_or(1);
        Fleet::start(&tool.program, (btf, mutations), abreast, (scratch, stage.deadline))
    });
    let fleet = fleet.transpose()?;
    let watch = Watch::begin(None, &[], stage.deadline)?;
    small.order(word::FILL)?;
    big.killed(stage.deadline)?;
    small.survived(stage.deadline)?;
    let kill = Expected::kill(&big.facts, &small.facts, group);
    let seen = watch.finish(&[big.pid()], stage.deadline)?;
    let logged = seen.logged(big.pid()).context("the kernel log does not have the kill")?;
    kill.check_provoked(&mut stage.checks, logged, stage.machine);
    let (Some(fleet), Some(tool)) = (fleet, stage.tool) else { return Ok(Vec::new()) };

    let mut said = fleet.end(stage.deadline)?.into_iter();
    let control = said.next().context("there is no oomtrace with the kernel's own type information")?;
    let control = read(control.output)?;
    stage.judge_course(&control);
    let report = control.incident_of(big.pid()).context("oomtrace does not report the kill")?;
    kill.check_reported(
        &mut stage.checks,
        report,
        logged,
        &seen,
        (stage.machine, tool.program.tier.as_deref()),
    );
    tool.floor.check(&mut stage.checks, report);
    let trial = Trial {
        expected: &kill,
        logged,
        seen: &seen,
        machine: stage.machine,
        schema: &tool.schema,
        control: report,
        incidents: control.incidents.len(),
        reliefs: &control.objects,
    };
    said.zip(mutations)
        .map(|(said, mutation)| {
            stage.keep_output(&mutation.to_string(), &said.output)?;
            Ok(trial.verdict(said))
        })
        .collect()
}

/// Raises a process's `oom_score_adj` as one without privileges would: the least that it may lower it to
/// again (`oom_score_adj_min`), which is next to it in the kernel, stays what it was.
fn raise_adj(pid: u64, adj: i64) -> Result<()> {
    let sets = capabilities(None).context("cannot read our own capabilities")?;
    let mut less = sets;
    less.effective.remove(CapabilitySet::SYS_RESOURCE);
    set_capabilities(None, less).context("cannot put a capability aside")?;
    let written = fs::write(format!("/proc/{pid}/oom_score_adj"), adj.to_string());
    set_capabilities(None, sets).context("cannot take a capability up again")?;
    written.with_context(|| format!("cannot set the oom_score_adj of {pid}"))
}
