//! Who a task is: what it was started with, whose child it is, where it ran.

use super::words::name;
use crate::{
    host::container::Runtime,
    incident::{Ancestor, Command, Kinship, Place},
    text::printable,
};

/// Letters of a command line that are shown.
const SHOWN_CMDLINE: usize = 160;

/// What it was started with, as far as a row has room.
pub(super) fn started_as(command: &Command) -> Option<String> {
    let line = printable(&command.cmdline.as_ref().filter(|arguments| !arguments.is_empty())?.join(" "));
    let end = line.char_indices().nth(SHOWN_CMDLINE).map(|(end, _)| end);
    Some(match end.and_then(|end| line.get(..end)) {
        Some(shown) => format!("{shown}…"),
        None if command.cmdline_truncated => format!("{line}…"),
        None => line,
    })
}

/// Whose child it was, if that is more than the first process's or the kernel's own.
pub(super) fn parents(kinship: &Kinship) -> Option<String> {
    let ancestors = kinship.ancestors.as_ref()?;
    let told = |ancestor: &Ancestor| format!("{} {}", name(ancestor.comm.as_deref()), ancestor.pid);
    (ancestors.len() > 1).then(|| ancestors.iter().map(told).collect::<Vec<_>>().join(" · "))
}

/// Where it ran: the container, as its runtime's tools show it, if it is one; else the cgroup.
pub(super) fn place(place: &Place) -> Option<String> {
    let Some(container) = &place.container else { return place.cgroup.as_deref().map(printable) };
    let runtime = container.runtime.map_or("container", Runtime::name);
    let id = printable(container.short_id());
    let who = match container.name.as_deref().filter(|name| *name != container.id) {
        Some(name) => format!("{} ({id})", printable(name)),
        None => id,
    };
    let pod = match (&container.pod_name, &container.namespace, &container.pod_uid) {
        (Some(pod), Some(namespace), _) => format!(", pod {}/{}", printable(namespace), printable(pod)),
        (Some(pod), None, _) => format!(", pod {}", printable(pod)),
        (None, _, Some(uid)) => format!(", pod {uid}"),
        (None, _, None) => String::new(),
    };
    Some(format!("{runtime} {who}{pod}"))
}
