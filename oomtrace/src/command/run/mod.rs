//! `oomtrace run`

pub(super) mod files;
pub(super) mod terminal;
mod watch;

use std::{
    fs,
    io::{Write as _, stderr},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use self::{
    files::Target,
    watch::{How, Watch},
};
use super::trace::{event_loop, trace_or_follow};
use crate::{
    cli::{FilterArgs, Form, OutputArgs, RunArgs, TraceArgs},
    host::Host,
    profile::{
        child::{Prepared, StartError, Wanted},
        criterion::Judgement,
        machine,
        measure::Need,
        page,
        report::{BogoOps, End, Report, Run, Settings, Tracing},
        show, stress_ng,
    },
    say::say,
    secrets, text,
};

/// A criterion is met, and the command itself succeeded.
const FAILED: u8 = 4;
/// By how much the time of a file may be behind (`current_time()`, fs/inode.c: a tick's).
const TICK: Duration = Duration::from_millis(10);
/// What the ring of a run has: its kills come at once, and the reader has whatever processor is left.
const RING_BYTES: u32 = 1 << 20;

/// Runs the command, reports, and says what to end with.
pub fn run(args: &RunArgs) -> anyhow::Result<u8> {
    // All that can be wrong is found out before anything runs.
    check(args)?;
    let json = args.json.as_deref().map(Target::open).transpose()?;
    let html = args.html.as_deref().map(Target::open).transpose()?;
    let host = Host::read(Path::new("/"))?;
    let mut report = Report {
        oomtrace: env!("CARGO_PKG_VERSION").to_owned(),
        name: args.name.clone(),
        command: command(args),
        machine: machine::read(Path::new("/"), &host),
        settings: Settings {
            cgroup_limit_bytes: args.cgroup_limit,
            pids_limit: args.pids_limit,
            warmup: args.warmup,
            sample_interval_ns: if args.light {
                0
            } else {
                u64::try_from(args.interval.as_nanos()).unwrap_or(u64::MAX)
            },
            ..Settings::default()
        },
        ..Report::default()
    };
    let mut prepared = Prepared::new(Wanted {
        command: args.command.clone(),
        memory_limit_bytes: args.cgroup_limit,
        pids_limit: args.pids_limit,
    })?;
    report.settings.cgroup_version = prepared.cgroup().map(|cgroup| cgroup.version());
    let trace = tracing(args);
    let events = event_loop()?;
    let runs = args.warmup.saturating_add(args.repeat);
    // What to end with if oomtrace was asked to before all runs were done.
    let mut cut = None;
    for number in 0..runs {
        let began = SystemTime::now();
        let how = How {
            interval: (!args.light).then_some(args.interval),
            limit_bytes: args.cgroup_limit,
            pids_limit: args.pids_limit,
            run: (number.saturating_add(1), runs),
        };
        let (run, tracing) = match events.block_on(once(&trace, &mut prepared, how)) {
            Ok(done) => done,
            // Asked to end between two runs: those before are reported.
            Err(error) => match error.downcast_ref::<StartError>() {
                Some(asked @ StartError::Interrupted(_)) if number > 0 => {
                    cut = Some(asked.exit_status());
                    break;
                }
                _ => return Err(error),
            },
        };
        cut = run.end.interrupted.then(|| status(&run.end));
        if number >= args.warmup {
            let mut run = run;
            if let Some(file) = &args.stress_ng_yaml {
                run.bogo_ops = bogo_ops(file, began);
            }
            report.tracing = tracing;
            report.runs.push(run);
        }
        if cut.is_some() {
            break;
        }
    }
    let judgement = Judgement::of(&args.fail_if, &report);
    // Each as far as it goes: a disk that is full does not take the others.
    let mut text = serde_json::to_string_pretty(&report)?;
    text.push('\n');
    let written = [json.map(|json| json.write(&text)), html.map(|html| html.write(&page::report(&report)))];
    // Whoever does not look any more misses nothing.
    let summary = show::summary(&report, terminal::width(), terminal::colour());
    let _ = stderr().write_all(summary.as_bytes());
    for met in &judgement.met {
        say!("{met}.");
    }
    for unjudged in &judgement.unjudged {
        say!("{unjudged}.");
    }
    written.into_iter().flatten().collect::<anyhow::Result<()>>()?;
    let ends = report.runs.iter().map(|run| status(&run.end));
    let own = ends.chain(cut).find(|status| *status != 0);
    Ok(own.unwrap_or(if judgement.passed() { 0 } else { FAILED }))
}

/// Options that do not go together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongUsage(String);

/// Looks whether the options go together.
fn check(args: &RunArgs) -> Result<(), WrongUsage> {
    if let (Some(json), Some(html)) = (&args.json, &args.html)
        && json == html
    {
        let file = json.display();
        return Err(WrongUsage(format!(
            "--json and --html are to be written to the same file, {file}: give each its own"
        )));
    }
    for criterion in &args.fail_if {
        let lacks = match criterion.need() {
            Some(Need::Cgroup) if args.cgroup_limit.is_none() => "--cgroup-limit",
            Some(Need::StressNgYaml) if args.stress_ng_yaml.is_none() => "--stress-ng-yaml",
            _ => continue,
        };
        return Err(WrongUsage(format!(
            "--fail-if {criterion} cannot be judged without {lacks}: give that, too"
        )));
    }
    Ok(())
}

/// What stress-ng wrote of the run that `began` then.
fn bogo_ops(file: &Path, began: SystemTime) -> Vec<BogoOps> {
    let written = fs::metadata(file).and_then(|data| data.modified());
    // The file's clock goes by ticks.
    if written.is_ok_and(|written| written + TICK < began) {
        say!("{} is from before the run: stress-ng did not write it (--yaml).", file.display());
        return Vec::new();
    }
    stress_ng::read(file).unwrap_or_else(|problem| {
        say!("{problem}.");
        Vec::new()
    })
}

/// One run.
async fn once(trace: &TraceArgs, prepared: &mut Prepared, how: How) -> anyhow::Result<(Run, Tracing)> {
    let mut watch = Watch::new(prepared, how);
    trace_or_follow(trace, &mut watch).await?;
    Ok(watch.done())
}

/// The command as it is told, without its secrets.
fn command(args: &RunArgs) -> Vec<String> {
    use std::os::unix::ffi::OsStrExt as _;
    let mut joined = Vec::new();
    for word in &args.command {
        joined.extend_from_slice(word.as_bytes());
        joined.push(0);
    }
    text::arguments(&secrets::masked(&joined))
}

/// What is traced: everything, whoever it hits.
fn tracing(args: &RunArgs) -> TraceArgs {
    TraceArgs {
        kernel: args.kernel.clone(),
        output: OutputArgs { output: Form::Human, json: false },
        filter: FilterArgs::default(),
        no_kmsg: args.no_kmsg,
        no_cmdline: args.no_cmdline,
        fork_syscalls: args.fork_syscalls,
        ring_size: RING_BYTES,
        record: None::<PathBuf>,
        verbose: false,
    }
}

/// What a shell would end with.
fn status(end: &End) -> u8 {
    let by_signal = end.signal.and_then(|signal| u8::try_from(signal).ok()?.checked_add(128));
    end.exit_status.or(by_signal).unwrap_or(1)
}
