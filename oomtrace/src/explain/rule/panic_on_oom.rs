//! The machine panics where it could kill.

use super::{
    super::finding::{Fix, Lasts},
    Conclusion, Rule,
};
use crate::host::node::Node;

pub const RULE: Rule = Rule {
    incident: Some(|case| {
        let set = case.settings.and_then(|settings| settings.panic_on_oom);
        set.and_then(holds).or_else(|| panicked(case.incident.panic.as_deref()?))
    }),
    node: Some(|node| of_node(node).into_iter().collect()),
    ..Rule::new("panic-on-oom", include_str!("../../../docs/findings/panic-on-oom.md"))
};

fn holds(mode: u32) -> Option<Conclusion> {
    told(mode, "and restarts only if kernel.panic is set")
}

/// It did so: check_panic_on_oom() (mm/oom_kill.c) says `compulsory panic_on_oom is enabled` where it is 2 and `system-wide …` where
/// it is 1, and before 2.6.38 `panic_on_oom is selected`.
fn panicked(words: &str) -> Option<Conclusion> {
    let mode = match words {
        words if words.contains("compulsory panic_on_oom") => Some(2_u32),
        words if words.contains("system-wide panic_on_oom") => Some(1),
        words if words.contains("panic_on_oom") => None,
        _ => return None,
    };
    let told = Conclusion::critical(
        "the whole machine panicked in place of a kill, since vm.panic_on_oom is set".to_owned(),
    );
    Some(told.with_known("panic_on_oom", mode).fix(kill_instead()))
}

fn of_node(node: &Node) -> Option<Conclusion> {
    // panic() (kernel/panic.c).
    let then = match node.crash.panic_seconds {
        None => "and restarts only if kernel.panic is set".to_owned(),
        Some(0) => "and then stands still until somebody resets it (kernel.panic is 0)".to_owned(),
        Some(seconds) if seconds < 0 => format!("and restarts at once (kernel.panic is {seconds})"),
        Some(seconds) => format!("and restarts after {seconds} s (kernel.panic)"),
    };
    Some(told(node.settings.panic_on_oom?, &then)?.with_known("panic_seconds", node.crash.panic_seconds))
}

fn told(mode: u32, then: &str) -> Option<Conclusion> {
    if mode == 0 {
        return None;
    }
    // check_panic_on_oom() (mm/oom_kill.c): what was told here, it let pass.
    let when = if mode == 2 {
        "whenever anything runs out of memory, be it a group that reaches its limit"
    } else {
        "when the machine itself runs out of memory (but not when a group reaches its limit)"
    };
    let told =
        Conclusion::warning(format!("vm.panic_on_oom is {mode}: the whole machine panics {when}, {then}"));
    Some(told.with("panic_on_oom", mode).fix(kill_instead()))
}

fn kill_instead() -> Fix {
    Fix::command(
        "have the kernel kill a process instead",
        "sysctl vm.panic_on_oom=0".to_owned(),
        "a cluster that relies on the restart of a node must notice the kill",
    )
    .lasting(Lasts::UntilBoot)
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{ids, ids_with, memcg, node, settings, told};
    use crate::{
        explain::{of_incident, of_node},
        host::settings::Settings,
    };

    /// Guards what each mode is said to do, and that 0 is nothing to tell.
    #[test]
    fn what_it_will_do() {
        for (mode, words) in [(1, "but not when a group"), (2, "be it a group")] {
            let settings = Settings { panic_on_oom: Some(mode), ..settings() };
            assert_eq!(ids_with(&memcg(), &settings), ["memcg-limit", "panic-on-oom"]);
            let told = of_incident(&memcg(), Some(&settings));
            assert!(told[1].conclusion.summary.contains(words), "{mode}");
        }
        assert_eq!(ids(&memcg()), ["memcg-limit"]);
        assert!(told("memcg-limit", &memcg()).see.ends_with("memcg-limit"));
    }

    /// Guards what is said to follow, for a machine before it panics.
    #[test]
    fn what_follows_the_panic() {
        for (seconds, words) in
            [(None, "only if"), (Some(0), "stands still"), (Some(-1), "at once"), (Some(10), "after 10 s")]
        {
            let mut machine = node();
            (machine.settings.panic_on_oom, machine.crash.panic_seconds) = (Some(1), seconds);
            let told = of_node(&machine);
            assert!(told[0].conclusion.summary.contains(words), "{seconds:?}: {told:?}");
        }
    }
}
