//! Metrics: what happened, counted, for a Prometheus that comes to read it. What each family is: `docs/metrics.md`.

mod accept;
mod checked;
mod counts;
mod family;
mod gather;
mod histogram;
mod http;
mod names;
mod process;
mod site;
mod text;
mod workloads;

#[cfg(test)]
mod tests;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

pub use checked::{CheckFinding, Look, findings};
pub use family::{Family, Kind, Labels, Sample, Unit, Value};
pub use gather::ProgramCost;
pub use histogram::Histogram;
pub use http::{HttpError, Server};
pub use text::Form;

use self::{checked::Checked, counts::Counts, site::Site};
use super::{Closed, Health, Message, Sink};

/// Where metrics are to be had, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsSettings {
    /// The address to listen at. Whoever reaches it can read them: anything but loopback is a decision.
    pub listen: SocketAddr,
    /// Containers, units and cgroups whose kills are told apart, at the most; the rest count together.
    pub max_containers: usize,
}

impl MetricsSettings {
    /// How many are told apart unless it is said otherwise.
    pub const MAX_CONTAINERS: usize = 200;
}

/// Tells what each program in the kernel costs. `None`: the kernel does not count it just now (`kernel.bpf_stats_enabled`).
pub type ProgramCosts = dyn Fn() -> Option<Vec<ProgramCost>> + Send + Sync;

/// What is measured beside messages. All of it is asked on a scrape, and at no other time.
#[derive(Clone, Default)]
pub struct Sources {
    /// How the outputs are doing, this one too: by `Health::new("metrics")`.
    pub healths: Vec<Arc<Health>>,
    /// What the programs in the kernel cost.
    pub programs: Option<Arc<ProgramCosts>>,
    /// What there is to mend. It is asked on a thread of its own, every five minutes at the most: see [`findings`].
    pub check: Option<Arc<Look>>,
}

/// What is measured: shared by the sink that counts and the server that tells.
#[derive(Clone)]
pub struct Metrics(Arc<Shared>);

struct Shared {
    counts: Mutex<Counts>,
    healths: Mutex<Vec<Arc<Health>>>,
    programs: Option<Arc<ProgramCosts>>,
    checked: Option<Checked>,
}

/// Counts messages. It never fails and never blocks.
pub struct MetricsSink {
    metrics: Metrics,
    health: Arc<Health>,
}

impl Metrics {
    /// Nothing is counted yet.
    #[must_use]
    pub fn new(max_containers: usize, sources: Sources) -> Self {
        Self(Arc::new(Shared {
            counts: Mutex::new(Counts::new(max_containers)),
            healths: Mutex::new(sources.healths),
            programs: sources.programs,
            checked: sources.check.map(Checked::new),
        }))
    }

    /// What counts messages as an output of its own.
    #[must_use]
    pub fn sink(&self, health: Arc<Health>) -> MetricsSink {
        MetricsSink { metrics: self.clone(), health }
    }

    /// Starts to listen.
    ///
    /// # Errors
    /// It cannot, in a sentence that says what to do.
    pub fn serve(&self, listen: SocketAddr) -> Result<Server, HttpError> {
        Server::start(listen, Arc::new(Site(self.clone())))
    }

    /// The outputs are others now: the settings were read again.
    pub fn replace_outputs(&self, healths: Vec<Arc<Health>>) {
        *self.0.healths.lock().unwrap_or_else(PoisonError::into_inner) = healths;
    }

    /// Counts a message.
    pub fn take(&self, message: &Message) {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner).take(message, Instant::now());
    }

    /// Whether tracing goes on.
    #[must_use]
    pub fn armed(&self) -> bool {
        self.0
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .armed
            .as_ref()
            .is_some_and(|armed| armed.now)
    }

    /// All that is measured, as it stands.
    #[must_use]
    pub fn gather(&self) -> Vec<Family> {
        let shared = &self.0;
        let healths = shared.healths.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let found = shared.checked.as_ref().and_then(|checked| checked.found(Instant::now()));
        let costs = shared.programs.as_ref().and_then(|programs| programs());
        let (tracing, events) = {
            let counts = shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
            (gather::tracing(&counts), gather::events(&counts))
        };
        [
            tracing,
            events,
            gather::outputs(&healths),
            gather::check(found.as_ref()),
            gather::programs(costs),
            gather::own_cost(),
        ]
        .concat()
    }
}

impl Sink for MetricsSink {
    fn wants(&self) -> fn(&Message) -> bool {
        |_| true
    }

    fn take(&mut self, message: &Arc<Message>) -> Result<(), Closed> {
        self.metrics.take(message);
        self.health.wrote(1);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Closed> {
        Ok(())
    }
}
