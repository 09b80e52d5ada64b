//! A copy of the memory may not be promised.

use super::{
    super::{
        finding::{Fix, Lasts},
        fork,
    },
    Rule,
};
use crate::{
    host::settings::Settings,
    incident::{ForkCause, ForkFailure},
};

pub const RULE: Rule = Rule {
    fork: Some(|failure, settings| {
        let told = fork::about(failure, ForkCause::Overcommit, || {
            "a copy of the process could come to need more memory than may be promised (vm.overcommit_memory=2)".to_owned()
        })?;
        let ratio = settings.and_then(|settings| settings.overcommit_ratio);
        let kbytes = settings.and_then(set_kbytes);
        let what = "promise more (vm.overcommit_ratio, or vm.overcommit_kbytes if that is set), or add swap";
        let more = match settings.and_then(|settings| command(failure, settings)) {
            Some(command) => Fix::command(what, command, RISK).lasting(Lasts::UntilBoot),
            None => Fix::advice(what, RISK),
        };
        Some(
            told.with_known("overcommit_ratio_percent", ratio)
                .with_known("overcommit_kbytes", kbytes)
                .with_known("needed_bytes", failure.needed_bytes)
                .fix(more)
                .fix(Fix::advice(
                    "have the program start others by vfork() or posix_spawn(), which copy nothing",
                    "none",
                )),
        )
    }),
    ..Rule::new("fork-overcommit", include_str!("../../../docs/findings/fork-overcommit.md"))
};

const RISK: &str =
    "what is promised beyond what there is may end in the OOM killer, which mode 2 is to prevent";

/// `vm.overcommit_kbytes`, where that is set: the ratio counts for nothing then.
fn set_kbytes(settings: &Settings) -> Option<u64> {
    settings.overcommit_kbytes.filter(|kbytes| *kbytes > 0)
}

/// What lets this fork be promised what it needs, and leaves some room beyond (`vm_commit_limit()`, mm/util.c). Either setting
/// takes the place of the other (`overcommit_ratio_handler()`), and counts beside swap.
fn command(failure: &ForkFailure, settings: &Settings) -> Option<String> {
    let bytes = failure.needed_bytes?.saturating_sub(settings.swap_total_bytes?);
    if set_kbytes(settings).is_some() {
        let kbytes = bytes.div_ceil(1024);
        return Some(format!("sysctl vm.overcommit_kbytes={}", kbytes.saturating_add(kbytes / 4)));
    }
    let memory = settings.memory_bytes?.checked_sub(settings.huge_pages_bytes?).filter(|bytes| *bytes > 0)?;
    let percent = u128::from(bytes).saturating_mul(100).div_ceil(memory.into());
    Some(format!("sysctl vm.overcommit_ratio={}", percent.saturating_add(20)))
}

#[cfg(test)]
mod tests {
    use super::super::super::{
        of_fork,
        tests::{fork_failure, fork_ids, settings},
    };
    use super::*;

    /// Guards the cause against all others, and what is proposed.
    #[test]
    fn it_is_found_and_no_other() {
        assert_eq!(fork_ids(&fork_failure(ForkCause::Overcommit)), ["fork-overcommit"]);
        let mut failure = fork_failure(ForkCause::Overcommit);
        let command = |failure: &ForkFailure, settings: Option<&Settings>| {
            of_fork(failure, settings)[0].conclusion.fix[0].command.clone()
        };
        assert_eq!(command(&failure, Some(&settings())), None, "how much is enough is not known");
        failure.needed_bytes = Some(1536 << 20);
        let with = |settings: &Settings| command(&failure, Some(settings)).unwrap();
        let swap = "there are 1024 MiB of swap, and as much memory";
        assert_eq!(with(&settings()), "sysctl vm.overcommit_ratio=70", "{swap}");
        let huge = Settings { huge_pages_bytes: Some(512 << 20), ..settings() };
        assert_eq!(with(&huge), "sysctl vm.overcommit_ratio=120", "huge pages do not count");
        let kbytes = Settings { overcommit_kbytes: Some(4000), ..settings() };
        assert_eq!(with(&kbytes), "sysctl vm.overcommit_kbytes=655360", "{swap}");
        assert_eq!(command(&failure, None), None, "what there is to promise is not known");
    }
}
