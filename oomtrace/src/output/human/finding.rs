//! What an incident comes to.

use crate::{explain::Finding, text::printable};

/// What is concluded, how sure that is, and where to read more.
pub(super) fn concluded(finding: &Finding) -> String {
    let likely = if finding.conclusion.likely { "likely, " } else { "" };
    printable(&format!("{likely}{} (see {})", finding.conclusion.summary, finding.see))
}
