//! Memory of the command's processes by name, over time.

use super::{
    points::{Added, halve},
    processes::{Comm, Own, Share},
};
use crate::{
    profile::report::{Series, StressorMemory},
    text::from_kernel,
};

/// Names that are followed, at most: 64 curves take 180 kB.
const NAMES: usize = 64;
/// Curves that are told by name.
const CURVES: usize = 8;

/// Resident memory over time, in units of 4 KiB, the smallest page of all: 16 TiB fit in four bytes.
#[derive(Clone, Debug, Default)]
struct Curve(Vec<u32>);

impl Curve {
    const UNIT: u64 = 4096;

    /// Up to so many points, of which the new ones are 0.
    fn grow(&mut self, points: usize) {
        self.0.resize(points, 0);
    }

    /// It had that at the last point, or at some time of it.
    fn raise(&mut self, bytes: u64) {
        let units = u32::try_from(bytes / Self::UNIT).unwrap_or(u32::MAX);
        if let Some(last) = self.0.last_mut() {
            *last = units.max(*last);
        }
    }

    fn add(&mut self, other: &Self) {
        for (to, from) in self.0.iter_mut().zip(&other.0) {
            *to = to.saturating_add(*from);
        }
    }

    fn told(&self, comm: Option<String>) -> Series {
        Series { comm, rss_bytes: self.0.iter().map(|units| u64::from(*units) * Self::UNIT).collect() }
    }
}

/// A name that is followed.
#[derive(Clone, Debug)]
struct Name {
    comm: Comm,
    peak: Share,
    curve: Curve,
}

/// All names.
#[derive(Debug, Default)]
pub struct Stressors {
    names: Vec<Name>,
    rest: Curve,
    /// Whether anything ever was in that.
    has_rest: bool,
}

impl Stressors {
    /// What there is at a point: at a new one, or once more at the last. `points`: how many there are now.
    pub fn push(&mut self, own: &Own, added: Added, points: usize) {
        if added == Added::New {
            self.rest.grow(points);
            for name in &mut self.names {
                name.curve.grow(points);
            }
        }
        for (comm, share) in &own.names {
            if let Some(name) = self.name(*comm, *share, points) {
                name.raise(*share);
            }
        }
        // Whoever lost its place meanwhile is of the rest too.
        let is_followed = |comm: &Comm| self.names.iter().any(|name| name.comm == *comm);
        let followed = own.names.iter().filter(|(comm, _)| is_followed(comm));
        let followed = followed.fold(0_u64, |sum, (_, share)| sum.saturating_add(share.rss_bytes));
        let rest = own.all.rss_bytes.saturating_sub(followed);
        self.has_rest |= rest > 0;
        self.rest.raise(rest);
    }

    /// Makes one of every two points.
    pub fn halve(&mut self) {
        for curve in self.names.iter_mut().map(|name| &mut name.curve).chain([&mut self.rest]) {
            halve(&mut curve.0, u32::max);
        }
    }

    /// The one of that name. A new one that has more than the least of them ever had takes its place.
    fn name(&mut self, comm: Comm, share: Share, points: usize) -> Option<&mut Name> {
        if let Some(index) = self.names.iter().position(|name| name.comm == comm) {
            return self.names.get_mut(index);
        }
        let mut curve = Curve::default();
        curve.grow(points);
        let new = Name { comm, peak: Share::default(), curve };
        if self.names.len() < NAMES {
            self.names.push(new);
            return self.names.last_mut();
        }
        let least = self.names.iter_mut().min_by_key(|name| name.peak.rss_bytes)?;
        if least.peak.rss_bytes >= share.rss_bytes {
            return None;
        }
        self.rest.add(&least.curve);
        self.has_rest = true;
        *least = new;
        Some(least)
    }

    /// All of them: how much each name had, the largest first, and the curves of the largest.
    pub fn told(mut self) -> (Vec<StressorMemory>, Vec<Series>) {
        self.names.sort_by_key(|name| std::cmp::Reverse((name.peak.rss_bytes, name.peak.processes)));
        let memory = self.names.iter().map(|name| StressorMemory {
            comm: from_kernel(&name.comm),
            peak_rss_bytes: name.peak.rss_bytes,
            peak_swap_bytes: name.peak.swap_bytes,
            most_processes: name.peak.processes,
        });
        let curves =
            self.names.iter().take(CURVES).map(|name| name.curve.told(Some(from_kernel(&name.comm))));
        let (memory, mut curves): (Vec<_>, Vec<_>) = (memory.collect(), curves.collect());
        for name in self.names.iter().skip(CURVES) {
            self.rest.add(&name.curve);
            self.has_rest = true;
        }
        if self.has_rest {
            curves.push(self.rest.told(None));
        }
        (memory, curves)
    }
}

impl Name {
    fn raise(&mut self, share: Share) {
        self.peak.rss_bytes = self.peak.rss_bytes.max(share.rss_bytes);
        self.peak.swap_bytes = self.peak.swap_bytes.max(share.swap_bytes);
        self.peak.processes = self.peak.processes.max(share.processes);
        self.curve.raise(share.rss_bytes);
    }
}
