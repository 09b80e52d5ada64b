//! File descriptors: none is left for the one that `CLONE_PIDFD` asks for, or the table is too large to be copied.

use super::{Case, Needs};
use crate::fork::call::Call;
use crate::fork::order::Order;
use crate::fork::setting::Setting;
use crate::fork::truth::{Level, Truth};

/// RLIMIT_NOFILE leaves none.
pub const PIDFD: Case = Case {
    name: "fd_limit/pidfd",
    needs: Needs::Root,
    hidden: &[],
    provoke: |ground, times| {
        let mut forker = ground.forker("fd-forker")?;
        let limit = |soft| Order::Limit { resource: libc::RLIMIT_NOFILE, soft, hard: HARD };
        let mut truths = Vec::new();
        let flags = libc::CLONE_PIDFD as u64;
        for call in [Call::Clone { flags }, Call::Clone3 { flags }] {
            // It opens files itself to answer.
            let tally =
                forker.tell(&Order::All(vec![limit(0), Order::Attempt { call, times }, limit(HARD)]))?;
            anyhow::ensure!(tally.failed(libc::EMFILE) == times, "all should have failed: {tally:?}");
            truths.push(Truth {
                cause: Some("fd_limit"),
                limit: Some(0),
                unit: "descriptors",
                proof: "no descriptor may be opened, and the child is made once that is so again",
                ..Truth::of(&forker, call, libc::EMFILE, &tally)?
            });
            forker.succeed(call)?;
        }
        Ok(truths)
    },
};

/// `fs.nr_open` was lowered below what the forker has.
pub const TABLE: Case = Case {
    name: "fd_limit/table",
    needs: Needs::Disposable,
    hidden: &[],
    provoke: |ground, times| {
        let mut forker = ground.forker("fd-forker")?;
        forker.tell(&Order::Open { file: "/dev/null".into(), descriptor: DESCRIPTOR })?;
        let setting = Setting::keep("fs/nr_open")?;
        setting.set(TABLE_LIMIT)?;
        let mut truths = Vec::new();
        for call in [Call::Fork, Call::Clone3 { flags: 0 }] {
            let tally = forker.fail(call, times, libc::EMFILE)?;
            truths.push(Truth {
                cause: Some("fd_limit"),
                level: Level::Machine,
                limit: Some(TABLE_LIMIT),
                unit: "descriptors",
                proof: "fs.nr_open is below the number of a descriptor that is open, and it forks once that is not so",
                ..Truth::of(&forker, call, libc::EMFILE, &tally)?
            });
        }
        // The table is shared.
        forker.succeed(Call::Clone { flags: libc::CLONE_FILES as u64 })?;
        setting.restore()?;
        forker.succeed(Call::Fork)?;
        Ok(truths)
    },
};

/// How many there may be usually.
const HARD: u64 = 256;
/// The number of a descriptor that takes a large table.
pub const DESCRIPTOR: i32 = 200;
/// The least that `fs.nr_open` can be (`sysctl_nr_open_min`, fs/file.c).
pub const TABLE_LIMIT: u64 = 64;
