//! Not the kernel killed, but a daemon.

use super::{
    super::{finding::Fix, systemd},
    Conclusion, Rule,
};
use crate::{
    host::settings::Settings,
    incident::UserKill,
    text::printable,
    words::{name, size},
};

pub const RULE: Rule = Rule {
    user_kill: Some(holds),
    ..Rule::new("userspace-killer", include_str!("../../../docs/findings/userspace-killer.md"))
};

fn holds(kill: &UserKill, settings: Option<&Settings>) -> Option<Conclusion> {
    let killer = kill.killer.comm.as_deref()?;
    let first = kill.victims.first()?;
    let cgroup = first.place.cgroup.as_deref();
    let held = kill.victims.iter().filter_map(|victim| Some(victim.rss?.total_bytes));
    let held_bytes = held.fold(0_u64, u64::saturating_add);
    let others = match kill.victims.len() {
        0 | 1 => String::new(),
        2 => " and one process more".to_owned(),
        several => format!(" and {} processes more", several - 1),
    };
    let is_over =
        kill.victims.iter().any(|victim| victim.signals.iter().any(|sent| sent.name == Some("SIGKILL")));
    let what = if is_over { "killed" } else { "asked to end (SIGTERM)" };
    let summary = format!(
        "not the kernel but {killer} {what} {}{others}, which held {}: it acts by its own thresholds, before the kernel has to, and \
         the kernel's log has nothing of it",
        name(first.comm.as_deref()),
        size(held_bytes)
    );
    let signals =
        first.signals.iter().map(|sent| sent.name.map_or_else(|| sent.number.to_string(), str::to_owned));
    let told = Conclusion::warning(summary)
        .with("killer", killer)
        .with_known("killer_pid", kill.killer.pid)
        .with_known("killer_uid", kill.killer.uid)
        .with("signals", signals.collect::<Vec<_>>())
        .with("victims", kill.victims.len() as u64)
        .with("held_bytes", held_bytes)
        .with_known("cgroup", cgroup)
        .with_known("swap_total_bytes", settings.and_then(|settings| settings.swap_total_bytes))
        .with_known("swap_free_bytes", settings.and_then(|settings| settings.swap_free_bytes));
    Some(match killer {
        "systemd-oomd" => of_systemd(told, cgroup),
        "earlyoom" => told.fix(Fix::look(
            "see by which threshold; what it may take is set by -m and -s (memory and swap, percent), who is spared by --avoid \
             and who goes first by --prefer, in EARLYOOM_ARGS of /etc/default/earlyoom",
            "journalctl -u earlyoom --since -1h",
            LATER,
        )),
        "nohang" => told.fix(Fix::advice(
            "its log has the threshold; soft_threshold_* and hard_threshold_*, and who is spared (@BADNESS_ADJ_RE_NAME), are set \
             in /etc/nohang/nohang.conf",
            LATER,
        )),
        _ => told.fix(Fix::advice(
            "its log has the ruleset that held; rulesets, and which cgroups are watched, are set in the file that it was started \
             with (--config)",
            LATER,
        )),
    })
}

const LATER: &str = "whoever is spared, another one dies in its place; thresholds that are too low leave it all to the kernel, \
                     after a long stall";

/// What can be done about systemd's own.
fn of_systemd(told: Conclusion, cgroup: Option<&str>) -> Conclusion {
    let spare = cgroup.and_then(|path| {
        let unit = systemd::owner(path)?;
        // systemd sets it as the unit is started (cgroup_xattr_apply()), and not when it is told.
        Some(Fix::advice(
            format!(
                "have it take others first: ManagedOOMPreference=avoid in {} (\"omit\": never this one), from its next start on",
                printable(&unit)
            ),
            LATER,
        ))
    });
    let see = Fix::look(
        "see which units it watches and by which limits: ManagedOOMMemoryPressure= and ManagedOOMSwap= of the unit or of a slice \
         above it, DefaultMemoryPressureLimit= and SwapUsedLimit= of oomd.conf",
        "oomctl",
        LATER,
    );
    let told = told.fix(see);
    match spare {
        Some(spare) => told.fix(spare),
        None => told,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::super::tests::{MIB, ids, memcg, user_kill},
        *,
    };
    use crate::{explain::of_user_kill, incident::Place};

    fn told(kill: &UserKill) -> Conclusion {
        let mut told = of_user_kill(kill, None);
        assert_eq!(told.len(), 1);
        told.remove(0).conclusion
    }

    /// Guards who is said to have killed whom, and that each daemon has the advice of its own.
    #[test]
    fn each_daemon_has_its_own_advice() {
        for (killer, advice) in [
            ("earlyoom", "/etc/default/earlyoom"),
            ("nohang", "nohang.conf"),
            ("oomd", "--config"),
            ("systemd-oomd", "oomd.conf"),
        ] {
            let told = told(&user_kill(killer, 1));
            assert!(told.summary.starts_with(&format!("not the kernel but {killer} killed app, which held")));
            assert!(told.fix[0].what.contains(advice), "{killer}: {}", told.fix[0].what);
            assert_eq!(told.evidence["held_bytes"], (31 * MIB).into());
        }
        assert!(
            told(&user_kill("oomd", 3)).summary.contains("app and 2 processes more, which held 93.0 MiB")
        );
    }

    /// Guards how a unit is spared: of a service alone, since other groups are none of systemd's.
    #[test]
    fn a_unit_can_be_spared() {
        let mut service = user_kill("systemd-oomd", 1);
        service.victims[0].place = Place::of(Some("/system.slice/web.service".to_owned()));
        assert!(told(&service).fix[1].what.contains("ManagedOOMPreference=avoid in web.service"));
        assert_eq!(told(&user_kill("systemd-oomd", 1)).fix.len(), 1);
    }

    /// Guards against the kernel's own kills: whoever died, they are none of a daemon's.
    #[test]
    fn near_misses() {
        let mut own = memcg();
        own.victims[0].comm = Some("earlyoom".to_owned());
        own.trigger.comm = Some("systemd-oomd".to_owned());
        assert_eq!(ids(&own), ["memcg-limit"]);
        let mut nameless = user_kill("oomd", 1);
        nameless.killer.comm = None;
        assert_eq!(of_user_kill(&nameless, None), []);
    }
}
