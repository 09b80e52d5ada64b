//! What a forker is told, and what it answers: one JSON value a line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::fork::call::Call;
use crate::fork::state::Policy;

/// One thing to do. Each is answered by one [`Answer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Take this name.
    Name(String),
    /// Write `text` to `file`: to join a cgroup, to change a setting of the kernel's.
    Write {
        /// Where.
        file: PathBuf,
        /// What.
        text: String,
    },
    /// Become this user, without any capability unless it is 0, and this user's group.
    Become(u32),
    /// Set a limit of this process's.
    Limit {
        /// `RLIMIT_*`.
        resource: u32,
        /// What holds.
        soft: u64,
        /// What it may be raised to.
        hard: u64,
    },
    /// Wait until somebody else has raised a limit of this process's from 0: without descriptors it could not say that it is
    /// ready.
    AwaitLimit {
        /// `RLIMIT_*`.
        resource: u32,
    },
    /// Have this file or folder open under this number.
    Open {
        /// The file.
        file: PathBuf,
        /// The number.
        descriptor: i32,
    },
    /// Leave the namespaces of these `CLONE_NEW*` flags for new ones.
    Unshare(u64),
    /// As before, and go on as a child: for PID namespaces, whose first process that is, and for changes that are not
    /// to last.
    Enter(u64),
    /// Answer, and end as that child: its parent goes on.
    Leave,
    /// Take a new user namespace's first user's place: map it to the user outside.
    MapUser {
        /// Who it is inside.
        inside: u32,
        /// Who it is outside.
        outside: u32,
    },
    /// Map private, writable memory.
    Map {
        /// Bytes of each mapping.
        bytes: u64,
        /// Mappings.
        pieces: u64,
        /// Whether it is touched.
        touch: bool,
    },
    /// Lock all memory that there is of this process.
    Lock,
    /// Run under a policy.
    Schedule(Policy),
    /// Have all system calls that make a process or a thread return this error from now on, by a filter.
    Filter(i32),
    /// Have all system calls begin late, by filters that take their time.
    Dawdle,
    /// Take this signal from now on, and do nothing about it.
    Heed(i32),
    /// Have another thread execute a file that cannot be opened for a while, until [`Order::ExecuteNoMore`].
    Execute,
    /// Let that file be opened; it is no program.
    ExecuteNoMore,
    /// Make children that sleep until [`Order::Release`] or this process's end.
    Hold {
        /// How.
        call: Call,
        /// How many. The first that cannot be made is the end of it.
        count: u64,
    },
    /// Let all of them end.
    Release,
    /// Make children that end at once, and are waited for, so often.
    Attempt {
        /// How.
        call: Call,
        /// How often.
        times: u64,
    },
    /// The same for so many milliseconds, as fast as it goes.
    Storm {
        /// How.
        call: Call,
        /// How long.
        millis: u64,
    },
    /// Keep a way open into a cgroup and back: who has no rights later can go it still, and where there is no memory
    /// even to open a file.
    Gate {
        /// The cgroup.procs file of the cgroup to join.
        there: PathBuf,
        /// That of the cgroup to go back to.
        back: PathBuf,
    },
    /// Go through the gate, carry out these whatever fails, and go back: a cgroup may be so full that there is no
    /// memory to answer with.
    Within(Vec<Order>),
    /// As a storm, but without waiting for the children.
    Flood {
        /// How.
        call: Call,
        /// How long.
        millis: u64,
    },
    /// Have forks wait within the kernel until this process is killed.
    Trap,
    /// Carry out all of these, whatever fails, and answer once. The counts are added up.
    All(Vec<Order>),
}

/// The answer to an order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The forking task's process id, where /proc was mounted.
    pub pid: u64,
    /// Its thread's.
    pub tid: u64,
    /// Its ids by PID namespace, from there to its own.
    pub ns_pids: Vec<u64>,
    /// What came of the calls, if there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tally: Option<Tally>,
    /// Why the order could not be carried out, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What came of a number of calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many were made.
    pub attempts: u64,
    /// How many of them made a child.
    pub successes: u64,
    /// How many failed, by error number.
    pub failures: BTreeMap<i32, u64>,
    /// The id of the last child, in the forker's PID namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_id: Option<i32>,
    /// `CLOCK_BOOTTIME` before the first, in ns.
    pub begun_ns: u64,
    /// And after the last.
    pub ended_ns: u64,
}

impl Tally {
    /// Counts one call.
    pub fn count(&mut self, result: Result<i32, i32>) {
        self.attempts += 1;
        match result {
            Ok(id) => {
                self.successes += 1;
                self.last_id = Some(id);
            }
            Err(error) => *self.failures.entry(error).or_default() += 1,
        }
    }

    /// Adds another's counts to its own.
    pub fn add(&mut self, other: &Self) {
        if other.attempts == 0 {
            return;
        }
        if self.attempts == 0 {
            self.begun_ns = other.begun_ns;
        }
        self.attempts += other.attempts;
        self.successes += other.successes;
        for (error, count) in &other.failures {
            *self.failures.entry(*error).or_default() += count;
        }
        self.last_id = other.last_id.or(self.last_id);
        self.ended_ns = other.ended_ns;
    }

    /// How many failed with this error.
    #[must_use]
    pub fn failed(&self, error: i32) -> u64 {
        self.failures.get(&error).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the form in which orders and answers cross the pipe: what is written can be read.
    #[test]
    fn lines_are_read_as_they_were_written() {
        let call = Call::Clone3 { flags: 1 << 32 };
        let mut tally = Tally::default();
        tally.count(Ok(7));
        tally.count(Err(11));
        tally.count(Err(11));
        let order = Order::All(vec![Order::Attempt { call, times: 3 }, Order::Release]);
        let line = serde_json::to_string(&order).unwrap();
        assert_eq!(serde_json::from_str::<Order>(&line).unwrap(), order);
        let answer = Answer { pid: 1, tally: Some(tally.clone()), ..Answer::default() };
        let line = serde_json::to_string(&answer).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Answer>(&line).unwrap(), answer);
        tally.add(&tally.clone());
        assert_eq!((tally.attempts, tally.successes, tally.failed(11), tally.failed(12)), (6, 2, 4, 0));
    }
}
