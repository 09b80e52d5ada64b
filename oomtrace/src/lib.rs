//! oomtrace: traces Linux out-of-memory kills as the kernel decides them.
//!
//! One direction of flow: [`kernel`] attaches the programs, [`record`] decodes what they send, [`incident`]
//! assembles it, [`output`] shows it. Outputs see only the types of [`incident`].

pub mod agent;
pub mod check;
pub mod cli;
pub mod command;
pub mod explain;
pub mod flight;
pub mod host;
pub mod incident;
pub mod kernel;
pub mod kmsg;
mod moment;
pub mod output;
pub mod profile;
pub mod record;
mod say;
pub mod secrets;
pub mod session;
pub mod text;
mod words;
