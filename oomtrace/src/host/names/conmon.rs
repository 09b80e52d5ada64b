//! The name of a container that Podman or CRI-O watches: `conmon`, the parent of its first process, was started with it.
//! It is the one place that tells the name of a container of a user's own (`podman` without root), whose files are in that
//! user's home, where anything may be and reading may wait for a server.

use std::path::Path;

use super::read;
use crate::{host::container, incident::Ancestor};

/// Of its arguments, as the kernel keeps them: id and name are within the first thousand bytes.
const ARGUMENTS: u64 = 4096;
/// Of its cgroups.
const CGROUPS: u64 = 1 << 16;

/// What the container `id` was called when it was started, by the conmon above a process of it.
pub(super) fn name(proc: &Path, id: &str, ancestors: &[Ancestor]) -> Option<String> {
    let called = |ancestor: &&Ancestor| ancestor.comm.as_deref() == Some("conmon");
    ancestors.iter().filter(called).find_map(|ancestor| {
        let folder = proc.join(ancestor.pid.to_string());
        let arguments = read::bytes(&folder.join("cmdline"), ARGUMENTS)?;
        let arguments: Vec<&[u8]> = arguments.split(|byte| *byte == 0).collect();
        let value = |option: &[u8]| {
            let at = arguments.iter().position(|argument| *argument == option)?;
            str::from_utf8(arguments.get(at + 1)?).ok()
        };
        // It may be another process by now. And who is in the container may call itself anything.
        let watches = value(b"-c") == Some(id) && !is_in(&folder, id)?;
        watches.then(|| value(b"-n").and_then(read::text))?
    })
}

/// Whether a process is in the container.
fn is_in(process: &Path, id: &str) -> Option<bool> {
    let cgroups = read::bytes(&process.join("cgroup"), CGROUPS)?;
    let lines = cgroups.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    // `HIERARCHY:CONTROLLERS:PATH`
    let mut paths = lines.map(|line| line.splitn(3, |byte| *byte == b':').nth(2).unwrap_or_default());
    Some(paths.any(|path| {
        let inside = container::of(&String::from_utf8_lossy(path));
        inside.is_some_and(|inside| inside.id == id)
    }))
}
