//! `oomtrace bugreport`

mod archive;
mod incidents;
mod kernel;
mod log;
mod machine;
mod part;
mod settings;

use std::{
    io::{ErrorKind, Write as _, stdout},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use jiff::{Timestamp, tz::TimeZone};

use self::part::Part;
use crate::{cli::BugreportArgs, host::Host, say::say};

/// Gathers what a maintainer needs, writes it to a new file, and says what is in it.
pub fn run(args: &BugreportArgs) -> anyhow::Result<()> {
    let made = Timestamp::now();
    let path = args.output.clone().unwrap_or_else(|| usual_name(made));
    let told = archive::write(&path, parts(args), made)?;
    for archive::Told { name, about, size } in &told {
        match size {
            Ok(bytes) => say!("{name}: {about} ({bytes} bytes)"),
            Err(reason) => say!("{name} is left out: {reason}"),
        }
    }
    say!(
        "What looks like a secret is masked, but names of processes, cgroups and containers are not: look through it before you \
         send it (tar -xzf {}).",
        path.display()
    );
    match writeln!(stdout(), "{}", path.display()) {
        // The file is there, whoever listens.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("Standard output cannot be written to"),
    }
}

fn usual_name(made: Timestamp) -> PathBuf {
    let made = made.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ");
    PathBuf::from(format!("oomtrace-bugreport-{made}.tar.gz"))
}

fn parts(args: &BugreportArgs) -> Vec<Part> {
    let root = Path::new("/");
    let host = Host::read(root).map_err(|error| error.to_string());
    let mut parts = machine::parts(root);
    parts.extend(kernel::parts(&args.kernel, &host));
    parts.extend(settings::parts(args.config.as_deref()));
    parts.push(Part::new(
        "incidents.ndjson",
        "the last of what the agent's history has",
        incidents::last(&args.database),
    ));
    parts.push(Part::new(
        "kernel/log.txt",
        "what the kernel's log has of the OOM killer",
        log::read(Path::new(log::KMSG)),
    ));
    parts
}
