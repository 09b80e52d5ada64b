//! What the options come to.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::ValueEnum;
use serde::Deserialize;

use super::{
    Age, ConfigError, Options, Size,
    options::{ExecOptions, FileOptions, FlightOptions, HistoryOptions, MetricsOptions, WebhookOptions},
};
use crate::{
    cli::{FilterArgs, Form, KernelArgs, OutputArgs, TierChoice, TraceArgs},
    flight::FlightSettings,
    kernel::hooks::Tier,
    output::{
        FileSettings, LineKind, exec::ExecSettings, history::HistorySettings, metrics::MetricsSettings,
        webhook::WebhookSettings,
    },
    text::printable,
    words::size,
};

/// Where the history is kept unless it is said otherwise.
const HISTORY: &str = "/var/lib/oomtrace/history.db";
/// How long one attempt of a program or a request may take.
const ATTEMPT: Duration = Duration::from_secs(10);
/// How long a request is tried again.
const GIVE_UP: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const MIB: u64 = 1 << 20;
/// Where metrics are served unless it is said otherwise.
const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9779);

/// What goes to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StandardOutput {
    /// Nothing
    None,
    /// Blocks for people
    Human,
    /// One JSON object a line
    Json,
}

/// All settings of the agent, each with a value.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file that they are from, if there was one.
    pub file: Option<PathBuf>,
    /// What they were made of.
    pub options: Options,
    /// How to trace, and what to tell.
    pub trace: TraceArgs,
    /// What goes to standard output.
    pub stdout: StandardOutput,
    /// What is kept, if anything.
    pub history: Option<HistorySettings>,
    /// Whether to look for what happened while no agent ran.
    pub recover: bool,
    /// What Prometheus reads, if anything.
    pub metrics: Option<MetricsSettings>,
    /// Whether the kernel is to count how long the programs run.
    pub bpf_stats: bool,
    /// The file of lines, if there is to be one.
    pub lines: Option<FileSettings>,
    /// The program that is run, if one is.
    pub exec: Option<ExecSettings>,
    /// Where to send, if anywhere.
    pub webhook: Option<WebhookSettings>,
    /// What remembers what came before, if it is to be.
    pub flight: Option<FlightSettings>,
    /// Whether to give up what is not needed.
    pub confine: bool,
}

impl Settings {
    /// Fills in what nobody said, and looks whether it goes together. `file`: where some of it is from.
    pub fn new(file: Option<PathBuf>, options: Options) -> Result<Self, ConfigError> {
        let settings = Self {
            file,
            trace: trace(&options)?,
            stdout: options.stdout.stdout_form.unwrap_or(StandardOutput::Human),
            history: history(&options.history),
            recover: options.history.recover.unwrap_or(true),
            metrics: metrics(&options.metrics),
            bpf_stats: options.metrics.bpf_stats.unwrap_or(false),
            lines: lines(&options.file),
            exec: exec(&options.exec),
            webhook: webhook(&options.webhook),
            flight: flight(&options.flight),
            confine: options.confine.enabled.unwrap_or(true),
            options,
        };
        settings.check()?;
        Ok(settings)
    }

    /// What each output finds wrong with its own.
    fn check(&self) -> Result<(), ConfigError> {
        let unsound = |table: &str, why: &dyn fmt::Display| ConfigError::Unsound(format!("[{table}]: {why}"));
        if let Some(lines) = &self.lines {
            lines.check().map_err(|why| unsound("file", &why))?;
        }
        if let Some(exec) = &self.exec {
            exec.check().map_err(|why| unsound("exec", &why))?;
        }
        if let Some(webhook) = &self.webhook {
            webhook.check().map_err(|why| unsound("webhook", &why))?;
        }
        if let Some(flight) = &self.flight {
            flight.check().map_err(|why| unsound("flight", &why))?;
        }
        if self.history.as_ref().is_some_and(|history| !history.path.is_absolute()) {
            return Err(unsound("history", &"path must be absolute, such as /var/lib/oomtrace/history.db"));
        }
        Ok(())
    }
}

fn history(options: &HistoryOptions) -> Option<HistorySettings> {
    options.enabled.unwrap_or(true).then(|| HistorySettings {
        path: options.path.clone().unwrap_or_else(|| HISTORY.into()),
        max_age: options.max_age.map_or(90 * DAY, |Age(age)| age),
        max_bytes: options.max_size.map_or(256 * MIB, |Size(bytes)| bytes),
    })
}

fn metrics(options: &MetricsOptions) -> Option<MetricsSettings> {
    options.enabled.unwrap_or(true).then(|| MetricsSettings {
        listen: options.listen.unwrap_or(METRICS),
        max_containers: options.max_containers.unwrap_or(MetricsSettings::MAX_CONTAINERS),
    })
}

fn lines(options: &FileOptions) -> Option<FileSettings> {
    let path = options.path.clone()?;
    let max_bytes = options.max_size.map_or(64 * MIB, |Size(bytes)| bytes);
    Some(FileSettings { path, max_bytes, keep: options.keep.unwrap_or(5) })
}

fn exec(options: &ExecOptions) -> Option<ExecSettings> {
    let command = options.command.as_ref().filter(|words| !words.is_empty())?;
    Some(ExecSettings {
        command: command.iter().map(Into::into).collect(),
        kinds: options.kinds.clone().unwrap_or_else(|| LineKind::OF_INCIDENTS.to_vec()),
        timeout: options.timeout.map_or(ATTEMPT, |Age(age)| age),
        concurrency: options.concurrency.unwrap_or(4),
        keep_capabilities: options.keep_capabilities.unwrap_or(false),
    })
}

fn webhook(options: &WebhookOptions) -> Option<WebhookSettings> {
    Some(WebhookSettings {
        url: options.url.clone()?,
        kinds: options.kinds.clone().unwrap_or_else(|| LineKind::OF_INCIDENTS.to_vec()),
        batch: options.batch.unwrap_or_default(),
        timeout: options.timeout.map_or(ATTEMPT, |Age(age)| age),
        give_up_after: options.give_up_after.map_or(GIVE_UP, |Age(age)| age),
        authorization_file: options.authorization_file.clone(),
        ca_file: options.ca_file.clone(),
    })
}

fn flight(options: &FlightOptions) -> Option<FlightSettings> {
    let usual = FlightSettings::default();
    options.enabled.unwrap_or(true).then(|| FlightSettings {
        interval: options.interval.map_or(usual.interval, |Age(interval)| interval),
        keep: options.keep.map_or(usual.keep, |Age(keep)| keep),
    })
}

fn trace(options: &Options) -> Result<TraceArgs, ConfigError> {
    let (how, what) = (options.trace.clone(), options.filter.clone());
    let ring_size = match how.ring_size {
        None => crate::cli::DEFAULT_RING_BYTES,
        Some(Size(bytes)) => crate::cli::ring_bytes(bytes)
            .map_err(|why| ConfigError::Unsound(format!("ring_size of [trace] (--ring-size): {why}")))?,
    };
    Ok(TraceArgs {
        kernel: KernelArgs {
            tier: how.tier.unwrap_or(TierChoice::Auto),
            btf: how.btf.unwrap_or_else(|| crate::kernel::btf::VMLINUX.into()),
        },
        // The agent has outputs of its own.
        output: OutputArgs { output: Form::Human, json: false },
        filter: FilterArgs {
            cgroup: what.cgroup,
            container: what.container,
            pid: None,
            comm: what.comm,
            min_rss: what.min_rss.map(|Size(bytes)| bytes),
            kind: what.kind.unwrap_or_default(),
        },
        no_kmsg: !how.kmsg.unwrap_or(true),
        no_cmdline: !how.cmdline.unwrap_or(true),
        fork_syscalls: how.fork_syscalls.unwrap_or(false),
        ring_size,
        record: None,
        verbose: false,
    })
}

impl fmt::Display for Settings {
    /// What the settings come to, for people. Of the webhook's URL, which may have secrets in it, no more than that there is one.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(path) => writeln!(to, "The settings are sound. File: {}.", path.display())?,
            None => writeln!(to, "The settings are sound. There is no file with settings.")?,
        }
        let mut row = |name: &str, what: String| writeln!(to, "  {name:<9}{what}");
        let off = || "off".to_owned();
        let trace = &self.trace;
        let tier = trace.kernel.tier.forced().map_or("auto", Tier::name);
        row("tracing", format!("tier {tier}, ring buffer {}", size(u64::from(trace.ring_size))))?;
        row("stdout", format!("{:?}", self.stdout).to_lowercase())?;
        row(
            "history",
            self.history.as_ref().map_or_else(off, |history| {
                let recover = if self.recover { ", and what happened while no agent ran" } else { "" };
                format!(
                    "{}, {} and {} at the most{recover}",
                    history.path.display(),
                    duration(history.max_age),
                    size(history.max_bytes)
                )
            }),
        )?;
        row(
            "metrics",
            self.metrics.map_or_else(off, |metrics| format!("http://{}/metrics", metrics.listen)),
        )?;
        row(
            "file",
            self.lines.as_ref().map_or_else(off, |lines| {
                format!(
                    "{}, {} at the most, and {} before it",
                    lines.path.display(),
                    size(lines.max_bytes),
                    lines.keep
                )
            }),
        )?;
        row(
            "program",
            self.exec.as_ref().map_or_else(off, |exec| {
                let program = exec.command.first().map(|program| printable(&program.to_string_lossy()));
                format!("{} for {} at the most", program.unwrap_or_default(), duration(exec.timeout))
            }),
        )?;
        row("webhook", self.webhook.as_ref().map_or_else(off, |_| "on".to_owned()))?;
        row(
            "recorder",
            self.flight.map_or_else(off, |flight| {
                format!("every {}, {} are kept", duration(flight.interval), duration(flight.keep))
            }),
        )?;
        row("confined", if self.confine { "yes" } else { "no" }.to_owned())
    }
}

/// `90 days`, `10 s`.
fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        _ if seconds >= 2 * 86_400 => format!("{} days", seconds / 86_400),
        _ if seconds >= 120 => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}
