//! The machine panics where it could kill.

use super::{super::finding::Fix, Conclusion, Rule};
use crate::host::node::Node;

pub const RULE: Rule = Rule {
    incident: Some(|case| holds(case.settings?.panic_on_oom?)),
    node: Some(|node| of_node(node).into_iter().collect()),
    ..Rule::new("panic-on-oom", include_str!("../../../docs/findings/panic-on-oom.md"))
};

fn of_node(node: &Node) -> Option<Conclusion> {
    let told = holds(node.settings.panic_on_oom?)?;
    let summary = match node.crash.panic_seconds {
        Some(0) => format!("{} (it is 0: somebody has to come and reset it)", told.summary),
        Some(seconds) => format!("{} (it is {seconds})", told.summary),
        None => told.summary,
    };
    Some(Conclusion { summary, ..told }.with_known("panic_seconds", node.crash.panic_seconds))
}

fn holds(mode: u32) -> Option<Conclusion> {
    if mode == 0 {
        return None;
    }
    // check_panic_on_oom() (mm/oom_kill.c): what was told here, it let pass.
    let when = if mode == 2 {
        "whenever anything runs out of memory, be it a group that reaches its limit"
    } else {
        "when the machine itself runs out of memory (but not when a group reaches its limit)"
    };
    let told = Conclusion::warning(format!(
        "vm.panic_on_oom is {mode}: the whole machine panics {when}, and restarts only if kernel.panic is set"
    ))
    .with("panic_on_oom", mode);
    Some(told.fix(Fix::command(
        "have the kernel kill a process instead",
        "sysctl vm.panic_on_oom=0".to_owned(),
        "a cluster that relies on the restart of a node must notice the kill",
    )))
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{ids, ids_with, memcg, settings, told};
    use crate::{explain::of_incident, host::settings::Settings};

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
}
