//! What `oomtrace agent` has beyond tracing: its settings, and how it lives on a machine.

pub mod config;
pub mod confine;
pub mod notify;
pub mod programs;
pub mod recover;
pub mod survival;
