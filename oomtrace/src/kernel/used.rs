//! Which of a kernel's types and symbols oomtrace goes by: what another machine needs to repeat how it chose its hooks.

use std::collections::BTreeSet;

use oomtrace_ebpf::Layout;

use super::{
    hooks::{Kind, PRESSURE, ROLES},
    text, variables,
};

/// What is asked for besides the structures of fields and what hooks pass: constants, the enums that they are of, and what one hook looks into.
const OTHERS: [&str; 13] = [
    "MM_FILEPAGES",
    "NR_FREE_PAGES",
    "UCOUNT_RLIMIT_NPROC",
    "WMARK_MIN",
    "___GFP_DMA_BIT",
    "cgroup_subsys_id",
    "node_stat_item",
    "oom_constraint",
    "pt_regs",
    "ucount_type",
    "upid",
    "zone_stat_item",
    "zone_type",
];

/// Names of types, functions and constants, for [`excerpt`](super::btf::excerpt), in order.
#[must_use]
pub fn types() -> Vec<String> {
    let fields = Layout::FIELDS.iter().flat_map(|field| field.places).map(|(of, _)| (*of).to_owned());
    let hooks = hooks().map(|(kind, target)| match kind {
        Kind::RawTracepoint => format!("btf_trace_{target}"),
        _ => target.to_owned(),
    });
    let reclaim = ["direct", "memcg"]
        .into_iter()
        .flat_map(|of| ["begin", "end"].map(|which| format!("btf_trace_mm_vmscan_{of}_reclaim_{which}")));
    let all = fields.chain(hooks).chain(reclaim).chain(OTHERS.map(str::to_owned));
    all.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Names of functions and variables in /proc/kallsyms, in order.
#[must_use]
pub fn symbols() -> Vec<&'static str> {
    let functions = hooks().filter(|(kind, _)| *kind != Kind::RawTracepoint).map(|(_, target)| target);
    let all = functions.chain(variables::names()).chain(text::SYMBOLS);
    all.collect::<BTreeSet<_>>().into_iter().collect()
}

fn hooks() -> impl Iterator<Item = (Kind, &'static str)> {
    let roles = ROLES.iter().chain([&PRESSURE]);
    let hooks = roles.flat_map(|role| role.choices).flat_map(|choice| choice.hooks);
    hooks.map(|hook| (hook.kind, hook.target))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::kernel::{
        btf::{Btf, excerpt},
        layout,
    };

    /// Guards a report's use: by its excerpt, another machine comes to the same places, constants and hooks as this kernel's
    /// types lead to.
    #[test]
    fn an_excerpt_of_what_is_used_answers_as_the_whole() {
        for kernel in ["5.10.223", "5.10", "6.1", "6.12", "6.18", "7.2"] {
            let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/btf");
            let whole = Btf::read(&fixtures.join(format!("{kernel}.btf"))).unwrap();
            let types = types();
            let roots: Vec<_> = types.iter().map(String::as_str).collect();
            let cut = Btf::parse(excerpt(&whole, &roots).unwrap().btf).unwrap();
            let (of_whole, of_cut) = (layout::resolve(&whole, 4), layout::resolve(&cut, 4));
            assert_eq!(of_cut.layout, of_whole.layout, "{kernel}");
            assert_eq!(of_cut.params, of_whole.params, "{kernel}");
            assert_eq!(of_cut.missing, of_whole.missing, "{kernel}");
            for choice in ROLES.iter().chain([&PRESSURE]).flat_map(|role| role.choices) {
                assert_eq!(choice.check(&cut), choice.check(&whole), "{kernel}");
            }
        }
    }

    /// Guards the list of symbols: of each kind that is looked for there is one.
    #[test]
    fn symbols_are_those_that_are_looked_for() {
        let symbols = symbols();
        for name in ["oom_kill_process", "vm_committed_as", "__percpu_counter_sum"] {
            assert!(symbols.contains(&name), "{name}");
        }
        assert!(!symbols.contains(&"mark_victim"), "a tracepoint is no symbol");
    }
}
