//! A machine as it stands, for people: what there is to mend first, then what it rests on.

use std::fmt::Write as _;

use super::{BOLD, COLUMN, DIM, Human, RED, YELLOW, finding::concluded, task::place, words::grouped};
use crate::{
    check::{Check, Doomed, Headroom, Of},
    explain::Severity,
    text::printable,
    words::size,
};

/// What can be done about each finding, as far as it is shown.
const SHOWN_FIXES: usize = 2;
/// Users and groups whose limits are shown: the fullest.
const SHOWN_GROUPS: usize = 5;
/// Columns of a bar.
const BAR: u64 = 20;
/// From here on a bar is yellow, and red; percent.
const MUCH: u64 = 75;
const NEARLY_ALL: u64 = 90;

impl Human {
    /// All of it.
    #[must_use]
    pub fn check(&self, check: &Check) -> String {
        let mut to = String::new();
        let of = check.root.as_ref().map_or_else(String::new, |root| format!(" (captured in {root})"));
        self.line(&mut to, &printable(&format!("{}, Linux {}{of}", check.host, check.kernel)), 0);
        self.findings(&mut to, check);
        self.headroom(&mut to, &check.headroom);
        self.order(&mut to, check);
        self.settings(&mut to, check);
        if !check.missing.is_empty() {
            self.heading(&mut to, "Could not be seen");
            for (what, why) in &check.missing {
                self.line(&mut to, &printable(&format!("  {what}: {why}")), COLUMN);
            }
        }
        to
    }

    fn heading(&self, to: &mut String, text: &str) {
        let _ = writeln!(to, "\n{}", self.paint(BOLD, text));
    }

    fn findings(&self, to: &mut String, check: &Check) {
        if check.findings.is_empty() {
            to.push_str("Nothing was found that should be mended.\n");
        }
        for finding in &check.findings {
            let (style, label) = match finding.conclusion.severity {
                Severity::Critical => (RED, "CRITICAL"),
                Severity::Warning => (YELLOW, "WARNING"),
                Severity::Notice => (DIM, "NOTICE"),
            };
            to.push('\n');
            self.row_in(style, to, label, &concluded(finding));
            self.fixes(to, finding, SHOWN_FIXES);
        }
    }

    fn headroom(&self, to: &mut String, headroom: &[Headroom]) {
        if headroom.is_empty() {
            return;
        }
        self.heading(to, "In use of what there is");
        let (machine, others): (Vec<_>, Vec<_>) = headroom.iter().partition(|one| is_machines(&one.of));
        let left_out = others.len().saturating_sub(SHOWN_GROUPS);
        for one in machine.into_iter().chain(others.into_iter().take(SHOWN_GROUPS)) {
            let percent = one.percent();
            let style = if percent >= NEARLY_ALL {
                RED
            } else if percent >= MUCH {
                YELLOW
            } else {
                DIM
            };
            let filled = usize::try_from((percent * BAR).div_ceil(100).min(BAR)).unwrap_or(0);
            let bar = self.paint(style, &format!("{:░<20}", "█".repeat(filled)));
            let amount = match (one.usage_bytes, one.limit_bytes) {
                (Some(usage), Some(limit)) => format!("{} of {}", size(usage), size(limit)),
                _ => format!("{} of {}", count(one.usage), count(one.limit)),
            };
            let _ = writeln!(to, "  {bar} {percent:>3} %  {}  {amount}", printable(&what(&one.of)));
        }
        if left_out > 0 {
            let _ = writeln!(to, "  {} more are less full (see --json)", grouped_count(left_out));
        }
    }

    fn order(&self, to: &mut String, check: &Check) {
        let order = &check.kill_order;
        let whose = order.cgroup.as_ref().map_or_else(
            || "the machine ran out of memory now".to_owned(),
            |path| format!("{} reached its limit now", printable(path)),
        );
        let heading = match first_of_all(check) {
            Some(what) => format!("If {whose}, {what}. Else these would be killed first"),
            None => format!("Would be killed first, if {whose}"),
        };
        self.heading(to, &heading);
        if order.first.is_empty() {
            to.push_str("  nobody: no process that may be killed was seen\n");
        } else {
            let head =
                format!("  {:>12}  {:>11}  {:>5}  {:>7}  program", "score, pages", "memory", "adj", "pid");
            let _ = writeln!(to, "{}", self.paint(DIM, &head));
        }
        for (at, one) in order.first.iter().enumerate() {
            let name = printable(&one.comm);
            let name = if at == 0 { self.paint(RED, &name) } else { name };
            let _ = writeln!(
                to,
                "  {:>12}  {}  {name}{}",
                one.points.map_or_else(|| "?".to_owned(), grouped),
                figures(one),
                whereabouts(one)
            );
        }
        let more = order.killable.saturating_sub(order.first.len() as u64);
        if more > 0 {
            let _ = writeln!(to, "  and {more} more");
        }
        for one in &order.shielded {
            let why = if one.oom_score_adj == Some(-1000) { "shielded" } else { "never" };
            let line = format!("  {why:>12}  {}  {}{}", figures(one), printable(&one.comm), whereabouts(one));
            let _ = writeln!(to, "{}", self.paint(DIM, &line));
        }
    }

    fn settings(&self, to: &mut String, check: &Check) {
        if check.settings.is_empty() {
            return;
        }
        self.heading(to, "Settings");
        for (name, value) in &check.settings {
            let _ = writeln!(to, "  {name:<28} {value}");
        }
    }
}

/// What comes before the order (`check_panic_on_oom()`, `out_of_memory()`, mm/oom_kill.c).
fn first_of_all(check: &Check) -> Option<&'static str> {
    let set = |name| check.settings.get(name).copied().unwrap_or(0);
    let of_group = check.kill_order.cgroup.is_some();
    match (set("vm.panic_on_oom"), set("vm.oom_kill_allocating_task")) {
        (1, _) if !of_group => Some("it would panic (vm.panic_on_oom)"),
        (2, _) => Some("the machine would panic (vm.panic_on_oom)"),
        (_, 1..) if !of_group => Some("whoever asks next would be killed (vm.oom_kill_allocating_task)"),
        _ => None,
    }
}

fn figures(one: &Doomed) -> String {
    let adj = one.oom_score_adj.map_or_else(|| "?".to_owned(), |adj| adj.to_string());
    format!("{:>11}  {adj:>5}  {:>7}", size(one.rss_bytes.saturating_add(one.swap_bytes)), one.pid)
}

fn whereabouts(one: &Doomed) -> String {
    place(&one.place).map_or_else(String::new, |place| format!("  in {place}"))
}

fn count(number: Option<u64>) -> String {
    number.map_or_else(|| "?".to_owned(), |number| grouped(i64::try_from(number).unwrap_or(i64::MAX)))
}

fn grouped_count(number: usize) -> String {
    count(u64::try_from(number).ok())
}

fn is_machines(of: &Of) -> bool {
    matches!(of, Of::Memory | Of::Swap | Of::Commit | Of::Threads | Of::Pids)
}

fn what(of: &Of) -> String {
    match of {
        Of::Memory => "memory".to_owned(),
        Of::Swap => "swap".to_owned(),
        Of::Commit => "promised memory (vm.overcommit_memory 2)".to_owned(),
        Of::Threads => "processes and threads (kernel.threads-max)".to_owned(),
        Of::Pids => "their ids (kernel.pid_max)".to_owned(),
        Of::User { uid } => format!("processes and threads of user {uid} (RLIMIT_NPROC)"),
        Of::GroupMemory { path } => format!("memory of {path}"),
        Of::GroupPids { path } => format!("processes and threads of {path}"),
    }
}
