//! `user.max_*_namespaces`, and how deep namespaces can be.

use std::path::PathBuf;

use anyhow::Result;

use super::{Case, Needs};
use crate::fork::call::Call;
use crate::fork::forker::Forker;
use crate::fork::order::Order;
use crate::fork::setting::Setting;
use crate::fork::truth::{Level, Truth, namespace};

/// The limit that a user namespace's first user sets in it.
pub const OWN: Case = Case {
    name: "namespace_limit/own",
    needs: Needs::Root,
    hidden: &[],
    provoke: |ground, times| {
        let mut forker = ground.forker("ns-forker")?;
        let user = ground.user();
        become_root_of(&mut forker, user)?;
        let namespace = namespace(forker.who.pid, "user")?;
        let mut truths = Vec::new();
        for (kind, flag) in KINDS {
            let limit = |limit: u64| Order::Write { file: file(kind), text: limit.to_string() };
            forker.tell(&limit(LIMIT))?;
            forker.hold(Call::Clone3 { flags: flag }, LIMIT)?;
            // A thread cannot be in another user namespace than its process.
            let mut calls = vec![("n", Call::Clone3 { flags: flag })];
            if flag != NEWTIME {
                calls.push(("n", Call::Clone { flags: flag }));
            }
            if flag != NEWUSER {
                // What is in a user namespace counts in the one around it, too.
                calls.push(("u", Call::Clone3 { flags: flag | NEWUSER }));
            }
            for (told_as, call) in calls {
                // What is told together has one name.
                forker.rename(&format!("{told_as}-{kind}-forker"))?;
                let truth = refuse(&mut forker, call, times, kind)?;
                let level = Level::User { uid: user.into(), namespace };
                truths.push(Truth { level, own_user_namespace: true, ..truth });
            }
            forker.tell(&limit(LIMIT + 1))?;
            forker.succeed(Call::Clone3 { flags: flag })?;
            // What has ended may count for a while yet.
            forker.tell(&limit(ROOM))?;
        }
        Ok(truths)
    },
};

/// The first user namespace's limit, for the user who made the namespace that the forker is in.
pub const OUTER: Case = Case {
    name: "namespace_limit/outer",
    needs: Needs::Disposable,
    hidden: &[],
    provoke: |ground, times| {
        let mut forker = ground.forker("ns-forker")?;
        let user = ground.user();
        let first = namespace(forker.who.pid, "user")?;
        become_root_of(&mut forker, user)?;
        let setting = Setting::keep("user/max_uts_namespaces")?;
        setting.set(LIMIT)?;
        let call = Call::Clone { flags: libc::CLONE_NEWUTS as u64 };
        forker.hold(call, LIMIT)?;
        let truth = refuse(&mut forker, call, times, "uts")?;
        setting.restore()?;
        forker.succeed(call)?;
        Ok(vec![Truth { level: Level::User { uid: user.into(), namespace: first }, ..truth }])
    },
};

/// PID namespaces within each other, as deep as they go.
pub const PID_DEPTH: Case = Case {
    name: "namespace_limit/pid_depth",
    needs: Needs::Root,
    hidden: &[],
    provoke: |ground, times| {
        let mut forker = ground.forker("deep-forker")?;
        for _ in 0..DEPTH {
            forker.tell(&Order::Enter(libc::CLONE_NEWPID as u64))?;
        }
        let depth = forker.who.ns_pids.len() as u64 - 1;
        let inode = Some(namespace(forker.who.pid, "pid")?);
        let call = Call::Clone { flags: libc::CLONE_NEWPID as u64 };
        let truth = Truth {
            level: Level::PidNamespace { level: depth, inode },
            limit: Some(DEPTH),
            usage: Some(DEPTH),
            unit: "levels",
            ..refuse(&mut forker, call, times, "pid")?
        };
        forker.succeed(Call::Fork)?;
        Ok(vec![truth])
    },
};

/// User namespaces within each other, as deep as they go.
pub const USER_DEPTH: Case = Case {
    name: "namespace_limit/user_depth",
    needs: Needs::Root,
    hidden: &[],
    provoke: |ground, times| {
        let mut forker = ground.forker("deep-forker")?;
        let user = ground.user();
        forker.tell(&Order::Become(user))?;
        let mut outside = user;
        // The first one has no level below it, and there is one more than that.
        for _ in 0..=DEPTH {
            forker.tell(&Order::Unshare(libc::CLONE_NEWUSER as u64))?;
            forker.tell(&Order::MapUser { inside: 0, outside })?;
            outside = 0;
        }
        let inode = namespace(forker.who.pid, "user")?;
        let call = Call::Clone { flags: NEWUSER };
        let truth = Truth {
            level: Level::UserNamespace { level: DEPTH + 1, inode },
            limit: Some(DEPTH + 1),
            usage: Some(DEPTH + 1),
            unit: "levels",
            ..refuse(&mut forker, call, times, "user")?
        };
        forker.succeed(Call::Fork)?;
        Ok(vec![truth])
    },
};

/// The settings' names, and the flags that ask for such a namespace.
/// User namespaces come first, while no more are made than are counted here.
const KINDS: [(&str, u64); 8] = [
    ("user", NEWUSER),
    ("pid", libc::CLONE_NEWPID as u64),
    ("net", libc::CLONE_NEWNET as u64),
    ("uts", libc::CLONE_NEWUTS as u64),
    ("ipc", libc::CLONE_NEWIPC as u64),
    ("mnt", libc::CLONE_NEWNS as u64),
    ("cgroup", libc::CLONE_NEWCGROUP as u64),
    ("time", NEWTIME),
];
const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
/// In clone(2) it would be a part of the signal.
const NEWTIME: u64 = libc::CLONE_NEWTIME as u64;
/// How many namespaces there may be.
const LIMIT: u64 = 1;
/// More than are made.
const ROOM: u64 = 10_000;
/// How deep they may be (`MAX_PID_NS_LEVEL`, include/linux/pid_namespace.h; `create_user_ns()`).
const DEPTH: u64 = 32;

fn file(kind: &str) -> PathBuf {
    PathBuf::from(format!("/proc/sys/user/max_{kind}_namespaces"))
}

/// Has the forker be root of a user namespace, and nobody outside.
fn become_root_of(forker: &mut Forker, user: u32) -> Result<()> {
    forker.tell(&Order::Become(user))?;
    forker.enter_user_namespace(user)
}

fn refuse(forker: &mut Forker, call: Call, times: u64, kind: &'static str) -> Result<Truth> {
    let tally = forker.fail(call, times, libc::ENOSPC)?;
    Ok(Truth {
        cause: Some("namespace_limit"),
        namespace: Some(kind),
        limit: Some(LIMIT),
        usage: Some(LIMIT),
        unit: "namespaces",
        proof: "one fewer could be made, and where it is a setting, one more once it is raised",
        ..Truth::of(forker, call, libc::ENOSPC, &tally)?
    })
}
