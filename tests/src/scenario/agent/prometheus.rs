//! A real Prometheus that scrapes the agent, with the alert rules and the dashboard that come with it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::super::{Needs, Scenario};
use super::Home;
use super::web::page;
use crate::deadline::Deadline;
use crate::eat::{Eat, word};
use crate::lines::Lines;
use crate::process::{die_with_us, end, on_path};
use crate::size::MIB;
use crate::stage::{Stage, argument};

/// Guards what operators have of the metrics: that Prometheus takes them, that the alert comes of a real kill, and that no panel of
/// the dashboard stays empty because of a name that is no more.
pub const SCENARIO: Scenario = Scenario {
    name: "agent_prometheus",
    guards: "Prometheus scrapes the agent, fires the alert on a real kill, and has data for every panel of the dashboard",
    needs: Needs::Host,
    kills: 1,
    once: true,
    run,
};

const RULES: &str = include_str!("../../../../oomtrace/deploy/prometheus/oomtrace.rules.yml");
const DASHBOARD: &str = include_str!("../../../../oomtrace/deploy/grafana/oomtrace.json");
/// What fires on a kill at a limit.
const ALERT: &str = "OomtraceKill";
/// The kernel counts no runs where it is not allowed to, and a machine may be set up well.
const MAY_BE_ABSENT: [&str; 2] = ["oomtrace_bpf_run", "oomtrace_check_finding"];
/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// What one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let Some(tool) = stage.tool else { return Ok(()) };
    let (Some(program), Some(promtool)) = (on_path("prometheus"), on_path("promtool")) else {
        stage.skipped =
            Some("prometheus and promtool are not installed: `cargo xtask setup` gets them".to_owned());
        return Ok(());
    };
    super::on_its_own(stage);
    let home = Home::new(
        stage.name,
        "[stdout]\nform = \"json\"\n\
         [history]\npath = \"HOME/history.db\"\nrecover = false\n\
         [metrics]\nlisten = \"127.0.0.1:0\"\nbpf_stats = true\n",
    )?;
    let tree = stage.tree()?;
    let group = tree.group("scraped")?;
    group.set_limit(32 * MIB)?;
    let mut eater = stage.eater("scraped", &Eat { anon: 64 * MIB, ..Eat::default() }, Some(&group))?;
    let mut agent = home.agent(&tool.program, stage.deadline)?;
    let url = agent.url()?;
    let prometheus = Prometheus::start(&program, &home, &url, stage.deadline)?;

    // A kill that is in the first sample is no increase.
    let first = "oomtrace_armed == 1 and on () oomtrace_kills_total{scope=\"memcg\", verdict=\"killed\"}";
    prometheus.until(first, stage.deadline)?;
    let before = prometheus.value("sum(oomtrace_kills_total)")?.unwrap_or_default();
    let early = prometheus.firing()?;
    // Others may run out of memory on this machine, too.
    stage
        .checks
        .that(before > 0.0 || !early.contains(ALERT), || format!("before any kill there is {early:?}"));

    eater.order(word::FILL)?;
    eater.killed(stage.deadline)?;
    stage.checks.that(agent.reported(&[eater.pid()], stage.deadline), || {
        "the agent does not tell the kill".to_owned()
    });
    while !prometheus.firing()?.contains(ALERT) {
        stage.deadline.left(&format!("the alert {ALERT} to fire"))?;
        thread::sleep(LOOK);
    }
    let whose = format!("oomtrace_workload_kills_total{{cgroup=\"{}\"}}", group.path);
    prometheus.until(&whose, stage.deadline)?;
    let counted = prometheus.value(&whose)?.map(|value| value.to_string());
    stage.checks.equal(
        "kills of the group",
        counted,
        Some(group.oom_kills()?.to_string()),
        "the group's own count",
    );

    let metrics = page(&url)?;
    stage.keep_text("metrics.txt", &metrics)?;
    lint(stage, &promtool, &metrics)?;
    panels(stage, &prometheus, &metrics)?;
    let broken = prometheus.api("/api/v1/rules")?.to_string().matches("\"health\":\"err\"").count();
    stage.checks.equal("rules that cannot be evaluated", Some(broken), Some(0), "Prometheus");
    for (path, says) in [("healthz", "alive\n"), ("readyz", "armed\n")] {
        let said = page(&url.replace("/metrics", &format!("/{path}")))?;
        stage.checks.equal(path, Some(said), Some(says.to_owned()), "the reference");
    }
    let output = agent.stop(stage.deadline)?;
    stage.keep_output("agent", &output)
}

/// Has promtool look at what was scraped. Some of what it objects to leaves its exit status at 0.
fn lint(stage: &mut Stage<'_>, promtool: &Path, metrics: &str) -> Result<()> {
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start promtool")?;
    let mut stdin = child.stdin.take().context("promtool has no standard input")?;
    stdin.write_all(metrics.as_bytes()).context("promtool does not read")?;
    drop(stdin);
    let output = child.wait_with_output().context("cannot wait for promtool")?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    stage.checks.that(output.status.success() && said.is_empty(), || format!("promtool says: {said}"));
    Ok(())
}

/// Asks what each panel of the dashboard asks.
fn panels(stage: &mut Stage<'_>, prometheus: &Prometheus, metrics: &str) -> Result<()> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).context("the dashboard is no JSON")?;
    let all = dashboard.get("panels").and_then(Value::as_array).context("the dashboard has no panels")?;
    let (mut asked, mut without) = (0, Vec::new());
    for panel in all {
        let title = panel.get("title").and_then(Value::as_str).unwrap_or_default();
        for target in panel.get("targets").and_then(Value::as_array).into_iter().flatten() {
            let template = target.get("expr").and_then(Value::as_str).context("a panel asks for nothing")?;
            let query = substituted(template);
            asked += 1;
            if prometheus.query(&query)?.is_empty() {
                let absent = MAY_BE_ABSENT
                    .iter()
                    .any(|name| query.contains(name) && !metrics.contains(&format!("\n{name}")));
                stage.checks.that(absent, || format!("the panel {title:?} is empty: {query}"));
                without.push(title);
            }
        }
    }
    stage.checks.that(asked >= 30, || format!("the dashboard asks {asked} questions only"));
    stage.checks.note("queries of the dashboard", asked);
    stage.checks.note("panels of what this machine does not have", without.join(", "));
    Ok(())
}

/// A query of the dashboard for all nodes and the last minute.
fn substituted(template: &str) -> String {
    [
        ("$__rate_interval", "1m"),
        ("$__interval", "1m"),
        ("$__range", "1m"),
        ("$job", ".*"),
        ("$instance", ".*"),
    ]
    .into_iter()
    .fold(template.to_owned(), |query, (variable, value)| query.replace(variable, value))
}

/// A running Prometheus. Dropping it kills it.
struct Prometheus {
    child: Child,
    address: String,
    /// What it says. Kept to the end: who writes to a pipe that nobody reads is killed.
    said: Lines,
}

impl Prometheus {
    /// Starts one that scrapes `url` and looks at the rules every second, and waits until it listens.
    fn start(program: &PathBuf, home: &Home, url: &str, deadline: Deadline) -> Result<Self> {
        let target =
            url.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/metrics")).context("no URL")?;
        let (settings, rules) = (home.file("prometheus.yml"), home.file("oomtrace.rules.yml"));
        fs::write(&rules, RULES).context("cannot write rules")?;
        let text = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [oomtrace.rules.yml]\n\
             scrape_configs:\n\
             - {{job_name: oomtrace, honor_labels: true, static_configs: [{{targets: ['{target}']}}]}}\n"
        );
        fs::write(&settings, text).context("cannot write Prometheus' settings")?;
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", argument(&settings)?))
            .arg(format!("--storage.tsdb.path={}", argument(&home.file("prometheus"))?))
            .arg("--web.listen-address=127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        die_with_us(&mut command);
        let mut child = command.spawn().context("cannot start prometheus")?;
        let said = Lines::follow(child.stderr.take().context("prometheus has no standard error")?);
        let mut prometheus = Self { child, address: String::new(), said };
        let mut last = String::new();
        while let Some(line) = prometheus.said.next(deadline, "prometheus to be ready")? {
            last = String::from_utf8_lossy(&line).into_owned();
            // It says first what it was told, and then what has come of that.
            let address =
                last.split_once("msg=\"Listening on\"").and_then(|(_, rest)| rest.split_once("address="));
            if let Some((_, address)) = address {
                address.trim().clone_into(&mut prometheus.address);
            }
            if last.contains("Server is ready") && !prometheus.address.is_empty() {
                return Ok(prometheus);
            }
        }
        bail!("prometheus ended: {last}")
    }

    /// What its API says. By HTTP/1.0: what comes then is not cut in chunks.
    fn api(&self, path: &str) -> Result<Value> {
        let mut stream = TcpStream::connect(&self.address).context("cannot reach prometheus")?;
        stream.set_read_timeout(Some(PATIENCE)).context("no time limit")?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address)
            .context("cannot ask prometheus")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("prometheus does not answer")?;
        let (head, body) = answer.split_once("\r\n\r\n").context("prometheus' answer has no body")?;
        ensure!(head.contains(" 200 "), "prometheus: {path}: {head}: {body}");
        let answer: Value = serde_json::from_str(body).context("prometheus told no JSON")?;
        answer.get("data").cloned().context("prometheus told nothing")
    }

    /// All samples that an expression has now.
    fn query(&self, expression: &str) -> Result<Vec<Value>> {
        let mut encoded = String::new();
        for byte in expression.bytes() {
            if byte.is_ascii_alphanumeric() {
                encoded.push(byte.into());
            } else {
                write!(encoded, "%{byte:02X}").context("no memory")?;
            }
        }
        let data = self.api(&format!("/api/v1/query?query={encoded}"))?;
        data.get("result").and_then(Value::as_array).cloned().context("a query has no result")
    }

    /// The value of the only one.
    fn value(&self, expression: &str) -> Result<Option<f64>> {
        let samples = self.query(expression)?;
        Ok(samples.first().and_then(|sample| sample.pointer("/value/1")?.as_str()?.parse().ok()))
    }

    /// Waits until there is one.
    fn until(&self, expression: &str, deadline: Deadline) -> Result<()> {
        while self.query(expression)?.is_empty() {
            deadline.left(&format!("Prometheus to have {expression}"))?;
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// The names of alerts that fire.
    fn firing(&self) -> Result<BTreeSet<String>> {
        let data = self.api("/api/v1/alerts")?;
        let alerts = data.get("alerts").and_then(Value::as_array).context("there is no list of alerts")?;
        let firing = alerts.iter().filter(|alert| alert.get("state").is_some_and(|state| state == "firing"));
        let name = |alert: &Value| Some(alert.pointer("/labels/alertname")?.as_str()?.to_owned());
        Ok(firing.filter_map(name).collect())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards what Prometheus is asked: nothing of Grafana's is left in it.
    #[test]
    fn variables_of_the_dashboard_are_replaced() {
        let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
        let mut asked = 0;
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let query = substituted(target["expr"].as_str().unwrap());
                assert!(!query.contains('$'), "{query}");
                asked += 1;
            }
        }
        assert!(asked >= 30);
        assert_eq!(substituted("rate(a{job=~\"$job\"}[$__rate_interval])"), "rate(a{job=~\".*\"}[1m])");
    }
}
