//! Points over time, of which there are never more than a number.

use crate::profile::report::{Course, Point};

/// A point, and the time that it stands for: since the one before.
#[derive(Clone, Copy, Debug)]
struct Weighted {
    point: Point,
    ns: u64,
}

/// See [`Course`].
#[derive(Debug, Default)]
pub struct Points {
    points: Vec<Weighted>,
    interval_ns: u64,
}

/// What became of a point that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is one of its own.
    New,
    /// It is part of the last one.
    Merged,
}

impl Points {
    /// So far apart at first.
    pub fn new(interval_ns: u64) -> Self {
        Self { points: Vec::new(), interval_ns }
    }

    /// From one to the next.
    pub fn interval_ns(&self) -> u64 {
        self.interval_ns
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether there is no room for another one of its own: [`Self::halve()`] makes some.
    pub fn is_full(&self) -> bool {
        self.points.len() >= Course::MOST
    }

    /// Adds one.
    pub fn push(&mut self, point: Point) -> Added {
        let ns = self.points.last().map_or(0, |last| point.at_ns.saturating_sub(last.point.at_ns));
        let new = Weighted { point, ns };
        // Most of it has to be within the time of the last one, give or take what samples come early and late. The very first
        // stands for no time: it is where the course begins.
        let reach = self.interval_ns.saturating_add(self.interval_ns / 16);
        let last = self.points.last_mut();
        if let Some(last) = last.filter(|last| last.ns > 0 && last.ns.saturating_add(ns / 2) <= reach) {
            *last = last.with(new);
            Added::Merged
        } else {
            self.points.push(new);
            Added::New
        }
    }

    /// Makes one of every two neighbours.
    pub fn halve(&mut self) {
        self.interval_ns = self.interval_ns.saturating_mul(2);
        halve(&mut self.points, Weighted::with);
    }

    /// All of them.
    pub fn told(self) -> Vec<Point> {
        self.points.into_iter().map(|weighted| weighted.point).collect()
    }
}

impl Weighted {
    /// Both as one, of which `next` is the later.
    fn with(self, next: Self) -> Self {
        let most = |of: fn(&Point) -> Option<u64>| of(&self.point).max(of(&next.point));
        let mean = |of: fn(&Point) -> Option<f64>| match (of(&self.point), of(&next.point)) {
            (Some(one), Some(other)) => Some(weighted(one, self.ns, other, next.ns)),
            (one, other) => other.or(one),
        };
        let least = [self.point.available_bytes, next.point.available_bytes].into_iter().flatten().min();
        let point = Point {
            at_ns: next.point.at_ns,
            available_bytes: least,
            swap_used_bytes: most(|point| point.swap_used_bytes),
            cgroup_bytes: most(|point| point.cgroup_bytes),
            own_rss_bytes: most(|point| point.own_rss_bytes),
            psi_some: mean(|point| point.psi_some),
            waiting: mean(|point| point.waiting),
            major_faults_per_second: mean(|point| point.major_faults_per_second),
            swapped_bytes_per_second: mean(|point| point.swapped_bytes_per_second),
        };
        Self { point, ns: self.ns.saturating_add(next.ns) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "times as weights")]
fn weighted(one: f64, one_ns: u64, other: f64, other_ns: u64) -> f64 {
    let (one_ns, other_ns) = (one_ns as f64, other_ns as f64);
    let all = one_ns + other_ns;
    if all > 0.0 { (one * one_ns + other * other_ns) / all } else { f64::midpoint(one, other) }
}

/// Makes one of every two neighbours; of an odd number the last stays.
pub fn halve<T: Copy>(all: &mut Vec<T>, join: impl Fn(T, T) -> T) {
    let joined = all.chunks(2).filter_map(|pair| match pair {
        [one, other] => Some(join(*one, *other)),
        [one] => Some(*one),
        _ => None,
    });
    *all = joined.collect();
}
