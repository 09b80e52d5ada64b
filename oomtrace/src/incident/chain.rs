//! Chains of cgroups, from a task's own up to the root: of the memory controller, or of the pids controller.

use oomtrace_ebpf::MAX_LEVELS;

use super::types::Limit;
use crate::record::{Ceiling, CgroupId, Level, Link};

/// The levels of one chain, as they come in.
#[derive(Clone, Debug)]
pub(super) struct Chain<L = Level> {
    levels: Vec<L>,
}

impl<L> Default for Chain<L> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<L> Chain<L> {
    /// No level at all.
    pub const EMPTY: Self = Self { levels: Vec::new() };

    /// All levels.
    pub fn levels(&self) -> &[L] {
        &self.levels
    }
}

impl<L: AsRef<Link>> Chain<L> {
    fn links(&self) -> impl DoubleEndedIterator<Item = &Link> + ExactSizeIterator {
        self.levels.iter().map(AsRef::as_ref)
    }

    /// With one more level.
    pub fn with(mut self, level: L) -> Self {
        self.push(level);
        self
    }

    /// Adds a level. They come in order; one that does not fit is a gap, which [`Self::whole`] notices. More than
    /// are ever sent are not kept.
    pub fn push(&mut self, level: L) {
        if self.levels.len() < MAX_LEVELS as usize {
            self.levels.push(level);
        }
    }

    /// Id of the task's own cgroup.
    pub fn leaf(&self) -> Option<CgroupId> {
        self.links().next().filter(|link| link.depth == 0)?.id
    }

    /// Whether no level lacks between the first and the root.
    pub fn whole(&self) -> bool {
        // The root of a hierarchy has an empty name (kernfs_create_root(), fs/kernfs/dir.c).
        let root = |link: &Link| link.root && link.name.as_ref().is_none_or(String::is_empty);
        self.links().next_back().is_some_and(root)
            && self.links().zip(0..).all(|(link, depth)| link.depth == depth)
    }

    /// Path of the cgroup at a depth of the chain, or why it is not known.
    pub fn path(&self, depth: usize) -> Result<String, String> {
        if !self.whole() {
            return Err("its chain of cgroups came in incomplete".to_owned());
        }
        let mut path = String::new();
        for link in self.links().skip(depth).rev().skip_while(|link| link.root) {
            path.push('/');
            path.push_str(link.name.as_deref().ok_or("the name of a cgroup could not be read")?);
            if link.name_truncated {
                path.push('…');
            }
        }
        Ok(if path.is_empty() { "/".to_owned() } else { path })
    }

    /// The depth at which a cgroup stands.
    pub fn depth_of(&self, id: CgroupId) -> Option<usize> {
        self.links().position(|link| link.id == Some(id))
    }
}

impl Chain {
    /// The level of the cgroup at a path.
    pub fn named(&self, path: &str) -> Option<&Level> {
        let at = (0..self.levels.len()).find(|depth| self.path(*depth).is_ok_and(|own| own == path))?;
        self.levels.get(at)
    }

    /// Whether a kill may take others with it, as far as is known.
    pub fn may_kill_groups(&self) -> bool {
        self.levels.is_empty() || self.levels.iter().any(|level| level.oom_group != Some(false))
    }

    /// Whether killing a task kills others with it: a level has `memory.oom.group` set, at or below the one that is
    /// at its limit, if one is (`mem_cgroup_get_oom_group()`, mm/memcontrol.c).
    pub fn kills_groups(&self) -> bool {
        for level in &self.levels {
            if level.oom_group == Some(true) {
                return true;
            }
            let limit = level.limit.and_then(Ceiling::pages);
            if level.usage_pages.zip(limit).is_some_and(|(usage, limit)| usage >= limit - limit / 16) {
                return false;
            }
        }
        false
    }

    /// Usage and limits at every level.
    pub fn limits(&self, page_bytes: u32) -> Result<Vec<Limit>, String> {
        let bytes = |pages: u64| pages.saturating_mul(u64::from(page_bytes));
        let limit = |limit: Option<Ceiling>| limit.and_then(Ceiling::pages).map(bytes);
        self.levels
            .iter()
            .enumerate()
            .map(|(depth, level)| {
                let unified = level.link.id.is_none_or(|id| id.hierarchy == 0);
                let swap = (level.swap_usage_pages.map(bytes), limit(level.swap_limit));
                // The root's own counters count nothing of use: tasks in it are not charged.
                if level.link.root {
                    return Ok(Limit { path: self.path(depth)?, ..Limit::default() });
                }
                let (v2, v1) = if unified { (swap, (None, None)) } else { ((None, None), swap) };
                Ok(Limit {
                    path: self.path(depth)?,
                    id: level.link.id.map(|id| id.id),
                    usage_bytes: level.usage_pages.map(bytes),
                    limit_bytes: limit(level.limit),
                    swap_usage_bytes: v2.0,
                    swap_limit_bytes: v2.1,
                    memsw_usage_bytes: v1.0,
                    memsw_limit_bytes: v1.1,
                    oom_group: level.oom_group,
                })
            })
            .collect()
    }
}

/// Pages that a memory cgroup may be below its limit while a charge to it fails: each CPU keeps a stock of up to 64 that
/// are charged already (`MEMCG_CHARGE_BATCH`, include/linux/memcontrol.h; 32 before 6.1), and what others free meanwhile.
pub(super) fn stock_pages(cpus_online: u32) -> u64 {
    64 * u64::from(cpus_online)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::record::Whose;

    /// A link for tests: the root has no name.
    pub fn link(depth: u32, id: u64, name: &str) -> Link {
        Link {
            depth,
            id: Some(CgroupId { hierarchy: 0, id }),
            name: Some(name.to_owned()),
            name_truncated: false,
            root: name.is_empty(),
        }
    }

    /// A level for tests.
    pub fn level(depth: u32, id: u64, name: &str, usage: u64, limit: Option<u64>) -> Level {
        Level {
            whose: Whose::Victim,
            leaf_id: 0,
            link: link(depth, id, name),
            usage_pages: Some(usage),
            limit: Some(limit.map_or(Ceiling::Unlimited, Ceiling::Pages)),
            swap_usage_pages: Some(0),
            swap_limit: Some(Ceiling::Unlimited),
            oom_group: Some(false),
        }
    }

    /// A chain for tests.
    pub fn chain(levels: &[Level]) -> Chain {
        Chain { levels: levels.to_vec() }
    }

    /// Guards against a chain that ends below the root: what was read as the parent was none.
    #[test]
    fn a_chain_ends_at_the_root() {
        let end = |name: &str| {
            let mut last = level(1, 1, name, 0, None);
            last.link.root = true;
            Chain::default().with(level(0, 9, "app", 0, None)).with(last)
        };
        assert!(end("").whole());
        assert!(!end("kubepods").whole());
        assert!(end("kubepods").path(0).is_err());
    }

    /// Guards paths: leaf first in the records, last in the path; the root alone is "/".
    #[test]
    fn paths_run_from_the_root_to_the_cgroup() {
        let whole =
            chain(&[level(0, 9, "app", 1, None), level(1, 5, "pod", 1, None), level(2, 1, "", 1, None)]);
        assert_eq!(whole.path(0).as_deref(), Ok("/pod/app"));
        assert_eq!(whole.path(1).as_deref(), Ok("/pod"));
        assert_eq!(whole.path(2).as_deref(), Ok("/"));
    }

    /// Guards memory and output against a chain without an end: each level's path repeats all that are above it.
    #[test]
    fn a_chain_is_bounded() {
        let levels = (0..1000).map(|depth| level(depth, 9, if depth == 999 { "" } else { "app" }, 1, None));
        let endless = levels.fold(Chain::default(), Chain::with);
        assert_eq!(endless.levels().len(), 16);
        assert!(endless.path(0).is_err());
    }

    /// Guards against a path that looks whole and is not, when a record was lost.
    #[test]
    fn a_gap_is_no_path() {
        assert!(chain(&[level(0, 9, "app", 1, None), level(2, 1, "", 1, None)]).path(0).is_err());
        assert!(chain(&[level(0, 9, "app", 1, None)]).path(0).is_err());
        assert!(Chain::<Level>::default().path(0).is_err());
    }
}
