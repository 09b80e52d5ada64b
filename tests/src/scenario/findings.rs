//! What incidents come to: servers by their real command lines.

use anyhow::{Context, Result};

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::size::MIB;
use crate::stage::Stage;
use crate::witness::tree::Tree;

/// Guards findings as they come live: the settings of servers on their command lines, which are read as they die, held against
/// the limit that they reached; and those that fit.
pub const SCENARIO: Scenario = Scenario {
    name: "findings",
    guards: "a server dies of its limit: what is found is its setting that cannot fit, or the plain limit if it fits",
    needs: Needs::Memcg,
    kills: SERVERS.len() + 1,
    once: true,
    run,
};

/// The limit of each.
const LIMIT: u64 = 32 * MIB;

/// How many are tried on a machine that was made for it: one whose setting cannot fit, and one whose fits.
const EMULATED: usize = 2;

/// A program, its options, and what must be found.
const SERVERS: [(&str, &str, &str); 7] = [
    ("/usr/bin/java", "-Xmx700m -jar shop.jar", "jvm-heap"),
    ("java", "-Xmx20m -jar shop.jar", "memcg-limit"),
    ("node", "--max-old-space-size=4096 app.js", "node-heap"),
    ("postgres", "-D /data -c shared_buffers=1GB", "postgres-buffers"),
    ("/usr/sbin/mysqld", "--innodb-buffer-pool-size=1G", "mysql-buffers"),
    ("redis-server", "--maxmemory 2gb", "redis-maxmemory"),
    ("redis-server", "--maxmemory 12mb", "memcg-limit"),
];

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    // Command lines are read as in every other scenario: under emulation one of a kind will do.
    let most = if stage.machine.disposable { EMULATED } else { SERVERS.len() };
    for (number, (program, options, expected)) in SERVERS.into_iter().enumerate().take(most) {
        let group = tree.group(&format!("server-{number}"))?;
        group.set_limit(LIMIT)?;
        let eat = Eat {
            anon: 2 * LIMIT,
            program: Some(program.to_owned()),
            ballast: options.split(' ').map(Into::into).collect(),
            ..Eat::default()
        };
        let mut server = stage.eater("server", &eat, Some(&group))?;
        let watch = stage.watch(&[])?;
        server.order(word::FILL)?;
        server.killed(stage.deadline)?;
        let kill = [Expected::kill(&server.facts, &server.facts, &group)];
        let seen = stage.finish(watch, &kill)?;
        stage.judge(&seen, &kill, &[&server.facts]);
        stage.judge_findings(&seen, &server.facts, &[expected]);
    }
    if stage.machine.disposable { Ok(()) } else { pool(stage, &tree) }
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
