//! What happens again and again, and is counted in the kernel: each time is told once.

use std::hash::Hash;

use lru::LruCache;

/// What has been told of each kind, of at most `MOST`. The kernel half's totals rise as long as it remembers.
#[derive(Debug)]
pub(super) struct Repeats<K: Eq + Hash, T, const MOST: usize>(LruCache<K, Told<T>>);

#[derive(Debug)]
struct Told<T> {
    series: Series,
    said: T,
}

/// How often something has happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Series {
    /// When it happened first, ns since boot: another time is another series.
    pub first_ns: u64,
    /// How often since then.
    pub total: u64,
}

/// What is new.
#[derive(Debug)]
pub(super) struct News<T> {
    /// How often it has happened since it was told last.
    pub count: u64,
    /// What was said last, of whatever series.
    pub before: Option<T>,
    /// Whether that was of the same series.
    pub continued: bool,
}

impl<K: Eq + Hash, T, const MOST: usize> Default for Repeats<K, T, MOST> {
    // With a bound of its own it would take the memory at once.
    fn default() -> Self {
        Self(LruCache::unbounded())
    }
}

impl<K: Eq + Hash, T, const MOST: usize> Repeats<K, T, MOST> {
    /// What a count has that is new; `None` if another one has counted it all. Else [`Self::keep`] has to follow: what was
    /// said before is forgotten.
    pub fn news(&mut self, kind: &K, series: Series) -> Option<News<T>> {
        let same = self.0.get(kind).filter(|told| told.series.first_ns == series.first_ns);
        let continued = same.is_some();
        let counted = same.map_or(0, |told| told.series.total);
        let count = series.total.checked_sub(counted).filter(|count| *count > 0)?;
        Some(News { count, before: self.0.pop(kind).map(|told| told.said), continued })
    }

    /// Remembers what is said of it now.
    pub fn keep(&mut self, kind: K, series: Series, said: T) {
        self.0.put(kind, Told { series, said });
        if self.0.len() > MOST {
            self.0.pop_lru();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tells it with its total as what is said: how many are new, what was said before, and whether it goes on.
    fn tell<const MOST: usize>(
        repeats: &mut Repeats<&'static str, u64, MOST>,
        kind: &'static str,
        (first_ns, total): (u64, u64),
    ) -> Option<(u64, Option<u64>, bool)> {
        let series = Series { first_ns, total };
        let news = repeats.news(&kind, series)?;
        repeats.keep(kind, series, total);
        Some((news.count, news.before, news.continued))
    }

    /// Guards counts: each time is told once, in whatever order the counts come, and a new series begins at nothing. What
    /// was said is at hand in either case.
    #[test]
    fn each_time_is_told_once() {
        let mut repeats = Repeats::<_, _, 8>::default();
        assert_eq!(tell(&mut repeats, "fork", (5, 1)), Some((1, None, false)));
        assert_eq!(tell(&mut repeats, "fork", (5, 101)), Some((100, Some(1), true)));
        assert_eq!(tell(&mut repeats, "fork", (5, 100)), None, "it was overtaken");
        assert_eq!(tell(&mut repeats, "other", (5, 3)), Some((3, None, false)));
        assert_eq!(tell(&mut repeats, "fork", (5, 103)), Some((2, Some(101), true)));
        assert_eq!(tell(&mut repeats, "fork", (9, 4)), Some((4, Some(103), false)));
    }

    /// Guards memory: what is remembered has a bound, and what was told longest ago goes first.
    #[test]
    fn the_oldest_is_forgotten() {
        let mut repeats = Repeats::<_, _, 2>::default();
        for (kind, total) in [("a", 1), ("b", 1), ("a", 2), ("c", 1)] {
            tell(&mut repeats, kind, (5, total));
        }
        let kept: Vec<_> = repeats.0.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kept, ["c", "a"]);
        assert_eq!(tell(&mut repeats, "c", (5, 1)), None);
        assert_eq!(tell(&mut repeats, "b", (5, 1)), Some((1, None, false)));
    }
}
