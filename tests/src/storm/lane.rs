//! Some of a storm's cgroups, wave after wave: all are filled up to their limits, then all run out at once.

use std::io::pipe;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

use crate::deadline::Deadline;
use crate::storm::group::Group;
use crate::storm::roster::{Counted, Entry};

/// See the module.
#[derive(Debug)]
pub struct Lane<'a> {
    /// The cgroups.
    pub groups: Vec<Group<'a>>,
    /// The numbers of the processes of all lanes.
    pub serials: &'a AtomicU64,
    /// The kills that all lanes have begun.
    pub begun: &'a AtomicU64,
    /// The kills that all lanes shall make.
    pub kills: u64,
    /// When the storm has to be over.
    pub deadline: Deadline,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// The processes.
    pub entries: Vec<Entry>,
    /// The cgroups' own counts.
    pub counted: Vec<Counted>,
    /// For each wave, how many cgroups were at their limits when the gate was opened.
    pub waves: Vec<usize>,
}

impl Lane<'_> {
    /// Runs waves until enough kills have begun. The last wave is ended.
    pub fn run(mut self) -> Result<Report> {
        let mut report = Report::default();
        while self.begun.load(Ordering::Relaxed) < self.kills {
            self.wave(&mut report)?;
        }
        for group in &mut self.groups {
            report.counted.extend(group.leave(self.deadline)?);
        }
        Ok(report)
    }

    /// One wave.
    fn wave(&mut self, report: &mut Report) -> Result<()> {
        let (gate, open) = pipe().context("cannot make a gate")?;
        for group in &mut self.groups {
            let kills = group.settle(&gate, self.serials)?;
            self.begun.fetch_add(kills, Ordering::Relaxed);
        }
        let mut at_limit = 0;
        for group in &mut self.groups {
            at_limit += usize::from(group.filled(self.deadline)?);
        }
        report.waves.push(at_limit);
        drop(open);
        for group in &mut self.groups {
            group.emptied(self.deadline, &mut report.entries)?;
            if group.vanishes() {
                report.counted.extend(group.leave(self.deadline)?);
            }
        }
        Ok(())
    }
}
