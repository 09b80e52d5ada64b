//! Who asked for memory, and for what.

use std::collections::BTreeSet;

use super::{Case, kin};
use crate::checks::Checks;
use crate::witness::comm::same_name;

/// Checks the trigger. What the tier cannot know is left to the floor table; what it says must be right.
pub(super) fn check(checks: &mut Checks, case: &Case<'_>) {
    let (trigger, logged) = (&case.incident.fields.trigger, case.logged);
    let invoked = logged.invoked.as_ref();
    checks.equal("trigger.tid", trigger.tid, logged.trigger_tid, "the log's stack dump");
    checks.that(
        invoked.is_some_and(|line| trigger.comm.as_deref().is_some_and(|comm| same_name(comm, &line.comm))),
        || {
            format!(
                "trigger.comm is {:?}, the log says {:?}",
                trigger.comm,
                invoked.map(|line| line.comm.escape_ascii().to_string())
            )
        },
    );
    checks.equal_if_given("trigger.gfp_mask", trigger.gfp_mask, invoked.map(|line| line.gfp_mask), "the log");
    checks.equal_if_given("trigger.order", trigger.order, invoked.map(|line| line.order), "the log");
    let ours = trigger.gfp_flags.as_ref().map(|flags| flags.iter().collect::<BTreeSet<_>>());
    let theirs = invoked.map(|line| line.gfp_flags.iter().collect::<BTreeSet<_>>());
    checks.equal_if_given("trigger.gfp_flags", ours, theirs, "the log");

    let Some(eater) = case.expected.trigger else { return };
    checks.equal("trigger.pid", trigger.pid, Some(eater.pid()), "the scenario");
    kin::check(checks, ("trigger.", eater), trigger.ns_pid, trigger.ancestors.as_deref());
    checks.equal("trigger.uid", trigger.uid, Some(eater.before.uid), "/proc");
    if !trigger.cmdline_truncated {
        let told = Some(&eater.before.cmdline);
        checks.equal("trigger.cmdline", trigger.cmdline.as_ref(), told, "/proc");
    }
    if let Some(cgroup) = &eater.cgroup {
        checks.equal("trigger.cgroup", trigger.cgroup.as_deref(), Some(cgroup.path.as_str()), "the scenario");
    }
}
