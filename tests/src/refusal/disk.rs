//! `--record` where nothing can be written, and where the disk fills up on the way.

use std::fmt::Debug;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
};

use super::ending::{check, ends, of_case, status};
use super::run::{Installed, Start};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::eater::Eater;
use crate::incident::victim_pids;
use crate::size::MIB;
use crate::stage::{Stage, argument};
use crate::tracer::Tracer;
use crate::watch::{Watch, read};

/// The kills that are recorded: more than the small disk has room for.
const KILLS: u32 = 3;
/// How long oomtrace may take to say that the disk is full.
const NOTICE: Duration = Duration::from_secs(5);

/// A filesystem in memory that is mounted nowhere, and goes when this does.
#[derive(Debug)]
struct Disk(OwnedFd);

/// Checks each. Gives a whole recording of some kills, for others to damage.
pub fn cases(stage: &mut Stage<'_>, oomtrace: &Installed) -> Result<PathBuf> {
    let read_only = Disk::new("64k", MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    let unwritable = [
        (oomtrace.scratch.file("no-such-folder/recording"), "No such file"),
        (read_only.file("recording"), "Read-only file system"),
        (PathBuf::from("/proc"), "directory"),
        (PathBuf::from("/dev/full"), "No space left"),
    ];
    for (file, reason) in unwritable {
        let path = argument(&file)?;
        let run = oomtrace.trace(&Start::default(), &["--record", path])?;
        ends(stage, &format!("--record {path}"), run, (status::FAILED, &[path, reason]));
    }

    // One page, of which the head takes a part.
    let small = Disk::new("4k", MountAttrFlags::empty())?;
    let (full, whole) = (small.file("recording"), oomtrace.scratch.file("whole"));
    let filling = recording(stage, oomtrace, &full)?;
    let recording = recording(stage, oomtrace, &whole)?;
    let pids = kills(stage, filling, recording, argument(&full)?)?;

    let output =
        oomtrace.start(&Start::default(), &["replay", "--json", argument(&full)?])?.finish(stage.deadline)?;
    let replayed = victim_pids(&output.stdout);
    stage.checks.that(pids.starts_with(&replayed) && replayed.len() < pids.len(), || {
        format!("a recording that ran out of room has the kills {replayed:?} of {pids:?}")
    });
    stage.checks.note("kills recorded before the disk was full", replayed.len());
    Ok(whole)
}

/// Starts an oomtrace that records.
fn recording(stage: &Stage<'_>, oomtrace: &Installed, file: &Path) -> Result<Tracer> {
    let mut run = oomtrace.trace(&Start::default(), &["--json", "--record", argument(file)?])?;
    run.attached(stage.deadline)?;
    Ok(run)
}

/// Makes kills that both see, and judges both. Gives the victims.
fn kills(stage: &mut Stage<'_>, mut filling: Tracer, mut recording: Tracer, full: &str) -> Result<Vec<u64>> {
    let tree = stage.tree()?;
    let watch = Watch::begin(None, &[], stage.deadline)?;
    let mut killed: Vec<(Eater, _)> = Vec::new();
    for number in 0..KILLS {
        let group = tree.group(&format!("recorded-{number}"))?;
        group.set_limit(16 * MIB)?;
        let mut eater = stage.eater(
            format!("recorded-{number}"),
            &Eat { anon: 32 * MIB, ..Eat::default() },
            Some(&group),
        )?;
        eater.order(word::FILL)?;
        eater.killed(stage.deadline)?;
        killed.push((eater, group));
    }
    let pids: Vec<u64> = killed.iter().map(|(eater, _)| eater.pid()).collect();
    let expected: Vec<_> =
        killed.iter().map(|(eater, group)| Expected::kill(&eater.facts, &eater.facts, group)).collect();
    let mut seen = watch.finish(&pids, stage.deadline)?;

    recording.reported(&pids, stage.deadline);
    seen.traced = Some(read(recording.stop(stage.deadline)?)?);
    let eaters: Vec<_> = killed.iter().map(|(eater, _)| &eater.facts).collect();
    of_case(stage, "a recorded run", |stage| stage.judge(&seen, &expected, &eaters));

    filling.reported(&pids, stage.deadline);
    let told = filling.hear(full, stage.deadline.or_after(NOTICE)).unwrap_or(false);
    stage.checks.that(told, || "a full disk: oomtrace does not say so while it goes on".to_owned());
    let output = filling.stop(stage.deadline)?;
    stage.keep_output("full-disk", &output)?;
    check(&mut stage.checks, "a full disk", &output, (status::FAILED, &[full, "No space left"]));
    let reported = victim_pids(&output.stdout);
    stage.checks.equal("a full disk: kills reported", Some(&reported), Some(&pids), "the scenario");
    Ok(pids)
}

impl Disk {
    /// Makes one of that size.
    fn new(size: &str, attributes: MountAttrFlags) -> Result<Self> {
        let made = || {
            let filesystem = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
            fsconfig_set_string(&filesystem, "size", size)?;
            fsconfig_create(&filesystem)?;
            fsmount(&filesystem, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        };
        made().map(Self).context("cannot make a filesystem in memory")
    }

    /// A file on it, as other processes reach it.
    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}/{name}", process::id(), self.0.as_raw_fd()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;

    use rustix::process::geteuid;

    use super::*;

    /// Guards the disks: one is full after a page, the other takes nothing.
    #[test]
    fn disks_fill_up_and_refuse() {
        if !geteuid().is_root() {
            return;
        }
        let small = Disk::new("4k", MountAttrFlags::empty()).unwrap();
        fs::write(small.file("one"), [1; 4096]).unwrap();
        assert_eq!(fs::write(small.file("two"), [1]).unwrap_err().kind(), ErrorKind::StorageFull);
        let read_only = Disk::new("4k", MountAttrFlags::MOUNT_ATTR_RDONLY).unwrap();
        assert_eq!(fs::write(read_only.file("one"), []).unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    }
}
