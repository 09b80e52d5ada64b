//! A copy of the memory may not be promised.

use super::{
    super::{finding::Fix, fork},
    Rule,
};
use crate::incident::ForkCause;

pub const RULE: Rule = Rule {
    fork: Some(|failure, settings| {
        let told = fork::about(failure, ForkCause::Overcommit, || {
            "a copy of the process could come to need more memory than may be promised (vm.overcommit_memory=2)".to_owned()
        })?;
        let ratio = settings.and_then(|settings| settings.overcommit_ratio);
        // Where it is set, the ratio counts for nothing.
        let kbytes = settings.and_then(|settings| settings.overcommit_kbytes).filter(|kbytes| *kbytes > 0);
        let command = match (kbytes, ratio) {
            (Some(kbytes), _) => {
                Some(format!("sysctl vm.overcommit_kbytes={}", kbytes.saturating_add(kbytes / 4)))
            }
            (None, Some(ratio)) => Some(format!("sysctl vm.overcommit_ratio={}", ratio.saturating_add(20))),
            (None, None) => None,
        };
        let what = "promise more (vm.overcommit_ratio, or vm.overcommit_kbytes if that is set), or add swap";
        let risk =
            "what is promised beyond what there is may end in the OOM killer, which mode 2 is to prevent";
        let more = match command {
            Some(command) => Fix::command(what, command, risk),
            None => Fix::advice(what, risk),
        };
        Some(
            told.with_known("overcommit_ratio_percent", ratio)
                .with_known("overcommit_kbytes", kbytes)
                .fix(more)
                .fix(Fix::advice(
                    "have the program start others by vfork() or posix_spawn(), which copy nothing",
                    "none",
                )),
        )
    }),
    ..Rule::new("fork-overcommit", include_str!("../../../docs/findings/fork-overcommit.md"))
};

#[cfg(test)]
mod tests {
    use super::super::super::{
        of_fork,
        tests::{fork_failure, fork_ids, settings},
    };
    use super::*;
    use crate::host::settings::Settings;

    /// Guards the cause against all others, and what is proposed.
    #[test]
    fn it_is_found_and_no_other() {
        assert_eq!(fork_ids(&fork_failure(ForkCause::Overcommit)), ["fork-overcommit"]);
        let failure = fork_failure(ForkCause::Overcommit);
        let command =
            |settings: Option<&Settings>| of_fork(&failure, settings)[0].conclusion.fix[0].command.clone();
        assert_eq!(command(Some(&settings())).as_deref(), Some("sysctl vm.overcommit_ratio=70"));
        let kbytes = Settings { overcommit_kbytes: Some(4000), ..settings() };
        assert_eq!(command(Some(&kbytes)).as_deref(), Some("sysctl vm.overcommit_kbytes=5000"));
        assert_eq!(command(None), None, "a ratio that is not known may be higher already");
    }
}
