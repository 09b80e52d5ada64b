//! Tries out every cause without oomtrace: whether it comes about, and whether the forkers' counts are the kernel's.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::json;

use crate::deadline::Deadline;
use crate::fork::cause::{CASES, Case};
use crate::fork::ground::Ground;
use crate::fork::truth::Truth;
use crate::fork::witness::{COPY_PROCESS, Counts, Returns, failed};
use crate::machine::Machine;
use crate::witness::kmsg::KernelLog;

/// What to try out.
#[derive(Debug, Args)]
pub struct SelfTest {
    /// Only those whose names begin with one of these.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How often each call is to fail.
    #[arg(long, default_value_t = 10)]
    times: u64,
    /// Print each truth as a line of JSON.
    #[arg(long)]
    json: bool,
    /// The machine was made for this: see `run`.
    #[arg(long)]
    disposable: bool,
}

/// How long one of them may take.
const LIMIT: Duration = Duration::from_mins(2);

impl SelfTest {
    /// Tries them out. Gives whether all came about and were counted alike.
    pub fn run(&self) -> Result<bool> {
        let machine = Machine::look(self.disposable)?;
        ensure!(machine.lacking.is_empty(), "{}", machine.lacking.join("\n"));
        println!("Linux {}", machine.kernel);
        let mut returns = Returns::watch()?;
        if returns.is_none() {
            println!("the kernel has no probes: there are only the forkers' own counts");
        }
        let mut good = true;
        let chosen =
            |case: &&Case| self.only.is_empty() || self.only.iter().any(|name| case.name.starts_with(name));
        for case in CASES.iter().filter(chosen) {
            if let Some(reason) = case.needs.unmet(&machine)? {
                println!("{:34} not applicable: {reason}", case.name);
                continue;
            }
            if let Err(error) = self.try_out(case, &machine, returns.as_mut()) {
                println!("{:34} FAILED: {error:#}", case.name);
                good = false;
            }
        }
        Ok(good)
    }

    fn try_out(&self, case: &Case, machine: &Machine, returns: Option<&mut Returns>) -> Result<()> {
        let mut log = KernelLog::mark()?;
        let ground = Ground { machine, deadline: Deadline::after(LIMIT) };
        let truths = (case.provoke)(&ground, self.times)?;
        let counts =
            returns.map(|returns| returns.ensure_whole().and_then(|()| returns.take())).transpose()?;
        for line in summary(&truths, counts.as_ref()) {
            println!("{:34} {line}", case.name);
        }
        if self.json {
            for truth in &truths {
                println!("{}", json!({"case": case.name, "kernel": machine.kernel, "truth": truth}));
            }
        }
        log.read()?;
        for line in log.text().iter().take(4) {
            println!("{:34} kernel log: {line}", "");
        }
        counts.map_or(Ok(()), |counts| compare(&truths, &counts, case.hidden))
    }
}

/// Lines on what failed, and in which functions.
fn summary(truths: &[Truth], counts: Option<&Counts>) -> Vec<String> {
    let mut calls: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for truth in truths {
        let error = truth.errno.map_or_else(|| "dead".to_owned(), name_of);
        let limit = truth.limit.map_or_else(String::new, |limit| {
            let usage = truth.usage.map_or_else(|| "?".to_owned(), |usage| usage.to_string());
            format!(", {usage} of {limit} {}", truth.unit)
        });
        let key = format!("{error} for {}{limit}", truth.cause.unwrap_or("nothing"));
        calls.entry(key).or_default().push(format!("{} x{}", truth.call, truth.count));
    }
    let mut lines: Vec<_> =
        calls.into_iter().map(|(key, calls)| format!("{key}: {}", calls.join(", "))).collect();
    // By whom it does not matter here.
    let mut by_function: BTreeMap<(&str, i32), u64> = BTreeMap::new();
    for ((_, function, error), count) in counts.into_iter().flatten() {
        *by_function.entry((function, *error)).or_default() += count;
    }
    let seen: Vec<_> = by_function
        .iter()
        .map(|((function, error), count)| format!("{function} {} x{count}", name_of(*error)))
        .collect();
    if !seen.is_empty() {
        lines.push(format!("seen by: {}", seen.join(", ")));
    }
    lines
}

/// Checks that the kernel returned as many errors to each thread as the thread got, or would have got if it had lived, and
/// one at least of those that are hidden.
fn compare(truths: &[Truth], counts: &Counts, hidden: &[i32]) -> Result<()> {
    let seen = |error: &i32| counts.keys().any(|key| (key.1, key.2) == (COPY_PROCESS, *error));
    ensure!(hidden.is_empty() || hidden.iter().any(seen), "the kernel returned none of {hidden:?}");
    for truth in truths.iter().filter(|truth| !truth.hidden.is_empty()) {
        let seen: u64 = truth.hidden.iter().map(|error| failed(counts, truth.tid, *error)).sum();
        ensure!(
            seen == truth.count,
            "the kernel returned one of {:?} to thread {} {seen} times, and not {}",
            truth.hidden,
            truth.tid,
            truth.count
        );
    }
    let mut told: BTreeMap<(u64, i32), u64> = BTreeMap::new();
    for truth in truths {
        if let Some(error) = truth.errno {
            *told.entry((truth.tid, error)).or_default() += if truth.reached { truth.count } else { 0 };
        }
    }
    for ((tid, error), count) in told {
        let seen = failed(counts, tid, error);
        ensure!(
            seen == count,
            "thread {tid} got {} {count} times, and the kernel returned it {seen} times",
            name_of(error)
        );
    }
    Ok(())
}

/// The name of an error number.
#[must_use]
pub fn name_of(error: i32) -> String {
    let name = match error {
        libc::EPERM => "EPERM",
        libc::EINTR => "EINTR",
        libc::EAGAIN => "EAGAIN",
        libc::ENOMEM => "ENOMEM",
        libc::EEXIST => "EEXIST",
        libc::EINVAL => "EINVAL",
        libc::EMFILE => "EMFILE",
        libc::ENOSPC => "ENOSPC",
        libc::EUSERS => "EUSERS",
        513 => "ERESTARTNOINTR",
        other => return other.to_string(),
    };
    name.to_owned()
}
