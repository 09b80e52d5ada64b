//! Which report a kill is of.

use super::{
    open::Open,
    types::{End, Report},
};
use crate::kmsg::line::Killed;

/// Kills of one report, at the most. Those that follow are reports of their own.
pub const KILLS: usize = 8192;
/// Ways to belong to a report, the surest first, and whether it is as one of its group.
pub const WAYS: [(Fits, bool); 5] =
    [(is_decided, false), (is_member, true), (is_child, false), (is_undecided, false), (is_sharer, false)];

/// Whether a kill is of a report.
pub type Fits = fn(&Open, &Killed) -> bool;

/// The one that was decided on.
fn is_decided(open: &Open, killed: &Killed) -> bool {
    let decided = |report: &Report| {
        report.decided.as_ref().and_then(|decided| decided.pid) == Some(killed.pid)
            || report.chosen.as_ref().is_some_and(|(pid, _)| *pid == killed.pid)
    };
    open.report().is_some_and(|report| report.end == End::Unknown && decided(report))
}

/// One of a group that is killed as a whole.
fn is_member(open: &Open, killed: &Killed) -> bool {
    let same = |report: &Report| {
        report.kills.len() < KILLS
            && report.kills.last().is_none_or(|last| last.killed.supply == killed.supply)
    };
    open.report().is_some_and(|report| report.group.is_some() && same(report))
        && open.table.has(killed.pid) != Some(false)
}

/// A child in its parent's place ("or sacrifice child", until 5.2).
fn is_child(open: &Open, _: &Killed) -> bool {
    open.report().is_some_and(|report| report.end == End::Unknown && report.chosen.is_some())
}

/// The one of a report that does not say whom it decided on.
fn is_undecided(open: &Open, killed: &Killed) -> bool {
    let undecided = |report: &Report| {
        report.chosen.is_none() && report.decided.as_ref().is_none_or(|decided| decided.pid.is_none())
    };
    open.report().is_some_and(|report| report.end == End::Unknown && undecided(report))
        && open.table.has(killed.pid) != Some(false)
}

/// Another one with the same memory, which kernels before 2.6.20 tell of in the same words.
fn is_sharer(open: &Open, killed: &Killed) -> bool {
    let bare = |killed: &Killed| killed.total_vm_kb.is_none();
    let shares = |report: &Report| {
        report.kills.len() < KILLS
            && report.kills.last().is_some_and(|last| {
                bare(&last.killed) && (report.chosen.is_some() || last.killed.comm == killed.comm)
            })
    };
    bare(killed) && open.report().is_some_and(shares)
}
