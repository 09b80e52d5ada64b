//! Names of incidents: opaque, the same in every record about one.

/// Of what was seen of a run of the OOM killer: by its trigger and the moment it began.
pub(super) fn of_run(boot_id: Option<&str>, opened_ns: u64, tid: u32) -> String {
    format!("{}-{opened_ns:x}-{tid:x}", prefix(boot_id))
}

/// Of what the kernel log alone tells: by the number of its message.
pub(super) fn of_log(boot_id: Option<&str>, seq: u64, pid: u32) -> String {
    format!("{}-k{seq:x}-{pid:x}", prefix(boot_id))
}

fn prefix(boot_id: Option<&str>) -> String {
    boot_id.unwrap_or_default().chars().filter(char::is_ascii_hexdigit).take(8).collect()
}
