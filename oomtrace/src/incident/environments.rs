//! What sets how much memory processes use, by process: of their environments. It comes before or just after their marks.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    record::{Environment, Task, environment::NAMES},
    session::Session,
};

/// Among what a session lacks: victims' environments.
pub const VICTIMS_ENVIRONMENT: &str = "victims.environment";
/// Why there is none.
const UNTOLD: &str = "it was not in memory, or the process did not run again before this was told, or an earlier oomtrace recorded it";
/// Why others may be there.
const CUT: &str = "it goes on behind what was read: variables that stand there are not known";
/// Processes whose environment is kept. The oldest go first.
const KEPT: usize = 256;

/// What came lately.
#[derive(Debug, Default)]
pub struct Environments {
    /// The latest last.
    known: VecDeque<Environment>,
}

impl Environments {
    /// Takes one in.
    pub fn take(&mut self, environment: Environment) {
        if self.known.len() >= KEPT {
            self.known.pop_front();
        }
        self.known.push_back(environment);
    }

    /// That of a task's process, to be told as a part of `field`. Why there is none is noted in `missing`.
    pub fn told(
        &self,
        task: &Task,
        field: &str,
        session: &Session,
        missing: &mut BTreeMap<String, String>,
    ) -> Option<BTreeMap<String, String>> {
        let process = (task.pid, task.start_boot_ns);
        let found = self.known.iter().rev().find(|known| (Some(known.pid), known.start_boot_ns) == process);
        if found.is_none() {
            let reason = session.missing.get(VICTIMS_ENVIRONMENT).map_or(UNTOLD, String::as_str);
            missing.insert(format!("{field}.environment"), reason.to_owned());
        }
        if found.is_some_and(|known| known.truncated && known.variables.len() < NAMES.len()) {
            missing.insert(format!("{field}.environment"), CUT.to_owned());
        }
        found.map(|known| known.variables.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kernel::hooks::Tier, session::tests::sample};

    fn environment(pid: u32) -> Environment {
        let variables = BTreeMap::from([("GOMEMLIMIT".to_owned(), pid.to_string())]);
        Environment { pid, start_boot_ns: Some(5), variables, truncated: false }
    }

    /// Guards whose environment is told: that of the process, and of no other with its id; why there is none; and memory.
    #[test]
    fn an_environment_is_its_process_s() {
        let mut known = Environments::default();
        (0..10_000).for_each(|pid| known.take(environment(pid)));
        assert_eq!(known.known.len(), KEPT);
        let mut session = sample(Tier::Trampoline);
        let mut missing = BTreeMap::new();
        let task = Task { pid: Some(9_999), start_boot_ns: Some(5), ..Task::default() };
        let told = known.told(&task, "victims[0]", &session, &mut missing);
        assert_eq!((told, missing.len()), (Some(environment(9_999).variables), 0));
        let other = Task { start_boot_ns: Some(6), ..task };
        assert_eq!(known.told(&other, "victims[0]", &session, &mut missing), None);
        assert_eq!(missing.get("victims[0].environment").map(String::as_str), Some(UNTOLD));
        session.missing.insert(VICTIMS_ENVIRONMENT.to_owned(), "no".to_owned());
        assert_eq!(known.told(&other, "victims[0]", &session, &mut missing), None);
        assert_eq!(missing.get("victims[0].environment").map(String::as_str), Some("no"));
    }
}
