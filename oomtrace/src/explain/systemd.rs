//! How systemd is told to change a unit.

use super::{
    finding::{Fix, Lasts},
    shell::quoted,
};
use crate::{host::unit, incident::Place};

/// The unit or slice whose own cgroup that is; `None`: it belongs to none, or is one that a unit or a container made within itself.
pub fn owner(path: &str) -> Option<String> {
    let mut steps = path.split('/').filter(|step| !step.is_empty());
    let last = steps.next_back()?;
    let place = Place::of(Some(path.to_owned()));
    let slice = || {
        let by_systemd =
            steps.all(|step| unit::is_slice(step) || step.starts_with("user@") && step.ends_with(".service"));
        (unit::is_slice(last) && by_systemd && place.container.is_none()).then(|| last.to_owned())
    };
    place.unit.clone().filter(|unit| unit == last).or_else(slice)
}

/// The command by which the unit of a cgroup is spoken of. A user's own is known to that user's manager alone, to which root speaks
/// as that user.
pub fn systemctl(path: &str, unit: &str) -> String {
    let user = path.split('/').find_map(|step| step.strip_prefix("user@")?.strip_suffix(".service"));
    match user.filter(|uid| !unit.starts_with("user@") && uid.bytes().all(|byte| byte.is_ascii_digit())) {
        Some(uid) => format!("sudo -u '#{uid}' env XDG_RUNTIME_DIR=/run/user/{uid} systemctl --user"),
        None => "systemctl".to_owned(),
    }
}

/// How a unit is changed. A user's own manager is in none of the machines that this is tried on.
pub fn change(path: &str, unit: &str, property: &str, what: String, risk: &'static str) -> Fix {
    let tool = systemctl(path, unit);
    let command = format!("{tool} set-property -- {} {property}", quoted(unit));
    let fix = if tool == "systemctl" {
        Fix::command(what, command, risk)
    } else {
        Fix::untried(what, command, risk)
    };
    // A scope is gone with its processes, and so is what it was told.
    fix.lasting(if unit::is_scope(unit) { Lasts::WithGroup } else { Lasts::ForGood })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards who is asked: the manager that knows the unit, a user's own or the machine's, which that user's manager is a unit of.
    #[test]
    fn the_manager_that_knows_the_unit_is_asked() {
        const USER: &str = "/user.slice/user-1000.slice/user@1000.service";
        for (path, command) in [
            ("/system.slice/a.service".to_owned(), "systemctl set-property -- a.service X=1"),
            ("/system.slice".to_owned(), "systemctl set-property -- system.slice X=1"),
            (
                format!("{USER}/app.slice/a.service"),
                "sudo -u '#1000' env XDG_RUNTIME_DIR=/run/user/1000 systemctl --user set-property -- a.service X=1",
            ),
            (USER.to_owned(), "systemctl set-property -- user@1000.service X=1"),
        ] {
            let unit = owner(&path).unwrap();
            let fix = change(&path, &unit, "X=1", String::new(), "none");
            assert_eq!((fix.command.as_deref(), fix.lasts), (Some(command), Some(Lasts::ForGood)));
        }
        let scope = change("/user.slice/session-3.scope", "session-3.scope", "X=1", String::new(), "none");
        assert_eq!(scope.lasts, Some(Lasts::WithGroup));
        assert_eq!(owner("/system.slice/a.service/worker"), None);
        assert_eq!(owner("/web"), None);
        // A slice of somebody else's systemd.
        assert_eq!(owner("/lxc.payload.web/system.slice"), None);
        assert_eq!(owner("/system.slice/web.service/x.slice"), None);
    }
}
