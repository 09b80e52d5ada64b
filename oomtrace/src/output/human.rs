//! Blocks for people. The first line appears when the victim is marked; the rest when it is known.

use std::{collections::BTreeMap, fmt::Write as _};

use jiff::tz::TimeZone;

use super::{Format, Message};
use crate::{
    host::container::Runtime,
    incident::{
        AllocFailure, Ancestor, Cause, Command, Event, FailureKind, HostMemory, Incident, Kinship, Limit,
        Loss, Outcome, Place, Relief, Relieved, Scope, ScopeKind, Verdict, Victim, WallTime, Zone,
    },
    text::printable,
};

/// See the module.
#[derive(Debug)]
pub struct Human {
    colour: bool,
    zone: TimeZone,
    /// How many columns a line may take; `None`: any number.
    width: Option<usize>,
    /// The incident whose first line was printed last.
    headed: Option<String>,
    /// The incident whose block was printed last.
    told: Option<String>,
}

/// Candidates that are named.
const SHOWN_CANDIDATES: usize = 4;
/// Zones that are shown.
const SHOWN_ZONES: usize = 8;
/// Letters of a command line that are shown.
const SHOWN_CMDLINE: usize = 160;

/// Where the text of a row begins.
const COLUMN: usize = 12;

const RED: &str = "1;31";
const YELLOW: &str = "33";
const BOLD: &str = "1";
const DIM: &str = "2";

impl Human {
    /// Blocks with times in `zone`, with colours or without, in lines of at most `width` columns as far as their words
    /// allow.
    #[must_use]
    pub fn new(colour: bool, zone: TimeZone, width: Option<usize>) -> Self {
        Self { colour, zone, width, headed: None, told: None }
    }

    /// Writes a line, and what does not fit in it in further ones, which begin at `column`.
    fn line(&self, to: &mut String, text: &str, column: usize) {
        let Some(width) = self.width else {
            to.push_str(text);
            to.push('\n');
            return;
        };
        let indent = " ".repeat(column);
        let options = textwrap::Options::new(width.max(column + 20))
            .subsequent_indent(&indent)
            .break_words(false)
            .word_splitter(textwrap::WordSplitter::NoHyphenation);
        for line in textwrap::wrap(text, options) {
            to.push_str(line.trim_end());
            to.push('\n');
        }
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn time(&self, time: WallTime) -> String {
        time.0.to_zoned(self.zone.clone()).strftime("%H:%M:%S%.3f").to_string()
    }

    fn headline(&self, incident: &Incident) -> String {
        let time = self.paint(DIM, &self.time(incident.common.time));
        let Some(victim) = incident.victims.first() else {
            let what = self.paint(YELLOW, "OOM, NOBODY KILLED");
            return format!("{time}  {what}  {}", scope(&incident.scope));
        };
        let exiting = victim.verdict == Some(Verdict::AlreadyExiting);
        let what =
            if exiting { self.paint(YELLOW, "OOM, ALREADY EXITING") } else { self.paint(RED, "OOM KILL") };
        let adj = victim.oom_score_adj.map_or_else(String::new, |adj| format!(", adj {adj}"));
        let name = self.paint(BOLD, &name(victim.comm.as_deref()));
        let place = place(&victim.place).map_or_else(String::new, |place| format!("  in {place}"));
        format!("{time}  {what}  {name} (pid {}{adj}){place}   {}", id(victim.pid), scope(&incident.scope))
    }

    /// The first line.
    fn head(&self, incident: &Incident) -> String {
        let mut to = String::new();
        self.line(&mut to, &self.headline(incident), COLUMN);
        to
    }

    fn row(&self, to: &mut String, label: &str, text: &str) {
        let label = self.paint(DIM, &format!("{label:<9}"));
        self.line(to, &format!("  {label} {text}"), COLUMN);
    }

    fn details(&self, incident: &Incident) -> String {
        let mut to = String::new();
        for (index, victim) in incident.victims.iter().enumerate() {
            let label = if index == 0 { "victim" } else { "and" };
            self.row(&mut to, label, &figures(victim, incident, index > 0));
        }
        if let Some(line) = incident.victims.first().and_then(|victim| started_as(&victim.command)) {
            self.row(&mut to, "command", &line);
        }
        if let Some(line) = incident.victims.first().and_then(|victim| parents(&victim.kinship)) {
            self.row(&mut to, "parents", &line);
        }
        // The first line has the container instead.
        if let Some(Place { container: Some(_), cgroup: Some(path), .. }) =
            incident.victims.first().map(|victim| &victim.place)
        {
            self.row(&mut to, "cgroup", &printable(path));
        }
        self.row(&mut to, "asked", &asked(incident));
        if let Some(why) = incident.victims.first().and_then(|victim| why(victim, &incident.scope)) {
            self.row(&mut to, "why", &why);
        }
        if let Some(ballot) = ballot(incident) {
            self.row(&mut to, "ballot", &ballot);
        }
        if let Some(hurt) = hurt(incident) {
            self.row(&mut to, "hurt", &hurt);
        }
        for level in crowded(&incident.scope) {
            self.row(&mut to, "limit", &level);
        }
        if of_nodes(&incident.scope) {
            for shown in incident.zones.iter().take(SHOWN_ZONES) {
                self.row(&mut to, "zone", &zone(shown));
            }
            if let Some(memory) = &incident.host_memory {
                self.row(&mut to, "memory", &used(memory));
            }
        }
        if incident.outcome == Some(Outcome::NoVictim) {
            self.row(&mut to, "outcome", "nobody could be killed: the allocation failed");
        }
        if incident.lost_records > 0 {
            let text = format!(
                "{} records of this incident found no room: it may be incomplete",
                incident.lost_records
            );
            self.row(&mut to, &self.paint(YELLOW, "lost"), &text);
        }
        for reason in unknown(&incident.missing) {
            self.row(&mut to, "unknown", &reason);
        }
        to
    }

    /// A row of the incident's block, or, if another was printed since, a line of its own.
    fn relief(&self, relief: &Relief) -> String {
        let text = after(relief);
        let mut to = String::new();
        if self.told.as_ref() == Some(&relief.id) {
            self.row(&mut to, "relief", &text);
        } else {
            let (time, what) = (self.time(relief.common.time), self.paint(BOLD, "RELIEF"));
            let first = relief.victims.first();
            let who = first.map_or_else(String::new, |victim| {
                format!("{} (pid {})", name(victim.comm.as_deref()), victim.pid)
            });
            self.line(&mut to, &format!("{}  {what}  {who}: {text}", self.paint(DIM, &time)), COLUMN);
        }
        to
    }

    /// A line of its own, and what to do about it where that is plain.
    fn failure(&self, failure: &AllocFailure) -> String {
        let task = &failure.task;
        let time = self.paint(DIM, &self.time(failure.common.time));
        let (what, name) = (self.paint(YELLOW, "NO MEMORY"), self.paint(BOLD, &name(task.comm.as_deref())));
        let place = place(&task.place).map_or_else(String::new, |place| format!("  in {place}"));
        let times = if failure.count > 1 {
            format!(" (×{})", grouped(i64::try_from(failure.count).unwrap_or(i64::MAX)))
        } else {
            String::new()
        };
        let mut to =
            format!("{time}  {what}  {name} (pid {}){place}   {}{times}\n", id(task.pid), refused(failure));
        if let Some(advice) = advice(failure) {
            self.row(&mut to, "do", &advice);
        }
        to
    }

    fn loss(&self, loss: &Loss) -> String {
        let counts: Vec<_> = loss.counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let advice = match loss.place {
            "ring" => "the ring buffer was full: use a larger --ring-size",
            "decode" => "they could not be understood",
            "kmsg" => "they were overwritten in the kernel log before they could be read",
            "vmstat" => "the kernel counted them, and nobody saw them",
            _ => "the reader of the output is too slow",
        };
        format!(
            "{}  {}  {}: {advice}\n",
            self.paint(DIM, &self.time(loss.common.time)),
            self.paint(YELLOW, "LOST"),
            counts.join(", ")
        )
    }
}

impl Format for Human {
    // A status goes to standard error, for which the command cares itself.
    fn shows(&self) -> fn(&Message) -> bool {
        |message| !matches!(message, Message::Status(_))
    }

    fn format(&mut self, message: &Message, to: &mut Vec<u8>) {
        match message {
            Message::Incident(Event::Opened(incident)) => {
                to.extend(self.head(incident).into_bytes());
                self.headed = Some(incident.id.clone());
                self.told = None;
            }
            Message::Incident(Event::Closed(incident)) => {
                if self.headed.as_ref() != Some(&incident.id) {
                    to.extend(self.head(incident).into_bytes());
                }
                self.headed = None;
                to.extend(self.details(incident).into_bytes());
                self.told = Some(incident.id.clone());
            }
            Message::Incident(Event::Relieved(relief)) => {
                to.extend(self.relief(relief).into_bytes());
                self.told = None;
            }
            Message::Incident(Event::AllocFailure(failure)) => {
                to.extend(self.failure(failure).into_bytes());
                (self.headed, self.told) = (None, None);
            }
            Message::Loss(loss) => {
                to.extend(self.loss(loss).into_bytes());
                self.told = None;
            }
            Message::Status(_) => {}
        }
    }
}

fn scope(scope: &Scope) -> String {
    let lowered = scope.cause == Some(Cause::LimitLowered);
    match (scope.kind, &scope.memcg) {
        (Some(ScopeKind::Memcg), Some(memcg)) => {
            let level =
                memcg.path.as_deref().and_then(|path| scope.limits.iter().find(|level| level.path == path));
            let limit = level
                .and_then(|level| level.limit_bytes)
                .map_or_else(|| "memory cgroup's limit".to_owned(), |limit| format!("limit {}", size(limit)));
            let own = scope.limits.first().map(|level| level.path.as_str()) == memcg.path.as_deref();
            let of = match memcg.path.as_deref() {
                Some(path) if !own => format!(" of {}", printable(path)),
                _ => String::new(),
            };
            format!("{limit}{of} {}", if lowered { "lowered below usage" } else { "reached" })
        }
        (Some(ScopeKind::Memcg), None) => "a memory cgroup's limit reached".to_owned(),
        (Some(ScopeKind::Global), _) => match scope.cause {
            Some(Cause::Sysrq) => "asked for by sysrq".to_owned(),
            Some(Cause::Mglru) => "the machine is thrashing (MGLRU min_ttl_ms)".to_owned(),
            _ => "the machine's memory is exhausted".to_owned(),
        },
        (Some(ScopeKind::Cpuset), _) => "the memory of the cpuset's nodes is exhausted".to_owned(),
        (Some(ScopeKind::Mempolicy), _) => "the memory of the policy's nodes is exhausted".to_owned(),
        (None, _) => "what ran out is not known".to_owned(),
    }
}

fn figures(victim: &Victim, incident: &Incident, named: bool) -> String {
    let mut parts = Vec::new();
    if named {
        parts.push(format!("{} (pid {})", name(victim.comm.as_deref()), id(victim.pid)));
    }
    match victim.rss {
        Some(rss) => {
            let swap = victim.swap_bytes.map_or_else(String::new, |swap| format!(", swap {}", size(swap)));
            let error = match rss.error_bytes {
                0 => String::new(),
                error => format!(" (± {})", size(error)),
            };
            parts.push(format!(
                "anon {}, file {}, shmem {}{swap}{error}",
                size(rss.anon_bytes),
                size(rss.file_bytes),
                size(rss.shmem_bytes)
            ));
            // Not its file pages: others may be charged for them.
            let own = rss.anon_bytes.saturating_add(rss.shmem_bytes);
            if let Some(per_cent) = incident
                .scope
                .capacity_bytes
                .and_then(|capacity| own.saturating_mul(100).checked_div(capacity))
            {
                let of = if incident.scope.kind == Some(ScopeKind::Memcg) { "limit" } else { "capacity" };
                parts.push(format!("anon and shmem {per_cent} % of the {of}"));
            }
        }
        None => parts.push("memory not known".to_owned()),
    }
    if let Some(ns_pid) = victim.kinship.ns_pid.filter(|ns_pid| victim.pid.is_some_and(|pid| pid != *ns_pid))
    {
        parts.push(format!("pid {ns_pid} in its namespace"));
    }
    if let Some(uid) = victim.uid {
        parts.push(format!("uid {uid}"));
    }
    if let Some(threads) = victim.threads.filter(|threads| *threads > 1) {
        parts.push(format!("{threads} threads"));
    }
    if let (Some(unit), None) = (&victim.place.unit, &victim.place.container) {
        parts.push(format!("unit {}", printable(unit)));
    }
    match victim.verdict {
        Some(Verdict::GroupKilled) => parts.push("killed with its group".to_owned()),
        Some(Verdict::AlreadyExiting) => parts.push("was exiting already, not killed".to_owned()),
        Some(Verdict::MmShared) => parts.push("killed since it shares the victim's memory".to_owned()),
        Some(Verdict::PidnsCollateral) => parts.push("killed with its PID namespace".to_owned()),
        Some(Verdict::Killed) | None => {}
    }
    parts.join(" · ")
}

/// What it was started with, as far as a row has room.
fn started_as(command: &Command) -> Option<String> {
    let line = printable(&command.cmdline.as_ref().filter(|arguments| !arguments.is_empty())?.join(" "));
    let end = line.char_indices().nth(SHOWN_CMDLINE).map(|(end, _)| end);
    Some(match end.and_then(|end| line.get(..end)) {
        Some(shown) => format!("{shown}…"),
        None if command.cmdline_truncated => format!("{line}…"),
        None => line,
    })
}

/// Whose child it was, if that is more than the first process's or the kernel's own.
fn parents(kinship: &Kinship) -> Option<String> {
    let ancestors = kinship.ancestors.as_ref()?;
    let told = |ancestor: &Ancestor| format!("{} {}", name(ancestor.comm.as_deref()), ancestor.pid);
    (ancestors.len() > 1).then(|| ancestors.iter().map(told).collect::<Vec<_>>().join(" · "))
}

/// Where it ran: the container, as its runtime's tools show it, if it is one; else the cgroup.
fn place(place: &Place) -> Option<String> {
    let Some(container) = &place.container else { return place.cgroup.as_deref().map(printable) };
    let runtime = container.runtime.map_or("container", Runtime::name);
    let id = printable(container.short_id());
    let who = match container.name.as_deref().filter(|name| *name != container.id) {
        Some(name) => format!("{} ({id})", printable(name)),
        None => id,
    };
    let pod = match (&container.pod_name, &container.namespace, &container.pod_uid) {
        (Some(pod), Some(namespace), _) => format!(", pod {}/{}", printable(namespace), printable(pod)),
        (Some(pod), None, _) => format!(", pod {}", printable(pod)),
        (None, _, Some(uid)) => format!(", pod {uid}"),
        (None, _, None) => String::new(),
    };
    Some(format!("{runtime} {who}{pod}"))
}

fn asked(incident: &Incident) -> String {
    let trigger = &incident.trigger;
    let first = incident.victims.first();
    let mut text = if trigger.pid.is_some() && first.is_some_and(|victim| victim.pid == trigger.pid) {
        "the victim itself".to_owned()
    } else {
        format!("{} (pid {})", name(trigger.comm.as_deref()), id(trigger.pid))
    };
    match incident.scope.cause {
        Some(Cause::LimitLowered) => text.push_str(", by lowering the limit"),
        Some(Cause::PageFault) => text.push_str(", by a page fault"),
        _ => {}
    }
    // Writing to a String cannot fail.
    if let Some(order) = trigger.order.filter(|order| *order >= 0) {
        let _ = write!(text, ", order {order}");
    }
    if let Some(flags) = trigger.gfp_flags.as_deref().filter(|flags| !flags.is_empty()) {
        let _ = write!(text, ", {}", flags.join("|"));
    }
    if let Some(place) = place(&trigger.place)
        && first.is_some_and(|victim| victim.place.cgroup != trigger.place.cgroup)
    {
        let _ = write!(text, ", in {place}");
    }
    text
}

/// The score taken apart.
fn why(victim: &Victim, scope: &Scope) -> Option<String> {
    let points = victim.points?;
    let mut text = format!("score {} pages", grouped(points));
    if let (Some(rss), Some(adj)) = (victim.rss_kernel, victim.oom_score_adj) {
        let mut of = vec![format!("rss {}", size(rss.total_bytes))];
        if let Some(swap) = victim.swap_bytes.filter(|swap| *swap > 0) {
            of.push(format!("swap {}", size(swap)));
        }
        if let Some(tables) = victim.pgtables_bytes {
            of.push(format!("page tables {}", size(tables)));
        }
        if adj != 0 {
            let share = scope
                .capacity_bytes
                .map_or_else(String::new, |capacity| format!(" ({adj}/1000 of {})", size(capacity)));
            of.push(format!("oom_score_adj {adj}{share}"));
        }
        // Writing to a String cannot fail.
        let _ = write!(text, ": {}", of.join(" + "));
    }
    Some(text)
}

/// What became of the victims.
fn after(relief: &Relief) -> String {
    let victims = &relief.victims;
    let last = |of: fn(&Relieved) -> Option<u64>| {
        victims.iter().map(of).collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max())
    };
    let all = if victims.len() > 1 { format!(" of all {}", victims.len()) } else { String::new() };
    let mut parts = Vec::new();
    if let Some(ns) = last(|victim| victim.freed_ns) {
        parts.push(format!("memory{all} back after {}", duration(ns)));
    } else {
        let freed = victims.iter().filter(|victim| victim.freed_ns.is_some()).count();
        let of =
            if victims.len() > 1 { format!(" of {freed} of {}", victims.len()) } else { " not".to_owned() };
        let reason = relief.missing.values().next().map_or("", String::as_str);
        parts.push(format!("memory{of} back: {reason}"));
        if let Some(ns) = last(|victim| victim.exited_ns) {
            parts.push(format!("ended after {}", duration(ns)));
        }
    }
    let reaped = victims.iter().filter_map(|victim| victim.reaped_ns).max();
    if let Some(ns) = reaped {
        parts.push(format!("taken by the OOM reaper after {}", duration(ns)));
    }
    for victim in victims {
        if let Some(line) = started_as(&victim.command) {
            parts.push(format!("pid {} was {line}", victim.pid));
        }
    }
    if let Some(with) = with(&relief.collateral) {
        parts.push(with);
    }
    parts.join(" · ")
}

/// Who was killed with the victims.
fn with(collateral: &[Victim]) -> Option<String> {
    let first = collateral.first()?;
    let why = match first.verdict {
        Some(Verdict::PidnsCollateral) => "with its PID namespace",
        _ => "since they share its memory",
    };
    let mut names: Vec<_> = collateral
        .iter()
        .take(SHOWN_CANDIDATES)
        .map(|victim| format!("{} (pid {})", name(victim.comm.as_deref()), id(victim.pid)))
        .collect();
    let more = collateral.len() - names.len();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    Some(format!("killed {why}: {}", names.join(", ")))
}

/// What failed, and what that means for the process.
fn refused(failure: &AllocFailure) -> String {
    match failure.what {
        FailureKind::PageFault => "page fault failed, nobody was killed".to_owned(),
        FailureKind::MemcgOomDisabled => {
            "page fault failed where the OOM killer is disabled: it hangs".to_owned()
        }
        FailureKind::Hugetlb => "no huge page for it in the pool: SIGBUS".to_owned(),
        FailureKind::PageAllocation | FailureKind::Vmalloc => {
            let mut text = match failure.what {
                FailureKind::Vmalloc => "vmalloc failed".to_owned(),
                _ => "page allocation failed".to_owned(),
            };
            // Writing to a String cannot fail.
            if let Some(order) = failure.order {
                let _ = write!(text, ", order {order}");
            }
            if let Some(flags) = failure.gfp_flags.as_deref().filter(|flags| !flags.is_empty()) {
                let _ = write!(text, ", {}", flags.join("|"));
            }
            text
        }
    }
}

/// What to do about it.
fn advice(failure: &AllocFailure) -> Option<String> {
    match failure.what {
        FailureKind::PageFault => {
            let full = failure.limits.iter().find(|level| {
                level
                    .usage_bytes
                    .zip(level.limit_bytes)
                    .is_some_and(|(usage, limit)| usage >= limit - limit / 16)
            })?;
            Some(format!(
                "raise the limit of {}, or let one of its processes be killed (oom_score_adj)",
                level(full)
            ))
        }
        FailureKind::MemcgOomDisabled => {
            let path = failure
                .memcg
                .as_ref()
                .and_then(|memcg| memcg.path.as_deref())
                .map_or_else(String::new, printable);
            Some(format!(
                "free memory, raise the limit, or enable the OOM killer (memory.oom_control) of {path}"
            ))
        }
        FailureKind::Hugetlb => Some(
            "raise vm.nr_hugepages or vm.nr_overcommit_hugepages (or the limit of hugetlb's cgroup)"
                .to_owned(),
        ),
        FailureKind::PageAllocation | FailureKind::Vmalloc => None,
    }
}

/// How long it took until somebody was killed.
fn hurt(incident: &Incident) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(stall) = incident.stall {
        let rounds = if stall.rounds == 1 { "round" } else { "rounds" };
        parts.push(format!(
            "stalled {} in {} {rounds} of reclaim before",
            duration(stall.duration_ns),
            stall.rounds
        ));
    }
    parts.extend(incident.decision_ns.map(|ns| format!("decided in {}", duration(ns))));
    if let Some(calls) = incident.calls_without_decision.filter(|calls| *calls > 0) {
        let times = match calls {
            1 => "once".to_owned(),
            calls => format!("{} times", grouped(i64::try_from(calls).ok()?)),
        };
        parts.push(format!("asked {times} in vain since the last"));
    }
    (!parts.is_empty()).then(|| parts.join(" · "))
}

/// Who else there was, if anybody.
fn ballot(incident: &Incident) -> Option<String> {
    if let Some(ballot) = incident.ballot.filter(|ballot| ballot.examined == ballot.unkillable) {
        return Some(format!("{} examined, none of which may be killed", ballot.examined));
    }
    let ballot = incident.ballot.filter(|ballot| ballot.examined > 1)?;
    let best: Vec<_> = incident
        .candidates
        .iter()
        .take(SHOWN_CANDIDATES)
        .map(|candidate| format!("{} {}", name(candidate.comm.as_deref()), grouped(candidate.points)))
        .collect();
    let mut text = format!("{} examined: {}", ballot.examined, best.join(" · "));
    let killable = ballot.examined.saturating_sub(ballot.unkillable) as usize;
    let more = killable.saturating_sub(best.len());
    if more > 0 {
        // Writing to a String cannot fail.
        let _ = write!(text, " · {more} below");
    }
    if ballot.unkillable > 0 {
        let _ = write!(text, " · {} not to be killed", ballot.unkillable);
    }
    if ballot.computed {
        text.push_str(" · scores computed");
    }
    Some(text)
}

/// The levels that have a limit, where there are several.
fn crowded(scope: &Scope) -> Vec<String> {
    let limited: Vec<_> = scope.limits.iter().filter(|level| level.limit_bytes.is_some()).collect();
    if limited.len() < 2 {
        return Vec::new();
    }
    limited.into_iter().map(level).collect()
}

/// Whether nodes' memory ran out.
fn of_nodes(scope: &Scope) -> bool {
    let nodes = matches!(scope.kind, Some(ScopeKind::Global | ScopeKind::Cpuset | ScopeKind::Mempolicy));
    nodes && scope.cause != Some(Cause::Sysrq)
}

/// How short a zone was of free memory, and in pieces of which size it had some.
fn zone(zone: &Zone) -> String {
    let mut text = format!("node {} {}", id(zone.node), name(zone.name.as_deref()));
    // Writing to a String cannot fail.
    if let (Some(free), Some(min)) = (zone.free_bytes, zone.min_bytes) {
        // __zone_watermark_ok(): what is free must be more than both together.
        let reserve = zone.lowmem_reserve_bytes.unwrap_or(0);
        let is = if free <= min.saturating_add(reserve) { "below" } else { "above" };
        let _ = write!(text, ": free {} {is} min {}", size(free), size(min));
        if reserve > 0 && free > min {
            let _ = write!(text, " + reserve {}", size(reserve));
        }
    }
    if let Some(managed) = zone.managed_bytes {
        let _ = write!(text, " of {}", size(managed));
    }
    if let Some(blocks) = &zone.free_by_order {
        match blocks.iter().rposition(|blocks| *blocks > 0) {
            None => text.push_str("; no free block"),
            Some(order) if order + 1 < blocks.len() => {
                let _ = write!(text, "; no block above order {order}");
            }
            Some(_) => {}
        }
    }
    text
}

/// What memory was used for.
fn used(memory: &HostMemory) -> String {
    let both = |one: Option<u64>, other: Option<u64>| Some(one?.saturating_add(other?));
    let of = |what: &str, bytes: Option<u64>| Some(format!("{what} {}", size(bytes?)));
    let slab = both(memory.slab_reclaimable_bytes, memory.slab_unreclaimable_bytes);
    let swap = || match (memory.swap_free_after_bytes?, memory.swap_total_bytes?) {
        (_, 0) => Some("no swap".to_owned()),
        (free, total) => Some(format!("swap free now {} of {}", size(free), size(total))),
    };
    let parts = [
        of("anon", memory.anon_mapped_bytes),
        of("file", both(memory.active_file_bytes, memory.inactive_file_bytes)),
        of("shmem", memory.shmem_bytes),
        of("slab", slab),
        of("page tables", memory.pagetables_bytes),
        swap(),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn level(level: &Limit) -> String {
    let of = |usage: Option<u64>, limit: Option<u64>| match (usage, limit) {
        (Some(usage), Some(limit)) => Some(format!("{} of {}", size(usage), size(limit))),
        _ => None,
    };
    let memory = of(level.usage_bytes, level.limit_bytes).unwrap_or_default();
    let swap = of(level.swap_usage_bytes, level.swap_limit_bytes)
        .map_or_else(String::new, |text| format!(", swap {text}"));
    format!("{}: {memory}{swap}", printable(&level.path))
}

/// Fields that are not known, by reason. In a replay both are whatever the record file says.
fn unknown(missing: &BTreeMap<String, String>) -> Vec<String> {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    // How much swap there is, no replay can tell, and few rows would say.
    for (field, reason) in missing.iter().filter(|(field, _)| !field.starts_with("host_memory.swap_")) {
        match reasons.iter_mut().find(|(known, _)| *known == reason.as_str()) {
            Some((_, fields)) => fields.push(field),
            None => reasons.push((reason, vec![field])),
        }
    }
    reasons
        .into_iter()
        .map(|(reason, fields)| printable(&format!("{}: {reason}", fields.join(", "))))
        .collect()
}

fn name(comm: Option<&str>) -> String {
    comm.map_or_else(|| "?".to_owned(), printable)
}

fn id(id: Option<u32>) -> String {
    id.map_or_else(|| "?".to_owned(), |id| id.to_string())
}

/// Bytes for people: KiB below one MiB, then one decimal.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["MiB", "GiB", "TiB", "PiB"];
    if bytes == 0 {
        return "0".to_owned();
    }
    if bytes < 1 << 20 {
        return format!("{} KiB", bytes.div_ceil(1024));
    }
    let mut tenths = bytes / (1 << 20) * 10 + bytes % (1 << 20) * 10 / (1 << 20);
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS.get(unit).unwrap_or(&"EiB"))
}

/// A time for people: three digits, or all of whole seconds.
fn duration(ns: u64) -> String {
    match ns {
        0..1_000_000 => format!("{} µs", ns / 1000),
        1_000_000..10_000_000 => format!("{}.{} ms", ns / 1_000_000, ns / 100_000 % 10),
        10_000_000..1_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ => format!("{}.{} s", ns / 1_000_000_000, ns / 100_000_000 % 10),
    }
}

/// A number with its thousands apart.
fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the sizes that people read.
    #[test]
    fn sizes_have_a_unit_and_one_decimal() {
        assert_eq!(size(0), "0");
        assert_eq!(size(1), "1 KiB");
        assert_eq!(size(4096), "4 KiB");
        assert_eq!(size(512 << 20), "512.0 MiB");
        assert_eq!(size((498 << 20) + (1 << 18)), "498.2 MiB");
        assert_eq!(size(3 << 29), "1.5 GiB");
        assert_eq!(size(u64::MAX), "16383.9 PiB");
    }

    /// Guards the times that people read.
    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration(0), "0 µs");
        assert_eq!(duration(999_999), "999 µs");
        assert_eq!(duration(1_250_000), "1.2 ms");
        assert_eq!(duration(214_900_000), "214 ms");
        assert_eq!(duration(61_050_000_000), "61.0 s");
    }

    /// Guards the thousands' marks.
    #[test]
    fn thousands_stand_apart() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(127_530), "127,530");
        assert_eq!(grouped(-1_000), "-1,000");
    }

    /// Guards the row of a zone: whether it is below what this request must leave, and the largest free block.
    #[test]
    fn zones_say_what_they_lack() {
        let low = Zone {
            node: Some(0),
            name: Some("DMA32".to_owned()),
            free_bytes: Some(1 << 20),
            min_bytes: Some(2 << 20),
            managed_bytes: Some(200 << 20),
            free_by_order: Some(vec![3, 1, 0, 0]),
            ..Zone::default()
        };
        assert_eq!(
            zone(&low),
            "node 0 DMA32: free 1.0 MiB below min 2.0 MiB of 200.0 MiB; no block above order 1"
        );
        let kept = Zone {
            free_bytes: Some(3 << 20),
            lowmem_reserve_bytes: Some(4 << 20),
            free_by_order: Some(vec![0, 0, 0, 1]),
            ..low
        };
        assert_eq!(
            zone(&kept),
            "node 0 DMA32: free 3.0 MiB below min 2.0 MiB + reserve 4.0 MiB of 200.0 MiB"
        );
    }

    /// Guards the terminal against the texts of a record file that someone else made.
    #[test]
    fn reasons_are_escaped() {
        let missing = BTreeMap::from([
            ("a\nb".to_owned(), "\u{1b}[2J".to_owned()),
            ("c".to_owned(), "\u{1b}[2J".to_owned()),
            ("d".to_owned(), "unread".to_owned()),
        ]);
        assert_eq!(unknown(&missing), ["a\\nb, c: \\u{1b}[2J", "d: unread"]);
    }
}
