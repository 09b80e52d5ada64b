//! Which fields of the output were there, and which were excused: what the table of fields in the documentation is
//! made from.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// Objects whose keys are no fields of the format but names of something.
const NAMED_BY_DATA: [&str; 4] = ["missing", "counts", "hooks", "evidence"];

/// What was seen of the fields, by path: `oom.victims[].pid`.
#[derive(Debug, Default)]
pub struct Fields {
    seen: BTreeSet<String>,
    /// Each with a reason that was given.
    lacking: BTreeMap<String, String>,
}

impl Fields {
    /// Takes in lines of output.
    pub fn add(&mut self, lines: &[Value]) {
        for line in lines {
            let Some(kind) = line["type"].as_str() else { continue };
            self.walk(kind, line);
            for (field, reason) in line["missing"].as_object().into_iter().flatten() {
                let path = format!("{kind}.{}", without_indices(field));
                self.lacking.entry(path).or_insert_with(|| reason.as_str().unwrap_or_default().to_owned());
            }
        }
    }

    fn walk(&mut self, path: &str, value: &Value) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    let path = format!("{path}.{name}");
                    if NAMED_BY_DATA.contains(&name.as_str()) {
                        self.seen.insert(path);
                    } else {
                        self.walk(&path, member);
                    }
                }
            }
            Value::Array(elements) if elements.iter().any(Value::is_object) => {
                for element in elements {
                    self.walk(&format!("{path}[]"), element);
                }
            }
            _ => {
                self.seen.insert(path.to_owned());
            }
        }
    }

    /// As it stands in a result.
    #[must_use]
    pub fn into_json(self) -> Value {
        let lacking: Map<_, _> =
            self.lacking.into_iter().map(|(path, reason)| (path, reason.into())).collect();
        json!({"seen": self.seen, "lacking": lacking})
    }
}

/// `victims[0].rss` as `victims[].rss`.
fn without_indices(path: &str) -> String {
    let mut plain = String::new();
    let mut within = false;
    for letter in path.chars() {
        match letter {
            '[' => within = true,
            ']' => within = false,
            _ if within => continue,
            _ => {}
        }
        plain.push(letter);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the paths: one for all elements of an array, none for keys that are data, and reasons beside them.
    #[test]
    fn paths_are_those_of_the_format() {
        let mut fields = Fields::default();
        fields.add(&[
            json!({"type": "oom", "victims": [{"pid": 1}, {"pid": 2, "rss": {"total_bytes": 3}}],
                   "gfp": ["A"], "missing": {"victims[12].points": "because"}}),
            json!({"no": "type"}),
        ]);
        let expected = json!({
            "seen": ["oom.gfp", "oom.missing", "oom.type", "oom.victims[].pid", "oom.victims[].rss.total_bytes"],
            "lacking": {"oom.victims[].points": "because"},
        });
        assert_eq!(fields.into_json(), expected);
    }
}
