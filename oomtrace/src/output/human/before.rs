//! What led to an incident: a small chart, and who grew.

use super::words::{id, name, size, span};
use crate::{
    incident::{Before, CoursePoint, Grower, GrowerKind, MachineChange},
    text::printable,
};

/// Letters of a chart, the least first.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// A chart has as many columns as there is room for, but no less and no more.
const COLUMNS: std::ops::RangeInclusive<usize> = 8..=32;
/// Growers that are shown.
const SHOWN_GROWERS: usize = 3;
/// Letters of a path that are shown, the last ones.
const SHOWN_PATH: usize = 60;

/// The course of what ran out, in at most `width` columns if the words allow it.
pub(super) fn course(before: &Before, width: Option<usize>) -> Option<String> {
    let (what, sizes) = sizes(before)?;
    let (first, last) = (sizes.first()?.1, sizes.last()?.1);
    let values = || sizes.iter().map(|(_, bytes)| *bytes);
    let (low, high) = (values().min()?, values().max()?);
    let over = sizes.first()?.0.saturating_sub(sizes.last()?.0);
    let lowest = if low < first.min(last) { format!(", lowest {}", size(low)) } else { String::new() };
    let highest = if high > first.max(last) { format!(", highest {}", size(high)) } else { String::new() };
    let text = format!("{} → {} in {}{lowest}{highest}", size(first), size(last), span(over));
    let taken = what.len() + text.chars().count() + 2;
    let columns = width.map_or(*COLUMNS.end(), |width| width.saturating_sub(taken));
    let bars = chart(&values().collect::<Vec<_>>(), columns.clamp(*COLUMNS.start(), *COLUMNS.end()));
    let mut parts = vec![format!("{what} {bars} {text}")];
    parts.extend(before.machine.as_ref().filter(|_| what == AVAILABLE).and_then(went_to));
    parts.extend(swap(&before.course));
    parts.extend(waited(&before.course));
    Some(parts.join(" · "))
}

const AVAILABLE: &str = "available";

/// What ran out, and how long before there was how much of it.
fn sizes(before: &Before) -> Option<(&'static str, Vec<(u64, u64)>)> {
    let of = |value: fn(&CoursePoint) -> Option<u64>| {
        let points = before.course.iter().filter_map(|point| Some((point.ago_ns, value(point)?)));
        Some(points.collect::<Vec<_>>()).filter(|points| points.len() > 1)
    };
    let available = of(|point| point.available_bytes).map(|sizes| (AVAILABLE, sizes));
    available.or_else(|| Some(("usage", of(|point| point.usage_bytes)?)))
}

/// A row of blocks, from nothing to the most that there was, in so many columns at most.
fn chart(values: &[u64], columns: usize) -> String {
    let most = u128::from(values.iter().copied().max().unwrap_or(0)).max(1);
    let shown = columns.min(values.len());
    let bar = |nth: usize| {
        // The last of those that fall into a column.
        let value = values.get(((nth + 1) * values.len()).div_ceil(shown.max(1)).saturating_sub(1))?;
        let level = u128::from(*value) * 8 / most;
        BARS.get(usize::try_from(level).ok()?.min(BARS.len() - 1)).copied()
    };
    (0..shown).filter_map(bar).collect()
}

/// What most of the memory went to.
fn went_to(change: &MachineChange) -> Option<String> {
    let kinds = [
        ("anonymous memory", change.anon_change_bytes),
        ("files", change.file_change_bytes),
        ("shared memory and tmpfs", change.shmem_change_bytes),
        ("the kernel's slab", change.slab_change_bytes),
    ];
    let grown = kinds.into_iter().filter_map(|(kind, bytes)| Some((kind, u64::try_from(bytes?).ok()?)));
    let (kind, bytes) = grown.max_by_key(|(_, bytes)| *bytes).filter(|(_, bytes)| *bytes >= 1 << 20)?;
    Some(format!("most went to {kind} (+{})", size(bytes)))
}

/// The course of swap, if any was in use.
fn swap(course: &[CoursePoint]) -> Option<String> {
    let mut used = course.iter().filter_map(|point| point.swap_used_bytes);
    let first = used.next()?;
    let last = used.next_back()?;
    (first.max(last) > 0).then(|| format!("swap {} → {}", size(first), size(last)))
}

/// How much was waited, if it was.
fn waited(course: &[CoursePoint]) -> Option<String> {
    let some = course.iter().rev().find_map(|point| point.some_hundredths_percent)?;
    let most = course.iter().filter_map(|point| point.some_hundredths_percent).max()?;
    let percent = |hundredths: u32| format!("{}.{} %", hundredths / 100, hundredths / 10 % 10);
    let peak = if most > some { format!(", at the most {}", percent(most)) } else { String::new() };
    (most >= 100).then(|| format!("tasks waited for memory {} of the time{peak}", percent(some)))
}

/// Who grew most.
pub(super) fn grew(before: &Before) -> Option<String> {
    let growers = &before.growers;
    // Its process says it better.
    let by_process = |group: &Grower| {
        growers.iter().any(|one| {
            let same = one.kind == GrowerKind::Process && one.place.cgroup == group.place.cgroup;
            same && one.grown_bytes >= group.grown_bytes / 10 * 9
        })
    };
    let shown = growers.iter().filter(|one| one.kind == GrowerKind::Process || !by_process(one));
    let shown: Vec<_> = shown.take(SHOWN_GROWERS).map(grower).collect();
    (!shown.is_empty()).then(|| shown.join(" · "))
}

fn grower(grower: &Grower) -> String {
    let who = match grower.kind {
        GrowerKind::Process => {
            let killed = if grower.victim { ", killed" } else { "" };
            format!("{} (pid {}{killed})", name(grower.comm.as_deref()), id(grower.pid))
        }
        GrowerKind::Cgroup => end_of(&printable(grower.place.cgroup.as_deref().unwrap_or_default())),
    };
    let since = if grower.began { " since it began" } else { "" };
    format!(
        "{who} +{} in {}{since} ({}/s)",
        size(grower.grown_bytes),
        span(grower.over_ns),
        size(grower.rate_bytes_per_second)
    )
}

/// The end of a path: its beginning is the same for many.
fn end_of(path: &str) -> String {
    let letters = path.chars().count();
    if letters <= SHOWN_PATH {
        return path.to_owned();
    }
    path.chars().skip(letters - SHOWN_PATH).fold("…".to_owned(), |mut text, letter| {
        text.push(letter);
        text
    })
}
