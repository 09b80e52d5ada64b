//! Whether what is read of memory cgroups is true: the limits in an incident are held against the cgroups' own files.
//!
//! What [`super::mirror`] can compare of our own cgroup is little if that is the root, as on most machines. So the
//! first incidents whose cgroups are still there decide. One is not enough: what nobody has set looks right at many
//! places.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::host::memcg_files::{self, limit_bytes};
use crate::{
    incident::{AllocFailure, Incident, Limit, UserKill},
    kernel::hooks::Tier,
};

/// Incidents that are compared.
const INCIDENTS: u32 = 64;

/// The comparison, as long as it is made.
pub struct LimitsCheck {
    mount: PathBuf,
    unified: bool,
    left: u32,
    /// What came of the latest incident, which may be seen twice: opened and closed.
    latest: Option<(String, Result<(), String>)>,
}

impl LimitsCheck {
    /// For this machine; `None` in a namespace of cgroups, where another cgroup may be at the same path.
    #[must_use]
    pub fn here() -> Option<Self> {
        super::own::sees_all_cgroups().then(|| Self::new(Path::new("/sys/fs/cgroup")))
    }

    /// For the memory controller's hierarchy on this machine, where it is usually mounted below `cgroup`
    /// (`/sys/fs/cgroup`).
    fn new(cgroup: &Path) -> Self {
        let v1 = cgroup.join("memory");
        let unified = !v1.join(memcg_files::V1.limit).exists();
        Self { mount: if unified { cgroup.to_owned() } else { v1 }, unified, left: INCIDENTS, latest: None }
    }

    /// Leaves out of an incident what does not agree, with the reason.
    pub fn check(&mut self, incident: &mut Incident) {
        let seen = self.latest.take().filter(|(id, _)| *id == incident.id);
        let (id, result) = seen.unwrap_or_else(|| {
            let limits = &incident.scope.limits;
            (incident.id.clone(), self.compare_all(limits, "scope.limits", &incident.missing))
        });
        if let Err(reason) = &result {
            distrust(incident, reason);
        }
        self.latest = Some((id, result));
    }

    /// The same of a failed allocation.
    pub fn check_failure(&mut self, failure: &mut AllocFailure) {
        self.check_limits(&mut failure.limits, &mut failure.missing);
    }

    /// The same of a kill by a daemon in user space.
    pub fn check_user_kill(&mut self, kill: &mut UserKill) {
        self.check_limits(&mut kill.limits, &mut kill.missing);
    }

    fn check_limits(&mut self, limits: &mut Vec<Limit>, missing: &mut BTreeMap<String, String>) {
        if let Err(reason) = self.compare_all(limits, "limits", missing) {
            limits.clear();
            missing.insert("limits".to_owned(), reason);
        }
    }

    /// Compares level by level, as long as that is still done.
    fn compare_all(
        &mut self,
        limits: &[Limit],
        of: &str,
        missing: &BTreeMap<String, String>,
    ) -> Result<(), String> {
        if self.left == 0 {
            return Ok(());
        }
        let mut agreed = false;
        for (at, limit) in limits.iter().enumerate() {
            let known = |field: &str| !missing.contains_key(&format!("{of}[{at}].{field}"));
            if let Some(result) = self.compare(limit, known) {
                result?;
                agreed = true;
            }
        }
        self.left -= u32::from(agreed);
        Ok(())
    }

    /// `None`: the cgroup is gone, or is the root, which has no limits.
    fn compare(&self, limit: &Limit, known: impl Fn(&str) -> bool) -> Option<Result<(), String>> {
        let directory = self.mount.join(limit.path.trim_start_matches('/'));
        if fs::metadata(&directory).ok()?.ino() != limit.id? {
            return None;
        }
        let (names, swap_field, swap_limit) = if self.unified {
            (memcg_files::V2, "swap_limit_bytes", limit.swap_limit_bytes)
        } else {
            (memcg_files::V1, "memsw_limit_bytes", limit.memsw_limit_bytes)
        };
        let files =
            [(names.limit, "limit_bytes", limit.limit_bytes), (names.swap_limit, swap_field, swap_limit)];
        let mut compared = None;
        // v1 has no such thing, and the kernel leaves it off there.
        let group = match fs::read_to_string(directory.join(memcg_files::OOM_GROUP)) {
            Ok(text) => Some(memcg_files::oom_group(&text)),
            Err(_) if self.unified => None,
            Err(_) => Some(false),
        };
        if let (Some(seen), Some(group)) = (limit.oom_group, group)
            && seen != group
        {
            return Some(Err(format!(
                "the kernel's mem_cgroup is not where its types say: read by them, the oom_group of {} is {seen}, and \
                 it is {group}",
                limit.path
            )));
        }
        for (file, field, seen) in files {
            // There are no files for swap where it is not accounted.
            let Ok(text) = fs::read_to_string(directory.join(file)) else { continue };
            if !known(field) {
                continue;
            }
            let text = text.trim();
            if limit_bytes(text) != seen {
                let seen = seen.map_or_else(|| "no limit".to_owned(), |seen| seen.to_string());
                return Some(Err(format!(
                    "the kernel's mem_cgroup is not where its types say: read by them, {} has {seen} where {file} \
                     has {text}",
                    limit.path
                )));
            }
            compared = Some(Ok(()));
        }
        compared
    }
}

fn distrust(incident: &mut Incident, reason: &str) {
    incident.scope.limits.clear();
    incident.missing.insert("scope.limits".to_owned(), reason.to_owned());
    // Where no hook shows the decision, the limits are what the scope was concluded from.
    if incident.common.tier == Tier::Tracepoint {
        let scope = &mut incident.scope;
        (scope.cause, scope.memcg, scope.capacity_bytes) = (None, None, None);
        for field in ["scope.cause", "scope.memcg", "scope.capacity_bytes"] {
            incident.missing.insert(field.to_owned(), reason.to_owned());
        }
        // A score is computed with the capacity, unless nothing is added to it.
        for (at, victim) in
            incident.victims.iter_mut().enumerate().filter(|(_, victim)| victim.oom_score_adj != Some(0))
        {
            victim.points = None;
            incident.missing.insert(format!("victims[{at}].points"), reason.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(path: &str, limit_bytes: Option<u64>, swap_limit_bytes: Option<u64>) -> Limit {
        Limit { path: path.to_owned(), limit_bytes, swap_limit_bytes, ..Limit::default() }
    }

    /// Guards the comparison: limits that differ are noticed, in both counters; "max" is none; a cgroup that is gone
    /// or another by now, and what was not read, are no difference.
    #[test]
    fn limits_are_held_against_the_files() {
        let root = std::env::temp_dir().join(format!("oomtrace-limits-{}", std::process::id()));
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/memory.max"), "max\n").unwrap();
        fs::write(root.join("a/b/memory.max"), "4096\n").unwrap();
        fs::write(root.join("a/b/memory.swap.max"), "8192\n").unwrap();
        let check = LimitsCheck::new(&root);
        let id = |path: &str| fs::metadata(root.join(&path[1..])).map(|data| data.ino()).ok();
        let compare = |limit: &Limit| {
            let limit = Limit { id: id(&limit.path), ..limit.clone() };
            check.compare(&limit, |_| true).map(|result| result.is_ok())
        };
        assert_eq!(compare(&limit("/a/b", Some(4096), Some(8192))), Some(true));
        assert_eq!(compare(&limit("/a/b", Some(4095), Some(8192))), Some(false));
        assert_eq!(compare(&limit("/a/b", Some(4096), None)), Some(false));
        assert_eq!(compare(&limit("/a", None, None)), Some(true));
        assert_eq!(compare(&limit("/a", Some(1), None)), Some(false));
        assert_eq!(compare(&limit("/gone", Some(1), None)), None);
        let renewed = Limit { id: Some(0), ..limit("/a", Some(1), None) };
        assert!(check.compare(&renewed, |_| true).is_none());
        let partly = Limit { id: id("/a/b"), ..limit("/a/b", None, Some(8192)) };
        let unread = check.compare(&partly, |field| field != "limit_bytes");
        assert_eq!(unread.map(|result| result.is_ok()), Some(true));
        fs::remove_dir_all(root).unwrap();
    }
}
