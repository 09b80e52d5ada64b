//! Incidents of a live trace that the kernel log alone tells: no program saw them.

use super::{
    log::{Kill, Nobody, Report},
    reported::{Reasons, Reported},
    types::{Common, Incident},
};
use crate::kmsg::report;

/// Why all is missing that the log does not say of a kill.
const UNSEEN: Reasons = Reasons::all("the tracer did not see this kill; the kernel log has it");
/// The same of a run without a victim.
const UNHOOKED: Reasons = Reasons::all(
    "no hook shows a run of the OOM killer without a victim in this tier; the kernel log has it",
);

/// A kill. Its thread id stands for the process's too: of a process whose first thread has ended, it is another one's.
pub(super) fn kill(kill: &Kill, common: Common, id: String) -> Incident {
    let told = report::Kill {
        seq: Some(kill.seq),
        killed: kill.killed.clone(),
        group: kill.group,
        ..report::Kill::default()
    };
    let report =
        report::Report { kills: vec![told], end: report::End::Killed, ..whole(kill.report.as_ref()) };
    let incident = Reported { report: &report, page_bytes: None, reasons: UNSEEN }.incident(common, id);
    Incident { from_log: vec!["victims"], ..incident }
}

/// Nobody was to be killed.
pub(super) fn nobody(nobody: &Nobody, common: Common, id: String) -> Incident {
    let report =
        report::Report { seq: Some(nobody.seq), end: report::End::NoVictim, ..whole(nobody.report.as_ref()) };
    let incident = Reported { report: &report, page_bytes: None, reasons: UNHOOKED }.incident(common, id);
    Incident { from_log: vec!["outcome"], ..incident }
}

/// What was read of a report.
fn whole(report: Option<&Report>) -> report::Report {
    let Some(report) = report else { return report::Report::default() };
    report::Report {
        invoked: report.invoked.clone(),
        tid: report.tid,
        memcg: report.memcg.clone(),
        decided: report.decided.clone(),
        ..report::Report::default()
    }
}
