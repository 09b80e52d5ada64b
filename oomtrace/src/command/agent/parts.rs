//! The agent's outputs, each by its settings: what can be set anew while it traces.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;

use super::super::shown;
use crate::{
    agent::{
        config::{Options, Settings, StandardOutput},
        programs::Program,
    },
    check::Check,
    cli::Form,
    host::{Host, node::Node},
    output::{
        File, Health, Outputs,
        exec::{Exec, Runner},
        history::History,
        metrics::{self, CheckFinding, Metrics, ProgramCost, Server, Sources},
        webhook::Webhook,
    },
    say::say,
};

/// One output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Standard output.
    Stdout,
    /// What is kept.
    History,
    /// A file of lines.
    File,
    /// A program.
    Exec,
    /// A web server.
    Webhook,
    /// What Prometheus reads.
    Metrics,
}

impl Part {
    /// In the order in which they begin. What tells of the others begins last.
    pub const ALL: [Self; 6] =
        [Self::Stdout, Self::History, Self::File, Self::Exec, Self::Webhook, Self::Metrics];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::History => "history",
            Self::File => "file",
            Self::Exec => "exec",
            Self::Webhook => "webhook",
            Self::Metrics => "metrics",
        }
    }

    /// Whether both come to the same output.
    pub fn is_same(self, one: &Options, other: &Options) -> bool {
        match self {
            Self::Stdout => one.stdout == other.stdout,
            Self::History => one.history == other.history,
            Self::File => one.file == other.file,
            Self::Exec => one.exec == other.exec,
            Self::Webhook => one.webhook == other.webhook,
            Self::Metrics => one.metrics == other.metrics,
        }
    }
}

/// All that are there.
#[derive(Default)]
pub struct Parts {
    healths: Vec<Arc<Health>>,
    /// What is counted outlives the server.
    metrics: Option<Metrics>,
    server: Option<Server>,
    /// What can be asked for what it costs.
    pub programs: Vec<Program>,
    /// What was started to run programs before the agent gave up to do so.
    runner: Option<Runner>,
    /// Opened already, to be added.
    history: Option<(Arc<Health>, History)>,
}

impl Parts {
    /// None yet. `runner`: for [`Part::Exec`].
    pub fn new(runner: Option<Runner>) -> Self {
        Self { runner, ..Self::default() }
    }

    /// Opens the history, if there is to be one.
    pub fn open_history(&mut self, settings: &Settings) -> anyhow::Result<Option<&History>> {
        let Some(settings) = settings.history.clone() else { return Ok(None) };
        let health = Health::new(Part::History.name());
        let history = History::open(settings, Arc::clone(&health))?;
        Ok(Some(&self.history.insert((health, history)).1))
    }

    /// Starts an output, if it is to be.
    pub fn add(&mut self, part: Part, settings: &Settings, outputs: &mut Outputs) -> anyhow::Result<()> {
        let mut health = Health::new(part.name());
        match part {
            Part::Stdout => {
                let form = match settings.stdout {
                    StandardOutput::None => return Ok(()),
                    StandardOutput::Human => Form::Human,
                    StandardOutput::Json => Form::Json,
                };
                outputs.add(Arc::clone(&health), shown::stream(form, Arc::clone(&health)))?;
            }
            Part::History => {
                if self.history.is_none() {
                    self.open_history(settings)?;
                }
                let Some((opened, history)) = self.history.take() else { return Ok(()) };
                outputs.add(Arc::clone(&opened), Box::new(history))?;
                health = opened;
            }
            Part::File => {
                let Some(settings) = settings.lines.clone() else { return Ok(()) };
                outputs.add(Arc::clone(&health), Box::new(File::new(settings, Arc::clone(&health))?))?;
            }
            Part::Exec => {
                let Some(settings) = &settings.exec else { return Ok(()) };
                let runner =
                    self.runner.take().context("programs can be set at the start alone: restart oomtrace")?;
                outputs
                    .add(Arc::clone(&health), Box::new(Exec::new(settings, runner, Arc::clone(&health))?))?;
            }
            Part::Webhook => {
                let Some(settings) = &settings.webhook else { return Ok(()) };
                outputs.add(Arc::clone(&health), Box::new(Webhook::new(settings, Arc::clone(&health))?))?;
            }
            Part::Metrics => {
                let Some(settings) = settings.metrics else { return Ok(()) };
                let counted = self.metrics.get_or_insert_with(|| {
                    let sources = Sources {
                        healths: Vec::new(),
                        programs: Some(costs(self.programs.clone())),
                        check: Some(Arc::new(look)),
                    };
                    Metrics::new(settings.max_containers, sources)
                });
                let server = counted.serve(settings.listen).context("Metrics cannot be served")?;
                say!("metrics: http://{}/metrics", server.address());
                self.server = Some(server);
                outputs.add(Arc::clone(&health), Box::new(counted.sink(Arc::clone(&health))))?;
            }
        }
        self.healths.push(health);
        self.tell_metrics();
        Ok(())
    }

    /// Whether an output is to be there and could not be started.
    pub fn lacks(&self, part: Part, settings: &Settings) -> bool {
        part == Part::Metrics && settings.metrics.is_some() && self.server.is_none()
    }

    /// Ends an output, if it is there.
    pub fn remove(&mut self, part: Part, outputs: &mut Outputs) {
        outputs.remove(part.name());
        if part == Part::Metrics {
            self.server = None;
        }
        self.healths.retain(|health| health.name() != part.name());
        self.tell_metrics();
    }

    fn tell_metrics(&self) {
        if let Some(metrics) = &self.metrics {
            metrics.replace_outputs(self.healths.clone());
        }
    }
}

/// What the programs cost, if the kernel counts it.
fn costs(programs: Vec<Program>) -> Arc<metrics::ProgramCosts> {
    Arc::new(move || {
        let costs = programs.iter().filter_map(|program| {
            let (run_time_ns, runs) = program.cost()?;
            let run_time = Duration::from_nanos(run_time_ns);
            Some(ProgramCost { program: program.name().to_owned(), runs, run_time })
        });
        let costs: Vec<_> = costs.collect();
        // All of them at 0 is what they say while nothing is counted: some run at each exit of a process.
        costs.iter().any(|cost| cost.runs > 0).then_some(costs)
    })
}

/// What `oomtrace check` finds on this machine.
fn look() -> Option<Vec<CheckFinding>> {
    let root = Path::new("/");
    let check = Check::of(&Node::read(root), &Host::read(root).ok()?, root, None).ok()?;
    Some(metrics::findings(&check))
}
