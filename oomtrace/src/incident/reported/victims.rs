//! Who was killed, by the log.

use std::collections::BTreeMap;

use super::{
    super::{
        missing::{self, lacking},
        types::{Place, RssKernel, Verdict},
    },
    Reported, Scope, Victim,
};
use crate::kmsg::{
    Killed,
    report::{Kill, TaskRow},
};

impl Reported<'_> {
    pub(super) fn victims(
        &self,
        scope: &Scope,
        page_bytes: Option<u64>,
        missing: &mut BTreeMap<String, String>,
    ) -> Vec<Victim> {
        let exiting = self.report.already_exiting.iter().map(|(tid, comm)| {
            let killed = Killed { pid: *tid, comm: comm.clone(), ..Killed::default() };
            (killed, Verdict::AlreadyExiting)
        });
        let mut victims: Vec<Victim> = Vec::new();
        for (killed, verdict) in self.kills().chain(exiting) {
            let at = victims.len();
            let row = self.row(killed.pid);
            let victim = self.victim(&killed, verdict, row, at == 0, scope, page_bytes);
            let never =
                ["ppid", "threads", "rss", "cmdline", "environment", "start_time", "ancestors", "ns_pid"];
            missing::all(missing, never.map(|field| format!("victims[{at}].{field}")), self.reasons.never);
            let unsaid = [
                ("uid", victim.uid.is_none()),
                ("oom_score_adj", victim.oom_score_adj.is_none()),
                ("points", victim.points.is_none()),
                ("total_vm_bytes", victim.total_vm_bytes.is_none()),
                ("rss_kernel", victim.rss_kernel.is_none()),
                ("swap_bytes", victim.swap_bytes.is_none()),
                ("pgtables_bytes", victim.pgtables_bytes.is_none()),
                ("cgroup", victim.place.cgroup.is_none()),
            ];
            let unsaid = lacking(unsaid).map(|field| format!("victims[{at}].{field}"));
            missing::all(missing, unsaid, self.lacks());
            victims.push(victim);
        }
        victims
    }

    /// Kills, each thread once: the first of a group is logged twice (oom_kill_memcg_member(), mm/oom_kill.c), and marked once.
    fn kills(&self) -> impl Iterator<Item = (Killed, Verdict)> {
        let kills = &self.report.kills;
        let again = |at: usize, kill: &Kill| {
            let same =
                |known: &Kill| known.killed.pid == kill.killed.pid && known.killed.comm == kill.killed.comm;
            kill.group && kills.iter().take(at).any(same)
        };
        kills.iter().enumerate().filter(move |(at, kill)| !again(*at, kill)).map(|(_, kill)| {
            let verdict = if kill.group { Verdict::GroupKilled } else { Verdict::Killed };
            (kill.killed.clone(), verdict)
        })
    }

    fn victim(
        &self,
        killed: &Killed,
        verdict: Verdict,
        row: Option<&TaskRow>,
        chosen: bool,
        scope: &Scope,
        page_bytes: Option<u64>,
    ) -> Victim {
        let kb = |kb: Option<u64>| kb.map(|kb| kb.saturating_mul(1024));
        let pages = |pages: Option<u64>| pages?.checked_mul(page_bytes?);
        Victim {
            // The table has the process beside the thread; a thread stands for its process else.
            pid: row.and_then(|row| row.tgid).or(Some(killed.pid)),
            tid: Some(killed.pid),
            // A line that was cut short may have lost the name.
            comm: Some(killed.comm.clone())
                .filter(|comm| !comm.is_empty() || killed.total_vm_kb.is_some())
                .or_else(|| row.map(|row| row.comm.clone())),
            uid: killed.uid.or_else(|| row?.uid),
            verdict: Some(verdict),
            oom_score_adj: killed.oom_score_adj.or_else(|| row?.oom_score_adj),
            points: row.and_then(|row| self.points(row, scope, page_bytes)),
            total_vm_bytes: kb(killed.total_vm_kb).or_else(|| pages(row?.total_vm_pages)),
            rss_kernel: rss(killed).or_else(|| {
                let total_bytes = pages(row?.rss_pages)?;
                Some(RssKernel { anon_bytes: None, file_bytes: None, shmem_bytes: None, total_bytes })
            }),
            swap_bytes: kb(killed.swap_kb).or_else(|| pages(row?.swap_pages)),
            // The first 5.4 print bytes as kB (__oom_kill_process(), mm/oom_kill.c; mended by commit 941f762bcb27): the table tells.
            pgtables_bytes: kb(killed
                .pgtables_kb
                .filter(|kb| row.is_none_or(|row| row.pgtables_bytes != Some(*kb))))
            .or_else(|| row?.pgtables_bytes),
            place: Place::of(self.victims_memcg().filter(|_| chosen).map(str::to_owned)),
            ..Victim::default()
        }
    }
}

/// Before 4.5 what is shared is among the files; before 2.6.32 the line has none of them.
fn rss(killed: &Killed) -> Option<RssKernel> {
    let bytes = |kb: Option<u64>| kb.map(|kb| kb.saturating_mul(1024));
    let (anon, file, shmem) =
        (bytes(killed.anon_rss_kb), bytes(killed.file_rss_kb), bytes(killed.shmem_rss_kb));
    Some(RssKernel {
        anon_bytes: anon,
        file_bytes: file,
        shmem_bytes: shmem,
        total_bytes: match bytes(killed.rss_kb) {
            Some(all) => all,
            None => anon?.saturating_add(file?).saturating_add(shmem.unwrap_or(0)),
        },
    })
}
