//! Settings that change in the middle of a storm.

use std::net::TcpListener;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};

use super::super::{Needs, Scenario};
use super::web::page;
use super::{Home, kills_of, lines, on_its_own};
use crate::eat::{Eat, word};
use crate::size::MIB;
use crate::stage::Stage;

/// Guards reloading: nothing is lost by it, settings that cannot be used change nothing, and new ones count.
pub const SCENARIO: Scenario = Scenario {
    name: "agent_reload",
    guards: "SIGHUP in a storm of kills: the agent reads its settings again, keeps the old ones if they are wrong, tries again what it could not start, and loses nothing",
    needs: Needs::Memcg,
    kills: 10,
    once: true,
    run,
};

const KILLS: usize = 16;

const SETTINGS: &str = "[stdout]\nform = \"json\"\n\
    [history]\npath = \"HOME/history.db\"\nrecover = false\n\
    [metrics]\nlisten = \"ADDRESS\"\n\
    [flight]\nenabled = false\n\
    [file]\n";

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let Some(tool) = stage.tool else { return Ok(()) };
    on_its_own(stage);
    // Somebody else has the place where metrics are to be served.
    let taken = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen on loopback")?;
    let address = taken.local_addr().context("no address")?.to_string();
    let mut taken = Some(taken);
    let settings = |file: &str| format!("{SETTINGS}path = \"HOME/{file}\"\n").replace("ADDRESS", &address);
    let home = Home::new(stage.name, &settings("first.ndjson"))?;
    let tree = stage.tree()?;
    let group = tree.group("reloaded")?;
    group.set_limit(16 * MIB)?;
    let mut agent = home.agent(&tool.program, stage.deadline)?;
    stage.checks.that(agent.said().contains("Tracing goes on without them"), || {
        format!("the agent does not say that it has no place for its metrics: {}", agent.said())
    });
    let mut killed = Vec::new();
    for number in 0..KILLS {
        match number {
            8 => {
                taken = None;
                home.set(&settings("second.ndjson"))?;
                agent.hang_up()?;
            }
            12 => {
                home.set("[trace]\ntier = \"best\"\n")?;
                agent.hang_up()?;
            }
            _ => {}
        }
        let eat = Eat { anon: 32 * MIB, ..Eat::default() };
        let mut eater = stage.eater(format!("reload-{number:02}"), &eat, Some(&group))?;
        eater.order(word::FILL)?;
        eater.killed(stage.deadline)?;
        killed.push(eater.pid());
        // The first of both is done before the second: signals do not queue.
        if number == 10 {
            agent.must_hear("settings were read again", stage.deadline)?;
            stage
                .checks
                .that(page(&agent.url()?).is_ok(), || "the metrics are not served after that".to_owned());
        }
        sleep(Duration::from_millis(5));
    }
    drop(taken);
    agent.must_hear("The settings stay as they were", stage.deadline)?;
    stage
        .checks
        .that(agent.reported(&killed, stage.deadline), || "the agent does not tell all kills".to_owned());
    let output = agent.stop(stage.deadline)?;
    stage.keep_output("agent", &output)?;
    stage.checks.that(output.status.success(), || format!("the agent ended with {}", output.status));
    let told = super::objects(&output)?;
    let history = home.history(&tool.program, &[], stage.deadline)?;
    let (first, second) = (lines(&home.file("first.ndjson"))?, lines(&home.file("second.ndjson"))?);
    for pid in &killed {
        let both = kills_of(&first, *pid).len() + kills_of(&second, *pid).len();
        for (name, times) in [
            ("standard output", kills_of(&told, *pid).len()),
            ("history", kills_of(&history, *pid).len()),
            ("both files", both),
        ] {
            stage.checks.equal(&format!("kills of {pid} in {name}"), Some(times), Some(1), "the kernel");
        }
    }
    let last = killed.last().copied().unwrap_or_default();
    stage.checks.equal(
        "the last kill in the new file",
        Some(kills_of(&second, last).len()),
        Some(1),
        "the settings",
    );
    Ok(())
}
