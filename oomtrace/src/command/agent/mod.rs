//! `oomtrace agent`

mod earlier;
mod parts;

use std::{
    io::{Write as _, stdout},
    os::fd::OwnedFd,
    path::Path,
    sync::Arc,
};

use anyhow::Context as _;
use aya::sys::{Stats, enable_stats};
use tokio::{
    signal::unix::{Signal, SignalKind},
    time::{Interval, MissedTickBehavior},
};

use self::{
    earlier::Earlier,
    parts::{Part, Parts},
};
use super::{
    escort::{Ask, Errand, Escort, Stop, caught},
    shown::Shown,
    trace::{event_loop, trace_or_follow},
};
use crate::{
    agent::{
        config::{AgentArgs, Settings},
        confine::{self, Plan},
        notify::Notify,
        programs::programs,
        survival::weaknesses,
    },
    flight, host,
    incident::Assembler,
    kernel::{load::Attached, tasks::Tasks},
    output::{
        Outputs,
        exec::Runner,
        history::{History, Reader},
    },
    say::say,
    session::Session,
};

/// Traces until a signal comes, whatever becomes of the outputs.
pub fn run(args: &AgentArgs) -> anyhow::Result<()> {
    let settings = args.settings()?;
    if args.check_config {
        return stdout()
            .write_all(settings.to_string().as_bytes())
            .context("Standard output cannot be written to");
    }
    // First of all: what it forks is to have no threads and no programs of ours.
    let runner = settings.exec.as_ref().map(Runner::start).transpose()?;
    event_loop()?.block_on(async {
        let trace = settings.trace.clone();
        trace_or_follow(&trace, &mut Agent::new(args.clone(), settings, runner)?).await
    })
}

/// What goes along with tracing for months.
struct Agent {
    args: AgentArgs,
    settings: Settings,
    stop: Stop,
    hangup: Signal,
    /// When to say that it is alive, where somebody watches.
    beat: Option<Interval>,
    parts: Parts,
    notify: Notify,
    /// What it traces by.
    tier: &'static str,
    /// What happened before, until all of that is told.
    earlier: Option<Earlier>,
    /// The kernel counts how long programs run as long as this is open.
    counting: Option<OwnedFd>,
    /// What the flight recorder asks for processes.
    tasks: Option<Arc<Tasks>>,
}

impl Agent {
    fn new(args: AgentArgs, settings: Settings, runner: Option<Runner>) -> anyhow::Result<Self> {
        let notify = Notify::from_environment().context("The service manager cannot be told anything")?;
        Ok(Self {
            args,
            settings,
            stop: Stop::new()?,
            hangup: caught(SignalKind::hangup())?,
            beat: notify.watchdog_interval().map(|every| {
                let mut beat = tokio::time::interval(every);
                // After a suspension once, and not for each that was missed.
                beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
                beat
            }),
            parts: Parts::new(runner),
            notify,
            tier: "",
            earlier: None,
            counting: None,
            tasks: None,
        })
    }

    /// Reads the settings again. Those that cannot be used change nothing.
    fn reload(&mut self, shown: &mut Shown) {
        self.notify.reloading();
        match self.args.settings() {
            Ok(settings) => self.set(settings, shown),
            Err(error) => say!("{error}. The settings stay as they were."),
        }
        self.notify.ready(&self.status(shown));
    }

    fn set(&mut self, settings: Settings, shown: &mut Shown) {
        let before = std::mem::replace(&mut self.settings, settings);
        let (old, new) = (&before.options, &self.settings.options);
        if old.trace != new.trace || old.exec != new.exec || old.confine != new.confine {
            say!("what has changed of [trace], [exec] and [confine] counts from the next start on.");
        }
        shown.filter_by(&self.settings.trace.filter);
        // Who runs programs was started before the agent gave up to start anything, and is not to be lost for a setting.
        let changed = Part::ALL.into_iter().filter(|part| {
            *part != Part::Exec && (!part.is_same(old, new) || self.parts.lacks(*part, &self.settings))
        });
        for part in changed.collect::<Vec<_>>() {
            self.parts.remove(part, shown.outputs());
            if let Err(error) = self.parts.add(part, &self.settings, shown.outputs()) {
                say!("{}: {error:#}; it is off now.", part.name());
            }
        }
        if old.flight != new.flight {
            self.record(shown);
        }
        say!("the settings were read again.");
    }

    /// Has the kernel count how long programs run, if it is to.
    fn count_programs(&mut self) {
        if self.settings.bpf_stats {
            match enable_stats(Stats::RunTime) {
                Ok(counting) => self.counting = Some(counting),
                Err(error) => {
                    say!(
                        "The kernel does not count how long programs run (bpf_stats of [metrics]): {error}."
                    );
                }
            }
        }
    }

    /// What it has seen, in a sentence.
    fn status(&self, shown: &Shown) -> String {
        let counts = shown.counts;
        format!(
            "tier {}: {} incidents with {} victims, {} forks failed, {} records lost",
            self.tier, counts.incidents, counts.victims, counts.forks, counts.lost
        )
    }

    /// Opens the history and what may have happened since it ended.
    fn look_back(&mut self, session: &Session) -> anyhow::Result<Option<Earlier>> {
        let opened = self.parts.open_history(&self.settings).context("history")?;
        let Some(watched_until) = opened.map(History::watched_until) else { return Ok(None) };
        let Some(settings) = self.settings.history.as_ref().filter(|_| self.settings.recover) else {
            return Ok(None);
        };
        match Reader::open(&settings.path) {
            Ok(reader) => Ok(Some(Earlier::prepare(watched_until, reader, &session.host))),
            Err(error) => {
                say!("What happened while no agent ran is not looked for: {error}.");
                Ok(None)
            }
        }
    }

    /// Gives up what is not needed any more.
    fn confine(&self, programs: bool) -> anyhow::Result<()> {
        if self.settings.confine {
            let confined = confine::apply(&Plan { programs, ..Plan::default() })?;
            say!("confined: {confined}.");
        }
        Ok(())
    }

    /// Begins to record what comes before incidents, if that is to be; what was recorded until now is gone.
    fn record(&self, shown: &mut Shown) {
        let tasks = || {
            let tasks = Arc::clone(self.tasks.as_ref()?);
            Some(Box::new(move || tasks.open()) as flight::OpenTasks)
        };
        let begun =
            self.settings.flight.map(|settings| flight::Handle::start(Path::new("/"), settings, tasks()));
        let recorder = begun.transpose().unwrap_or_else(|error| {
            say!("The flight recorder cannot begin: {error}. Incidents are told without what came before.");
            None
        });
        shown.set_flight(recorder);
    }
}

impl Escort for Agent {
    fn outputs(&mut self, session: &Session, mut attached: Option<&mut Attached>) -> anyhow::Result<Outputs> {
        self.tier = session.tier.name();
        self.count_programs();
        // What takes privileges comes first.
        self.earlier = self.look_back(session)?;
        // Not later: what it takes is given up next.
        if let Some(attached) = attached.as_deref_mut().filter(|_| self.settings.flight.is_some()) {
            self.tasks = Tasks::attach(attached)
                .map(Arc::new)
                .inspect_err(|reason| {
                    say!("The flight recorder reads /proc, and not the kernel's list of tasks: {reason}.");
                })
                .ok();
        }
        self.confine(attached.is_some())?;
        self.parts.programs = attached.as_deref().map(programs).unwrap_or_default();
        let mut outputs = Outputs::new(false);
        for part in Part::ALL {
            match self.parts.add(part, &self.settings, &mut outputs) {
                // Whoever scrapes sees that nobody answers; that kills go unseen as well helps nobody.
                Err(error) if part == Part::Metrics => {
                    say!(
                        "metrics: {error:#}. Tracing goes on without them; they are tried again when the settings are read again (SIGHUP)."
                    );
                }
                added => added.with_context(|| part.name().to_owned())?,
            }
        }
        Ok(outputs)
    }

    fn ready(&mut self, shown: &mut Shown, armed_boot_ns: u64) -> anyhow::Result<()> {
        self.record(shown);
        if let Some(earlier) = &mut self.earlier {
            earlier.begin(armed_boot_ns)?;
        }
        for weakness in weaknesses(Path::new("/")) {
            say!("{weakness}.");
        }
        self.notify.ready(&self.status(shown));
        Ok(())
    }

    async fn next(&mut self) -> Ask {
        tokio::select! {
            () = self.stop.wait() => Ask::Stop,
            _ = self.hangup.recv() => Ask::Errand(Errand::Reload),
            () = due(self.beat.as_mut()) => Ask::Errand(Errand::Beat),
            message = earlier::next(&mut self.earlier) => Ask::Errand(Errand::Tell(Box::new(message))),
        }
    }

    fn run(&mut self, errand: Errand, assembler: &mut Assembler, shown: &mut Shown) {
        match errand {
            Errand::Reload => self.reload(shown),
            Errand::Tell(message) => shown.tell(assembler, *message, host::wall_clock_offset_ns()),
            Errand::Settle => {}
            Errand::Beat => {
                self.notify.alive();
                self.notify.status(&self.status(shown));
            }
        }
    }

    fn stop(&mut self) {
        self.notify.stopping();
    }
}

/// The next time; never, if there is none.
async fn due(interval: Option<&mut Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}
