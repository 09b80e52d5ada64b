//! Allocations that failed.

use std::fmt::Write as _;

use super::scope::level;
use crate::{
    incident::{AllocFailure, FailureKind},
    text::printable,
};

/// What failed, and what that means for the process.
pub(super) fn refused(failure: &AllocFailure) -> String {
    match failure.what {
        FailureKind::PageFault => "page fault failed, nobody was killed".to_owned(),
        FailureKind::MemcgOomDisabled => {
            "page fault failed where the OOM killer is disabled: it hangs".to_owned()
        }
        FailureKind::Hugetlb => "no huge page for it in the pool: SIGBUS".to_owned(),
        FailureKind::PageAllocation | FailureKind::Vmalloc => {
            let mut text = match failure.what {
                FailureKind::Vmalloc => "vmalloc failed".to_owned(),
                _ => "page allocation failed".to_owned(),
            };
            // Writing to a String cannot fail.
            if let Some(order) = failure.order {
                let _ = write!(text, ", order {order}");
            }
            if let Some(flags) = failure.gfp_flags.as_deref().filter(|flags| !flags.is_empty()) {
                let _ = write!(text, ", {}", flags.join("|"));
            }
            text
        }
    }
}

/// What to do about it.
pub(super) fn advice(failure: &AllocFailure) -> Option<String> {
    match failure.what {
        FailureKind::PageFault => {
            let full = failure.limits.iter().find(|level| {
                level
                    .usage_bytes
                    .zip(level.limit_bytes)
                    .is_some_and(|(usage, limit)| usage >= limit - limit / 16)
            })?;
            Some(format!(
                "raise the limit of {}, or let one of its processes be killed (oom_score_adj)",
                level(full)
            ))
        }
        FailureKind::MemcgOomDisabled => {
            let path = failure
                .memcg
                .as_ref()
                .and_then(|memcg| memcg.path.as_deref())
                .map_or_else(String::new, printable);
            Some(format!(
                "free memory, raise the limit, or enable the OOM killer (memory.oom_control) of {path}"
            ))
        }
        FailureKind::Hugetlb => Some(
            "raise vm.nr_hugepages or vm.nr_overcommit_hugepages (or the limit of hugetlb's cgroup)"
                .to_owned(),
        ),
        FailureKind::PageAllocation | FailureKind::Vmalloc => None,
    }
}
