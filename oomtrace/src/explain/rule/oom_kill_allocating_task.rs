//! Whoever asks dies.

use super::{
    super::finding::{Fix, Lasts},
    Case, Conclusion, Rule,
};
use crate::{host::node::Node, words::name};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    node: Some(|node| of_node(node).into_iter().collect()),
    ..Rule::new(
        "oom-kill-allocating-task",
        include_str!("../../../docs/findings/oom-kill-allocating-task.md"),
    )
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    let set = case.settings?.oom_kill_allocating_task.filter(|set| *set != 0)?;
    // out_of_memory() (mm/oom_kill.c): not for a cgroup's limit, and only if the asking task may be killed.
    let victim = case.victim().filter(|_| case.nodes_ran_out())?;
    if victim.pid.is_none() || victim.pid != case.incident.trigger.pid {
        return None;
    }
    let told = Conclusion::warning(format!(
        "{} died because it happened to ask for memory, not because it was large: vm.oom_kill_allocating_task is set",
        name(victim.comm.as_deref())
    ))
    .with("oom_kill_allocating_task", set)
    .with_known("victim_pid", victim.pid);
    Some(told.fix(choose_again()))
}

fn of_node(node: &Node) -> Option<Conclusion> {
    let set = node.settings.oom_kill_allocating_task.filter(|set| *set != 0)?;
    let told = Conclusion::warning(
        "vm.oom_kill_allocating_task is set: when the machine runs out of memory, whoever happens to ask next dies, however small it is",
    );
    Some(told.with("oom_kill_allocating_task", set).fix(choose_again()))
}

fn choose_again() -> Fix {
    Fix::command(
        "have the kernel choose the process with the highest score again",
        "sysctl vm.oom_kill_allocating_task=0".to_owned(),
        "choosing takes longer on machines with very many processes",
    )
    .lasting(Lasts::UntilBoot)
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{global, ids_with, memcg, settings};
    use crate::host::settings::Settings;

    /// Guards the setting where it counts: not for a cgroup's limit, and not if someone else died.
    #[test]
    fn whoever_asks_dies() {
        let set = Settings { oom_kill_allocating_task: Some(1), ..settings() };
        assert_eq!(ids_with(&global(), &set), ["oom-kill-allocating-task", "node-exhausted"]);
        assert_eq!(ids_with(&memcg(), &set), ["memcg-limit"]);
        let mut other = global();
        other.trigger.pid = Some(99);
        assert_eq!(ids_with(&other, &set), ["node-exhausted"]);
    }
}
