//! Who could have been chosen.

use std::collections::BTreeMap;

use super::{
    memory,
    missing::{self, UNREAD, lacking},
    types::{Ballot, Candidate},
};
use crate::{
    record::{self, Close},
    session::Session,
};

/// Why nobody stands there though a hook shows the scoring.
const NOBODY: &str = "no task was seen being scored: the trigger was chosen as such (vm.oom_kill_allocating_task), or this \
                      kernel scores where no hook sees it";

/// Why nobody stands there though scores were computed.
const ASTRAY: &str =
    "no hook shows this kernel's scores, and those computed by its formula do not come to the victim's";

/// The candidates of a run in which somebody was `marked`, or nobody, best first, and how many were looked at; what is not known of them goes to `missing`.
pub(super) fn of(
    records: &[record::Candidate],
    close: Option<Close>,
    chosen_points: Option<i64>,
    marked: bool,
    session: &Session,
    missing: &mut BTreeMap<String, String>,
) -> (Vec<Candidate>, Option<Ballot>) {
    let mut records: Vec<_> = records.iter().collect();
    records.sort_by_key(|record| std::cmp::Reverse(record.points));
    let ballot = match (records.first(), close) {
        (Some(first), _) => {
            Some(Ballot { examined: first.examined, unkillable: first.unkillable, computed: first.computed })
        }
        // Nobody that could be killed was among them: where somebody was marked all the same, what says so was misread.
        (None, Some(Close { examined, unkillable, .. }))
            if examined > 0 && examined == unkillable && !marked =>
        {
            Some(Ballot { examined, unkillable, computed: false })
        }
        (None, _) => None,
    };
    // Those that are computed must come to the kernel's own: else the figures that go into them are in doubt.
    let astray = ballot.is_some_and(|ballot| ballot.computed)
        && chosen_points != records.first().map(|best| best.points);
    if astray {
        missing::all(missing, ["ballot", "candidates"], ASTRAY);
        return (Vec::new(), None);
    }
    if ballot.is_none() {
        missing::unless_known(missing, ["ballot", "candidates"], NOBODY);
    }
    let candidates = records.into_iter().enumerate().map(|(at, record)| {
        let (candidate, unknown) = candidate(record, session);
        missing.extend(unknown.into_iter().map(|(field, why)| (format!("candidates[{at}].{field}"), why)));
        candidate
    });
    (candidates.collect(), ballot)
}

fn candidate(record: &record::Candidate, session: &Session) -> (Candidate, Vec<(&'static str, String)>) {
    let page_bytes = session.host.page_bytes;
    let rss = memory::as_kernel(&record.mm, session);
    let task = record.task.as_ref();
    let candidate = Candidate {
        pid: record.pid,
        comm: task.and_then(|task| task.comm.clone()),
        points: record.points,
        rss_bytes: rss.as_ref().ok().map(|pages| memory::kernel_rss(pages, page_bytes).total_bytes),
        swap_bytes: memory::swap_bytes(&record.mm, page_bytes),
        oom_score_adj: task.and_then(|task| task.oom_score_adj),
    };
    let gone = || "it had ended by the time of the decision".to_owned();
    let unread = || if task.is_none() { gone() } else { UNREAD.to_owned() };
    let mut unknown = Vec::new();
    if let Err(reason) = rss {
        unknown.push(("rss_bytes", if task.is_none() { gone() } else { reason }));
    }
    let lacks = [
        ("comm", candidate.comm.is_none()),
        ("swap_bytes", candidate.swap_bytes.is_none()),
        ("oom_score_adj", candidate.oom_score_adj.is_none()),
    ];
    unknown.extend(lacking(lacks).map(|field| (field, unread())));
    (candidate, unknown)
}
