//! `vm.overcommit_memory=2`: a child's copy of its parent's memory would be more than may be promised.

use std::fs;

use anyhow::{Context, Result};

use super::{Case, Needs};
use crate::fork::call::Call;
use crate::fork::order::Order;
use crate::fork::setting::Setting;
use crate::fork::truth::{Level, Truth};
use crate::machine::meminfo_bytes;

/// A forker has more than half of what may be promised, and never touches it.
pub const CASE: Case = Case {
    name: "overcommit",
    needs: Needs::Disposable,
    hidden: &[],
    provoke: |ground, times| {
        let mut forker = ground.forker("large-forker")?;
        let setting = Setting::keep("vm/overcommit_memory")?;
        setting.set(2)?;
        let (limit, promised) = promised_memory()?;
        forker.tell(&Order::Map {
            bytes: limit.saturating_sub(promised) / 5 * 3,
            pieces: 1,
            touch: false,
        })?;
        let mut truths = Vec::new();
        // A child that shares its parent's memory is promised nothing.
        forker.succeed(Call::Vfork)?;
        for call in [Call::Fork, Call::Clone { flags: 0 }, Call::Clone3 { flags: 0 }] {
            let (limit, usage) = promised_memory()?;
            let tally = forker.fail(call, times, libc::ENOMEM)?;
            truths.push(Truth {
                cause: Some("overcommit"),
                level: Level::Machine,
                limit: Some(limit),
                usage: Some(usage),
                unit: "bytes",
                proof: "more than half of what may be promised is the forker's, and it forks once anything may be promised",
                ..Truth::of(&forker, call, libc::ENOMEM, &tally)?
            });
        }
        setting.restore()?;
        forker.succeed(Call::Fork)?;
        Ok(truths)
    },
};

/// How much may be promised, and how much is, in bytes.
pub fn promised_memory() -> Result<(u64, u64)> {
    let meminfo = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let limit = meminfo_bytes(&meminfo, "CommitLimit:").context("/proc/meminfo has no CommitLimit")?;
    let promised = meminfo_bytes(&meminfo, "Committed_AS:").context("/proc/meminfo has no Committed_AS")?;
    Ok((limit, promised))
}
