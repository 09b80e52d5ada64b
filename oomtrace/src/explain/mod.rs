//! What an incident or a failed fork comes to, for whoever has to act on it: findings. Each is made by a rule of its own
//! ([`rule`]) from what was seen, and from how the machine is set up where that is known. The rules are pure: a replay
//! finds what the live trace found.
//!
//! Few findings help more than many. Rules stand in the order in which an operator should act ([`RULES`]), and a rule that
//! merely restates what a better one says names that one in [`Rule::yields_to`].

mod case;
mod command_line;
mod earlier;
mod finding;
mod fork;
mod node;
#[cfg(test)]
mod node_tests;
mod place;
mod reserve;
mod rule;
mod shell;
mod systemd;
#[cfg(test)]
pub(crate) mod tests;

use command_line::Server;
use earlier::Earlier;

pub use case::Case;
pub use earlier::Times;
pub use finding::{Conclusion, Evidence, Finding, Fix, FixKind, Lasts, Severity};
pub use node::of_node;
pub use rule::{RULES, Rule};

use crate::{
    host::settings::Settings,
    incident::{Event, ForkFailure, Incident, UserKill},
};

/// Explains a stream of events, each when it is complete.
#[derive(Debug, Default)]
pub struct Explainer {
    earlier: Earlier,
    /// The second since boot in which a fork failed last, and how many that were explained have in it.
    forks: (u64, u32),
}

/// Failed forks that are explained in a second, at most: what very many come to is the same for most.
const FORKS: u32 = 10;

impl Explainer {
    /// Adds the findings to an event.
    pub fn complete(&mut self, event: &mut Event, settings: Option<&Settings>) {
        match event {
            Event::Closed(incident) => {
                let times = self.earlier.note(incident);
                incident.findings = of_case(&Case { incident, settings, times: times.as_ref() });
            }
            // What happens again is told without them.
            Event::ForkFailure(failure) if failure.window_ns == 0 => {
                let second = failure.common.clock_ns().unwrap_or(0) / 1_000_000_000;
                let before = if self.forks.0 == second { self.forks.1 } else { 0 };
                if before < FORKS {
                    self.forks = (second, before + 1);
                    failure.findings = of_fork(failure, settings);
                }
            }
            Event::UserKill(kill) => kill.findings = of_user_kill(kill, settings),
            Event::Relieved(relief) => relief.findings = concluded(|rule| rule.relief?(relief)),
            Event::Opened(_) | Event::AllocFailure(_) | Event::ForkFailure(_) => {}
        }
    }
}

/// What an incident by itself comes to, what to do first first.
#[must_use]
pub fn of_incident(incident: &Incident, settings: Option<&Settings>) -> Vec<Finding> {
    of_case(&Case { incident, settings, times: None })
}

fn of_case(case: &Case<'_>) -> Vec<Finding> {
    let server = Server::of(case);
    concluded(|rule| match rule.server {
        Some(of_server) => of_server(server.as_ref()?),
        None => rule.incident?(case),
    })
}

/// What a failed fork comes to.
#[must_use]
pub fn of_fork(failure: &ForkFailure, settings: Option<&Settings>) -> Vec<Finding> {
    concluded(|rule| rule.fork?(failure, settings))
}

/// What a kill by a daemon in user space comes to.
#[must_use]
pub fn of_user_kill(kill: &UserKill, settings: Option<&Settings>) -> Vec<Finding> {
    concluded(|rule| rule.user_kill?(kill, settings))
}

/// The rule of an id.
#[must_use]
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}

fn concluded(conclude: impl Fn(&Rule) -> Option<Conclusion>) -> Vec<Finding> {
    let holding: Vec<_> = RULES.iter().filter_map(|rule| Some((rule, conclude(rule)?))).collect();
    let ids: Vec<_> = holding.iter().map(|(rule, _)| rule.id).collect();
    holding
        .into_iter()
        .filter(|(rule, _)| !rule.yields_to.iter().any(|better| ids.contains(better)))
        .map(|(rule, conclusion)| finding(rule, conclusion))
        .collect()
}

fn finding(rule: &Rule, conclusion: Conclusion) -> Finding {
    Finding { id: rule.id, conclusion, see: format!("oomtrace explain {}", rule.id) }
}
