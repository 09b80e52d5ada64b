//! The names that lines of output have for things.

use serde::Serialize;

/// What `value` is called in JSON: of an enumeration without data.
pub fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => UNKNOWN.to_owned(),
    }
}

/// What has no name.
pub const UNKNOWN: &str = "unknown";

/// What `value` is called; what is not there is unknown.
pub fn word_or_unknown(value: Option<impl Serialize>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), word)
}
