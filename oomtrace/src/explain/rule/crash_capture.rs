//! A panic for want of memory would leave nothing to look at.

use super::{super::finding::Fix, Conclusion, Rule};
use crate::host::node::Node;

pub const RULE: Rule = Rule {
    node: Some(|node| of_node(node).into_iter().collect()),
    ..Rule::new("crash-capture", include_str!("../../../docs/findings/crash-capture.md"))
};

fn of_node(node: &Node) -> Option<Conclusion> {
    let mode = node.settings.panic_on_oom.filter(|mode| *mode != 0)?;
    if node.crash.is_kept()? {
        return None;
    }
    let told = Conclusion::warning(
        "the machine is to panic when memory runs out (vm.panic_on_oom), and nothing would keep what the kernel says then: no crash \
         kernel is loaded (kdump), and pstore has nowhere to write to",
    );
    Some(told.with("panic_on_oom", mode).with_known("kdump_loaded", node.crash.kdump).fix(Fix::advice(
        "set up kdump (Debian: kdump-tools, RHEL: kdump), or pstore with the efi or ramoops backend",
        "a crash kernel takes some hundred MiB from the start on",
    )))
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{node, node_ids};

    /// Guards who is told: whoever wants the panic and keeps nothing; not whoever has either, or where nothing tells.
    #[test]
    fn a_panic_that_leaves_nothing() {
        let mut machine = node();
        machine.settings.panic_on_oom = Some(1);
        (machine.crash.kdump, machine.crash.panic_seconds) = (Some(false), Some(10));
        assert_eq!(node_ids(&machine), ["panic-on-oom", "crash-capture"]);
        machine.crash.pstore = Some("efi_pstore".to_owned());
        assert_eq!(node_ids(&machine), ["panic-on-oom"]);
        (machine.crash.pstore, machine.crash.kdump) = (None, Some(true));
        assert_eq!(node_ids(&machine), ["panic-on-oom"]);
        machine.crash.kdump = None;
        assert_eq!(node_ids(&machine), ["panic-on-oom"]);
        (machine.settings.panic_on_oom, machine.crash.kdump) = (Some(0), Some(false));
        assert_eq!(node_ids(&machine), [""; 0]);
    }
}
