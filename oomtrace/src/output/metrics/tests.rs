//! What is told of real messages, in both formats, to the letter; and that rules, dashboard and reference speak of what there is.
//!
//! `OOMTRACE_BLESS=1 cargo test -p oomtrace metrics` writes the golden files anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    time::Duration,
};

use super::*;
use crate::{
    explain::{Severity, tests as samples},
    incident::{
        AllocFailure, AllocFailureTag, Command, Event, FailedTask, FailureKind, ForkCause, Incident, Loss,
        LossTag, NOT_IN_TIME, Outcome, Place, Relief, ReliefTag, Relieved, SchemaName, ScopeKind, Stall,
        Status, StatusState, StatusTag, Verdict,
    },
    session::Source,
};

fn metrics() -> Metrics {
    Metrics::new(MetricsSettings::MAX_CONTAINERS, Sources::default())
}

fn closed(incident: Incident) -> Message {
    Message::Incident(Event::Closed(Box::new(incident)))
}

fn numbered(seq: u64, mut incident: Incident) -> Incident {
    incident.common.seq = seq;
    incident
}

fn stalled(mut incident: Incident) -> Incident {
    incident.stall = Some(Stall { rounds: 9, duration_ns: 214_000_000 });
    incident
}

fn relief(incident: &Incident, freed_ns: Option<u64>, reaped_ns: Option<u64>) -> Message {
    let late = freed_ns.or(reaped_ns).is_none();
    let late = late.then(|| ("victims[0].freed_ns".to_owned(), NOT_IN_TIME.to_owned()));
    Message::Incident(Event::Relieved(Box::new(Relief {
        schema: SchemaName::V1,
        r#type: ReliefTag::Relief,
        id: incident.id.clone(),
        common: incident.common.clone(),
        victims: vec![Relieved {
            pid: 10,
            comm: None,
            command: Command::default(),
            exited_ns: None,
            freed_ns,
            reaped: reaped_ns.is_some(),
            reaped_ns,
        }],
        collateral: Vec::new(),
        findings: Vec::new(),
        missing: late.into_iter().collect(),
    })))
}

fn status(state: StatusState) -> Message {
    Message::Status(Status {
        schema: SchemaName::V1,
        r#type: StatusTag::Status,
        common: samples::memcg().common,
        state,
        hooks: BTreeMap::from([("victim", vec!["raw_tp:mark_victim".to_owned()])]),
        incidents: 0,
        victims: 0,
        filtered: 0,
        lost_records: 0,
    })
}

fn loss(place: &'static str, count: u64) -> Message {
    let counts = BTreeMap::from([("mark", count), ("level", 1)]);
    Message::Loss(Loss {
        schema: SchemaName::V1,
        r#type: LossTag::Loss,
        common: samples::memcg().common,
        place,
        counts,
    })
}

fn alloc_failure(count: u64) -> Message {
    Message::Incident(Event::AllocFailure(Box::new(AllocFailure {
        schema: SchemaName::V1,
        r#type: AllocFailureTag::AllocFailure,
        common: samples::memcg().common,
        what: FailureKind::PageFault,
        task: FailedTask::default(),
        memcg: None,
        limits: Vec::new(),
        gfp_mask: None,
        gfp_flags: None,
        order: None,
        errno: None,
        count,
        missing: BTreeMap::new(),
        lost_records: 0,
    })))
}

/// One of each kind of message.
fn messages() -> Vec<Message> {
    let memcg = stalled(numbered(1, samples::memcg_in("/system.slice/shop\"\n.service")));
    let mut global = numbered(2, samples::global());
    let mut exiting = samples::victim("gone", 12, 1, "/batch");
    exiting.verdict = Some(Verdict::AlreadyExiting);
    let mut shared = samples::victim("twin", 13, 1, "/batch");
    shared.verdict = Some(Verdict::MmShared);
    global.victims.extend([exiting, shared]);
    let mut nobody = numbered(3, samples::memcg());
    (nobody.victims, nobody.outcome) = (Vec::new(), Some(Outcome::NoVictim));
    let mut old = numbered(4, samples::global());
    old.common.source = Source::Import;
    let mut old_forks = samples::fork_failure(ForkCause::PidMax);
    old_forks.common.source = Source::Import;
    let mut forks = samples::fork_failure(ForkCause::PidsMax);
    forks.count = 250;
    vec![
        status(StatusState::Armed),
        Message::Incident(Event::Opened(Box::new(memcg.clone()))),
        closed(memcg.clone()),
        relief(&memcg, Some(31_000_000), None),
        closed(global.clone()),
        relief(&global, Some(3_000_000_000), Some(2_100_000_000)),
        closed(nobody),
        closed(old.clone()),
        relief(&old, Some(1), None),
        Message::Incident(Event::ForkFailure(Box::new(old_forks))),
        relief(&numbered(99, samples::global()), None, None),
        Message::Incident(Event::ForkFailure(Box::new(forks))),
        alloc_failure(3),
        Message::Incident(Event::UserKill(Box::new(samples::user_kill("earlyoom", 2)))),
        loss("ring", 7),
        loss("output", 5),
    ]
}

/// All that is the same on every machine.
fn gathered() -> Vec<Family> {
    let (stdout, other, file) = (Health::new("stdout"), Health::new("stdout"), Health::new("file"));
    stdout.wrote(5);
    other.wrote(2);
    file.lost(3);
    let metrics = metrics();
    for message in messages() {
        metrics.take(&message);
    }
    let cost = |program: &str, runs| ProgramCost {
        program: program.to_owned(),
        runs,
        run_time: Duration::from_micros(5),
    };
    let found = checked::Found {
        findings: vec![CheckFinding { id: "swap-none", severity: Severity::Warning, count: 1 }],
        at_seconds: 1.5e9,
    };
    let counts = metrics.0.counts.lock().unwrap();
    [
        gather::tracing(&counts),
        gather::events(&counts),
        gather::outputs(&[stdout, other, file]),
        gather::check(Some(&found)),
        gather::programs(Some(vec![cost("on_mark", 2), cost("on_fork", 100), cost("on_mark", 1)])),
    ]
    .concat()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Guards what is told, to the letter, in both formats.
#[test]
fn golden_files_have_it_to_the_letter() {
    for (form, name) in [(Form::OpenMetrics, "openmetrics.txt"), (Form::Prometheus, "prometheus.txt")] {
        let text = form.render(&gathered());
        let golden = repository().join("tests/golden/metrics").join(name);
        if std::env::var_os("OOMTRACE_BLESS").is_some() {
            fs::create_dir_all(golden.parent().unwrap()).unwrap();
            fs::write(&golden, &text).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert!(text == expected, "{} differs from what is told now:\n{text}", golden.display());
    }
}

fn value(families: &[Family], name: &str, labels: &[(&str, &str)]) -> Value {
    let family = families.iter().find(|family| family.name == name).unwrap();
    let has = |sample: &&Sample| {
        labels
            .iter()
            .all(|(name, value)| sample.labels.iter().any(|(own, other)| own == name && other == value))
    };
    let mut found = family.samples.iter().filter(has);
    let sample = found.next().unwrap_or_else(|| panic!("{name} has no {labels:?}"));
    assert!(found.next().is_none(), "{name} has several {labels:?}");
    sample.value.clone()
}

/// Guards that each event counts once: an incident at its end, a relief as that, a signal that is followed by another as one kill,
/// and what was found in a log apart from what happens now.
#[test]
fn everything_counts_once() {
    let metrics = metrics();
    for message in messages() {
        metrics.take(&message);
    }
    metrics.take(&Message::Incident(Event::UserKill(Box::new(samples::user_kill("earlyoom", 2)))));
    let families = metrics.gather();
    let is = |name: &str, labels: &[(&str, &str)], expected: u64| {
        assert_eq!(value(&families, name, labels), Value::Whole(expected), "{name} {labels:?}");
    };
    is("oomtrace_incidents", &[("scope", "memcg"), ("outcome", "killed")], 1);
    is("oomtrace_incidents", &[("scope", "memcg"), ("outcome", "no_victim")], 1);
    is("oomtrace_incidents", &[("scope", "global"), ("outcome", "killed")], 1);
    is("oomtrace_recovered_incidents", &[("scope", "global"), ("outcome", "killed")], 1);
    is("oomtrace_kills", &[("scope", "memcg"), ("verdict", "killed")], 1);
    is("oomtrace_kills", &[("scope", "global"), ("verdict", "killed")], 1);
    is("oomtrace_kills", &[("scope", "global"), ("verdict", "mm_shared")], 1);
    is("oomtrace_fork_failures", &[("cause", "pids_max")], 250);
    is("oomtrace_allocation_failures", &[("kind", "page_fault")], 3);
    is("oomtrace_relief_overdue", &[("scope", "unknown")], 1);
    is("oomtrace_lost_records", &[("place", "ring")], 8);
    is("oomtrace_armed", &[], 1);
    let reliefs = ["memcg", "global"].map(|scope| {
        match value(&families, "oomtrace_relief_seconds", &[("scope", scope)]) {
            Value::Histogram(histogram) => (histogram.count(), histogram.sum()),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(reliefs, [(1, 0.031), (1, 2.1)]);
    let with_start = |mut kill: crate::incident::UserKill| {
        for victim in &mut kill.victims {
            victim.start_time = Some(crate::incident::WallTime::from_ns(5));
        }
        Message::Incident(Event::UserKill(Box::new(kill)))
    };
    let other = self::metrics();
    for _ in 0..2 {
        other.take(&with_start(samples::user_kill("oomd", 2)));
    }
    assert_eq!(value(&other.gather(), "oomtrace_userspace_kills", &[("killer", "oomd")]), Value::Whole(2));
}

/// Guards that tracing that has ended, or not begun, is not passed off as going on.
#[test]
fn it_is_armed_from_the_first_to_the_last_word() {
    let metrics = metrics();
    assert!(!metrics.armed());
    metrics.take(&status(StatusState::Armed));
    assert!(metrics.armed());
    metrics.take(&status(StatusState::Ended));
    assert!(!metrics.armed());
}

/// Guards `rate()` and `increase()`: what is known beforehand has a series before anything happens, and it is the same afterwards.
#[test]
fn series_are_there_from_the_start() {
    let series = |families: &[Family]| -> BTreeSet<_> {
        let events = families
            .iter()
            .filter(|family| !family.name.starts_with("process_") && family.kind != Kind::Info);
        events
            .filter(|family| !["oomtrace_workload_kills", "oomtrace_hooks"].contains(&family.name))
            .flat_map(|family| family.samples.iter().map(|sample| (family.name, sample.labels.clone())))
            .collect()
    };
    let metrics = metrics();
    let before = series(&metrics.gather());
    for message in messages() {
        metrics.take(&message);
    }
    assert_eq!(series(&metrics.gather()), before);
    assert!(before.len() > 90);
}

/// Guards the number of series and their text against hostile names: no line is forged, in neither format.
#[test]
fn names_forge_no_line() {
    let hostile = "/x\"} 1\noomtrace_kills_total{scope=\"global\"} 99\n# EOF\n\u{1b}[2J\r\n";
    let metrics = metrics();
    let mut incident = samples::memcg();
    for place in
        [Place { cgroup: Some(hostile.to_owned()), ..Place::default() }, Place::of(Some(hostile.to_owned()))]
    {
        for victim in &mut incident.victims {
            victim.place = place.clone();
        }
        metrics.take(&closed(incident.clone()));
    }
    for form in [Form::OpenMetrics, Form::Prometheus] {
        let text = form.render(&metrics.gather());
        assert_eq!(text.lines().filter(|line| line.starts_with("oomtrace_kills_total{")).count(), 25);
        assert!(text.chars().all(|letter| letter == '\n' || !letter.is_control()));
        assert_eq!(
            text.lines().filter(|line| *line == "# EOF").count(),
            usize::from(form == Form::OpenMetrics)
        );
    }
}

/// Guards the endpoint as a whole: the format that is asked for comes with its type, and readiness follows tracing.
#[test]
fn the_endpoint_tells_what_is_counted() {
    let settings = MetricsSettings { listen: "127.0.0.1:0".parse().unwrap(), max_containers: 1 };
    let health = Health::new("metrics");
    let sources = Sources { healths: vec![Arc::clone(&health)], ..Sources::default() };
    let metrics = Metrics::new(settings.max_containers, sources);
    let server = metrics.serve(settings.listen).unwrap();
    let mut sink = metrics.sink(health);
    let ask = |path: &str, accept: &str| {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask("/healthz", "*/*").starts_with("HTTP/1.1 200 "));
    assert!(ask("/readyz", "*/*").starts_with("HTTP/1.1 503 "));
    for message in messages() {
        sink.take(&Arc::new(message)).unwrap();
    }
    assert!(ask("/readyz", "*/*").starts_with("HTTP/1.1 200 "));
    let text = ask("/metrics", "text/plain");
    assert!(text.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{text}");
    let written = format!("\noomtrace_output_messages_total{{output=\"metrics\"}} {}\n", messages().len());
    assert!(text.contains(&written), "{text}");
    let text = ask("/metrics", "application/openmetrics-text; version=1.0.0, */*;q=0.5");
    assert!(
        text.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"),
        "{text}"
    );
    assert!(text.ends_with("\n# EOF\n"));
    assert!(ask("/", "text/html").contains("href=\"/metrics\""));
    assert!(ask("/etc/passwd", "*/*").starts_with("HTTP/1.1 404 "));
}

/// Words that are names of metrics.
fn named(text: &str) -> BTreeSet<String> {
    let words =
        text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_' || letter == ':'));
    words
        .filter(|word| word.starts_with("oomtrace_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

/// Guards rules and dashboard against metrics that there are not, and the reference against leaving one out.
#[test]
fn rules_dashboard_and_reference_know_what_there_is() {
    let families = [gathered(), gather::own_cost()].concat();
    let samples: BTreeSet<String> = Form::Prometheus
        .render(&families)
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next().map(str::to_owned))
        .collect();
    let read = |file: &str| fs::read_to_string(repository().join("oomtrace").join(file)).unwrap();
    for file in ["deploy/prometheus/oomtrace.rules.yml", "deploy/grafana/oomtrace.json"] {
        let used = named(&read(file));
        assert!(used.len() > 10, "{file}");
        assert_eq!(used.difference(&samples).collect::<Vec<_>>(), Vec::<&String>::new(), "{file}");
    }
    let told = named(&read("docs/metrics.md"));
    for name in &samples {
        let family =
            ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
        assert!(told.contains(family), "docs/metrics.md has nothing of {family}");
    }
}

/// Guards the scopes of the sample incidents: the other tests rely on them.
#[test]
fn samples_are_what_their_names_say() {
    assert_eq!(samples::memcg().scope.kind, Some(ScopeKind::Memcg));
    assert_eq!(samples::global().scope.kind, Some(ScopeKind::Global));
}
