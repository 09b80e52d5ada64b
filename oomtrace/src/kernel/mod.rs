//! The only place that knows the running kernel: its types, its hooks, and how to attach to them.

pub mod btf;
pub mod hooks;
pub mod layout;
pub mod limits;
pub mod load;
mod mirror;
pub mod roles;
pub mod text;
mod trampoline;
