//! What oomtrace says that this kernel lets it see.

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Needs, Scenario};
use crate::stage::Stage;

/// Guards the programs against the verifier: where it refuses one, a poorer hook takes its place, and reports may look the
/// same.
pub const SCENARIO: Scenario = Scenario {
    name: "hooks",
    guards: "the verifier refuses none of the programs that this kernel has hooks for",
    needs: Needs::Memcg,
    kills: 0,
    once: false,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let Some(tool) = stage.tool else { return Ok(()) };
    let tier = tool.program.tier.as_deref().unwrap_or("auto");
    let output = tool.program.run(&["hooks", "--json", "--tier", tier], stage.deadline)?;
    stage.keep_output("hooks", &output)?;
    stage
        .checks
        .that(output.status.success(), || format!("it ended with {}: {}", output.status, output.said()));
    let hooks: Value = serde_json::from_slice(&output.stdout.join(&b'\n')).context("no JSON")?;
    let roles = hooks.get("roles").and_then(Value::as_array).context("`hooks` tells of no roles")?;
    stage.checks.that(!roles.is_empty(), || "`hooks` tells of no roles".to_owned());
    for role in roles {
        for refusal in role.get("refused").and_then(Value::as_array).into_iter().flatten() {
            let reason = refusal.get("reason").and_then(Value::as_str).unwrap_or_default();
            stage
                .checks
                .that(!reason.is_empty() && !reason.contains("verifier"), || format!("refused: {refusal}"));
        }
    }
    Ok(())
}
