//! `oomtrace hooks`

use std::{
    fmt::Write as _,
    io::{Write as _, stdout},
    path::Path,
};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{
    follow::{self, Log},
    pids_events::{self, PidsEvents},
};
use crate::{
    cli::{HooksArgs, KernelArgs, TierChoice},
    host::Host,
    kernel::{
        hooks::Tier,
        load::{self, Attached, Options, Run},
        rights::{Right, rights},
        roles::RoleStatus,
        text::{self, KernelRss},
    },
};

/// Attaches as tracing would, says what came out, and detaches.
pub fn run(args: &HooksArgs) -> anyhow::Result<()> {
    let host = Host::read(Path::new("/"))?;
    let text = if args.json {
        format!("{:#}\n", as_json(&args.kernel, &host)?)
    } else if args.kernel.tier == TierChoice::Kmsg {
        log_only(&host)
    } else {
        let (attached, kernel_rss) = attach(&args.kernel, &host)?;
        table(&host, &attached, &kernel_rss)
    };
    stdout().write_all(text.as_bytes()).context("Standard output cannot be written to")
}

/// The same as `oomtrace hooks --json` says it.
pub(super) fn as_json(kernel: &KernelArgs, host: &Host) -> anyhow::Result<Value> {
    if kernel.tier == TierChoice::Kmsg {
        let (tier, roles) = (Tier::Kmsg, log_roles());
        return Ok(
            json!({"schema": "oomtrace/1", "type": "hooks", "kernel": host.kernel, "tier": tier, "roles": roles, "capabilities": rights()}),
        );
    }
    let (attached, kernel_rss) = attach(kernel, host)?;
    Ok(json!({
        "schema": "oomtrace/1",
        "type": "hooks",
        "kernel": host.kernel,
        "tier": attached.tier,
        "roles": attached.roles,
        "capabilities": rights(),
        "rss_counters": attached.resolved.rss_counters,
        "kernel_rss": kernel_rss,
        "missing_kernel_fields": attached.resolved.missing,
    }))
}

fn attach(kernel: &KernelArgs, host: &Host) -> anyhow::Result<(Attached, KernelRss)> {
    let options = Options {
        tier: kernel.tier.forced(),
        btf: kernel.btf.clone(),
        ring_bytes: host.page_bytes,
        verbose: false,
        cpus: host.cpus_possible,
        cmdline: true,
        fork_syscalls: false,
        // With what is loaded for a command alone.
        run: Some(Run::default()),
    };
    let mut attached = load::attach(&options, || {})?;
    let kernel_rss = text::of(&mut attached);
    attached.roles.push(follow::status(&Log::open(None)));
    if !attached.shows_forks() {
        attached.roles.push(pids_events::status(&PidsEvents::offered().map(drop)));
    }
    Ok((attached, kernel_rss))
}

/// What is to be had without any program in the kernel.
fn log_roles() -> [RoleStatus; 2] {
    [follow::status(&Log::open_whole(None)), pids_events::status(&PidsEvents::offered().map(drop))]
}

fn log_only(host: &Host) -> String {
    let mut text = format!("Linux {}: tier {}\n", host.kernel, Tier::Kmsg.name());
    for role in &log_roles() {
        text.push_str(&told(role));
    }
    text + &may(&rights())
}

fn table(host: &Host, attached: &Attached, kernel_rss: &KernelRss) -> String {
    let mut text = format!("Linux {}: tier {}\n", host.kernel, attached.tier.name());
    for role in &attached.roles {
        text.push_str(&told(role));
    }
    let rss = match kernel_rss {
        KernelRss::Count => {
            "rss_kernel: this kernel's OOM killer reads its counters without summing over CPUs"
        }
        KernelRss::Sum => "rss_kernel: this kernel's OOM killer sums its counters over all CPUs",
        KernelRss::Unknown { .. } => "rss_kernel: only where both readings agree",
    };
    let _ = write!(text, "\n{rss}");
    if let KernelRss::Unknown { reason } = kernel_rss {
        let _ = write!(text, ": {reason}");
    }
    text.push('\n');
    let exact = if attached.resolved.params.cpus > 0 {
        format!("rss: exact, summed over {} possible CPUs\n", attached.resolved.params.cpus)
    } else {
        "rss: with its error bound\n".to_owned()
    };
    text.push_str(&exact);
    for (field, reason) in &attached.resolved.missing {
        let _ = writeln!(text, "kernel field {field} is missing: {reason}");
    }
    text + &may(&rights())
}

/// What this process may do, and what would be had by what it may not.
fn may(rights: &[Right]) -> String {
    let mut text = "\ncapabilities\n".to_owned();
    for right in rights {
        let held = match right.held {
            Some(true) => "yes",
            Some(false) => "no",
            None => "?",
        };
        let _ = writeln!(text, "  {:<20}{held:<4}{}", right.capability, right.adds);
    }
    text
}

/// A role as a few lines.
fn told(role: &RoleStatus) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let hooks = if role.hooks.is_empty() { "(no hook)".to_owned() } else { role.hooks.join(" + ") };
    let _ = writeln!(text, "\n{:<9} {hooks}\n          {}", role.role, role.purpose);
    if !role.note.is_empty() {
        let _ = writeln!(text, "          note: {}", role.note);
    }
    for refusal in &role.refused {
        let hooks =
            if refusal.hooks.is_empty() { "without a hook".to_owned() } else { refusal.hooks.join(" + ") };
        let _ = writeln!(text, "          refused: {hooks}: {}", refusal.reason);
    }
    for (field, reason) in &role.losses {
        let _ = writeln!(text, "          lost: {field}: {reason}");
    }
    text
}
