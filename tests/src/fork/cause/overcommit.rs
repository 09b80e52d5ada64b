//! `vm.overcommit_memory=2`: a child's copy of its parent's memory would be more than may be promised.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Case, Needs};
use crate::fork::call::Call;
use crate::fork::order::Order;
use crate::fork::setting::Setting;
use crate::fork::truth::{Level, Truth};
use crate::machine::meminfo_bytes;

/// A forker has more than what may still be promised, and never touches it.
pub const CASE: Case = Case {
    name: "overcommit",
    needs: Needs::Disposable,
    hidden: &[],
    provoke: |ground, times| {
        let mut forker = ground.forker("large-forker")?;
        let promises = Promises::keep()?;
        forker.tell(&MAPPING)?;
        promises.limit()?;
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
                proof: "the forker has more than may still be promised, and it forks once anything may be promised",
                ..Truth::of(&forker, call, libc::ENOMEM, &tally)?
            });
        }
        promises.restore()?;
        forker.succeed(Call::Fork)?;
        Ok(truths)
    },
};

/// What the forker has, and never touches.
pub const MAPPING: Order = Order::Map { bytes: MAPPED, pieces: 1, touch: false };
/// So much of it.
pub const MAPPED: u64 = 96 << 20;
/// What may still be promised: not as much again, and more than others want.
const ROOM: u64 = MAPPED / 3 * 2;

/// How much the kernel promises.
#[derive(Debug)]
pub struct Promises {
    mode: Setting,
    /// Of the machine's memory, in percent.
    ratio: Setting,
}

impl Promises {
    /// Looks at the settings.
    pub fn keep() -> Result<Self> {
        Ok(Self {
            mode: Setting::keep("vm/overcommit_memory")?,
            ratio: Setting::keep("vm/overcommit_ratio")?,
        })
    }

    /// Has it promise little more than it has by now, whatever there is of memory and swap.
    pub fn limit(&self) -> Result<()> {
        let (_, promised) = promised_memory()?;
        // Swap comes on top.
        let wanted = (promised + ROOM).saturating_sub(meminfo("SwapTotal:")?) / 1024;
        self.ratio.set_by(Path::new("vm/overcommit_kbytes"), wanted.max(1))?;
        self.mode.set(2)
    }

    /// The same by a share of the machine's memory.
    pub fn limit_by_ratio(&self) -> Result<()> {
        let (_, promised) = promised_memory()?;
        let wanted = (promised + ROOM).saturating_sub(meminfo("SwapTotal:")?);
        self.ratio.set(wanted * 100 / meminfo("MemTotal:")?)?;
        self.mode.set(2)
    }

    /// Sets all back.
    pub fn restore(&self) -> Result<()> {
        self.mode.restore()?;
        self.ratio.restore()
    }
}

/// How much may be promised, and how much is, in bytes.
pub fn promised_memory() -> Result<(u64, u64)> {
    Ok((meminfo("CommitLimit:")?, meminfo("Committed_AS:")?))
}

fn meminfo(name: &str) -> Result<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    meminfo_bytes(&meminfo, name).with_context(|| format!("/proc/meminfo has no {name}"))
}
