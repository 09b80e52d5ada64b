//! The kernel's log cannot hold the report of one kill.

use super::{
    super::finding::{Fix, Lasts},
    Conclusion, Rule,
};
use crate::{host::node::Node, words::size};

pub const RULE: Rule = Rule {
    node: Some(|node| of_node(node).into_iter().collect()),
    ..Rule::new("log-limits", include_str!("../../../docs/findings/log-limits.md"))
};

/// What a line of the table of processes takes of the log, at least: its columns come to 92 letters before the name
/// (`dump_task()`, mm/oom_kill.c).
const LINE_BYTES: u64 = 100;

fn of_node(node: &Node) -> Option<Conclusion> {
    let buffer = node.log_buffer_bytes.filter(|_| node.oom_dump_tasks.is_some_and(|dumps| dumps != 0))?;
    let processes = node.programs().count() as u64;
    let report = processes.saturating_mul(LINE_BYTES);
    if report <= buffer {
        return None;
    }
    let told = Conclusion::notice(format!(
        "the kernel would log all {processes} processes with each kill, at least {}, and its log holds {}: the beginning of the report, \
         which says what ran out, would be overwritten",
        size(report),
        size(buffer)
    ))
    .with("processes", processes)
    .with("report_bytes", report)
    .with("log_buffer_bytes", buffer);
    Some(
        told.fix(
            Fix::command(
                "have the kernel leave out the table of processes",
                "sysctl vm.oom_dump_tasks=0".to_owned(),
                "the log then does not say who else was there; oomtrace does",
            )
            .lasting(Lasts::UntilBoot),
        )
        .fix(Fix::advice(
            "give the log more room: log_buf_len=4M on the kernel's command line",
            "takes a restart",
        )),
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{node, node_ids, process};

    /// Guards the bound, and against machines whose log is large enough, leaves the table out, or is not known.
    #[test]
    fn many_processes_overwrite_the_report() {
        let mut machine = node();
        machine.processes.extend((1000..4000).map(|pid| process(pid, "worker", 0)));
        (machine.log_buffer_bytes, machine.oom_dump_tasks) = (Some(256 << 10), Some(1));
        assert_eq!(node_ids(&machine), ["log-limits"]);
        machine.log_buffer_bytes = Some(512 << 10);
        assert_eq!(node_ids(&machine), [""; 0]);
        (machine.log_buffer_bytes, machine.oom_dump_tasks) = (Some(256 << 10), Some(0));
        assert_eq!(node_ids(&machine), [""; 0]);
        (machine.log_buffer_bytes, machine.oom_dump_tasks) = (None, Some(1));
        assert_eq!(node_ids(&machine), [""; 0]);
    }
}
