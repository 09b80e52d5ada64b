//! What happened when.

use crate::profile::report::{Course, Mark, MarkKind};

/// How near marks have to be to become one, as soon as there are too many, at first.
const NEAR_NS: u64 = 1_000_000;

/// Marks, of which there are never more than [`Course::MOST_MARKS`]: when there would be, those of one kind become one that are
/// near each other, and what counts as near doubles until half of them are left.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    marks: Vec<Mark>,
    /// What counts as near, ns; 0: nothing does.
    near_ns: u64,
}

impl Marks {
    /// Adds so many, of which the first hit somebody of that name.
    pub fn push(&mut self, at_ns: u64, kind: MarkKind, count: u64, comm: Option<&str>) {
        // Most come in order, so that the last of the kind is near the end.
        let last = self.marks.iter_mut().rev().take(MarkKind::ALL.len() * 2).find(|mark| mark.kind == kind);
        if let Some(last) = last
            && is_near(last.at_ns, at_ns, self.near_ns)
        {
            last.count = last.count.saturating_add(count);
            return;
        }
        if self.marks.len() >= Course::MOST_MARKS {
            self.thin();
        }
        self.marks.push(Mark { at_ns, kind, count, comm: comm.map(str::to_owned) });
    }

    /// All of them, in order.
    #[must_use]
    pub fn told(mut self) -> Vec<Mark> {
        self.marks.sort_by_key(|mark| mark.at_ns);
        self.marks
    }

    fn thin(&mut self) {
        self.marks.sort_by_key(|mark| mark.at_ns);
        while self.marks.len() > Course::MOST_MARKS / 2 {
            self.near_ns = self.near_ns.saturating_mul(2).max(NEAR_NS);
            self.merge();
        }
    }

    /// Makes one of each kind's that are near.
    fn merge(&mut self) {
        let mut kept = Vec::<Mark>::with_capacity(self.marks.len());
        // Where the last one of each kind is.
        let mut last = [None; MarkKind::ALL.len()];
        for mark in self.marks.drain(..) {
            let Some(place) = MarkKind::ALL.iter().zip(&mut last).find(|(kind, _)| **kind == mark.kind)
            else {
                continue;
            };
            let before = place.1.and_then(|index: usize| kept.get_mut(index));
            if let Some(before) = before.filter(|before| is_near(before.at_ns, mark.at_ns, self.near_ns)) {
                before.count = before.count.saturating_add(mark.count);
                continue;
            }
            *place.1 = Some(kept.len());
            kept.push(mark);
        }
        self.marks = kept;
    }
}

fn is_near(one: u64, other: u64, near_ns: u64) -> bool {
    one.abs_diff(other) < near_ns
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards marks of which there are few: each stays, in order, with its name.
    #[test]
    fn few_marks_stay_as_they_are() {
        let mut marks = Marks::default();
        marks.push(20, MarkKind::OwnKill, 1, Some("b"));
        marks.push(20, MarkKind::OwnKill, 2, Some("c"));
        marks.push(10, MarkKind::BystanderKill, 1, None);
        let told = marks.told();
        let short: Vec<_> = told.iter().map(|mark| (mark.at_ns, mark.count, mark.comm.as_deref())).collect();
        assert_eq!(short, [(10, 1, None), (20, 1, Some("b")), (20, 2, Some("c"))]);
    }

    /// Guards the bound, and that nothing of what was pushed is lost: counts add up by kind, and rare marks among very many frequent
    /// ones keep their place.
    #[test]
    fn very_many_marks_are_bounded_and_add_up() {
        let mut marks = Marks::default();
        let second = 1_000_000_000;
        for at in 0..100_000_u64 {
            let at_ns = at * 18_000_000;
            marks.push(at_ns, MarkKind::OwnKill, 1, Some("stress-ng-vm"));
            marks.push(at_ns, MarkKind::ForkFailure, 3, None);
            if at % 50_000 == 49_999 {
                marks.push(at_ns, MarkKind::BystanderKill, 1, Some("sshd"));
            }
            assert!(marks.marks.len() <= Course::MOST_MARKS);
        }
        let near = marks.near_ns;
        let told = marks.told();
        assert!((200..=Course::MOST_MARKS).contains(&told.len()) && told.is_sorted_by_key(|mark| mark.at_ns));
        let sum = |kind| told.iter().filter(|mark| mark.kind == kind).map(|mark| mark.count).sum::<u64>();
        assert_eq!((sum(MarkKind::OwnKill), sum(MarkKind::ForkFailure)), (100_000, 300_000));
        let rare: Vec<_> = told.iter().filter(|mark| mark.kind == MarkKind::BystanderKill).collect();
        assert_eq!(
            rare.iter().map(|mark| mark.at_ns).collect::<Vec<_>>(),
            [49_999 * 18_000_000, 99_999 * 18_000_000]
        );
        assert!(rare.iter().all(|mark| mark.comm.as_deref() == Some("sshd")));
        assert!(near < 20 * second, "{near}");
    }

    /// Guards against times that make no sense: an end is found whatever they are.
    #[test]
    fn any_times_are_bounded() {
        let mut marks = Marks::default();
        for at in 0..3000_u64 {
            marks.push(at.wrapping_mul(0x9e37_79b9_7f4a_7c15), MarkKind::NoVictim, u64::MAX, None);
        }
        let told = marks.told();
        assert!(
            !told.is_empty() && told.len() <= Course::MOST_MARKS && told.is_sorted_by_key(|mark| mark.at_ns)
        );
    }
}
