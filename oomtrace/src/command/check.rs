//! `oomtrace check`

use std::io::{ErrorKind, Write as _, stdout};

use anyhow::Context as _;
use jiff::tz::TimeZone;

use super::shown;
use crate::{
    check::Check,
    cli::{CheckArgs, FailOn, Form},
    explain::Severity,
    host::{Host, node::Node},
    incident::Line,
    output::Human,
};

/// Looks at a machine, and says what it comes to. Whether anything is as bad as asked for.
pub fn run(args: &CheckArgs) -> anyhow::Result<bool> {
    let root = args.root.as_path();
    let host = Host::read(root)?;
    let node = Node::read(root);
    let mut check = Check::of(&node, &host, root, args.cgroup.as_deref())?;
    if args.no_cmdline {
        check.forget_command_lines();
    }
    let text = match args.output.form() {
        Form::Json => {
            let mut text = serde_json::to_string(&Line::Check(&check))?;
            text.push('\n');
            text
        }
        Form::Human => Human::new(shown::colour(), TimeZone::system(), shown::width()).check(&check),
    };
    match stdout().write_all(text.as_bytes()) {
        // Whoever has seen enough may still ask for the exit status.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written.context("Standard output cannot be written to")?,
    }
    let worst = check.findings.iter().map(|finding| finding.conclusion.severity).min();
    Ok(args.fail_on.zip(worst).is_some_and(|(bound, worst)| worst <= severity(bound)))
}

fn severity(bound: FailOn) -> Severity {
    match bound {
        FailOn::Notice => Severity::Notice,
        FailOn::Warning => Severity::Warning,
        FailOn::Critical => Severity::Critical,
    }
}
