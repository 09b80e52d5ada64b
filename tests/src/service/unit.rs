//! What systemd says of the service.

use std::process::Command;

use anyhow::{Context, Result};

use super::{run, systemctl};
use crate::checks::Checks;

const UNIT: &str = "oomtrace.service";

/// A unit's properties.
struct Properties(String);

impl Properties {
    fn read() -> Result<Self> {
        systemctl(&["show", UNIT]).map(Self)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }
}

/// It is enabled, has told that it is ready, runs, and is watched.
pub fn is_up(checks: &mut Checks) -> Result<()> {
    let unit = Properties::read()?;
    for (name, wanted) in [
        ("UnitFileState", "enabled"),
        ("ActiveState", "active"),
        ("SubState", "running"),
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("Result", "success"),
        ("NRestarts", "0"),
    ] {
        checks.equal(name, unit.get(name), Some(wanted), "this test");
    }
    let watchdog = unit.get("WatchdogUSec");
    let watched = watchdog.is_some_and(|time| !["0", "infinity"].contains(&time));
    checks.that(watched, || format!("no watchdog is set: WatchdogUSec is {watchdog:?}"));
    for name in ["WatchdogUSec", "MemoryCurrent", "StatusText"] {
        checks.note(name, unit.get(name));
    }
    Ok(())
}

/// Its exposure by systemd's own count: 0 to 10, the less the better.
pub fn is_hardened(checks: &mut Checks) -> Result<()> {
    let mut command = Command::new("systemd-analyze");
    let table = run(command.args(["security", "--no-pager", UNIT]))?;
    let exposure = exposure(&table).context("systemd-analyze security tells no overall exposure")?;
    println!("systemd-analyze security {UNIT}: exposure {exposure}");
    checks.note("exposure", exposure);
    // What systemd calls OK ends at 5, and a service without any hardening has 9.6.
    checks.that(exposure < 5.0, || format!("the unit's exposure is {exposure}"));
    Ok(())
}

fn exposure(table: &str) -> Option<f64> {
    let line = table.lines().find(|line| line.contains("Overall exposure level"))?;
    // It ends in a face, which may have a colon for its eyes.
    line.split_once(": ")?.1.split_whitespace().next()?.parse().ok()
}

/// A reload leaves it running as the same process.
pub fn reloads(checks: &mut Checks) -> Result<()> {
    let before = Properties::read()?;
    systemctl(&["reload", UNIT])?;
    systemctl(&["kill", "--signal=HUP", "--kill-who=main", UNIT])?;
    let after = Properties::read()?;
    checks.equal("MainPID", after.get("MainPID"), before.get("MainPID"), "systemd before the reload");
    for (name, wanted) in [("ActiveState", "active"), ("ReloadResult", "success"), ("NRestarts", "0")] {
        checks.equal(name, after.get(name), Some(wanted), "this test");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the reading of systemd's answers: a property by its whole name, and the figure of the last line.
    #[test]
    fn answers_are_read() {
        let unit = Properties("Type=notify\nTypeX=y\nResult=success\nStatusText=a=b\n".to_owned());
        assert_eq!(unit.get("Type"), Some("notify"));
        assert_eq!(unit.get("StatusText"), Some("a=b"));
        assert_eq!(unit.get("Stat"), None);
        let table = "✓ NAME  x 0.2\n\n→ Overall exposure level for oomtrace.service: 2.4 OK :-)\n";
        assert_eq!(exposure(table), Some(2.4));
        assert_eq!(exposure("nothing"), None);
    }
}
