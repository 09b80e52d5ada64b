//! What happened, counted, and as a sentence.

use super::{number, plural, unseen};
use crate::profile::report::{Report, Run};

/// How bad it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mood {
    /// Nothing happened.
    Good,
    /// The command's own were hit.
    Warned,
    /// Others were.
    Bad,
}

/// What happened, of one run or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Toll {
    /// Runs that this is of.
    pub runs: u64,
    /// Kills of the command's own.
    pub own: u64,
    /// Kills of bystanders.
    pub bystanders: u64,
    /// Runs with any of these.
    pub runs_with_bystanders: u64,
    /// Kills of which it is not known whose they were.
    pub unknown: u64,
    /// Kills by daemons in user space.
    pub userspace: u64,
    /// Times that the OOM killer found nobody.
    pub no_victim: u64,
    /// Forks that failed.
    pub forks: u64,
    /// Allocations that failed without a kill.
    pub allocations: u64,
    /// Whether some of these failures cannot be seen: that there are none is then not known.
    pub blind: bool,
}

impl Toll {
    /// Of one run of the report.
    pub fn of(report: &Report, run: &Run) -> Self {
        let counts = &run.incidents;
        let known = counts.own_kills.saturating_add(counts.bystander_kills);
        let sum = |counts: &mut dyn Iterator<Item = u64>| counts.fold(0_u64, u64::saturating_add);
        Self {
            runs: 1,
            own: counts.own_kills,
            bystanders: counts.bystander_kills,
            runs_with_bystanders: u64::from(counts.bystander_kills > 0),
            unknown: counts.kills.saturating_sub(known),
            userspace: counts.userspace_kills,
            no_victim: counts.by_outcome.get("no_victim").copied().unwrap_or(0),
            forks: sum(&mut run.fork_failures.iter().map(|failure| failure.count)),
            allocations: sum(&mut run.alloc_failures.iter().map(|failure| failure.count)),
            blind: ["fork_failures", "alloc_failures"].iter().any(|path| unseen(report, path).is_some()),
        }
    }

    /// Of all runs.
    pub fn of_all(report: &Report) -> Self {
        report.runs.iter().map(|run| Self::of(report, run)).fold(Self::default(), |all, one| Self {
            runs: all.runs.saturating_add(one.runs),
            own: all.own.saturating_add(one.own),
            bystanders: all.bystanders.saturating_add(one.bystanders),
            runs_with_bystanders: all.runs_with_bystanders.saturating_add(one.runs_with_bystanders),
            unknown: all.unknown.saturating_add(one.unknown),
            userspace: all.userspace.saturating_add(one.userspace),
            no_victim: all.no_victim.saturating_add(one.no_victim),
            forks: all.forks.saturating_add(one.forks),
            allocations: all.allocations.saturating_add(one.allocations),
            blind: all.blind || one.blind,
        })
    }

    /// Kills by the OOM killer.
    pub fn kills(&self) -> u64 {
        self.own.saturating_add(self.bystanders).saturating_add(self.unknown)
    }

    pub fn mood(&self) -> Mood {
        if self.bystanders > 0 || self.userspace > 0 {
            Mood::Bad
        } else if self.kills() > 0 || self.no_victim > 0 || self.forks > 0 || self.allocations > 0 {
            Mood::Warned
        } else {
            Mood::Good
        }
    }

    /// The verdict, as a sentence without its full stop. `command` is what the command is called.
    pub fn verdict(&self, command: &str) -> String {
        let mut said = Vec::new();
        if self.bystanders > 0 {
            let in_some = if (1..self.runs).contains(&self.runs_with_bystanders) {
                format!(" (in {} of them)", number(self.runs_with_bystanders))
            } else {
                String::new()
            };
            said.push(format!("{} killed{in_some}", were(self.bystanders, "bystander", "bystanders")));
        }
        if self.own > 0 {
            let own = format!("{} of {command}'s own", number(self.own));
            said.push(match (self.bystanders, self.unknown) {
                (0, 0) => {
                    format!("{own} {} killed, nobody else", if self.own == 1 { "was" } else { "were" })
                }
                (0, _) => format!("{own} {} killed", if self.own == 1 { "was" } else { "were" }),
                _ => own,
            });
        }
        if self.unknown > 0 {
            let what = were(self.unknown, "process", "processes");
            said.push(format!("{what} killed of which it is not known whose"));
        }
        if self.userspace > 0 {
            said.push(format!(
                "{} killed by a daemon in user space",
                were(self.userspace, "process", "processes")
            ));
        }
        let mut hurt = Vec::new();
        if self.no_victim > 0 {
            hurt.push(format!("the OOM killer found nobody {}", plural(self.no_victim, "time", "times")));
        }
        if self.forks > 0 {
            hurt.push(format!("{} failed", plural(self.forks, "fork", "forks")));
        }
        if self.allocations > 0 {
            hurt.push(format!("{} failed", plural(self.allocations, "allocation", "allocations")));
        }
        let mut text = match (said.is_empty(), hurt.is_empty()) {
            (true, true) if self.blind => "nothing was killed".to_owned(),
            (true, true) => "nothing was killed, and nothing failed".to_owned(),
            (true, false) => format!("nothing was killed, but {}", hurt.join(", and ")),
            (false, true) => said.join(", and "),
            (false, false) => format!("{}; {}", said.join(", and "), hurt.join(", and ")),
        };
        if self.runs > 1 {
            text = format!("in {} runs {text}", number(self.runs));
        }
        text
    }
}

fn were(count: u64, one: &str, more: &str) -> String {
    format!("{} {}", plural(count, one, more), if count == 1 { "was" } else { "were" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(toll: Toll) -> String {
        toll.verdict("stress-ng")
    }

    /// Guards the verdict: bystanders first, nobody else only where that is so, nothing only where nothing failed.
    #[test]
    fn verdicts_say_who_was_hit() {
        let one = Toll { runs: 1, ..Toll::default() };
        assert_eq!(told(one), "nothing was killed, and nothing failed");
        assert_eq!(told(Toll { blind: true, ..one }), "nothing was killed");
        assert_eq!(told(Toll { own: 12, ..one }), "12 of stress-ng's own were killed, nobody else");
        assert_eq!(told(Toll { own: 1, ..one }), "1 of stress-ng's own was killed, nobody else");
        assert_eq!(told(Toll { bystanders: 3, ..one }), "3 bystanders were killed");
        assert_eq!(
            told(Toll { bystanders: 1, own: 1200, forks: 1, ..one }),
            "1 bystander was killed, and 1,200 of stress-ng's own; 1 fork failed"
        );
        assert_eq!(told(Toll { forks: 1204, ..one }), "nothing was killed, but 1,204 forks failed");
        assert_eq!(
            told(Toll { own: 2, unknown: 1, ..one }),
            "2 of stress-ng's own were killed, and 1 process was killed of which it is not known whose"
        );
        let several = Toll { runs: 5, bystanders: 3, runs_with_bystanders: 2, own: 9, ..one };
        assert_eq!(
            told(several),
            "in 5 runs 3 bystanders were killed (in 2 of them), and 9 of stress-ng's own"
        );
    }

    /// Guards the mood: what hits others is worse than what hits one's own.
    #[test]
    fn bystanders_are_worse_than_own() {
        let one = Toll { runs: 1, ..Toll::default() };
        assert_eq!(one.mood(), Mood::Good);
        assert_eq!(Toll { own: 1000, ..one }.mood(), Mood::Warned);
        assert_eq!(Toll { forks: 1, ..one }.mood(), Mood::Warned);
        assert_eq!(Toll { bystanders: 1, ..one }.mood(), Mood::Bad);
    }
}
