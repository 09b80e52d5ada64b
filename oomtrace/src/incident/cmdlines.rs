//! Command lines, by process. A trigger's comes before its mark, another victim's a moment after it.

use std::collections::{BTreeMap, VecDeque};

use super::types::Command;
use crate::{
    record::{Cmdline, Task},
    session::Session,
    text::arguments,
};

/// Among what a session lacks: triggers' command lines.
pub const TRIGGER_CMDLINE: &str = "trigger.cmdline";
/// The same: command lines of victims that are no triggers.
pub const VICTIMS_CMDLINE: &str = "victims.cmdline";
/// Why there is none yet, or will never be.
pub const UNTOLD: &str = "it was not in memory, or the process did not run again before this was told";
/// Text that is kept, bytes. The oldest goes first.
const KEPT_BYTES: usize = 256 * 1024;

/// Those that came lately.
#[derive(Debug, Default)]
pub struct Cmdlines {
    /// The latest last.
    known: VecDeque<Cmdline>,
    bytes: usize,
}

impl Cmdlines {
    /// Takes one in.
    pub fn take(&mut self, cmdline: Cmdline) {
        self.bytes += size(&cmdline);
        self.known.push_back(cmdline);
        while self.bytes > KEPT_BYTES
            && let Some(oldest) = self.known.pop_front()
        {
            self.bytes -= size(&oldest);
        }
    }

    /// That of a task's process; why there is none.
    pub fn of(&self, task: &Task) -> Result<Command, &'static str> {
        if task.is_kernel_thread() {
            return Err("a thread of the kernel has none");
        }
        let process = (task.pid, task.start_boot_ns);
        let found = self.known.iter().rev().find(|known| (Some(known.pid), known.start_boot_ns) == process);
        found.map(command).ok_or(UNTOLD)
    }

    /// The same, to be told as `field`. Why there is none is noted in `missing`: above all that the session lacks all of
    /// the kind, `of_all`.
    pub fn told(
        &self,
        task: &Task,
        field: &str,
        of_all: &str,
        session: &Session,
        missing: &mut BTreeMap<String, String>,
    ) -> Command {
        self.of(task).unwrap_or_else(|reason| {
            let reason = session.missing.get(of_all).map_or(reason, String::as_str);
            missing.insert(field.to_owned(), reason.to_owned());
            Command::default()
        })
    }
}

/// As it is told.
pub fn command(cmdline: &Cmdline) -> Command {
    Command { cmdline: Some(arguments(&cmdline.text)), cmdline_truncated: cmdline.truncated }
}

fn size(cmdline: &Cmdline) -> usize {
    size_of::<Cmdline>() + cmdline.text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cmdline(pid: u32, text: &[u8]) -> Cmdline {
        Cmdline { pid, start_boot_ns: Some(5), text: text.to_vec(), truncated: false }
    }

    fn task(pid: u32) -> Task {
        Task { pid: Some(pid), start_boot_ns: Some(5), flags: Some(0), ..Task::default() }
    }

    /// Guards whose command line is told: that of the process, the latest, and of no other with its id.
    #[test]
    fn a_command_line_is_its_process_s() {
        let mut known = Cmdlines::default();
        known.take(cmdline(7, b"old\0"));
        known.take(cmdline(7, b"new\0-x\0"));
        assert_eq!(known.of(&task(7)).unwrap().cmdline.unwrap(), ["new", "-x"]);
        assert!(known.of(&task(8)).is_err());
        assert!(known.of(&Task { start_boot_ns: Some(6), ..task(7) }).is_err());
        let kernel_thread = Task { flags: Some(0x0020_0000), ..task(7) };
        assert_eq!(known.of(&kernel_thread), Err("a thread of the kernel has none"));
    }

    /// Guards memory: what is kept has a bound, whoever sends how much.
    #[test]
    fn what_is_kept_has_a_bound() {
        let mut known = Cmdlines::default();
        for pid in 0..10_000 {
            known.take(cmdline(pid, &[b'a'; 4040]));
        }
        assert!(known.bytes <= KEPT_BYTES && !known.known.is_empty());
        assert!(known.of(&task(0)).is_err());
        assert!(known.of(&task(9_999)).is_ok());
    }
}
