//! What is kept of the samples of a run, however many there are.
//!
//! | bound | at most |
//! |---|---|
//! | points | [`Course::MOST`] |
//! | names with a curve | 64: 180 kB |
//! | samples kept as they are | the first and the last |

use std::time::Duration;

use super::{LONGEST, points::Points, sample::Sample, stressors::Stressors};
use crate::{
    host,
    profile::report::{Counters, Course, Kswapd, Point, Psi, Run, Series, StressorMemory},
};

/// Takes samples.
#[derive(Debug, Default)]
pub struct Recorder {
    began_ns: u64,
    first: Option<Sample>,
    last: Option<Sample>,
    points: Points,
    stressors: Stressors,
    now: Now,
    most_cgroup_bytes: Option<u64>,
    most_pids: Option<u64>,
    samples: u64,
    cpu_ns: u64,
}

/// How things stand.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Now {
    /// The last sample, which no other is part of.
    pub point: Point,
    /// How many processes the command has.
    pub own_processes: Option<u64>,
}

/// What a run's samples came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gathered {
    /// From one point to the next.
    pub interval_ns: u64,
    /// The points, in order.
    pub points: Vec<Point>,
    /// Curves by name.
    pub curves: Vec<Series>,
    /// Memory by name.
    pub stressors: Vec<StressorMemory>,
    /// What the kernel counted.
    pub counters: Counters,
    /// How long programs waited for memory.
    pub psi: Option<Psi>,
    /// What kswapd did.
    pub kswapd: Option<Kswapd>,
    /// The most that was charged to the command's cgroup in a sample.
    pub most_cgroup_bytes: Option<u64>,
    /// The most processes and threads in it.
    pub most_pids: Option<u64>,
    /// CPU time that samples took.
    pub cpu_ns: u64,
    /// How many were taken.
    pub samples: u64,
}

impl Recorder {
    /// Of a run that began at that time since boot, with samples so far apart.
    pub fn new(began_ns: u64, interval: Duration) -> Self {
        let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Self { began_ns, points: Points::new(interval_ns), ..Self::default() }
    }

    /// From one sample to the next: as far as points are apart, or a half of that, and so on, as it fits into [`LONGEST`].
    pub fn interval(&self) -> Duration {
        let mut interval = Duration::from_nanos(self.points.interval_ns());
        while interval > LONGEST {
            interval /= 2;
        }
        interval
    }

    /// CPU time of a sample, as they are on average: of one alone it may be far more.
    pub fn cost(&self) -> Duration {
        Duration::from_nanos(self.cpu_ns.checked_div(self.samples).unwrap_or(0))
    }

    /// How things stand.
    pub fn now(&self) -> Now {
        self.now
    }

    pub fn push(&mut self, sample: Sample) {
        if self.points.is_full() {
            self.points.halve();
            self.stressors.halve();
        }
        let point = self.point(&sample);
        let added = self.points.push(point);
        let own = sample.own.clone().unwrap_or_default();
        self.stressors.push(&own, added, self.points.len());
        self.now = Now { point, own_processes: sample.own.as_ref().map(|own| own.all.processes) };
        self.most_cgroup_bytes = self.most_cgroup_bytes.max(sample.cgroup.usage_bytes);
        self.most_pids = self.most_pids.max(sample.cgroup.pids);
        self.samples = self.samples.saturating_add(1);
        self.cpu_ns = self.cpu_ns.saturating_add(sample.cpu_ns);
        if self.first.is_none() {
            self.first = Some(sample.clone());
        }
        self.last = Some(sample);
    }

    fn point(&self, sample: &Sample) -> Point {
        let page_bytes = f64::from(host::page_bytes());
        let since = self.last.as_ref().map(|last| Since { earlier: last, later: sample });
        let per_second =
            |of: fn(&Since<'_>) -> Option<u64>| since.as_ref().and_then(|since| since.rate(of(since)?));
        let psi = per_second(|since| since.psi().map(|psi| psi.some_ns));
        let swapped = per_second(|since| since.counted("pswpin")?.checked_add(since.counted("pswpout")?));
        let waited =
            per_second(|since| Some(since.later.waited_ns?.saturating_sub(since.earlier.waited_ns?)));
        Point {
            at_ns: sample.boot_ns.saturating_sub(self.began_ns),
            available_bytes: sample.machine.available,
            swap_used_bytes: sample.machine.swap_used,
            cgroup_bytes: sample.cgroup.usage_bytes,
            own_rss_bytes: sample.own.as_ref().map(|own| own.all.rss_bytes),
            // Of a second, ns; and the kernel's clock for it is another one.
            psi_some: psi.map(|ns| (ns / 1e9).clamp(0.0, 1.0)),
            waiting: waited.map(|ns| ns / 1e9),
            major_faults_per_second: per_second(|since| since.counted("pgmajfault")),
            swapped_bytes_per_second: swapped.map(|pages| pages * page_bytes),
        }
    }

    /// All that was kept.
    pub fn gathered(self) -> Gathered {
        let page_bytes = u64::from(host::page_bytes());
        let (stressors, curves) = self.stressors.told();
        let since = self.first.as_ref().zip(self.last.as_ref());
        let since = since.map(|(earlier, later)| Since { earlier, later });
        let bytes = |since: &Since<'_>, counter| Some(since.counted(counter)?.saturating_mul(page_bytes));
        let kswapd = since.as_ref().and_then(|since| {
            Some(Kswapd {
                cpu_ns: since.later.kswapd_ns?.saturating_sub(since.earlier.kswapd_ns?),
                scanned_bytes: bytes(since, "pgscan_kswapd")?,
                reclaimed_bytes: bytes(since, "pgsteal_kswapd")?,
            })
        });
        Gathered {
            interval_ns: self.points.interval_ns(),
            counters: since
                .as_ref()
                .map(|since| since.later.vmstat.counters_since(&since.earlier.vmstat))
                .unwrap_or_default(),
            psi: since.as_ref().and_then(Since::psi),
            kswapd,
            points: self.points.told(),
            curves,
            stressors,
            most_cgroup_bytes: self.most_cgroup_bytes,
            most_pids: self.most_pids,
            cpu_ns: self.cpu_ns,
            samples: self.samples,
        }
    }
}

/// From one sample to another.
struct Since<'a> {
    earlier: &'a Sample,
    later: &'a Sample,
}

impl Since<'_> {
    fn counted(&self, name: &str) -> Option<u64> {
        self.later.vmstat.since(&self.earlier.vmstat, name)
    }

    fn psi(&self) -> Option<Psi> {
        let (earlier, later) = (self.earlier.machine.pressure?, self.later.machine.pressure?);
        let ns = |later: u64, earlier: u64| later.saturating_sub(earlier).saturating_mul(1000);
        Some(Psi { some_ns: ns(later.some_us, earlier.some_us), full_ns: ns(later.full_us, earlier.full_us) })
    }

    /// So many a second; `None`: they are of the same time.
    #[expect(clippy::cast_precision_loss, reason = "what is beyond 2^53 needs no last digit")]
    fn rate(&self, count: u64) -> Option<f64> {
        let ns = self.later.boot_ns.saturating_sub(self.earlier.boot_ns);
        (ns > 0).then(|| count as f64 * 1e9 / ns as f64)
    }
}

impl Gathered {
    /// Puts all of it into a run's report, whose cgroup is known by now.
    pub fn tell(self, run: &mut Run) {
        let marks = std::mem::take(&mut run.course.marks);
        let Self { interval_ns, points, curves: stressors, .. } = self;
        run.course = Course { interval_ns, points, stressors, marks };
        run.stressors = self.stressors;
        run.counters = self.counters;
        run.psi = self.psi;
        run.kswapd = self.kswapd;
        run.cost.sampling_cpu_ns = self.cpu_ns;
        if let Some(cgroup) = &mut run.cgroup {
            cgroup.most_pids = self.most_pids;
            // Of a short run there is the sample before it, and the one after it, and neither has it.
            let most = self.most_cgroup_bytes.filter(|bytes| *bytes > 0);
            if cgroup.peak_bytes.is_none() && most.is_some() {
                cgroup.peak_bytes = most;
                cgroup.peak_from = Some("samples".to_owned());
            }
        }
    }
}
