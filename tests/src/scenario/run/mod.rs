//! `oomtrace run`: what it tells of a command and of others, and what becomes of the command.

pub mod bad_input;
pub mod bystander;
pub mod child;
pub mod forks;
pub mod long;
mod profile;
pub mod repeat;
pub mod stress;
mod witness;

use crate::stage::Stage;

/// What such a run tells is a report, and no lines.
const OWN_BOOKS: &str = "an oomtrace run alone traces here, and its report is compared by itself";

fn on_its_own(stage: &mut Stage<'_>) {
    stage.untraced = Some(OWN_BOOKS);
}
