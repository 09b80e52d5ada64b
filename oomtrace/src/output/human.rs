//! Blocks for people. The first line appears when the victim is marked; the rest when it is known.

mod before;
#[cfg(test)]
mod before_tests;
mod check;
mod failure;
mod finding;
mod fork;
mod relief;
mod request;
mod scope;
mod task;
mod user_kill;
mod victim;
mod zones;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use self::{
    failure::refused,
    finding::concluded,
    relief::after,
    request::{asked, ballot, hurt},
    scope::{crowded, of_nodes, scope},
    task::{parents, place, started_as},
    victim::{figures, why},
    words::{duration, grouped, id, name, who},
    zones::{used, zone},
};
use super::{Format, Message};
use crate::{
    explain::{Finding, FixKind},
    incident::{
        AllocFailure, Common, Event, ForkFailure, Incident, Loss, NOT_IN_LOGS, Outcome, Place, Relief, Scope,
        UserKill, Verdict, Victim,
    },
    session::Source,
    text::printable,
    words,
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
/// Findings that are shown.
const SHOWN_FINDINGS: usize = 2;
/// What can be done about the first of these, as far as it is shown.
const SHOWN_FIXES: usize = 2;
/// Fields of one reason that are named, at the most: JSON has all.
const SHOWN_UNKNOWN: usize = 8;
/// Zones that are shown.
const SHOWN_ZONES: usize = 8;

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

    /// When it happened; where that is not known by the wall clock, how long after boot, as the kernel log has it.
    fn time(&self, common: &Common) -> String {
        match (common.time, common.boot_ns) {
            (Some(time), _) if common.source == Source::Import => {
                time.0.to_zoned(self.zone.clone()).strftime("%F %T%.3f").to_string()
            }
            (Some(time), _) => time.0.to_zoned(self.zone.clone()).strftime("%T%.3f").to_string(),
            (None, Some(boot_ns)) => {
                format!("[{:>5}.{:06}]", boot_ns / 1_000_000_000, boot_ns % 1_000_000_000 / 1000)
            }
            (None, None) => "at no known time".to_owned(),
        }
    }

    fn headline(&self, incident: &Incident) -> String {
        let time = self.paint(DIM, &self.time(&incident.common));
        let Some(victim) = incident.victims.first() else {
            let what = match incident.outcome {
                Some(Outcome::Panic) => self.paint(RED, "OOM PANIC"),
                Some(Outcome::NoVictim) => self.paint(YELLOW, "OOM, NOBODY KILLED"),
                Some(Outcome::Killed | Outcome::AlreadyExiting) | None => {
                    self.paint(YELLOW, "OOM, OUTCOME NOT KNOWN")
                }
            };
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
        self.row_in(DIM, to, label, text);
    }

    fn row_in(&self, style: &str, to: &mut String, label: &str, text: &str) {
        let label = self.paint(style, &format!("{label:<9}"));
        self.line(to, &format!("  {label} {text}"), COLUMN);
    }

    /// What is told of victims.
    fn victims(&self, to: &mut String, victims: &[Victim], scope: &Scope) {
        for (index, victim) in victims.iter().enumerate() {
            let label = if index == 0 { "victim" } else { "and" };
            self.row(to, label, &figures(victim, scope, index > 0));
        }
        let Some(first) = victims.first() else { return };
        if let Some(line) = started_as(&first.command) {
            self.row(to, "command", &line);
        }
        if let Some(line) = parents(&first.kinship) {
            self.row(to, "parents", &line);
        }
        // The first line has the container instead.
        if let Place { container: Some(_), cgroup: Some(path), .. } = &first.place {
            self.row(to, "cgroup", &printable(path));
        }
    }

    fn details(&self, incident: &Incident) -> String {
        let mut to = String::new();
        self.victims(&mut to, &incident.victims, &incident.scope);
        if let Some(asked) = asked(incident) {
            self.row(&mut to, "asked", &asked);
        }
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
        if let Some(before) = &incident.before {
            let room = self.width.map(|width| width.saturating_sub(COLUMN));
            if let Some(course) = before::course(before, room) {
                self.row(&mut to, "before", &course);
            }
            if let Some(grew) = before::grew(before) {
                self.row(&mut to, "grew", &grew);
            }
        }
        match incident.outcome {
            Some(Outcome::NoVictim) => {
                self.row(&mut to, "outcome", "nobody could be killed: the allocation failed");
            }
            Some(Outcome::Panic) => {
                self.row(&mut to, "outcome", "the kernel panicked: the whole machine stopped");
            }
            Some(Outcome::Killed | Outcome::AlreadyExiting) | None => {}
        }
        self.lacks(&mut to, incident.lost_records, &incident.missing);
        self.advise(&mut to, &incident.findings);
        to
    }

    /// What is not known, and why.
    fn lacks(&self, to: &mut String, lost_records: u64, missing: &BTreeMap<String, String>) {
        if lost_records > 0 {
            let text = format!("{lost_records} records of this incident found no room: it may be incomplete");
            self.row_in(YELLOW, to, "lost", &text);
        }
        for reason in unknown(missing) {
            self.row(to, "unknown", &reason);
        }
    }

    /// What it comes to and what to do about it: the findings that matter most, with a command as one can paste it.
    fn advise(&self, to: &mut String, findings: &[Finding]) {
        for (at, finding) in findings.iter().take(SHOWN_FINDINGS).enumerate() {
            // What comes second softens it, or may be worse the next time.
            self.row(to, if at == 0 { "cause" } else { "also" }, &concluded(finding));
            self.fixes(to, finding, if at == 0 { SHOWN_FIXES } else { 1 });
        }
    }

    /// What can be done about a finding, as far as it is shown.
    fn fixes(&self, to: &mut String, finding: &Finding, shown: usize) {
        for (at, fix) in finding.conclusion.fix.iter().take(shown).enumerate() {
            let label = match fix.kind {
                FixKind::Look => "look",
                _ if at == 0 => "do",
                _ => "or",
            };
            let lasts = fix.lasts.map_or_else(String::new, |lasts| format!(" ({})", lasts.words()));
            self.row_in(BOLD, to, label, &printable(&format!("{}{lasts}", fix.what)));
            if let Some(command) = &fix.command {
                to.push_str(&" ".repeat(COLUMN));
                to.push_str(&printable(command));
                to.push('\n');
            }
            // Of what is to be done first.
            if at == 0 && fix.risk != "none" {
                self.row(to, "risk", fix.risk);
            }
        }
    }

    /// A row of the incident's block, or, if another was printed since, a line of its own.
    fn relief(&self, relief: &Relief) -> String {
        let text = after(relief);
        let mut to = String::new();
        if self.told.as_ref() == Some(&relief.id) {
            self.row(&mut to, "relief", &text);
        } else {
            let (time, what) = (self.time(&relief.common), self.paint(BOLD, "RELIEF"));
            let first = relief.victims.first();
            let who = first.map_or_else(String::new, |victim| {
                format!("{} (pid {})", name(victim.comm.as_deref()), victim.pid)
            });
            self.line(&mut to, &format!("{}  {what}  {who}: {text}", self.paint(DIM, &time)), COLUMN);
        }
        self.advise(&mut to, &relief.findings);
        to
    }

    /// A line of its own, and what to do about it where that is plain.
    fn failure(&self, failure: &AllocFailure) -> String {
        let task = &failure.task;
        let time = self.paint(DIM, &self.time(&failure.common));
        let (what, name) = (self.paint(YELLOW, "NO MEMORY"), self.paint(BOLD, &name(task.comm.as_deref())));
        let place = place(&task.place).map_or_else(String::new, |place| format!("  in {place}"));
        let times = if failure.count > 1 {
            format!(" (×{})", grouped(i64::try_from(failure.count).unwrap_or(i64::MAX)))
        } else {
            String::new()
        };
        let head = format!(
            "{time}  {what}  {name} ({}){place}   {}{times}",
            who(task.pid, task.tid),
            refused(failure)
        );
        let mut to = String::new();
        self.line(&mut to, &head, COLUMN);
        if let Some(advice) = failure::advice(failure) {
            self.row(&mut to, "do", &advice);
        }
        to
    }

    /// A block of its own.
    fn user_kill(&self, kill: &UserKill) -> String {
        let time = self.paint(DIM, &self.time(&kill.common));
        let what = self.paint(RED, "OOMD KILL");
        let first = kill.victims.first();
        let who = self.paint(BOLD, &name(first.and_then(|victim| victim.comm.as_deref())));
        let adj = first.and_then(|victim| victim.oom_score_adj);
        let adj = adj.map_or_else(String::new, |adj| format!(", adj {adj}"));
        let place = first.and_then(|victim| place(&victim.place));
        let place = place.map_or_else(String::new, |place| format!("  in {place}"));
        let more = match kill.victims.len() {
            0 | 1 => String::new(),
            several => format!(" and {} more", several - 1),
        };
        let pid = id(first.and_then(|victim| victim.pid));
        let by = user_kill::by(kill);
        let mut to = String::new();
        self.line(&mut to, &format!("{time}  {what}  {who} (pid {pid}{adj}){more}{place}   {by}"), COLUMN);
        let scope = Scope { limits: kill.limits.clone(), ..Scope::default() };
        self.victims(&mut to, &kill.victims, &scope);
        for level in crowded(&scope) {
            self.row(&mut to, "limit", &level);
        }
        self.lacks(&mut to, kill.lost_records, &kill.missing);
        self.advise(&mut to, &kill.findings);
        to
    }

    /// A block of its own; of one that happens again, a line.
    fn fork(&self, failure: &ForkFailure) -> String {
        let task = &failure.task;
        let time = self.paint(DIM, &self.time(&failure.common));
        let what = self.paint(YELLOW, "FORK FAILED");
        // A cgroup's count knows no task.
        let who = if task.comm.is_none() && task.pid.is_none() {
            String::new()
        } else {
            format!("  {} (pid {})", self.paint(BOLD, &name(task.comm.as_deref())), id(task.pid))
        };
        let place = place(&task.place).map_or_else(String::new, |place| format!("  in {place}"));
        let again = failure.window_ns > 0;
        let count = grouped(i64::try_from(failure.count).unwrap_or(i64::MAX));
        let times = if again {
            format!(" (×{count} in {})", duration(failure.window_ns))
        } else if failure.count > 1 {
            format!(" (×{count})")
        } else {
            String::new()
        };
        let mut to = String::new();
        let head = format!("{time}  {what}{who}{place}   {}{times}", fork::refused(failure));
        self.line(&mut to, &head, COLUMN);
        if again {
            return to;
        }
        if let Some(line) = started_as(&task.command) {
            self.row(&mut to, "command", &line);
        }
        if let Some(line) = parents(&task.kinship) {
            self.row(&mut to, "parents", &line);
        }
        if let Some(line) = fork::family(task) {
            self.row(&mut to, "has", &line);
        }
        self.advise(&mut to, &failure.findings);
        to
    }

    fn loss(&self, loss: &Loss) -> String {
        let counts: Vec<_> = loss.counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let advice = match loss.place {
            "ring" => "the ring buffer was full: use a larger --ring-size",
            "decode" => "they could not be understood",
            "kmsg" => "they were overwritten in the kernel log before they could be read",
            "programs" => "they went by while programs were at work for others; some may have failed",
            "vmstat" => "the kernel counted them, and nobody saw them",
            _ => "the reader of the output is too slow",
        };
        let (time, what) = (self.paint(DIM, &self.time(&loss.common)), self.paint(YELLOW, "LOST"));
        let mut to = String::new();
        self.line(&mut to, &format!("{time}  {what}  {}: {advice}", counts.join(", ")), COLUMN);
        to
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
                (self.headed, self.told) = (None, None);
            }
            Message::Incident(Event::AllocFailure(failure)) => {
                to.extend(self.failure(failure).into_bytes());
                (self.headed, self.told) = (None, None);
            }
            Message::Incident(Event::ForkFailure(failure)) => {
                to.extend(self.fork(failure).into_bytes());
                (self.headed, self.told) = (None, None);
            }
            Message::Incident(Event::UserKill(kill)) => {
                to.extend(self.user_kill(kill).into_bytes());
                (self.headed, self.told) = (None, None);
            }
            Message::Loss(loss) => {
                to.extend(self.loss(loss).into_bytes());
                (self.headed, self.told) = (None, None);
            }
            Message::Status(_) => {}
        }
    }
}

/// Fields that are not known, by reason. In a replay both are whatever the record file says.
fn unknown(missing: &BTreeMap<String, String>) -> Vec<String> {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    // How much swap there is, no replay can tell, and few rows would say.
    // Nor of what few programs are set by.
    // Nor, in a storm, of groups that were made a moment ago.
    let shown = |field: &str| {
        !field.starts_with("host_memory.swap_")
            && !field.ends_with(".environment")
            && !field.starts_with("before")
    };
    // What no kernel log has, whoever reads one need not be told each time.
    let known = |reason: &str| reason == NOT_IN_LOGS;
    for (field, reason) in missing.iter().filter(|(field, reason)| shown(field) && !known(reason)) {
        match reasons.iter_mut().find(|(known, _)| *known == reason.as_str()) {
            Some((_, fields)) => fields.push(field),
            None => reasons.push((reason, vec![field])),
        }
    }
    reasons
        .into_iter()
        .map(|(reason, fields)| {
            let told = fields.get(..SHOWN_UNKNOWN).unwrap_or(&fields).join(", ");
            let more = match fields.len().saturating_sub(SHOWN_UNKNOWN) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            printable(&format!("{told}{more}: {reason}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
