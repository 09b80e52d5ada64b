//! `kernel.pid_max`: of the first PID namespace, and since 6.14 of each.

use std::path::PathBuf;

use anyhow::Result;

use super::{CALLS, Case, Needs};
use crate::fork::call::Call;
use crate::fork::forker::Forker;
use crate::fork::ground::Ground;
use crate::fork::order::{Order, Tally};
use crate::fork::setting::Setting;
use crate::fork::truth::{Level, Truth, namespace};

/// The first namespace's, and the forker is in that.
pub const FIRST: Case = Case {
    name: "pid_max/first_namespace",
    needs: Needs::Disposable,
    hidden: &[],
    provoke: |ground, times| {
        let mut forker = ground.forker("pid-forker")?;
        let inode = namespace(forker.who.pid, "pid")?;
        in_first(&mut forker, times, inode)
    },
};

/// The first namespace's, and the forker is in another: it wants an id in each.
pub const FIRST_FROM_NESTED: Case = Case {
    name: "pid_max/first_namespace_from_nested",
    needs: Needs::Disposable,
    hidden: &[],
    provoke: |ground, times| {
        let mut forker = ground.forker("first-forker")?;
        let inode = namespace(forker.who.pid, "pid")?;
        forker.tell(&Order::Enter(PID))?;
        in_first(&mut forker, times, inode)
    },
};

/// That of a namespace within the first, and the forker is in that.
pub const NESTED: Case = Case {
    name: "pid_max/nested_namespace",
    needs: Needs::NestedPidMax,
    hidden: &[],
    provoke: |ground, times| in_nested(ground, times, false),
};

/// That of a namespace within the first, and the forker is in another within that.
pub const NESTED_FROM_DEEPER: Case = Case {
    name: "pid_max/nested_namespace_from_deeper",
    needs: Needs::NestedPidMax,
    hidden: &[],
    provoke: |ground, times| in_nested(ground, times, true),
};

/// A new PID namespace.
const PID: u64 = libc::CLONE_NEWPID as u64;
/// The least that `kernel.pid_max` can be on a machine with few processors is 301 (`pid_max_min`, kernel/pid.c). Where ids
/// start anew after the last, they do so from 300 on.
const LIMIT: u64 = 312;
/// As many children fit below that.
const FIT: u64 = LIMIT + 1;

/// Where this setting is.
fn file() -> PathBuf {
    PathBuf::from("/proc/sys/kernel/pid_max")
}

/// Has a forker take all ids of the first namespace, and fail.
fn in_first(forker: &mut Forker, times: u64, inode: u64) -> Result<Vec<Truth>> {
    let setting = Setting::keep("kernel/pid_max")?;
    setting.set(LIMIT)?;
    let truths = refuse(forker, times, &Level::PidNamespace { level: 0, inode: Some(inode) });
    setting.restore()?;
    let truths = truths?;
    forker.succeed(Call::Fork)?;
    Ok(truths)
}

/// Has a forker take all ids of a namespace within the first, and fail.
fn in_nested(ground: &Ground<'_>, times: u64, deeper: bool) -> Result<Vec<Truth>> {
    // Namespaces have the numbers of others that are gone, and these two are told apart by nothing else.
    let mut forker = ground.forker(if deeper { "deeper-forker" } else { "nested-forker" })?;
    forker.tell(&Order::Enter(PID))?;
    let inode = namespace(forker.who.pid, "pid")?;
    // Written by who is in the namespace, to whose setting that goes.
    forker.tell(&Order::Write { file: file(), text: LIMIT.to_string() })?;
    if deeper {
        forker.tell(&Order::Enter(PID))?;
    }
    let truths = refuse(&mut forker, times, &Level::PidNamespace { level: 1, inode: Some(inode) })?;
    if !deeper {
        forker.tell(&Order::Write { file: file(), text: (LIMIT + 1).to_string() })?;
        forker.succeed(Call::Fork)?;
    }
    Ok(truths)
}

/// Has it make children until there is no id left, and fail.
fn refuse(forker: &mut Forker, times: u64, level: &Level) -> Result<Vec<Truth>> {
    let share = Call::Clone { flags: libc::CLONE_VM as u64 };
    // The last one is a failure like those that follow.
    let last = (share, forker.tell(&Order::Hold { call: share, count: FIT })?);
    let mut tallies = vec![last];
    for call in CALLS {
        tallies.push((call, forker.fail(call, times, libc::EAGAIN)?));
    }
    let truth = |(call, tally): &(Call, Tally)| {
        Ok(Truth {
            cause: Some("pid_max"),
            level: level.clone(),
            limit: Some(LIMIT),
            unit: "ids",
            proof: "children could be made until the ids were used up, and one more once the limit is raised",
            ..Truth::of(forker, *call, libc::EAGAIN, tally)?
        })
    };
    let truths = tallies.iter().map(truth).collect::<Result<_>>()?;
    // Before anything else can want an id.
    forker.tell(&Order::Release)?;
    Ok(truths)
}
