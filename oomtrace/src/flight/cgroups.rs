//! The memory cgroups of the machine, version 1 or 2.
//!
//! The tree is walked anew for every sample: what tells of new ones (inotify) needs a watch in each directory, and their times do
//! not tell of it before somebody has set an attribute (`kernfs_add_one()`, fs/kernfs/dir.c). It is cheap all the same: directories
//! without any below them, which most are, show it in their number of links and are not listed.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use super::{
    CGROUPS,
    files::{Folder, Text, number},
    sample::{Blocks, Cgroup, Key, Size, largest},
};
use crate::{host::cgroup::Hierarchy, text::from_kernel};

/// Cgroups that are looked at, at most.
const LOOKED_AT: usize = 2048;
/// The longest path that is followed, bytes. Kubernetes' are about 200 long.
const PATH_BYTES: usize = 512;

/// Where the cgroups are, and those that are known.
#[derive(Debug)]
pub struct Cgroups {
    mount: Folder,
    hierarchy: Hierarchy,
    /// The file with what is charged: none at the root of version 2.
    usage: &'static str,
    known: BTreeMap<Arc<str>, (u64, Key)>,
    /// The same by inode number.
    by_id: BTreeMap<u64, Key>,
    root: u64,
    next: u32,
}

/// Where a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In none but the root.
    Root,
    /// In one that is followed.
    Within(Key),
    /// In one that is not: it was made a moment ago, or is one of too many.
    Unknown,
}

impl Home {
    /// The one that is followed.
    pub fn key(self) -> Option<Key> {
        match self {
            Self::Within(key) => Some(key),
            Self::Root | Self::Unknown => None,
        }
    }
}

/// What a walk came to.
#[derive(Debug, Default)]
pub struct Walk {
    pub sizes: Box<[Size]>,
    pub new: Vec<(Key, Cgroup)>,
}

impl Cgroups {
    /// Those of the machine below `root`, if the memory controller is mounted there.
    pub fn find(root: &Path) -> Option<Self> {
        let hierarchy = Hierarchy::find(root, "memory").ok()?;
        let usage = if hierarchy.is_unified() { "memory.current" } else { "memory.usage_in_bytes" };
        let mount = Folder::open(hierarchy.mount()).ok()?;
        let (root, _) = mount.links(".").ok()?;
        Some(Self { mount, hierarchy, usage, known: BTreeMap::new(), by_id: BTreeMap::new(), root, next: 0 })
    }

    /// The one of a process, by its /proc/PID/cgroup.
    pub fn of(&self, text: &[u8]) -> Home {
        let text = from_kernel(text);
        match self.hierarchy.path_in(&text, "memory") {
            Some("/") => Home::Root,
            Some(path) => self.known.get(path).map_or(Home::Unknown, |(_, key)| Home::Within(*key)),
            None => Home::Unknown,
        }
    }

    /// The one with that inode number.
    pub fn of_id(&self, id: u64) -> Home {
        if id == self.root {
            Home::Root
        } else {
            self.by_id.get(&id).map_or(Home::Unknown, |key| Home::Within(*key))
        }
    }

    /// Looks at all but the root, those near it first.
    pub fn walk(&mut self) -> Walk {
        let mut room: Text = [0; 4096];
        let (mut sizes, mut new) = (Vec::new(), Vec::new());
        let mut known = BTreeMap::new();
        let mut paths = Vec::new();
        self.list(b"", &mut paths);
        let mut at = 0;
        while let Some(path) = paths.get(at).cloned() {
            at += 1;
            // Gone meanwhile.
            let Ok((id, deeper)) = self.mount.links(&path[..]) else { continue };
            let file = [&path[..], b"/", self.usage.as_bytes()].concat();
            let usage = self.mount.read(file, &mut room).ok().and_then(number);
            // Where the controller is not, it is not below either: cgroup_control() of version 2.
            let Some(bytes) = usage else { continue };
            if deeper {
                self.list(&path, &mut paths);
            }
            let shown: Arc<str> = format!("/{}", from_kernel(&path)).into();
            let key = match self.known.get(&shown) {
                Some((before, key)) if *before == id => *key,
                _ => {
                    let key = Key(self.next);
                    self.next = self.next.wrapping_add(1);
                    new.push((key, Cgroup { path: Arc::clone(&shown), id }));
                    key
                }
            };
            known.insert(shown, (id, key));
            sizes.push(Size { key, blocks: Blocks::of(bytes) });
        }
        let (sizes, all) = largest(sizes, CGROUPS);
        if !all {
            let kept = |key: Key| sizes.binary_search_by_key(&key, |size| size.key).is_ok();
            known.retain(|_, (_, key)| kept(*key));
            new.retain(|(key, _)| kept(*key));
        }
        self.by_id = known.values().copied().collect();
        self.known = known;
        Walk { sizes, new }
    }

    /// Adds the cgroups that are in one, as far as there is room.
    fn list(&self, path: &[u8], paths: &mut Vec<Vec<u8>>) {
        let folder = if path.is_empty() { self.mount.folder(".") } else { self.mount.folder(path) };
        let Ok(folder) = folder else { return };
        // Gone meanwhile: what was listed until then is looked at.
        let _ = folder.list(|_, name, is_folder| {
            let name = name.to_bytes();
            if is_folder && name != b"." && name != b".." && path.len() + name.len() < PATH_BYTES {
                let parts: &[&[u8]] = if path.is_empty() { &[name] } else { &[path, b"/", name] };
                paths.push(parts.concat());
            }
            paths.len() < LOOKED_AT
        });
    }
}
