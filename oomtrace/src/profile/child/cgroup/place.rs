//! Where a cgroup for the command can be made.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::super::error::{StartError, shown_path};
use crate::host::cgroup::{Hierarchy, upwards};

/// What whoever lacks the right to make cgroups can do.
const WAY_OUT: &str = "Run oomtrace as root, or in a cgroup that is delegated to you: `systemd-run --user --scope -p Delegate=yes oomtrace \
                       run …`; or leave --cgroup-limit and --pids-limit out";

/// A controller that a limit takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    /// `--cgroup-limit`.
    Memory,
    /// `--pids-limit`.
    Pids,
}

impl Controller {
    /// All.
    pub const ALL: [Self; 2] = [Self::Memory, Self::Pids];

    /// Its name in the kernel's files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }

    fn option(self) -> &'static str {
        match self {
            Self::Memory => "--cgroup-limit",
            Self::Pids => "--pids-limit",
        }
    }
}

/// Where one can be made in a hierarchy.
#[derive(Debug)]
pub struct Spot {
    /// Whether it is version 2's.
    pub unified: bool,
    /// The folder in which it is made.
    pub folder: PathBuf,
    /// The path of that in the hierarchy: empty for its root.
    pub path: String,
    /// The controllers that it will have.
    pub controllers: Vec<Controller>,
    /// Those of them that the cgroups in that folder do not have yet.
    to_enable: Vec<Controller>,
}

/// Where one can be made: with version 1, one in each controller's hierarchy. Once it is dropped, all is as it was.
#[derive(Debug)]
pub struct Place {
    spots: Vec<Spot>,
    /// Files of `cgroup.subtree_control` that were written, and what undoes that.
    undo: Vec<(PathBuf, String)>,
}

impl Place {
    /// Looks for one on the machine below `root` (`/`) that has these controllers.
    pub fn find(root: &Path, wanted: &[Controller]) -> Result<Self, StartError> {
        let own = fs::read_to_string(root.join("proc/self/cgroup"))
            .map_err(|error| StartError::Cgroup(format!("/proc/self/cgroup cannot be read: {error}.")))?;
        let mut unified = None;
        let (mut needed, mut spots) = (Vec::new(), Vec::<Spot>::new());
        for controller in Controller::ALL {
            let is_wanted = wanted.contains(&controller);
            let hierarchy = match Hierarchy::find(root, controller.name()) {
                Ok(hierarchy) => hierarchy,
                Err(why) if is_wanted => return Err(no_controller(controller, &why)),
                Err(_) => continue,
            };
            let Some(path) = hierarchy.path_in(&own, controller.name()) else { continue };
            if hierarchy.is_unified() {
                if is_wanted {
                    needed.push(controller);
                }
                unified = Some((hierarchy.clone(), path.to_owned()));
            } else if let Some(both) =
                // Mounted together, they are one hierarchy.
                spots.iter_mut().find(|spot| spot.folder.starts_with(hierarchy.mount()))
            {
                both.controllers.push(controller);
            } else {
                match legacy(&hierarchy, path, controller) {
                    Ok(spot) => spots.push(spot),
                    Err(error) if is_wanted => return Err(error),
                    Err(_) => {}
                }
            }
        }
        if let Some((hierarchy, path)) = unified.filter(|_| !needed.is_empty()) {
            spots.push(second(&hierarchy, &path, &needed)?);
        }
        Ok(Self { spots, undo: Vec::new() })
    }

    /// The places, one in each hierarchy.
    #[must_use]
    pub fn spots(&self) -> &[Spot] {
        &self.spots
    }

    /// Has the cgroups that are made there have their controllers.
    pub fn enable(&mut self) -> Result<(), StartError> {
        for spot in &mut self.spots {
            for controller in std::mem::take(&mut spot.to_enable) {
                let file = spot.folder.join("cgroup.subtree_control");
                let refused = |error: io::Error| {
                    StartError::Cgroup(format!(
                        "The {} controller cannot be given to the cgroups in {}: {error}. {WAY_OUT}.",
                        controller.name(),
                        shown_path(&spot.folder)
                    ))
                };
                fs::write(&file, format!("+{}", controller.name())).map_err(refused)?;
                self.undo.push((file, format!("-{}", controller.name())));
            }
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for (file, text) in &self.undo {
            // Refused where somebody else has come to use it meanwhile (EBUSY), which is to stay.
            let _ = fs::write(file, text);
        }
    }
}

/// The nearest cgroup of a controller's own hierarchy in which others can be made.
fn legacy(hierarchy: &Hierarchy, own: &str, controller: Controller) -> Result<Spot, StartError> {
    let found = above(own).find(|path| may_write(&hierarchy.folder(path)));
    let path = found.ok_or_else(|| refused(&folder_of(hierarchy, own)))?;
    Ok(Spot {
        unified: false,
        folder: hierarchy.folder(path),
        path: path.to_owned(),
        controllers: vec![controller],
        to_enable: Vec::new(),
    })
}

/// The nearest cgroup of version 2 in which others can be made that have the controllers.
///
/// Ours has processes, so that those in it can have no controllers (the "no internal process constraint",
/// Documentation/admin-guide/cgroup-v2.rst), unless it is the root.
fn second(hierarchy: &Hierarchy, own: &str, needed: &[Controller]) -> Result<Spot, StartError> {
    let words = |path: &str, file: &str| hierarchy.text(path, file).unwrap_or_default();
    let missing = |path: &str, file: &str| {
        let text = words(path, file);
        let lacks = |controller: &&Controller| !text.split_whitespace().any(|own| own == controller.name());
        needed.iter().filter(lacks).copied().collect::<Vec<_>>()
    };
    // Whoever moves a process needs to be allowed to write this of the nearest cgroup above both its old and its new one
    // (`cgroup_procs_write_permission()`, kernel/cgroup/cgroup.c).
    let writable = |path: &str| {
        let folder = hierarchy.folder(path);
        may_write(&folder) && access(&folder.join("cgroup.procs"), Access::WRITE_OK)
    };
    let spot = |path: &str, to_enable: Vec<Controller>| {
        let held = words(path, "cgroup.subtree_control");
        let has = |controller: &Controller| held.split_whitespace().any(|own| own == controller.name());
        let controllers =
            Controller::ALL.into_iter().filter(|one| has(one) || to_enable.contains(one)).collect();
        let folder = hierarchy.folder(path);
        Spot { unified: true, folder, path: path.to_owned(), controllers, to_enable }
    };
    let given = above(own).find(|path| missing(path, "cgroup.subtree_control").is_empty() && writable(path));
    if let Some(path) = given {
        return Ok(spot(path, Vec::new()));
    }
    // One whose own have none yet, and can be given some.
    let can_be = above(own).find(|path| {
        // The root, which alone has no type, may have both.
        let is_root = hierarchy.text(path, "cgroup.type").is_none();
        missing(path, "cgroup.controllers").is_empty()
            && writable(path)
            && access(&hierarchy.folder(path).join("cgroup.subtree_control"), Access::WRITE_OK)
            && (is_root || words(path, "cgroup.procs").is_empty())
    });
    match can_be {
        Some(path) => Ok(spot(path, missing(path, "cgroup.subtree_control"))),
        None if above(own).any(writable) => Err(StartError::Cgroup(format!(
            "The command cannot have a cgroup with the {} controller: the cgroups in {} have none, and cannot be given any while it has \
             processes itself. Run oomtrace in one of its own below one that gives its own that controller: `systemd-run --scope oomtrace \
             run …`.",
            needed.iter().map(|one| one.name()).collect::<Vec<_>>().join(" or "),
            shown_path(&folder_of(hierarchy, own))
        ))),
        None => Err(refused(&folder_of(hierarchy, own))),
    }
}

/// A cgroup, those above it, and the root.
fn above(own: &str) -> impl Iterator<Item = &str> {
    upwards(own).chain([""])
}

/// The folder of a cgroup, for people.
fn folder_of(hierarchy: &Hierarchy, own: &str) -> PathBuf {
    // Of the root without a slash behind it.
    hierarchy.folder(own).components().collect()
}

fn refused(folder: &Path) -> StartError {
    StartError::Cgroup(format!(
        "The command cannot have a cgroup of its own: nothing may be made in {}, nor in those above it. {WAY_OUT}.",
        shown_path(folder)
    ))
}

fn no_controller(controller: Controller, why: &str) -> StartError {
    let boot = match controller {
        Controller::Memory => " Boot with cgroup_enable=memory, or mount it.",
        Controller::Pids => "",
    };
    StartError::Cgroup(format!("{} cannot be kept here: {why}.{boot}", controller.option()))
}

/// Whether this user may make folders in it.
fn may_write(folder: &Path) -> bool {
    access(folder, Access::WRITE_OK | Access::EXEC_OK)
}

fn access(path: &Path, access: Access) -> bool {
    accessat(CWD, path, access, AtFlags::EACCESS).is_ok()
}
