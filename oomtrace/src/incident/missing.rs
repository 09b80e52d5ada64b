//! Why fields are missing: by path, with the reason.

use std::collections::BTreeMap;

/// Why something is missing that the kernel has.
pub(super) const UNREAD: &str = "it could not be read in the kernel";
/// Why the path of a task's cgroup is.
pub(super) const NO_CHAIN: &str = "its chain of cgroups did not come in";

/// Notes why a field is missing, if it is.
pub(super) fn note<T>(missing: &mut BTreeMap<String, String>, field: &str, told: &Result<T, String>) {
    if let Err(reason) = told {
        missing.insert(field.to_owned(), reason.clone());
    }
}

/// Notes one reason for several fields.
pub(super) fn all<F: Into<String>>(
    missing: &mut BTreeMap<String, String>,
    fields: impl IntoIterator<Item = F>,
    reason: &str,
) {
    missing.extend(fields.into_iter().map(|field| (field.into(), reason.to_owned())));
}

/// Notes one reason for those of several fields of which no other is known.
pub(super) fn unless_known<F: Into<String>>(
    missing: &mut BTreeMap<String, String>,
    fields: impl IntoIterator<Item = F>,
    reason: &str,
) {
    for field in fields {
        missing.entry(field.into()).or_insert_with(|| reason.to_owned());
    }
}

/// The fields of a table that are lacking.
pub(super) fn lacking<F>(fields: impl IntoIterator<Item = (F, bool)>) -> impl Iterator<Item = F> {
    fields.into_iter().filter(|(_, lacks)| *lacks).map(|(field, _)| field)
}

/// Notes which parts of a field are missing since they could not be read, unless another reason is known.
pub(super) fn unread<'a>(
    missing: &mut BTreeMap<String, String>,
    of: &str,
    fields: impl IntoIterator<Item = (&'a str, bool)>,
) {
    unless_known(missing, lacking(fields).map(|field| format!("{of}.{field}")), UNREAD);
}
