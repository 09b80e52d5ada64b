//! Which systemd unit a cgroup belongs to, by its path alone. Nothing is asked of systemd, which may wait for memory.

/// The systemd unit that a cgroup belongs to, and its slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// `nginx.service`, as `systemctl` wants it; of a user's own unit: that, not the `user@UID.service` that it runs under.
    pub unit: String,
    /// `system.slice`; `-.slice` is the root's.
    pub slice: String,
}

/// The unit of a cgroup in the hierarchy that systemd manages; none where it is in no unit.
#[must_use]
pub fn of(path: &str) -> Option<Unit> {
    let mut found = None;
    let mut steps = path.split('/').filter(|step| !step.is_empty()).map(plain).peekable();
    loop {
        let mut slice = "-.slice";
        while let Some(name) = steps.next_if(|step| kind(step) == Some("slice")) {
            slice = name;
        }
        let Some(name) = steps.next().filter(|name| is_unit(name)) else { return found };
        found = Some(Unit { unit: name.to_owned(), slice: slice.to_owned() });
        // A user's manager has units of its own below it.
        if !(name.starts_with("user@") && kind(name) == Some("service")) {
            return found;
        }
    }
}

/// A name without the `_` that systemd puts before one that looks like a file of the kernel (`cg_escape()`).
fn plain(step: &str) -> &str {
    step.strip_prefix('_').unwrap_or(step)
}

/// Whether a name is that of a slice: a group of units.
#[must_use]
pub fn is_slice(name: &str) -> bool {
    kind(name) == Some("slice")
}

/// Whether a name is that of a scope: processes that systemd has not started itself, and that it forgets with them.
#[must_use]
pub fn is_scope(name: &str) -> bool {
    kind(name) == Some("scope")
}

fn is_unit(name: &str) -> bool {
    matches!(kind(name), Some("service" | "scope" | "socket" | "mount" | "swap"))
}

fn kind(name: &str) -> Option<&str> {
    Some(name.rsplit_once('.')?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the unit and the slice: the innermost that systemd itself made.
    #[test]
    fn the_unit_is_what_systemd_started() {
        let cases = [
            ("/system.slice/nginx.service", "nginx.service", "system.slice"),
            ("/system.slice/nginx.service/worker/1", "nginx.service", "system.slice"),
            ("/init.scope", "init.scope", "-.slice"),
            ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope", "user-1000.slice"),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox.service",
                "app-firefox.service",
                "app.slice",
            ),
            ("/user.slice/user-1000.slice/user@1000.service/init.scope", "init.scope", "-.slice"),
            ("/user.slice/user-1000.slice/user@1000.service", "user@1000.service", "user-1000.slice"),
            (
                "/system.slice/system-getty.slice/getty@tty1.service",
                "getty@tty1.service",
                "system-getty.slice",
            ),
            ("/system.slice/dev-disk-by\\x2dlabel-x.swap", "dev-disk-by\\x2dlabel-x.swap", "system.slice"),
            ("/_cpu.slice/_memory.service", "memory.service", "cpu.slice"),
        ];
        for (path, unit, slice) in cases {
            let expected = Unit { unit: unit.to_owned(), slice: slice.to_owned() };
            assert_eq!(of(path), Some(expected), "{path}");
        }
        for path in ["/", "", "/user.slice", "/docker/0123", "/kubepods/burstable"] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
