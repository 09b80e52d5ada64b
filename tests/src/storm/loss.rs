//! What an oomtrace says that it lost.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::incident::kind;

/// Its `loss` lines added up, and what its last line says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// By place and kind, such as `ring` and `mark`.
    pub counts: BTreeMap<(String, String), u64>,
    /// `lost_records` of the status line `ended`; None without that line.
    pub ended: Option<u64>,
}

impl Losses {
    /// Adds up what is in the objects of an output.
    #[must_use]
    pub fn of(objects: &[Value]) -> Self {
        let mut losses = Self::default();
        for object in objects {
            let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            if kind(object) == "loss" {
                let counts = object.get("counts").and_then(Value::as_object);
                for (kind, count) in counts.into_iter().flatten() {
                    *losses.counts.entry((text("where"), kind.clone())).or_default() +=
                        count.as_u64().unwrap_or_default();
                }
            } else if kind(object) == "status" && text("state") == "ended" {
                losses.ended = object.get("lost_records").and_then(Value::as_u64);
            }
        }
        losses
    }

    /// The count for one place and kind.
    #[must_use]
    pub fn count(&self, place: &str, kind: &str) -> u64 {
        self.counts.get(&(place.to_owned(), kind.to_owned())).copied().unwrap_or_default()
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Guards the sums: every line counts, by place and kind, and the last line's figure stands by itself.
    #[test]
    fn losses_add_up() {
        let losses = Losses::of(&[
            json!({"type": "status", "state": "armed", "lost_records": 9}),
            json!({"type": "loss", "where": "ring", "counts": {"mark": 2, "level": 5}}),
            json!({"type": "oom", "counts": {"mark": 100}}),
            json!({"type": "loss", "where": "ring", "counts": {"mark": 1}}),
            json!({"type": "loss", "where": "output", "counts": {"message": 4}}),
            json!({"type": "status", "state": "ended", "lost_records": 12}),
        ]);
        assert_eq!((losses.count("ring", "mark"), losses.count("ring", "close")), (3, 0));
        assert_eq!((losses.total(), losses.ended), (12, Some(12)));
        assert_eq!(Losses::of(&[]), Losses::default());
    }
}
