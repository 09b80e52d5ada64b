//! How systemd is told to change a unit.

use super::shell::quoted;
use crate::{host::unit, incident::Place};

/// The unit or slice whose own cgroup that is; `None`: it belongs to none, or is one that a unit made within itself.
pub fn owner(path: &str) -> Option<String> {
    let last = path.rsplit('/').next().unwrap_or_default();
    let unit = Place::of(Some(path.to_owned())).unit.filter(|unit| unit == last);
    unit.or_else(|| unit::is_slice(last).then(|| last.to_owned()))
}

/// The command by which the unit of a cgroup is spoken of. A user's own is known to that user's manager alone.
pub fn systemctl(path: &str, unit: &str) -> &'static str {
    if path.contains("/user@") && !unit.starts_with("user@") { "systemctl --user" } else { "systemctl" }
}

/// The command that sets a property of a cgroup's unit.
pub fn set_property(path: &str, unit: &str, property: &str) -> String {
    format!("{} set-property -- {} {property}", systemctl(path, unit), quoted(unit))
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
            (format!("{USER}/app.slice/a.service"), "systemctl --user set-property -- a.service X=1"),
            (USER.to_owned(), "systemctl set-property -- user@1000.service X=1"),
        ] {
            let unit = owner(&path).unwrap();
            assert_eq!(set_property(&path, &unit, "X=1"), command);
        }
        assert_eq!(owner("/system.slice/a.service/worker"), None);
        assert_eq!(owner("/web"), None);
    }
}
