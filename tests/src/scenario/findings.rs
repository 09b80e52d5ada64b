//! What incidents come to: servers by their real command lines and environments.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::cures::ground::{proposed, run as run_it};
use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::size::MIB;
use crate::stage::{Scratch, Stage, argument};
use crate::witness::cgroup::Cgroup;
use crate::witness::tree::Tree;

/// Guards findings as they come live: the settings of servers on their command lines and in their environments, which are read as
/// they die, held against the limit that they reached; and those that fit, where the limit is raised as is proposed, and the same
/// happens no more. And that nothing else of an environment is told.
pub const SCENARIO: Scenario = Scenario {
    name: "findings",
    guards: "a server dies of its limit: what is found is its setting that cannot fit, or the plain limit if it fits",
    needs: Needs::Memcg,
    kills: AT_ONCE,
    once: true,
    run,
};

/// Kills after which the kernel's log gets a rest: it has ten headers in five seconds (`oom_kill_process()`, mm/oom_kill.c).
const AT_ONCE: usize = 8;
const REST: Duration = Duration::from_secs(5);

/// The limit of each.
const LIMIT: u64 = 32 * MIB;

/// How many are tried on a machine that was made for it: one whose setting cannot fit, one whose fits, and one that has it in its
/// environment.
const EMULATED: usize = 3;

/// What each has in its environment that is nobody's business.
const SECRET: (&str, &str) = ("SHOP_DATABASE", "hunter2hunter2");

/// A program, its options, a variable in its environment, and what must be found.
const SERVERS: [(&str, &str, (&str, &str), &str); 9] = [
    ("/usr/bin/java", "-jar shop.jar", ("JAVA_TOOL_OPTIONS", "-Xmx700m"), "jvm-heap"),
    ("java", "-Xmx20m -jar shop.jar", NONE, "memcg-limit"),
    ("/srv/app", "--listen", ("GOMEMLIMIT", "1GiB"), "go-memlimit"),
    ("node", "app.js", ("NODE_OPTIONS", "--max-old-space-size=4096"), "node-heap"),
    ("postgres", "-D /data -c shared_buffers=1GB", NONE, "postgres-buffers"),
    ("/usr/sbin/mysqld", "--innodb-buffer-pool-size=1G", NONE, "mysql-buffers"),
    ("redis-server", "--maxmemory 2gb", NONE, "redis-maxmemory"),
    ("redis-server", "--maxmemory 12mb", NONE, "memcg-limit"),
    ("java", "-Xmx700m -jar shop.jar", ("_JAVA_OPTIONS", "-Xmx20m"), "memcg-limit"),
];

/// No variable that is told.
const NONE: (&str, &str) = ("SHOP", "1");

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let scratch = Scratch::new(stage.name)?;
    let tree = stage.tree()?;
    // Command lines are read as in every other scenario: under emulation one of a kind will do.
    let most = if stage.machine.disposable { EMULATED } else { SERVERS.len() };
    for (number, (program, options, variable, expected)) in SERVERS.into_iter().enumerate().take(most) {
        if number == AT_ONCE {
            sleep(REST);
        }
        let group = tree.group(&format!("server-{number}"))?;
        group.set_limit(LIMIT)?;
        let eat = Eat {
            anon: LIMIT / 4 * 5,
            program: Some(program.to_owned()),
            environment: [SECRET, variable].map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            ballast: options.split(' ').map(Into::into).collect(),
            ..Eat::default()
        };
        let mut server = stage.eater("server", &eat, Some(&group))?;
        let recording = scratch.file("recording");
        let watch = stage.watch(&["--record", argument(&recording)?])?;
        server.order(word::FILL)?;
        server.killed(stage.deadline)?;
        let kill = [Expected::kill(&server.facts, &server.facts, &group)];
        let seen = stage.finish(watch, &kill)?;
        stage.judge(&seen, &kill, &[&server.facts]);
        stage.judge_findings_in_every_tier(&seen, &server.facts, &[expected]);
        let Some(traced) = &seen.traced else { continue };
        let incident = traced.incident_of(server.pid()).context("oomtrace does not report the kill")?;
        if expected == "memcg-limit" {
            is_cured(stage, &incident.json, &eat, &group)?;
        }
        let environment = incident.json.pointer("/victims/0/environment");
        let told = if variable == NONE { json!({}) } else { json!({variable.0: variable.1}) };
        // What runs the scenarios may have one of the others.
        let own = |name: &str| environment.and_then(|environment| environment.get(name));
        stage.checks.that(own(variable.0) == told.get(variable.0), || {
            format!("environment is {environment:?}, not {told}")
        });
        stage
            .checks
            .that(environment.is_some(), || format!("no environment is told: {}", incident.json["missing"]));
        let recorded = fs::read(&recording).context("the recording cannot be read")?;
        for (place, bytes) in [("the recording", recorded), ("the output", traced.output.stdout.concat())] {
            let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
            stage.checks.that(!has(SECRET.0) && !has(SECRET.1), || format!("{} is in {place}", SECRET.0));
            stage
                .checks
                .that(variable == NONE || has(variable.1), || format!("{} is not in {place}", variable.0));
        }
    }
    // Who else was there no tracepoint tells.
    if stage.tier() == Some("tracepoint") || !stage.machine.disposable { Ok(()) } else { pool(stage, &tree) }
}

/// Raises the limit as is proposed, in version 1 or 2 as the machine has it, and checks that the same happens no more.
fn is_cured(stage: &mut Stage<'_>, incident: &Value, eat: &Eat, group: &Cgroup) -> Result<()> {
    let command = proposed(incident, "memcg-limit", "change")?;
    let mut sh = Command::new("sh");
    sh.args(["-c", &command]);
    run_it(sh).with_context(|| format!("{command:?} is proposed"))?;
    let mut again = stage.eater("server", eat, Some(group))?;
    again.order(word::FILL)?;
    let survived = again.survived(stage.deadline)?;
    stage.checks.that(survived, || format!("the same happens again after {command:?}"));
    Ok(())
}

/// A pool of workers that fill a limit together.
fn pool(stage: &mut Stage<'_>, tree: &Tree) -> Result<()> {
    let group = tree.group("pool")?;
    group.set_limit(LIMIT)?;
    let mut workers = Vec::new();
    for worker in 0..4 {
        let eat = Eat { anon: if worker == 0 { LIMIT } else { LIMIT / 5 }, ..Eat::default() };
        let eat = Eat { program: Some("nginx: worker process".to_owned()), ..eat };
        workers.push(stage.eater("nginx", &eat, Some(&group))?);
    }
    let (chosen, others) = workers.split_first_mut().context("no workers")?;
    for other in others.iter_mut() {
        other.fill_and_hold(stage.deadline)?;
    }
    let watch = stage.watch(&[])?;
    chosen.order(word::FILL)?;
    chosen.killed(stage.deadline)?;
    let kill = [Expected::kill(&chosen.facts, &chosen.facts, &group)];
    let seen = stage.finish(watch, &kill)?;
    let facts: Vec<_> = std::iter::once(&*chosen).chain(&*others).map(|worker| &worker.facts).collect();
    stage.judge(&seen, &kill, &facts);
    stage.judge_findings(&seen, &chosen.facts, &["nginx-workers"]);
    Ok(())
}
