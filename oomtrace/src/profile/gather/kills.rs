//! Who was killed.

use std::collections::BTreeMap;

use super::{
    House, NAMES,
    times::Times,
    words::{word, word_or_unknown},
};
use crate::{
    incident::{Incident, Outcome, Relief, UserKill, Verdict, Victim},
    profile::course::Marks,
    profile::report::{IncidentCounts, MarkKind, Run, VictimCount, VictimRow, Whose},
};

/// Victims that are told one by one, at the most.
const ROWS: usize = 200;

/// See the module.
#[derive(Default)]
pub struct Kills {
    counts: IncidentCounts,
    /// Of bystanders, and of whom it is not known: these are what a test must not do.
    others: Vec<VictimRow>,
    own: Vec<VictimRow>,
    names: BTreeMap<(Whose, Option<String>), VictimCount>,
    /// The command's process id, and whether it was.
    command: Option<u32>,
    command_killed: bool,
    relief: Times,
}

/// What an incident says of all of its victims.
#[derive(Default)]
struct Common {
    at_ns: u64,
    incident: String,
    scope: String,
    scope_path: Option<String>,
    trigger_comm: Option<String>,
    trigger_whose: Whose,
    stall_ns: Option<u64>,
}

impl Kills {
    /// Until now.
    pub fn counts(&self) -> &IncidentCounts {
        &self.counts
    }

    /// The command has this process id.
    pub fn command(&mut self, pid: u32) {
        self.command = Some(pid);
    }

    /// Whether the command itself was.
    pub fn command_killed(&self) -> bool {
        self.command_killed
    }

    /// A run of the OOM killer.
    pub fn incident(&mut self, at_ns: u64, incident: &Incident, house: &House, marks: &mut Marks) {
        let scope = word_or_unknown(incident.scope.kind);
        self.counts.count += 1;
        *self.counts.by_scope.entry(scope.clone()).or_default() += 1;
        *self.counts.by_outcome.entry(word_or_unknown(incident.outcome)).or_default() += 1;
        if incident.outcome == Some(Outcome::NoVictim) {
            marks.push(at_ns, MarkKind::NoVictim, 1, incident.trigger.comm.as_deref());
        }
        let common = Common {
            at_ns,
            incident: incident.id.clone(),
            scope,
            scope_path: incident.scope.memcg.as_ref().and_then(|memcg| memcg.path.clone()),
            trigger_comm: incident.trigger.comm.clone(),
            trigger_whose: house.whose(incident.trigger.of_run, incident.trigger.place.cgroup.as_deref()),
            stall_ns: incident.stall.map(|stall| stall.duration_ns),
        };
        for victim in &incident.victims {
            self.victim(&common, victim, house, marks);
        }
    }

    /// What became of an incident's victims, and who was killed with them.
    pub fn relieved(&mut self, at_ns: u64, relief: &Relief, house: &House, marks: &mut Marks) {
        for relieved in &relief.victims {
            let Some(freed_ns) = relieved.freed_ns else { continue };
            self.relief.add(freed_ns);
            let mut rows = self.others.iter_mut().chain(&mut self.own).rev();
            let row = rows.find(|row| row.incident == relief.id && row.pid == Some(relieved.pid));
            if let Some(row) = row {
                row.freed_ns = Some(freed_ns);
            }
        }
        // They were told of nowhere else.
        let common = Common { at_ns, incident: relief.id.clone(), ..Common::default() };
        for victim in &relief.collateral {
            self.victim(&common, victim, house, marks);
        }
    }

    /// A daemon in user space killed.
    pub fn by_daemon(&mut self, at_ns: u64, kill: &UserKill, house: &House, marks: &mut Marks) {
        self.counts.userspace_kills = self.counts.userspace_kills.saturating_add(kill.victims.len() as u64);
        for victim in &kill.victims {
            marks.push(at_ns, MarkKind::UserspaceKill, 1, victim.comm.as_deref());
            let common = Common { at_ns, trigger_comm: kill.killer.comm.clone(), ..Common::default() };
            self.row(VictimRow { verdict: Some("userspace_kill".to_owned()), ..row(&common, victim, house) });
        }
    }

    fn victim(&mut self, common: &Common, victim: &Victim, house: &House, marks: &mut Marks) {
        let row = row(common, victim, house);
        let dead = victim.verdict != Some(Verdict::AlreadyExiting);
        if dead {
            self.counts.kills += 1;
            match row.whose {
                Whose::Own => self.counts.own_kills += 1,
                Whose::Bystander => self.counts.bystander_kills += 1,
                Whose::Unknown => {}
            }
            self.command_killed |= row.pid.is_some() && row.pid == self.command;
            let kind = if row.whose == Whose::Own { MarkKind::OwnKill } else { MarkKind::BystanderKill };
            marks.push(row.at_ns, kind, 1, row.comm.as_deref());
            self.name(&row);
        }
        self.row(row);
    }

    fn name(&mut self, row: &VictimRow) {
        let key = (row.whose, row.comm.clone());
        let known = self.names.len() < NAMES || self.names.contains_key(&key);
        let key = if known { key } else { (row.whose, None) };
        let name = self.names.entry(key.clone()).or_insert_with(|| VictimCount {
            whose: key.0,
            comm: key.1,
            first_at_ns: row.at_ns,
            ..VictimCount::default()
        });
        name.kills += 1;
        name.largest_rss_bytes = name.largest_rss_bytes.max(row.rss_bytes);
        name.last_at_ns = name.last_at_ns.max(row.at_ns);
    }

    fn row(&mut self, row: VictimRow) {
        let rows = if row.whose == Whose::Own { &mut self.own } else { &mut self.others };
        if rows.len() < ROWS {
            rows.push(row);
        }
    }

    /// Puts them into a run's report.
    pub fn tell(mut self, run: &mut Run) {
        run.incidents = self.counts;
        // Of a bystander it is worse to know than not to.
        self.others.sort_by_key(|row| row.whose);
        self.others.append(&mut self.own);
        self.others.truncate(ROWS);
        run.victims = self.others;
        run.victims_by_name = self.names.into_values().collect();
        run.victims_by_name.sort_by_key(|name| (name.whose, std::cmp::Reverse(name.kills)));
        run.relief = self.relief.latency();
    }
}

fn row(common: &Common, victim: &Victim, house: &House) -> VictimRow {
    VictimRow {
        at_ns: common.at_ns,
        incident: common.incident.clone(),
        whose: house.whose(victim.of_run, victim.place.cgroup.as_deref()),
        pid: victim.pid,
        comm: victim.comm.clone(),
        cmdline: victim.command.cmdline.as_ref().map(|arguments| arguments.join(" ")),
        verdict: victim.verdict.map(word),
        rss_bytes: victim
            .rss
            .as_ref()
            .map(|rss| rss.total_bytes)
            .or(victim.rss_kernel.as_ref().map(|rss| rss.total_bytes)),
        swap_bytes: victim.swap_bytes,
        oom_score_adj: victim.oom_score_adj,
        cgroup: victim.place.cgroup.clone(),
        scope: common.scope.clone(),
        scope_path: common.scope_path.clone(),
        trigger_comm: common.trigger_comm.clone(),
        trigger_whose: common.trigger_whose,
        stall_ns: common.stall_ns,
        freed_ns: None,
    }
}
