//! Secrets in JSON: of what is called one nothing stays, and texts and command lines are masked as they are elsewhere.

use serde_json::Value;

use super::{MASK, is_secret, masked, masked_text};

/// Masks what looks like a secret, wherever it is.
pub fn mask(value: &mut Value) {
    match value {
        Value::String(text) => *text = masked_text(text),
        Value::Array(items) => match arguments(items) {
            Some(arguments) => *items = arguments,
            None => items.iter_mut().for_each(mask),
        },
        Value::Object(fields) => {
            for (name, field) in fields {
                if is_secret(name.as_bytes()) && !matches!(field, Value::Null | Value::Bool(_)) {
                    *field = Value::String(String::from_utf8_lossy(MASK).into_owned());
                } else {
                    mask(field);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What texts in a row are as a command line, without secrets; `None`: they cannot be one.
fn arguments(items: &[Value]) -> Option<Vec<Value>> {
    let texts = items.iter().map(|item| item.as_str().filter(|text| !text.contains('\0')));
    let texts = texts.collect::<Option<Vec<_>>>()?;
    let shown = masked(texts.join("\0").as_bytes());
    let shown: Vec<_> = shown.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    // None of no texts is one empty text.
    (shown.len() == texts.len()).then(|| shown.iter().map(|text| Value::String(masked_text(text))).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Guards every place where JSON can have a secret, and that the rest stays.
    #[test]
    fn secrets_are_masked_wherever_they_are() {
        let mut value = json!({
            "password": "hunter2", "api_key": 7, "tokens": [], "secret": {"a": ["b"]}, "cookie": null,
            "password_file": "/run/secret",
            "victims": [{"comm": "app", "cmdline": ["app", "--password", "hunter2", "-v", "a b"]}],
            "environment": ["PGPASSWORD=x", "LANG=C"],
            "webhook": {"url": "https://me:hunter2@host/"},
            "odd": ["--password", "a\u{0}b"], "none": [], "empty": [""],
        });
        mask(&mut value);
        let expected = json!({
            "password": "***", "api_key": "***", "tokens": [], "secret": "***", "cookie": null,
            "password_file": "/run/secret",
            "victims": [{"comm": "app", "cmdline": ["app", "--password", "***", "-v", "a b"]}],
            "environment": ["PGPASSWORD=***", "LANG=C"],
            "webhook": {"url": "https://me:***@host/"},
            "odd": ["--password", "a b"], "none": [], "empty": [""],
        });
        assert_eq!(value, expected);
    }
}
