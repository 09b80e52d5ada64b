//! A PID namespace whose first process has ended: nothing can be made in it any more.

use super::{Case, Needs};
use crate::fork::call::Call;
use crate::fork::order::Order;
use crate::fork::truth::{Level, Truth, namespace};

/// The forker's children are to be in such a namespace.
pub const CASE: Case = Case {
    name: "pidns_dead",
    needs: Needs::Root,
    hidden: &[],
    provoke: |ground, times| {
        let mut forker = ground.forker("orphan-forker")?;
        forker.tell(&Order::Unshare(libc::CLONE_NEWPID.cast_unsigned().into()))?;
        // The first process, which ends.
        forker.succeed(Call::Fork)?;
        let mut truths = Vec::new();
        for call in [Call::Fork, Call::Vfork, Call::Clone { flags: 0 }, Call::Clone3 { flags: 0 }] {
            let tally = forker.fail(call, times, libc::ENOMEM)?;
            let inode = Some(namespace(forker.who.pid, "pid_for_children")?);
            truths.push(Truth {
                cause: Some("pidns_dead"),
                level: Level::PidNamespace { level: 1, inode },
                proof: "the first process of the namespace could be made, and has ended",
                ..Truth::of(&forker, call, libc::ENOMEM, &tally)?
            });
        }
        Ok(truths)
    },
};
