//! The same kill in several logs: /var/log/kern.log, /var/log/syslog and the journal have it each.

use std::collections::{HashMap, HashSet};

use crate::incident::{Common, Incident, Relief};

/// Two logs' stamps of one message are no more than this apart, ns: some have whole seconds, and daemons read late.
const APART_NS: u64 = 5_000_000_000;
/// Incidents that are remembered, at most.
const REMEMBERED: usize = 100_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Duplicates {
    known: HashMap<Name, Vec<Seen>>,
    count: usize,
    /// Ids of incidents that were there before: nobody wants to hear of their victims' memory again either.
    left_out: HashSet<String>,
    /// How many files were begun.
    file: usize,
}

/// A victim, as the log names it: process, name, size of its address space.
type Name = (Option<u32>, Option<String>, Option<u64>);

#[derive(Debug)]
struct Seen {
    file: usize,
    boot_id: Option<String>,
    boot_ns: Option<u64>,
    time_ns: Option<u64>,
}

impl Duplicates {
    /// Another file begins.
    pub fn next_file(&mut self) {
        self.file += 1;
    }

    /// Whether it was there before: in another file, or in this one with the very stamp of printk's (`dmesg >>file`, again and
    /// again). Of two kills in one file that have no such stamp nothing says that they are one.
    pub fn has(&mut self, incident: &Incident) -> bool {
        let Some(victim) = incident.victims.first() else { return false };
        let name = (victim.tid, victim.comm.clone(), victim.total_vm_bytes);
        let seen = Seen::new(self.file, &incident.common);
        let known = self.known.entry(name).or_default();
        let is = |other: &Seen| if other.file == seen.file { other.is_copy(&seen) } else { other.is(&seen) };
        if known.iter().any(is) {
            if self.left_out.len() < REMEMBERED {
                self.left_out.insert(incident.id.clone());
            }
            return true;
        }
        if self.count < REMEMBERED {
            self.count += 1;
            known.push(seen);
        }
        false
    }

    /// Whether that is of an incident that was there before.
    pub fn is_of_one(&self, relief: &Relief) -> bool {
        self.left_out.contains(&relief.id)
    }
}

impl Seen {
    fn new(file: usize, common: &Common) -> Self {
        let time_ns = common.time.and_then(|time| u64::try_from(time.0.as_nanosecond()).ok());
        Self { file, boot_id: common.boot_id.clone(), boot_ns: common.boot_ns, time_ns }
    }

    /// Whether both are one message, to the microsecond.
    fn is_copy(&self, other: &Self) -> bool {
        self.boot_ns.is_some() && self.boot_ns == other.boot_ns && self.boot_id == other.boot_id
    }

    /// Whether both are one: by the wall clock; by printk's, if nothing says that the boots are different.
    fn is(&self, other: &Self) -> bool {
        let near = |one: Option<u64>, other: Option<u64>| {
            one.zip(other).map(|(one, other)| one.abs_diff(other) <= APART_NS)
        };
        let boots = self.boot_id.as_ref().zip(other.boot_id.as_ref()).is_none_or(|(one, other)| one == other);
        boots
            && near(self.time_ns, other.time_ns)
                .or_else(|| near(self.boot_ns, other.boot_ns))
                .unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::tests::memcg;
    use crate::incident::WallTime;

    fn at(seconds: i128) -> Incident {
        let mut incident = memcg();
        incident.common.boot_ns = Some(u64::try_from(seconds).unwrap());
        incident.common.time = Some(WallTime::from_ns(seconds * 1_000_000_000));
        incident
    }

    /// Guards the count of kills where several logs have them, and that another kill of the same name stays one.
    #[test]
    fn a_second_witness_is_no_second_kill() {
        let mut duplicates = Duplicates::default();
        assert!(!duplicates.has(&at(100)));
        assert!(!duplicates.has(&at(102)), "the same log has it at another time: two kills");
        assert!(duplicates.has(&at(100)), "the same log has it twice, to the microsecond");
        duplicates.next_file();
        assert!(duplicates.has(&at(103)), "another log, a moment later");
        assert!(!duplicates.has(&at(200)));
        duplicates.next_file();
        let mut other = at(103);
        other.victims[0].total_vm_bytes = Some(1);
        assert!(!duplicates.has(&other), "another size");
        let mut unstamped = memcg();
        (unstamped.common.time, unstamped.common.boot_ns) = (None, None);
        assert!(!duplicates.has(&unstamped), "nothing says that it is the same");
    }
}
