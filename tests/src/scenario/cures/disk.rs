//! A root file system on a disk, as machines have it: the guest's own is in memory, where there can be no swap file.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Where the guest's disk is mounted, which is written to only when the guest is at its end.
const FOLDER: &str = "/run/oomtrace-tests-disk";
/// Makes a file system there, and a root in it, with what a shell needs of the guest's own.
const MOUNT: &str = "mke2fs -q -t ext4 -O ^has_journal /dev/nvme0n1 1536M
    mkdir -p $FOLDER
    mount /dev/nvme0n1 $FOLDER
    cd $FOLDER
    ln -s usr/bin bin
    ln -s usr/bin sbin
    ln -s usr/lib lib
    ln -s usr/lib64 lib64
    for folder in dev proc sys usr; do mkdir $folder; mount --bind /$folder $folder; done";
/// Takes the swap file there out of use, and unmounts it.
const UNMOUNT: &str = "[ ! -e $FOLDER/swapfile ] || swapoff $FOLDER/swapfile
    for folder in dev proc sys usr; do umount $FOLDER/$folder; done
    umount $FOLDER";

/// The mounted disk. Dropping it takes its swap file out of use, and unmounts it.
pub struct Disk(());

impl Disk {
    /// Makes it, and mounts it.
    pub fn mount() -> Result<Self> {
        let disk = Self(());
        script(MOUNT).map(|()| disk)
    }

    /// A shell that runs `command` there.
    pub fn shell(command: &str) -> Command {
        let mut chroot = Command::new("chroot");
        chroot.args([FOLDER, "bash", "-c", command]);
        chroot
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = script(UNMOUNT) {
            eprintln!("{error:#}");
        }
    }
}

fn script(script: &str) -> Result<()> {
    let mut bash = Command::new("bash");
    let status =
        bash.env("FOLDER", FOLDER).args(["-e", "-c", script]).status().context("cannot start bash")?;
    ensure!(status.success(), "the disk's script ended with {status}: {script}");
    Ok(())
}
