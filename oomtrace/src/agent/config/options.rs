//! What can be set. Every option is `None` until somebody says something.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use serde::Deserialize;

use super::{Age, Size, StandardOutput};
use crate::cli::{Kind, TierChoice};
use crate::output::{LineKind, webhook::Batch};

const EXAMPLES: &str = "\
Examples:
  sudo oomtrace agent                                    history in /var/lib/oomtrace, metrics on 127.0.0.1:9779
  oomtrace agent --check-config                          are the settings sound, and what do they come to?
  sudo oomtrace agent --config /etc/oomtrace/oomtrace.toml
  sudo oomtrace agent --stdout json --history false --file /var/log/oomtrace.ndjson
  sudo OOMTRACE_METRICS_LISTEN=[::1]:9779 oomtrace agent

An option counts before its variable in the environment, that before the file, and that before what is set by default.
SIGHUP has the settings read again.

Exit status: 0 ended by a signal, 1 failed, 2 wrong usage or settings, 3 cannot trace here.";

/// Options of `agent`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct AgentArgs {
    /// The file with settings; without it /etc/oomtrace/oomtrace.toml, if there is one
    #[arg(long, value_name = "FILE", env = "OOMTRACE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Say what the settings come to, and end: with exit status 2 if something is wrong with them
    #[arg(long)]
    pub check_config: bool,
    /// The settings themselves.
    #[command(flatten)]
    pub options: Options,
}

macro_rules! section {
    ($(#[$about:meta])* $name:ident { $($(#[$option:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, Args, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $($(#[$option])* pub $field: Option<$type>,)* }

        impl $name {
            /// These, and the other's where these say nothing.
            #[must_use]
            pub fn or(self, other: Self) -> Self {
                Self { $($field: self.$field.or(other.$field),)* }
            }
        }
    };
}

/// All of them, by the tables of the file.
#[derive(Clone, Debug, Default, PartialEq, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How to look at the kernel.
    #[command(flatten)]
    pub trace: TraceOptions,
    /// What to tell.
    #[command(flatten)]
    pub filter: FilterOptions,
    /// Where to tell it beside the rest.
    #[command(flatten)]
    pub stdout: StdoutOptions,
    /// The history.
    #[command(flatten)]
    pub history: HistoryOptions,
    /// The metrics.
    #[command(flatten)]
    pub metrics: MetricsOptions,
    /// A file.
    #[command(flatten)]
    pub file: FileOptions,
    /// A program.
    #[command(flatten)]
    pub exec: ExecOptions,
    /// A web server.
    #[command(flatten)]
    pub webhook: WebhookOptions,
    /// What came before.
    #[command(flatten)]
    pub flight: FlightOptions,
    /// What the agent denies itself.
    #[command(flatten)]
    pub confine: ConfineOptions,
}

impl Options {
    /// These, and the other's where these say nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            trace: self.trace.or(other.trace),
            filter: self.filter.or(other.filter),
            stdout: self.stdout.or(other.stdout),
            history: self.history.or(other.history),
            metrics: self.metrics.or(other.metrics),
            file: self.file.or(other.file),
            exec: self.exec.or(other.exec),
            webhook: self.webhook.or(other.webhook),
            flight: self.flight.or(other.flight),
            confine: self.confine.or(other.confine),
        }
    }
}

section! {
    /// `[trace]`
    TraceOptions {
        /// Which hooks to use (auto)
        #[arg(long, value_enum, env = "OOMTRACE_TIER", help_heading = "Tracing")]
        tier: TierChoice,
        /// Type information (BTF) of the running kernel
        #[arg(long, value_name = "FILE", env = "OOMTRACE_BTF", help_heading = "Tracing")]
        btf: PathBuf,
        /// Whether to read the kernel log as well (true)
        #[arg(long, value_name = "BOOL", env = "OOMTRACE_KMSG", help_heading = "Tracing")]
        kmsg: bool,
        /// Whether to tell what triggers and victims were started with, secrets masked (true)
        #[arg(long, value_name = "BOOL", env = "OOMTRACE_CMDLINE", help_heading = "Tracing")]
        cmdline: bool,
        /// Whether to watch the ends of system calls for forks that fail where nothing else shows them: that slows all (false)
        #[arg(long, value_name = "BOOL", env = "OOMTRACE_FORK_SYSCALLS", help_heading = "Tracing")]
        fork_syscalls: bool,
        /// Size of the ring buffer between kernel and oomtrace (256K)
        #[arg(long, value_name = "SIZE", env = "OOMTRACE_RING_SIZE", help_heading = "Tracing")]
        ring_size: Size,
    }
}

section! {
    /// `[filter]`
    FilterOptions {
        /// Victims in this memory cgroup or below it; * stands for anything
        #[arg(long, value_name = "PATTERN", env = "OOMTRACE_CGROUP", help_heading = "What to tell")]
        cgroup: String,
        /// Victims in the container with this id, or its beginning, or this name; * stands for anything
        #[arg(long, value_name = "PATTERN", env = "OOMTRACE_CONTAINER", help_heading = "What to tell")]
        container: String,
        /// Victims of this name; * stands for anything
        #[arg(long, value_name = "PATTERN", env = "OOMTRACE_COMM", help_heading = "What to tell")]
        comm: String,
        /// Victims with at least this much resident memory, such as 10M
        #[arg(long, value_name = "SIZE", env = "OOMTRACE_MIN_RSS", help_heading = "What to tell")]
        min_rss: Size,
        /// Only these: OOM kills (and allocations that failed), or forks that failed
        #[arg(long, value_enum, value_name = "KIND", value_delimiter = ',', env = "OOMTRACE_KIND", help_heading = "What to tell")]
        kind: Vec<Kind>,
    }
}

section! {
    /// `[stdout]`
    StdoutOptions {
        /// What goes to standard output, which systemd keeps in the journal (human)
        #[arg(long = "stdout", value_name = "FORM", value_enum, env = "OOMTRACE_STDOUT", help_heading = "Outputs")]
        #[serde(rename = "form")]
        stdout_form: StandardOutput,
    }
}

section! {
    /// `[history]`
    HistoryOptions {
        /// Whether to keep a history (true)
        #[arg(id = "history_enabled", long = "history", value_name = "BOOL", env = "OOMTRACE_HISTORY", help_heading = "History")]
        enabled: bool,
        /// Its file (/var/lib/oomtrace/history.db)
        #[arg(id = "history_path", long = "history-path", value_name = "FILE", env = "OOMTRACE_HISTORY_PATH", help_heading = "History")]
        path: PathBuf,
        /// How long to keep what happened (90d)
        #[arg(id = "history_max_age", long = "history-max-age", value_name = "TIME", env = "OOMTRACE_HISTORY_MAX_AGE", help_heading = "History")]
        max_age: Age,
        /// How large the file may get (256M)
        #[arg(id = "history_max_size", long = "history-max-size", value_name = "SIZE", env = "OOMTRACE_HISTORY_MAX_SIZE", help_heading = "History")]
        max_size: Size,
        /// Whether to look in kernel logs, at the start, for what happened while the agent was down (true)
        #[arg(id = "history_recover", long = "history-recover", value_name = "BOOL", env = "OOMTRACE_HISTORY_RECOVER", help_heading = "History")]
        recover: bool,
    }
}

section! {
    /// `[metrics]`
    MetricsOptions {
        /// Whether to serve metrics for Prometheus (true)
        #[arg(id = "metrics_enabled", long = "metrics", value_name = "BOOL", env = "OOMTRACE_METRICS", help_heading = "Metrics")]
        enabled: bool,
        /// Where (127.0.0.1:9779)
        #[arg(id = "metrics_listen", long = "metrics-listen", value_name = "ADDRESS", env = "OOMTRACE_METRICS_LISTEN", help_heading = "Metrics")]
        listen: SocketAddr,
        /// Containers and units that are told apart, at most; the rest is counted together (200)
        #[arg(id = "metrics_max_containers", long = "metrics-max-containers", value_name = "COUNT", env = "OOMTRACE_METRICS_MAX_CONTAINERS", help_heading = "Metrics")]
        max_containers: usize,
        /// Whether to have the kernel count how long the programs run, which costs some 20 ns each time (false)
        #[arg(id = "metrics_bpf_stats", long = "metrics-bpf-stats", value_name = "BOOL", env = "OOMTRACE_METRICS_BPF_STATS", help_heading = "Metrics")]
        bpf_stats: bool,
    }
}

section! {
    /// `[file]`
    FileOptions {
        /// A file for one JSON object a line (none)
        #[arg(id = "file_path", long = "file", value_name = "FILE", env = "OOMTRACE_FILE", help_heading = "File")]
        path: PathBuf,
        /// How large it may get before it is put aside (64M)
        #[arg(id = "file_max_size", long = "file-max-size", value_name = "SIZE", env = "OOMTRACE_FILE_MAX_SIZE", help_heading = "File")]
        max_size: Size,
        /// How many of these are kept (5)
        #[arg(id = "file_keep", long = "file-keep", value_name = "COUNT", env = "OOMTRACE_FILE_KEEP", help_heading = "File")]
        keep: u32,
    }
}

section! {
    /// `[exec]`
    ExecOptions {
        /// A program that is run for each incident, with the JSON on its standard input; its arguments follow, after commas (none)
        #[arg(id = "exec_command", long = "exec", value_name = "PROGRAM", value_delimiter = ',', env = "OOMTRACE_EXEC", help_heading = "Program")]
        command: Vec<String>,
        /// What it is run for: types of lines (oom,fork_failure,alloc_failure,userspace_kill)
        #[arg(id = "exec_kinds", long = "exec-kinds", value_enum, value_name = "TYPE", value_delimiter = ',', env = "OOMTRACE_EXEC_KINDS", help_heading = "Program")]
        kinds: Vec<LineKind>,
        /// How long it may take (10s)
        #[arg(id = "exec_timeout", long = "exec-timeout", value_name = "TIME", env = "OOMTRACE_EXEC_TIMEOUT", help_heading = "Program")]
        timeout: Age,
        /// How many may run at once (4)
        #[arg(id = "exec_concurrency", long = "exec-concurrency", value_name = "COUNT", env = "OOMTRACE_EXEC_CONCURRENCY", help_heading = "Program")]
        concurrency: u32,
        /// Whether programs keep the capabilities that the agent was started with (false)
        #[arg(id = "exec_keep_capabilities", long = "exec-keep-capabilities", value_name = "BOOL", env = "OOMTRACE_EXEC_KEEP_CAPABILITIES", help_heading = "Program")]
        keep_capabilities: bool,
    }
}

section! {
    /// `[webhook]`
    WebhookOptions {
        /// Where each incident is sent to by HTTP POST, as JSON (nowhere)
        #[arg(id = "webhook_url", long = "webhook", value_name = "URL", env = "OOMTRACE_WEBHOOK", hide_env_values = true, help_heading = "Webhook")]
        url: String,
        /// What is sent: types of lines (oom,fork_failure,alloc_failure,userspace_kill)
        #[arg(id = "webhook_kinds", long = "webhook-kinds", value_enum, value_name = "TYPE", value_delimiter = ',', env = "OOMTRACE_WEBHOOK_KINDS", help_heading = "Webhook")]
        kinds: Vec<LineKind>,
        /// How many lines a request carries (one)
        #[arg(id = "webhook_batch", long = "webhook-batch", value_enum, value_name = "HOW", env = "OOMTRACE_WEBHOOK_BATCH", help_heading = "Webhook")]
        batch: Batch,
        /// How long what it does not take is tried again before it is dropped (1h)
        #[arg(id = "webhook_give_up_after", long = "webhook-give-up-after", value_name = "TIME", env = "OOMTRACE_WEBHOOK_GIVE_UP_AFTER", help_heading = "Webhook")]
        give_up_after: Age,
        /// A file of certificates to trust in place of the system's
        #[arg(id = "webhook_ca_file", long = "webhook-ca-file", value_name = "FILE", env = "OOMTRACE_WEBHOOK_CA_FILE", help_heading = "Webhook")]
        ca_file: PathBuf,
        /// A file with the value of the header Authorization
        #[arg(id = "webhook_authorization_file", long = "webhook-authorization-file", value_name = "FILE", env = "OOMTRACE_WEBHOOK_AUTHORIZATION_FILE", help_heading = "Webhook")]
        authorization_file: PathBuf,
        /// How long one attempt may take (10s)
        #[arg(id = "webhook_timeout", long = "webhook-timeout", value_name = "TIME", env = "OOMTRACE_WEBHOOK_TIMEOUT", help_heading = "Webhook")]
        timeout: Age,
    }
}

section! {
    /// `[flight]`
    FlightOptions {
        /// Whether to remember the last minutes before an incident (true)
        #[arg(id = "flight_enabled", long = "flight", value_name = "BOOL", env = "OOMTRACE_FLIGHT", help_heading = "Flight recorder")]
        enabled: bool,
        /// How often to look (10s)
        #[arg(id = "flight_interval", long = "flight-interval", value_name = "TIME", env = "OOMTRACE_FLIGHT_INTERVAL", help_heading = "Flight recorder")]
        interval: Age,
        /// How long to remember (10m)
        #[arg(id = "flight_keep", long = "flight-keep", value_name = "TIME", env = "OOMTRACE_FLIGHT_KEEP", help_heading = "Flight recorder")]
        keep: Age,
    }
}

section! {
    /// `[confine]`
    ConfineOptions {
        /// Whether to give up what the agent does not need once it traces: capabilities and system calls (true)
        #[arg(id = "confine_enabled", long = "confine", value_name = "BOOL", env = "OOMTRACE_CONFINE", help_heading = "Confinement")]
        enabled: bool,
    }
}
