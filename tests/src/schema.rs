//! Checks lines against the JSON Schema that `oomtrace schema` prints.

use anyhow::{Context, Result, ensure};
use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use crate::checks::Checks;
use crate::deadline::Deadline;
use crate::tracer::Program;

/// The schema, ready to check with.
#[derive(Debug)]
pub struct Schema(Validator);

impl Schema {
    /// Asks oomtrace for its schema.
    pub fn of(program: &Program, deadline: Deadline) -> Result<Self> {
        let output = program.run(&["schema"], deadline)?;
        ensure!(output.status.success(), "oomtrace schema ended with {}: {}", output.status, output.said());
        let schema =
            serde_json::from_slice(&output.stdout.join(&b'\n')).context("oomtrace schema printed no JSON")?;
        Self::new(&schema)
    }

    /// Takes a schema. One that accepts anything is refused: it would check nothing.
    pub(crate) fn new(schema: &Value) -> Result<Self> {
        let validator =
            jsonschema::validator_for(schema).context("oomtrace schema printed no valid JSON Schema")?;
        ensure!(!validator.is_valid(&Value::from("nonsense")), "the schema of oomtrace accepts anything");
        Ok(Self(validator))
    }

    /// Checks each object.
    pub fn check(&self, checks: &mut Checks, objects: &[Value]) {
        for object in objects {
            let errors: Vec<String> = self.0.iter_errors(object).map(|error| told(&error)).collect();
            checks.that(errors.is_empty(), || {
                format!("against the schema: {}; in {object}", errors.join("; "))
            });
        }
    }
}

/// An error in words. Where no alternative fits, it tells what each wants, but for those of another `type`.
fn told(error: &ValidationError<'_>) -> String {
    let (ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context }) =
        error.kind()
    else {
        return format!("{} ({error})", error.instance_path());
    };
    let alternatives = context.iter().map(|errors| errors.iter().map(told).collect::<Vec<_>>().join(", "));
    let (other_type, same_type): (Vec<_>, Vec<_>) =
        alternatives.partition(|wanted| wanted.contains("/type ("));
    let meant = if same_type.is_empty() { other_type } else { same_type };
    format!("no alternative fits: {}", meant.join(" | "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Guards that a line which breaks the schema fails, and one which keeps it does not.
    #[test]
    fn a_broken_line_fails() {
        let schema =
            json!({"type": "object", "required": ["seq"], "properties": {"seq": {"type": "integer"}}});
        let schema = Schema::new(&schema).unwrap();
        let mut checks = Checks::default();
        schema.check(&mut checks, &[json!({"seq": 1})]);
        assert_eq!(checks.failures(), [""; 0]);
        schema.check(&mut checks, &[json!({"seq": "1"}), json!({})]);
        assert_eq!(checks.failures().len(), 2);
    }

    /// Guards the message: of several kinds of line it tells what the one that was meant lacks.
    #[test]
    fn the_message_is_about_the_kind_of_line_that_was_meant() {
        let kind =
            |name: &str, key: &str| json!({"required": [key], "properties": {"type": {"enum": [name]}}});
        let schema = json!({"type": "object", "anyOf": [kind("oom", "victims"), kind("status", "hooks")]});
        let mut checks = Checks::default();
        Schema::new(&schema).unwrap().check(&mut checks, &[json!({"type": "status"})]);
        let [failure] = checks.failures() else { panic!("{:?}", checks.failures()) };
        assert!(failure.contains("hooks") && !failure.contains("victims"), "{failure}");
    }

    /// Guards against a schema that says nothing.
    #[test]
    fn an_empty_schema_is_refused() {
        assert!(Schema::new(&json!({})).is_err());
        assert!(Schema::new(&json!({"type": 7})).is_err());
    }
}
