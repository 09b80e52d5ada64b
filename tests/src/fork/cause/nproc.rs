//! RLIMIT_NPROC of a user.

use anyhow::{Result, ensure};

use super::{CALLS, Case, Needs};
use crate::fork::call::Call;
use crate::fork::forker::Forker;
use crate::fork::ground::Ground;
use crate::fork::order::Order;
use crate::fork::truth::{Level, Truth, namespace};

/// A user without capabilities.
pub const USER: Case = Case {
    name: "rlimit_nproc/user",
    needs: Needs::Root,
    hidden: &[],
    provoke: |ground, times| {
        let (mut forker, user) = limited(ground, "nproc-forker", LIMIT)?;
        let namespace = namespace(forker.who.pid, "user")?;
        fail(&mut forker, user, times, namespace)
    },
};

/// The same user as root of a user namespace, which counts for nothing: there it has every capability.
pub const NAMESPACE: Case = Case {
    name: "rlimit_nproc/user_namespace",
    needs: Needs::Root,
    hidden: &[],
    provoke: |ground, times| {
        let (mut forker, user) = unprivileged(ground, "nproc-forker")?;
        let outer = namespace(forker.who.pid, "user")?;
        // A limit that held by now would go on to hold for the user outside: see OWNER.
        forker.enter_user_namespace(user)?;
        forker.tell(&limit(LIMIT))?;
        let namespace =
            if ground.machine.is_at_least(5, 14) { namespace(forker.who.pid, "user")? } else { outer };
        fail(&mut forker, user, times, namespace)
    },
};

/// The limit that held for the maker of a user namespace when it made that, where the forker's own is higher: it holds for
/// the maker's processes, to which all in the namespace count (`set_userns_rlimit_max()`, kernel/user_namespace.c).
pub const OWNER: Case = Case {
    name: "rlimit_nproc/namespace_owner",
    needs: Needs::CountingNamespaces,
    hidden: &[],
    provoke: |ground, times| {
        let (mut forker, user) = limited(ground, "nproc-forker", LIMIT)?;
        let outer = namespace(forker.who.pid, "user")?;
        forker.enter_user_namespace(user)?;
        forker.tell(&limit(HARD))?;
        refuse(
            &mut forker,
            user,
            times,
            outer,
            "the forker's own limit is higher; before a namespace is made, this one holds",
        )
    },
};

/// A user without capabilities runs into the limit as fast as it goes for a second, whatever `times` says.
pub const STORM: Case = Case {
    name: "rlimit_nproc/storm",
    needs: Needs::Root,
    hidden: &[],
    provoke: |ground, _| {
        let (mut forker, user) = limited(ground, "burst-forker", 1)?;
        let tally = forker.tell(&Order::Storm { call: Call::Fork, millis: STORM_MILLIS })?;
        ensure!(tally.successes == 0, "none should have come about: {tally:?}");
        let truth = Truth {
            cause: Some("rlimit_nproc"),
            level: Level::User { uid: user.into(), namespace: namespace(forker.who.pid, "user")? },
            limit: Some(1),
            usage: Some(1),
            proof: "the forker itself is all that the limit allows, and it forks when that is raised",
            ..Truth::of(&forker, Call::Fork, libc::EAGAIN, &tally)?
        };
        forker.tell(&limit(2))?;
        forker.succeed(Call::Fork)?;
        Ok(vec![truth])
    },
};

/// How long a storm lasts.
const STORM_MILLIS: u64 = 1000;
/// How many processes there may be.
const LIMIT: u64 = 6;
/// How many the limit may be raised to.
const HARD: u64 = 60;

/// Starts a forker of a user's own without capabilities. Gives the user, too.
fn unprivileged(ground: &Ground<'_>, name: &str) -> Result<(Forker, u32)> {
    let mut forker = ground.forker(name)?;
    let user = ground.user();
    forker.tell(&Order::Become(user))?;
    Ok((forker, user))
}

/// The same, whose user may have so many processes.
fn limited(ground: &Ground<'_>, name: &str, processes: u64) -> Result<(Forker, u32)> {
    let (mut forker, user) = unprivileged(ground, name)?;
    forker.tell(&limit(processes))?;
    Ok((forker, user))
}

fn limit(soft: u64) -> Order {
    Order::Limit { resource: libc::RLIMIT_NPROC, soft, hard: HARD }
}

/// Has the forker, whose own limit it is, have all the processes that it may, and fail.
fn fail(forker: &mut Forker, user: u32, times: u64, namespace: u64) -> Result<Vec<Truth>> {
    let proof = "the children before fitted below the limit, and one more does when it is raised by one";
    let truths = refuse(forker, user, times, namespace, proof)?;
    forker.tell(&limit(LIMIT + 1))?;
    forker.succeed(Call::Fork)?;
    Ok(truths)
}

fn refuse(
    forker: &mut Forker,
    user: u32,
    times: u64,
    namespace: u64,
    proof: &'static str,
) -> Result<Vec<Truth>> {
    forker.hold(Call::Fork, LIMIT - 1)?;
    let mut truths = Vec::new();
    for call in CALLS {
        let tally = forker.fail(call, times, libc::EAGAIN)?;
        truths.push(Truth {
            cause: Some("rlimit_nproc"),
            level: Level::User { uid: user.into(), namespace },
            limit: Some(LIMIT),
            usage: Some(LIMIT),
            proof,
            ..Truth::of(forker, call, libc::EAGAIN, &tally)?
        });
    }
    Ok(truths)
}
