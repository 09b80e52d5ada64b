//! What goes along with tracing for as long as a command runs: it starts the command, and ends with it.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use super::{
    super::{
        escort::{Ask, Errand, Escort},
        shown::Shown,
    },
    terminal::{self, StatusLine},
};
use crate::{
    agent::programs::programs,
    flight::OpenTasks,
    host,
    incident::{Assembler, WallTime},
    kernel::{
        hooks::FORK_FAILURE,
        load::{self, Attached},
        pressure::Pressures,
        tasks::Tasks,
    },
    output::{Health, Outputs},
    profile::{
        child::{OwnCgroup, Prepared, Running},
        cost::Meter,
        course::{Gathered, InCgroup, Sampler, Wanted},
        gather::{Gather, refused},
        report::{Cost, End, Run, Tracing},
        show::Status,
    },
    say::say,
    session::Session,
};

/// How often a line on the terminal says how things stand.
const SHOWN: Duration = Duration::from_millis(500);
/// How long it is waited, once the command has ended, for what became of its victims.
const SETTLES: Duration = Duration::from_secs(3);
/// Between two looks whether that is known.
const LOOK: Duration = Duration::from_millis(20);

/// Why waits in reclaim and compaction are not there.
const NO_PRESSURE: &str = "no program in the kernel counts it: see `oomtrace hooks`";

/// How a command is watched.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// From one sample to the next; `None`: none are taken, and nothing is counted beside kills and failed forks.
    pub interval: Option<Duration>,
    /// The limit of its memory, for whoever looks.
    pub limit_bytes: Option<u64>,
    /// How many processes it may have.
    pub pids_limit: Option<u64>,
    /// Which run this is of how many, those to warm up among them.
    pub run: (u32, u32),
}

/// See the module. Good for one run.
pub struct Watch<'p> {
    prepared: &'p mut Prepared,
    how: How,
    gather: Gather,
    state: State,
    run: Run,
    tracing: Tracing,
    meter: Option<Meter>,
    pressures: Option<Shared<Pressures>>,
    tasks: Option<OpenTasks>,
    sampler: Option<Sampler>,
    gathered: Option<Gathered>,
    /// When to say how things stand, if that is to be.
    shown: Option<Interval>,
    line: StatusLine,
    began: Option<Instant>,
}

/// How far it is.
enum State {
    /// Not started yet.
    Waiting,
    /// It runs.
    Running(Running),
    /// It has ended; what became of its victims is waited for until then.
    Settling(Instant),
    /// All is known.
    Done,
}

/// What the sampler's thread looks at, too.
type Shared<T> = Arc<Mutex<T>>;

impl<'p> Watch<'p> {
    /// Of a command that is ready to be started.
    pub fn new(prepared: &'p mut Prepared, how: How) -> Self {
        Self {
            prepared,
            how,
            gather: Gather::default(),
            state: State::Waiting,
            run: Run::default(),
            tracing: Tracing::default(),
            meter: None,
            pressures: None,
            tasks: None,
            sampler: None,
            gathered: None,
            shown: None,
            line: StatusLine::default(),
            began: None,
        }
    }

    /// What it has come to, once tracing has ended.
    pub fn done(mut self) -> (Run, Tracing) {
        // By now all that was told has been taken.
        self.run.end.oom_killed = self.gather.command_killed();
        self.gather.tell(&mut self.run);
        if let Some(gathered) = self.gathered {
            gathered.tell(&mut self.run);
        }
        let shown = self.tracing.hooks.get(FORK_FAILURE.name).is_some_and(|hooks| !hooks.is_empty());
        let own = self.prepared.cgroup().and_then(|cgroup| cgroup.pids_path().map(str::to_owned));
        if let (Some(limit), Some(path), false) = (self.how.pids_limit, own, shown) {
            refused::complete(&mut self.run, limit, &path);
        }
        (self.run, self.tracing)
    }

    /// Has memory sampled from now on. `cgroup`: the command's own, once it is known.
    fn sample(&mut self, began_ns: u64, cgroup: &Shared<Option<Arc<OwnCgroup>>>) {
        let Some(interval) = self.how.interval else { return };
        let cgroup = Arc::clone(cgroup);
        let in_cgroup = move || {
            let cgroup = lock(&cgroup).clone();
            cgroup.map_or_else(InCgroup::default, |cgroup| InCgroup {
                usage_bytes: cgroup.usage_bytes(),
                pids: cgroup.pids(),
            })
        };
        let waited = self.pressures.clone().map(|pressures| {
            let waited = move || lock(&pressures).waited_ns();
            Box::new(waited) as Box<dyn FnMut() -> u64 + Send>
        });
        let what = Wanted {
            root: PathBuf::from("/"),
            above: std::process::id(),
            began_ns,
            interval,
            tasks: self.tasks.take(),
            cgroup: self.prepared.cgroup().map(|_| Box::new(in_cgroup) as _),
            waited_ns: waited,
        };
        match Sampler::start(what) {
            Ok(sampler) => self.sampler = Some(sampler),
            Err(error) => say!("The course of memory is not recorded: {error}."),
        }
    }

    /// What this run does without, with the reason.
    fn not_looked_at(&self) -> Vec<(String, String)> {
        let (all, reason): (&[_], _) = if self.how.interval.is_none() {
            (&["pressure", "course", "counters", "psi", "kswapd", "stressors"], "--light was given")
        } else if self.pressures.is_none() {
            (&["pressure"], NO_PRESSURE)
        } else {
            (&[], "")
        };
        all.iter().map(|what| ((*what).to_owned(), reason.to_owned())).collect()
    }

    fn ended(&mut self, end: End) {
        self.run.duration_ns =
            self.began.map_or(0, |began| u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
        self.run.end = end;
        self.gathered = self.sampler.take().map(Sampler::end);
        self.line.clear();
        self.shown = None;
        self.state = State::Settling(Instant::now() + SETTLES);
    }

    fn settle(&mut self, assembler: &Assembler) {
        let State::Settling(until) = self.state else { return };
        if assembler.deadline_ns().is_none() || Instant::now() >= until {
            self.state = State::Done;
        }
    }

    fn show(&mut self) {
        let now = self.gather.now();
        let point = self.sampler.as_ref().map(|sampler| sampler.now().point).unwrap_or_default();
        let used = if self.how.limit_bytes.is_some() { point.cgroup_bytes } else { point.own_rss_bytes };
        self.line.show(&Status {
            elapsed_ns: self
                .began
                .map_or(0, |began| u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)),
            run: Some(self.how.run),
            used_bytes: used,
            limit_bytes: self.how.limit_bytes,
            available_bytes: point.available_bytes,
            own_kills: now.own_kills,
            bystander_kills: now.bystander_kills,
            unknown_kills: now.unknown_kills,
            fork_failures: now.fork_failures,
            waiting: point.waiting,
        });
    }
}

impl Escort for Watch<'_> {
    fn profiles(&self) -> Option<load::Run> {
        Some(load::Run { light: self.how.interval.is_none() })
    }

    fn outputs(&mut self, session: &Session, mut attached: Option<&mut Attached>) -> anyhow::Result<Outputs> {
        session.tier.name().clone_into(&mut self.tracing.tier);
        self.tracing.missing.clone_from(&session.missing);
        if let Some(attached) = attached.as_deref_mut() {
            let hooks = attached.roles.iter().map(|role| (role.role.to_owned(), role.hooks.clone()));
            self.tracing.hooks = hooks.collect();
            if let Some(reason) = attached.knows_no_run() {
                self.tracing.missing.insert("whose".to_owned(), reason.to_owned());
            }
            if self.how.interval.is_some() {
                self.pressures = Pressures::of(attached)?.map(Mutex::new).map(Arc::new);
                // Without it /proc is read, which takes longer.
                self.tasks =
                    Tasks::attach(attached).ok().map(|tasks| Box::new(move || tasks.open()) as OpenTasks);
            }
        } else {
            self.tracing.missing.insert("whose".to_owned(), "no program in the kernel tells it".to_owned());
        }
        let not_looked_at = self.not_looked_at();
        self.tracing.missing.extend(not_looked_at);
        self.meter = Some(Meter::begin(attached.as_deref().map(programs).unwrap_or_default()));
        let mut outputs = Outputs::new(false);
        outputs.add_main(Health::new("report"), self.gather.sink())?;
        Ok(outputs)
    }

    fn ready(&mut self, _: &mut Shown, _: u64) -> anyhow::Result<()> {
        if terminal::is_there() {
            let mut shown = interval(SHOWN);
            shown.set_missed_tick_behavior(MissedTickBehavior::Skip);
            self.shown = Some(shown);
        }
        let boot_ns = host::boot_ns();
        let wall_ns = i128::from(boot_ns) + i128::from(host::wall_clock_offset_ns());
        self.run.started = WallTime::from_ns(wall_ns).to_string();
        self.gather.begin(boot_ns);
        // The first sample comes before the command, whose cgroup is there only once it is started.
        let cgroup = Arc::default();
        self.sample(boot_ns, &cgroup);
        self.began = Some(Instant::now());
        let running = self.prepared.start()?;
        if let Some(own) = self.prepared.cgroup() {
            self.gather.own_cgroup(own.paths());
            *lock(&cgroup) = Some(Arc::clone(own));
        }
        if let Ok(pid) = u32::try_from(running.pid()) {
            self.gather.command(pid);
        }
        self.state = State::Running(running);
        Ok(())
    }

    async fn next(&mut self) -> Ask {
        match &mut self.state {
            State::Waiting => std::future::pending().await,
            State::Running(running) => {
                let end = tokio::select! {
                    end = running.wait() => end,
                    () = tick(self.shown.as_mut()) => return Ask::Errand(Errand::Beat),
                };
                self.ended(end);
                Ask::Errand(Errand::Settle)
            }
            State::Settling(until) => {
                sleep_until((*until).min(Instant::now() + LOOK)).await;
                Ask::Errand(Errand::Settle)
            }
            State::Done => Ask::Stop,
        }
    }

    fn run(&mut self, errand: Errand, assembler: &mut Assembler, _: &mut Shown) {
        match errand {
            Errand::Settle => self.settle(assembler),
            Errand::Beat => self.show(),
            Errand::Reload | Errand::Tell(_) => {}
        }
    }

    fn stop(&mut self) {
        self.run.cgroup = self.prepared.cgroup().map(|cgroup| cgroup.facts());
        let mut lost = std::collections::BTreeMap::new();
        if let Some(pressures) = &self.pressures {
            let mut pressures = lock(pressures);
            self.run.pressure = pressures.read();
            let unseen = pressures.unseen();
            if unseen > 0 {
                lost.insert("pressure".to_owned(), unseen);
            }
        }
        if let Some(meter) = &self.meter {
            self.run.cost = Cost { lost, ..meter.cost() };
        }
    }
}

/// The next time; never, if there is none.
async fn tick(interval: Option<&mut Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

/// Nothing is left half done under the lock: who panicked there harmed nobody.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
